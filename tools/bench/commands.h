#ifndef FULMAR_TOOLS_BENCH_COMMANDS_H_
#define FULMAR_TOOLS_BENCH_COMMANDS_H_

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tools/bench/calls.h"
#include "tools/bench/report.h"

namespace fulmar::bench {

// What the command line asks for: `run`, filled in by the subcommand that was chosen.
struct Invocation {
  std::function<absl::Status(Report&)> run;
};

void AddSendCommand(CLI::App& app, Invocation& invocation);
void AddEndToEndCommand(CLI::App& app, Invocation& invocation);
void AddParkedCommand(CLI::App& app, Invocation& invocation);
void AddStartCommand(CLI::App& app, Invocation& invocation);
void AddRecoveryCommand(CLI::App& app, Invocation& invocation);

// Values such as 500ms, 10s or 1m.
void AddDuration(CLI::App* command, const std::string& name, absl::Duration& value, const std::string& help);

// What commands that load a running server share.
struct LoadOptions {
  std::string endpoint = "127.0.0.1:8081";
  int server_pid = 0;
  int connections = 4;
  int in_flight = 64;
  int batch = 1;
  int body_bytes = 1024;
  double rate = 0;
  absl::Duration warm_up = absl::Seconds(3), duration = absl::Seconds(10);
  std::string topic;  // empty: a new one for this run
  std::string durability = "sync";
  int queues = 4;
};
// --endpoint and --server-pid.
void AddServerOptions(CLI::App* command, LoadOptions& options);
void AddLoadOptions(CLI::App* command, LoadOptions& options);

// Makes topic and group (the latter unless empty) by the admin service; a server without that service is expected to make or have them.
absl::Status PrepareNames(Engine& engine, LoadOptions& options, const std::string& group);

// CPU and memory of the server over a span. With pid 0 everything is zero and Add() adds nothing.
class ServerMeter {
 public:
  explicit ServerMeter(int pid) : pid_(pid) {}
  absl::Status Begin();
  absl::Status End();
  absl::Duration cpu() const { return end_cpu_ - begin_cpu_; }
  absl::Duration wall() const { return end_ - begin_; }
  uint64_t resident_bytes() const { return resident_; }
  // CPU per message and of one core, memory.
  void Add(Report& report, uint64_t messages) const;

 private:
  const int pid_;
  absl::Duration begin_, end_, begin_cpu_, end_cpu_;
  uint64_t resident_ = 0;
};

}  // namespace fulmar::bench

#endif  // FULMAR_TOOLS_BENCH_COMMANDS_H_
