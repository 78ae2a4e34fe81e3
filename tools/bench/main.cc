#include <CLI/CLI.hpp>
#include <iostream>

#include "absl/synchronization/mutex.h"
#include "fulmar/version.h"
#include "tools/bench/commands.h"

namespace fulmar::bench {
namespace {

constexpr char kFooter[] = R"(Examples:
  fulmar-bench send --in-flight 64 --connections 4 --server-pid $(pidof fulmar)
  fulmar-bench send --batch 32 --body-bytes 1024
  fulmar-bench end-to-end --rate 1000 --output json
  fulmar-bench parked --receives 5000 --server-pid $(pidof fulmar)
  fulmar-bench start; fulmar-bench recovery --gigabytes 1

All figures of docs/performance.md: tools/bench/first_slice.
Exit codes: 0 measured, 1 failed, 2 wrong usage.)";

int Main(int argc, char** argv) {
  CLI::App app{"Loads a server through the v2 protocol and measures: rates, latencies, CPU per message, memory.", "fulmar-bench"};
  Invocation invocation;
  std::string output = "table";
  app.footer(kFooter);
  app.set_version_flag("--version", std::string(Version()) + " (" + Revision() + ")");
  app.require_subcommand(1);
  app.fallthrough();  // --output may stand behind the command
  app.get_formatter()->column_width(34);
  app.add_option("-o,--output", output, "table for people, json for scripts")->check(CLI::IsMember({"table", "json"}))->capture_default_str();
  AddSendCommand(app, invocation);
  AddEndToEndCommand(app, invocation);
  AddParkedCommand(app, invocation);
  AddStartCommand(app, invocation);
  AddRecoveryCommand(app, invocation);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  Report report;
  const absl::Status status = invocation.run(report);
  report.Print(output == "json");
  if (status.ok()) return 0;
  std::cerr << "fulmar-bench: " << status.message() << "\n";
  return 1;
}

}  // namespace
}  // namespace fulmar::bench

int main(int argc, char** argv) {
  // Debian's Abseil looks for lock cycles at every lock of gRPC's.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  return fulmar::bench::Main(argc, argv);
}
