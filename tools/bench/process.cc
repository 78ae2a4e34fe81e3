#include "tools/bench/process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

extern char** environ;

namespace fulmar::bench {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// A failed start of a measurement is nothing to go on from.
void Require(bool condition, const std::string& what) {
  if (condition) return;
  std::cerr << "fulmar-bench: " << what << ": " << std::strerror(errno) << "\n";
  std::exit(1);
}

absl::Status NoProcess(pid_t pid) { return absl::NotFoundError(absl::StrCat("there is no process ", pid)); }

// Threads that ended since the last look are missing in it, which for a server are none or few.
absl::StatusOr<absl::Duration> SumOfThreads(pid_t pid) {
  std::error_code error;
  int64_t total = 0;
  for (const auto& task : std::filesystem::directory_iterator(absl::StrCat("/proc/", pid, "/task"), error)) {
    std::ifstream file(task.path() / "schedstat");
    int64_t running = 0;
    if (file >> running) total += running;
  }
  if (error) return NoProcess(pid);
  return absl::Nanoseconds(total);
}

absl::StatusOr<absl::Duration> Ticks(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string text(std::istreambuf_iterator<char>(file), {});
  const size_t behind_name = text.rfind(") ");
  if (behind_name == std::string::npos) return NoProcess(pid);
  const std::vector<std::string> fields = absl::StrSplit(text.substr(behind_name + 2), ' ');
  int64_t user = 0, system = 0;
  if (fields.size() < 13 || !absl::SimpleAtoi(fields[11], &user) || !absl::SimpleAtoi(fields[12], &system)) return NoProcess(pid);
  return absl::Seconds(static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK)));
}

}  // namespace

absl::StatusOr<absl::Duration> CpuTime(pid_t pid) {
  if (pid == 0) return absl::ZeroDuration();
  const absl::StatusOr<absl::Duration> ticks = Ticks(pid);
  if (!ticks.ok()) return ticks;
  const absl::StatusOr<absl::Duration> exact = SumOfThreads(pid);
  // A kernel without scheduler statistics answers zero.
  return exact.ok() && *exact > absl::ZeroDuration() ? exact : ticks;
}

absl::StatusOr<uint64_t> ResidentBytes(pid_t pid) {
  if (pid == 0) return 0;
  std::ifstream file(absl::StrCat("/proc/", pid, "/statm"));
  uint64_t size = 0, resident = 0;
  if (!(file >> size >> resident)) return NoProcess(pid);
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

absl::Duration Now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return absl::DurationFromTimespec(time);
}

void SleepUntil(absl::Duration when) {
  const timespec time = absl::ToTimespec(when);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr) == EINTR) {
  }
}

TempDir::TempDir(const std::string& parent) {
  std::string pattern = absl::StrCat(parent, "/fulmar-bench-XXXXXX");
  Require(mkdtemp(pattern.data()) != nullptr, absl::StrCat("cannot make a folder in ", parent));
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  Require(fd >= 0, "socket");
  const absl::Cleanup close_fd = [fd] { close(fd); };
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  Require(bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0, "bind");
  Require(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0, "getsockname");
  return ntohs(address.sin_port);
}

ServerProcess::ServerProcess(std::string binary, std::string dir, std::vector<std::string> more)
    : binary_(std::move(binary)),
      dir_(std::move(dir)),
      log_path_(absl::StrCat(dir_, "/server.log")),
      more_(std::move(more)),
      port_(FreePort()),
      metrics_port_(FreePort()) {}

ServerProcess::~ServerProcess() { Kill(); }

std::string ServerProcess::endpoint() const { return absl::StrCat("127.0.0.1:", port_); }

absl::Status ServerProcess::Start() {
  std::vector<std::string> arguments = {binary_,   "standalone", "--listen", endpoint(), "--metrics", absl::StrCat("127.0.0.1:", metrics_port_),
                                        "--data", absl::StrCat(dir_, "/data")};
  arguments.insert(arguments.end(), more_.begin(), more_.end());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  const absl::Cleanup destroy = [&actions] { posix_spawn_file_actions_destroy(&actions); };
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log_path_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  const int error = posix_spawn(&pid_, binary_.c_str(), &actions, nullptr, argv.data(), environ);
  if (error == 0) return absl::OkStatus();
  pid_ = 0;
  return absl::NotFoundError(absl::StrCat("cannot start ", binary_, ": ", std::strerror(error)));
}

void ServerProcess::Kill() {
  if (pid_ == 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

bool ServerProcess::IsAlive() {
  if (pid_ == 0) return false;
  if (waitpid(pid_, nullptr, WNOHANG) == 0) return true;
  pid_ = 0;
  return false;
}

absl::Status ServerProcess::WaitListening(absl::Duration timeout) {
  const absl::Duration deadline = Now() + timeout;
  const sockaddr_in address = Loopback(port_);
  while (true) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool connected = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    close(fd);
    if (connected) return absl::OkStatus();
    if (!IsAlive()) return absl::AbortedError(absl::StrCat("the server ended while it started, see ", log_path_));
    if (Now() > deadline) return absl::DeadlineExceededError(absl::StrCat("nothing listens on ", endpoint(), ", see ", log_path_));
    SleepUntil(Now() + absl::Milliseconds(1));
  }
}

}  // namespace fulmar::bench
