#ifndef FULMAR_TOOLS_BENCH_PROCESS_H_
#define FULMAR_TOOLS_BENCH_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace fulmar::bench {

// What the kernel knows about a process; pid 0: nothing is asked and everything is zero.
// NotFound when there is no such process.
absl::StatusOr<absl::Duration> CpuTime(pid_t pid);  // user and system, all threads, to the nanosecond where the kernel counts so
absl::StatusOr<uint64_t> ResidentBytes(pid_t pid);

// The monotonic clock, for stamps in bodies and for latencies.
absl::Duration Now();
// Sleeps until Now() is `when`, or less than a scheduler tick later.
void SleepUntil(absl::Duration when);

// A folder that is removed with everything in it.
class TempDir {
 public:
  explicit TempDir(const std::string& parent);  // stops the process if it cannot be made
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A port of 127.0.0.1 that nobody listens on right now.
int FreePort();

// One `fulmar standalone` on 127.0.0.1, its data under `dir`. Killed with this object. Threads: one.
class ServerProcess {
 public:
  // `more`: arguments behind the usual ones.
  ServerProcess(std::string binary, std::string dir, std::vector<std::string> more);
  ~ServerProcess();

  // Starts it, on the same port and data each time.
  absl::Status Start();
  void Kill();  // -9, and waits
  bool IsAlive();

  pid_t pid() const { return pid_; }
  std::string endpoint() const;
  const std::string& log_path() const { return log_path_; }

  // Returns as soon as something accepts a TCP connection. DeadlineExceeded; Aborted when the process has ended.
  absl::Status WaitListening(absl::Duration timeout);

 private:
  const std::string binary_, dir_, log_path_;
  const std::vector<std::string> more_;
  const int port_, metrics_port_;
  pid_t pid_ = 0;
};

}  // namespace fulmar::bench

#endif  // FULMAR_TOOLS_BENCH_PROCESS_H_
