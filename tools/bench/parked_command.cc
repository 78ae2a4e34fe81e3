#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tools/bench/commands.h"
#include "tools/bench/process.h"
#include "tools/bench/receiver.h"
#include "tools/bench/sender.h"

namespace fulmar::bench {
namespace {

// The longest that a server lets a receive wait.
constexpr absl::Duration kWait = absl::Seconds(60);
constexpr double kWakesPerSecond = 50;

struct ParkedOptions : LoadOptions {
  int receives = 5000;
  absl::Duration settle = absl::Seconds(5);
  int wakes = 200;
};

absl::Status RunParked(ParkedOptions options, Report& report) {
  const std::string group = absl::StrCat("bench-", absl::Hex(absl::ToUnixMillis(absl::Now())));
  Engine engine(options.endpoint, options.connections);
  if (absl::Status ready = PrepareNames(engine, options, group); !ready.ok()) return ready;
  engine.Run();
  SleepUntil(Now() + absl::Seconds(1));
  const absl::StatusOr<uint64_t> before = ResidentBytes(options.server_pid);
  if (!before.ok()) return before.status();
  const absl::Duration opened = Now();

  Receiver receiver(engine, {.topic = options.topic, .group = group, .receives = options.receives, .batch = 1, .wait = kWait, .again = false});
  receiver.Begin();
  SleepUntil(Now() + options.settle);
  ServerMeter idle(options.server_pid);
  if (absl::Status status = idle.Begin(); !status.ok()) return status;
  SleepUntil(Now() + options.duration);
  if (absl::Status status = idle.End(); !status.ok()) return status;
  const int parked = receiver.open();

  // One message wakes one of them.
  Sender sender(engine, {.topic = options.topic, .in_flight = 4, .body_bytes = options.body_bytes, .rate = kWakesPerSecond});
  receiver.BeginMeasuring();
  if (parked > options.wakes) {
    sender.Begin();
    const absl::Duration deadline = opened + kWait - absl::Seconds(2);
    while (receiver.total_received() < static_cast<uint64_t>(options.wakes) && Now() < deadline) SleepUntil(Now() + absl::Milliseconds(20));
    sender.Stop();
  }
  receiver.EndMeasuring();
  receiver.Stop();

  report.Number("receives", "receives asked for", options.receives, 0);
  report.Number("parked", "parked at the end of the idle time", parked, 0);
  report.Counts("failures", "failed", receiver.counts().failures);
  if (options.server_pid != 0) {
    const double grown = static_cast<double>(idle.resident_bytes()) - static_cast<double>(*before);
    report.Bytes("bytes_each", "server memory per receive", grown / std::max(parked, 1));
  }
  idle.Add(report, 0);
  report.Latency("wake_latency", "send → woken receive", receiver.counts().latency);
  if (parked < options.receives) return absl::ResourceExhaustedError(absl::StrCat("only ", parked, " of ", options.receives, " receives stayed parked"));
  return absl::OkStatus();
}

}  // namespace

void AddParkedCommand(CLI::App& app, Invocation& invocation) {
  auto options = std::make_shared<ParkedOptions>();
  CLI::App* command = app.add_subcommand("parked", "Many receives that wait: memory of each, CPU while nothing happens, time to wake one");
  AddServerOptions(command, *options);
  command->add_option("--connections", options->connections, "TCP connections")->check(CLI::Range(1, 1000))->capture_default_str();
  command->add_option("--receives", options->receives, "How many")->check(CLI::Range(1, 200000))->capture_default_str();
  AddDuration(command, "--settle", options->settle, "Time for them to arrive");
  AddDuration(command, "--duration", options->duration, "Idle time to measure; with --settle below 50s");
  command->add_option("--wakes", options->wakes, "How many to wake in the end")->check(CLI::Range(0, 1500))->capture_default_str();
  command->callback([options, &invocation] { invocation.run = [options](Report& report) { return RunParked(*options, report); }; });
}

}  // namespace fulmar::bench
