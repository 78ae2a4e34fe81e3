#include <CLI/CLI.hpp>
#include <csignal>
#include <iostream>

#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "tools/fulmarctl/commands.h"
#include "tools/fulmarctl/output.h"
#include "fulmar/version.h"

namespace fulmar::ctl {

CLI::Validator DurationText() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        absl::Duration value;
        if (absl::ParseDuration(text, &value) && value >= absl::ZeroDuration()) return {};
        return "'" + text + "' is not a duration such as 500ms, 30s or 1h30m";
      },
      "DURATION");
}

namespace {

constexpr char kFooter[] = R"(Exit codes: 0 done, 1 failed, 2 wrong usage or bad value, 3 not found, 4 exists with other settings or a
precondition does not hold, 5 no answer from the server, 6 not allowed.
Environment: FULMAR_ENDPOINT sets the default of --endpoint.)";

int Main(int argc, char** argv) {
  CLI::App app{"Manages a Fulmar cluster and sends and receives messages through it.", "fulmarctl"};
  Invocation invocation;
  std::string output = "table";
  app.footer(kFooter);
  app.set_version_flag("--version", std::string(Version()) + " (" + Revision() + ")");
  app.require_subcommand(1);
  app.fallthrough();  // global options may stand behind the command
  app.get_formatter()->column_width(34);
  app.add_option("-e,--endpoint", invocation.session.endpoint, "Registry, broker or standalone server, HOST:PORT")
      ->envname("FULMAR_ENDPOINT")
      ->capture_default_str();
  app.add_option("-o,--output", output, "table for people, json for scripts")
      ->check(CLI::IsMember({"table", "json"}, CLI::ignore_case))
      ->capture_default_str();
  app.add_option("--timeout", invocation.timeout, "How long to wait for an answer")->check(DurationText())->capture_default_str();
  app.add_option("--namespace", invocation.session.resource_namespace, "Resource namespace of topics and groups in send and receive");
  app.add_flag("--tls", invocation.session.tls, "Talk TLS");
  app.add_option("--ca", invocation.session.ca_file, "With --tls: certificates to trust (PEM) instead of the system's")->check(CLI::ExistingFile);
  app.add_flag("--insecure-skip-verify", invocation.session.skip_verify, "With --tls: take any certificate, such as the self-signed one of standalone");
  AddTopicCommands(app, invocation);
  AddGroupCommands(app, invocation);
  AddMessageCommands(app, invocation);
  AddLedgerCommands(app, invocation);
  AddDeadLetterCommands(app, invocation);
  AddClusterCommands(app, invocation);
  AddCompletionCommand(app, invocation);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? kOk : kUsage;
  }
  invocation.json = absl::EqualsIgnoreCase(output, "json");
  absl::ParseDuration(invocation.timeout, &invocation.session.timeout);
  Session session(invocation.session);
  const absl::Status status = invocation.run(session);
  if (status.ok()) return kOk;
  std::cerr << "fulmarctl: " << status.message() << "\n";
  return ExitCodeOf(status);
}

}  // namespace
}  // namespace fulmar::ctl

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_DFL);  // `fulmarctl ... | head` ends quietly
  return fulmar::ctl::Main(argc, argv);
}
