#include "tools/bench/commands.h"
#include "tools/bench/process.h"
#include "tools/bench/sender.h"

namespace fulmar::bench {
namespace {

absl::Status RunSend(LoadOptions options, Report& report) {
  Engine engine(options.endpoint, options.connections);
  if (absl::Status ready = PrepareNames(engine, options, ""); !ready.ok()) return ready;
  Sender sender(engine, {.topic = options.topic,
                         .in_flight = options.in_flight,
                         .batch = options.batch,
                         .body_bytes = options.body_bytes,
                         .rate = options.rate});
  ServerMeter meter(options.server_pid);
  engine.Run();
  sender.Begin();
  SleepUntil(Now() + options.warm_up);
  if (absl::Status status = meter.Begin(); !status.ok()) return status;
  const absl::StatusOr<absl::Duration> own_cpu = CpuTime(getpid());
  sender.BeginMeasuring();
  SleepUntil(Now() + options.duration);
  sender.EndMeasuring();
  const absl::StatusOr<absl::Duration> own_cpu_end = CpuTime(getpid());
  if (absl::Status status = meter.End(); !status.ok()) return status;
  sender.Stop();

  const SendCounts& counts = sender.counts();
  report.Text("topic", "topic", options.topic);
  report.Number("messages_per_second", "messages acknowledged per second", static_cast<double>(counts.messages) / absl::ToDoubleSeconds(meter.wall()), 0);
  report.Number("mib_per_second", "bodies per second",
                static_cast<double>(counts.messages) * options.body_bytes / absl::ToDoubleSeconds(meter.wall()) / (1 << 20), 1, "MiB");
  report.Latency("latency", "send", counts.latency);
  meter.Add(report, counts.messages);
  if (counts.messages > 0) {
    report.Number("client_cpu_us_per_message", "client CPU per message",
                  absl::ToDoubleMicroseconds(*own_cpu_end - *own_cpu) / static_cast<double>(counts.messages), 2, "µs");
  }
  report.Counts("refused", "refused", counts.refused);
  if (counts.messages == 0) return absl::UnavailableError("no message was acknowledged");
  return absl::OkStatus();
}

}  // namespace

void AddSendCommand(CLI::App& app, Invocation& invocation) {
  auto options = std::make_shared<LoadOptions>();
  CLI::App* command = app.add_subcommand("send", "Send only: rate and latency until the acknowledgement");
  AddLoadOptions(command, *options);
  command->callback([options, &invocation] { invocation.run = [options](Report& report) { return RunSend(*options, report); }; });
}

}  // namespace fulmar::bench
