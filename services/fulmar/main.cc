#include <CLI/CLI.hpp>
#include <csignal>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "fulmar/version.h"
#include "services/common/log.h"
#include "services/fulmar/config.h"
#include "services/fulmar/index_command.h"
#include "services/fulmar/roles.h"

namespace fulmar {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

// The flags that every role has under a short name; all other keys are flags under their own (--broker.log.segment_bytes=64MiB).
struct RoleArguments {
  std::optional<std::string> listen, metrics, data, advertise;  // an empty text is a value, too: --metrics ""
  std::string config;
};

void AddRoleOptions(CLI::App& role, const std::shared_ptr<RoleArguments>& arguments) {
  role.add_option("--listen", arguments->listen, "gRPC address, HOST:PORT (server.listen)");
  role.add_option("--metrics", arguments->metrics, "HTTP address of metrics and health, HOST:PORT (server.metrics)");
  role.add_option("--data", arguments->data, "Folder of everything that is kept (server.data)");
  role.add_option("--advertise", arguments->advertise, "Address that others reach this process at, HOST:PORT (server.advertise)");
  role.add_option("--config", arguments->config, "YAML file; see fulmar config --describe")->check(CLI::ExistingFile);
  role.allow_extras();
  role.footer("Every key of the configuration is a flag too, such as --broker.log.segment_bytes=64MiB, and an environment variable, such as\n"
              "FULMAR_BROKER_LOG_SEGMENT_BYTES. `fulmar config --describe` lists them.");
}

std::unique_ptr<Config> ConfigOf(const RoleArguments& arguments, std::vector<std::string> flags) {
  const auto add = [&](const char* key, const std::optional<std::string>& value) {
    if (value.has_value()) flags.push_back(std::string("--server.") + key + "=" + *value);
  };
  add("listen", arguments.listen);
  add("metrics", arguments.metrics);
  add("data", arguments.data);
  add("advertise", arguments.advertise);
  return std::make_unique<Config>(arguments.config, std::move(flags));
}

// One sentence on stderr: what start-up cannot use, and the remedy.
int Fail(const absl::Status& status, int code) {
  std::cerr << "fulmar: " << status.message() << "\n";
  return code;
}

int RunRoleOf(Role role, const RoleArguments& arguments, std::vector<std::string> flags) {
  const std::unique_ptr<Config> config = ConfigOf(arguments, std::move(flags));
  if (const absl::Status loaded = config->Load(); !loaded.ok()) return Fail(loaded, kUsage);
  const LoggingOptions& logging = config->options().logging;
  common::StartLogging({.json = logging.format == "json", .level = *common::ParseLogLevel(logging.level)});
  const absl::Status ended = RunRole(role, *config);
  common::StopLogging();
  return ended.ok() ? 0 : Fail(ended, kFailed);
}

int Main(int argc, char** argv) {
  CLI::App app{"Fulmar: a durable message system that official RocketMQ 5 gRPC clients use unmodified.", "fulmar"};
  app.set_version_flag("--version", std::string(Version()) + " (" + Revision() + ")");
  app.require_subcommand(1);
  int exit_code = 0;

  struct RoleRow {
    Role role;
    const char* name;
    const char* help;
  };
  static constexpr RoleRow kRoles[] = {
      {Role::kStandalone, "standalone", "Registry, broker and offset service in one process, on one port"},
      {Role::kRegistry, "registry", "The name server: routes and the front door of clients"},
      {Role::kBroker, "broker", "Stores and delivers messages"},
      {Role::kOffset, "offset", "Keeps definitions of topics and groups, and consumption progress"},
  };
  for (const RoleRow& row : kRoles) {
    CLI::App* command = app.add_subcommand(row.name, row.help);
    auto arguments = std::make_shared<RoleArguments>();
    AddRoleOptions(*command, arguments);
    command->callback([&exit_code, role = row.role, command, arguments] {
      exit_code = RunRoleOf(role, *arguments, command->remaining());
    });
  }

  CLI::App* config_command = app.add_subcommand("config", "Describe or check the configuration");
  auto config_arguments = std::make_shared<RoleArguments>();
  bool describe = false, check = false, yaml = false;
  config_command->add_flag("--describe", describe, "Print every key: type, default, what it does");
  config_command->add_flag("--yaml", yaml, "With --describe: as a YAML file of all defaults with comments");
  config_command->add_flag("--check", check, "Read file, environment and flags, and print the values in force; wrong ones are all named");
  config_command->add_option("--config", config_arguments->config, "YAML file to check")->check(CLI::ExistingFile);
  config_command->allow_extras();
  config_command->callback([&] {
    const std::unique_ptr<Config> config = ConfigOf(*config_arguments, config_command->remaining());
    if (describe == check) {
      exit_code = Fail(absl::InvalidArgumentError("config: say --describe or --check"), kUsage);
    } else if (describe) {
      std::cout << (yaml ? config->set().DescribeYaml() : config->set().DescribeMarkdown());
    } else if (const absl::Status loaded = config->Load(); !loaded.ok()) {
      exit_code = Fail(loaded, kUsage);
    } else {
      std::cout << config->set().EffectiveYaml();
    }
  });

  CLI::App* index_command = app.add_subcommand("index", "Work on the index of a stopped server")->require_subcommand(1);
  CLI::App* rebuild = index_command->add_subcommand("rebuild", "Throw the index away and make it anew from the log alone");
  auto rebuild_arguments = std::make_shared<RoleArguments>();
  AddRoleOptions(*rebuild, rebuild_arguments);
  rebuild->callback([&exit_code, rebuild, rebuild_arguments] {
    const std::unique_ptr<Config> config = ConfigOf(*rebuild_arguments, rebuild->remaining());
    if (const absl::Status loaded = config->Load(); !loaded.ok()) {
      exit_code = Fail(loaded, kUsage);
    } else if (const absl::Status rebuilt = RebuildIndexes(config->options()); !rebuilt.ok()) {
      exit_code = Fail(rebuilt, kFailed);
    }
  });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  return exit_code;
}

}  // namespace
}  // namespace fulmar

int main(int argc, char** argv) {
  // Signals are taken by the main thread alone (roles.cc); threads made from here on inherit the mask.
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  // Debian's Abseil looks for lock cycles at every lock of gRPC's; the sanitizer builds do that better.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  return fulmar::Main(argc, argv);
}
