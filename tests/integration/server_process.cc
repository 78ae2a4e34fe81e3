#include "tests/integration/server_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"

namespace fulmar::integration {
namespace {

constexpr absl::Duration kStart = absl::Seconds(60);
constexpr absl::Duration kLook = absl::Milliseconds(20);

std::string Executable() {
  const char* bin = std::getenv("FULMAR_BIN");
  const std::filesystem::path dir = bin != nullptr ? std::filesystem::path(bin) : std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
  return (dir / "fulmar").string();
}

std::string MakeDir() {
  std::string name = (std::filesystem::temp_directory_path() / "fulmar-integration-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) std::abort();
  return name;
}

// Holds the shared servers; they end with the program.
struct SharedServers : testing::Environment {
  std::unique_ptr<ServerProcess> shared, strict;
  void TearDown() override {
    shared.reset();
    strict.reset();
  }
};
SharedServers* const shared_servers = [] {
  auto* servers = new SharedServers;
  testing::AddGlobalTestEnvironment(servers);
  return servers;
}();

}  // namespace

ServerProcess::ServerProcess(std::vector<std::string> flags) : dir_(MakeDir()) {
  std::vector<std::string> arguments = {Executable(), "standalone", "--listen=127.0.0.1:0", "--metrics=127.0.0.1:0", absl::StrCat("--data=", dir_, "/data"),
                                        "--broker.log.segment_bytes=32MiB", "--offset.log.segment_bytes=8MiB"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, absl::StrCat(dir_, "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  const int spawned = posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (spawned != 0) {
    ADD_FAILURE() << "cannot start " << argv[0] << ": " << strerror(spawned);
    std::exit(1);
  }
  WaitUntilServing();
}

ServerProcess::~ServerProcess() {
  const bool running = Running();
  EXPECT_TRUE(running) << "the server ended by itself:\n" << Log();
  if (running) {
    kill(pid_, SIGTERM);
    int status = 0;
    const absl::Time until = absl::Now() + absl::Seconds(30);
    while (waitpid(pid_, &status, WNOHANG) == 0) {
      if (absl::Now() > until) {
        ADD_FAILURE() << "the server did not end within 30 s of SIGTERM:\n" << Log();
        kill(pid_, SIGKILL);
        waitpid(pid_, &status, 0);
        break;
      }
      absl::SleepFor(kLook);
    }
    EXPECT_EQ(status, 0) << Log();
  }
  std::filesystem::remove_all(dir_);
}

void ServerProcess::WaitUntilServing() {
  const absl::Time until = absl::Now() + kStart;
  while (absl::Now() < until && Running()) {
    const std::string log = Log();
    for (const absl::string_view line : absl::StrSplit(log, '\n')) {
      const nlohmann::json event = nlohmann::json::parse(line, nullptr, false);
      if (!event.is_object()) continue;
      if (event.value("event", "") == "listening") endpoint_ = event.value("address", "");
      if (event.value("event", "") != "serving" || endpoint_.empty()) continue;
      if (absl::SimpleAtoi(endpoint_.substr(endpoint_.rfind(':') + 1), &port_)) return;
    }
    absl::SleepFor(kLook);
  }
  ADD_FAILURE() << "the server does not come up:\n" << Log();
  kill(pid_, SIGKILL);
  std::exit(1);
}

bool ServerProcess::Running() const {
  siginfo_t info{};
  return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

int64_t ServerProcess::ResidentBytes() const {
  std::ifstream file(absl::StrCat("/proc/", pid_, "/statm"));
  int64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

std::string ServerProcess::Log() const {
  std::ifstream file(absl::StrCat(dir_, "/log"));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

bool ServerProcess::WaitForLog(const std::string& text) const {
  for (const absl::Time until = absl::Now() + absl::Seconds(10); absl::Now() < until; absl::SleepFor(kLook)) {
    if (absl::StrContains(Log(), text)) return true;
  }
  return false;
}

ServerProcess& ServerProcess::Shared() {
  auto& server = shared_servers->shared;
  if (server == nullptr) server = std::make_unique<ServerProcess>(std::vector<std::string>{"--broker.receive.min_invisible_duration=500ms"});
  return *server;
}

ServerProcess& ServerProcess::Strict() {
  auto& server = shared_servers->strict;
  if (server == nullptr) {
    server = std::make_unique<ServerProcess>(std::vector<std::string>{"--definitions.auto_create_topics=false", "--definitions.auto_create_groups=false"});
  }
  return *server;
}

bool ServerIsSanitized() { return std::getenv("ASAN_OPTIONS") != nullptr; }

}  // namespace fulmar::integration
