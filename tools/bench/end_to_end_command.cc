#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tools/bench/commands.h"
#include "tools/bench/process.h"
#include "tools/bench/receiver.h"
#include "tools/bench/sender.h"

namespace fulmar::bench {
namespace {

struct EndToEndOptions : LoadOptions {
  std::string group;  // empty: a new one
  int receives = 4;
  int receive_batch = 32;
  int64_t max_ahead = 20000;
};

absl::Status RunEndToEnd(EndToEndOptions options, Report& report) {
  if (options.group.empty()) options.group = absl::StrCat("bench-", absl::Hex(absl::ToUnixMillis(absl::Now())));
  Engine engine(options.endpoint, options.connections);
  if (absl::Status ready = PrepareNames(engine, options, options.group); !ready.ok()) return ready;
  Receiver receiver(engine, {.topic = options.topic, .group = options.group, .receives = options.receives, .batch = options.receive_batch});
  Sender sender(engine, {.topic = options.topic,
                         .in_flight = options.in_flight,
                         .batch = options.batch,
                         .body_bytes = options.body_bytes,
                         .rate = options.rate,
                         .max_ahead = options.rate == 0 ? options.max_ahead : 0});
  receiver.OnReceived([&sender](int64_t messages) { sender.Consumed(messages); });
  ServerMeter meter(options.server_pid);
  engine.Run();
  receiver.Begin();
  sender.Begin();
  SleepUntil(Now() + options.warm_up);
  if (absl::Status status = meter.Begin(); !status.ok()) return status;
  sender.BeginMeasuring();
  receiver.BeginMeasuring();
  SleepUntil(Now() + options.duration);
  sender.EndMeasuring();
  receiver.EndMeasuring();
  if (absl::Status status = meter.End(); !status.ok()) return status;
  sender.Stop();
  receiver.Stop();

  const SendCounts& sent = sender.counts();
  const ReceiveCounts& received = receiver.counts();
  const double seconds = absl::ToDoubleSeconds(meter.wall());
  report.Text("topic", "topic", options.topic);
  report.Number("sent_per_second", "sent per second", static_cast<double>(sent.messages) / seconds, 0);
  report.Number("received_per_second", "received per second", static_cast<double>(received.received) / seconds, 0);
  report.Number("acknowledged_per_second", "acknowledged per second", static_cast<double>(received.acknowledged) / seconds, 0);
  report.Number("redelivered", "redelivered", static_cast<double>(received.redelivered), 0);
  report.Latency("latency", "send → listener", received.latency);
  report.Latency("send_latency", "send", sent.latency);
  meter.Add(report, received.acknowledged);
  report.Counts("refused", "refused", sent.refused);
  report.Counts("failures", "failed", received.failures);
  if (received.acknowledged == 0) return absl::UnavailableError("no message came through");
  return absl::OkStatus();
}

}  // namespace

void AddEndToEndCommand(CLI::App& app, Invocation& invocation) {
  auto options = std::make_shared<EndToEndOptions>();
  CLI::App* command = app.add_subcommand("end-to-end", "Send, receive and acknowledge: rates, and latency from the send to the listener");
  AddLoadOptions(command, *options);
  command->add_option("--group", options->group, "Consumer group; without it a new one is made");
  command->add_option("--receives", options->receives, "ReceiveMessage streams kept open")->check(CLI::Range(1, 10000))->capture_default_str();
  command->add_option("--receive-batch", options->receive_batch, "Messages asked for by one of them")->check(CLI::Range(1, 32))->capture_default_str();
  command->add_option("--max-ahead", options->max_ahead, "Without --rate: senders wait when so many messages are not yet received; 0: never")
      ->capture_default_str();
  command->callback([options, &invocation] { invocation.run = [options](Report& report) { return RunEndToEnd(*options, report); }; });
}

}  // namespace fulmar::bench
