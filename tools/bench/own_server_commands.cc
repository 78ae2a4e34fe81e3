#include <algorithm>
#include <filesystem>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "apache/rocketmq/v2/service.grpc.pb.h"
#include "tools/bench/commands.h"
#include "tools/bench/process.h"
#include "tools/bench/sender.h"

namespace fulmar::bench {
namespace {

constexpr absl::Duration kStartTimeout = absl::Minutes(2);

struct OwnServerOptions {
  std::string binary;
  std::string parent = "/tmp";
  std::vector<std::string> server_arguments;
};

void AddOwnServerOptions(CLI::App* command, OwnServerOptions& options) {
  // Beside this program, as every build leaves it.
  std::error_code ignored;
  options.binary = (std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() / "fulmar").string();
  command->add_option("--server", options.binary, "The executable `fulmar`")->check(CLI::ExistingFile)->capture_default_str();
  command->add_option("--dir", options.parent, "Where to put the data folder; on the disk to be measured")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  command->add_option("--server-argument", options.server_arguments, "One more argument of `fulmar standalone` (may be repeated)")
      ->allow_extra_args(false);
}

bool Serves(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(1)));
  context.set_wait_for_ready(true);
  grpc::ByteBuffer answer;
  grpc::Status status;
  const auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", ToBuffer(""), &queue);
  call->StartCall();
  call->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  grpc::Slice bytes;
  const bool serving = status.ok() && answer.DumpToSingleSlice(&bytes).ok() && bytes.size() == 2 && bytes.begin()[1] == 1;  // {1: SERVING}
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  return serving;
}

bool SendOne(const std::shared_ptr<grpc::Channel>& channel, const std::string& topic) {
  const auto stub = v2::MessagingService::NewStub(channel);
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(10)));
  context.set_wait_for_ready(true);
  context.AddMetadata("x-mq-client-id", "localhost@fulmar-bench@probe");
  v2::SendMessageRequest request;
  grpc::ByteBuffer bytes = SendTemplate(topic, 1, 1024).Next(Now());
  v2::SendMessageResponse response;
  return Parse(bytes, request) && stub->SendMessage(&context, request, &response).ok() && response.status().code() == v2::OK;
}

// Starts the server; the times from there until it listens, reports SERVING, and has acknowledged a send.
struct StartTimes {
  absl::Duration listening, serving, acknowledged;
};

absl::StatusOr<StartTimes> TimeStart(ServerProcess& server, const std::string& topic) {
  const absl::Duration begin = Now();
  if (absl::Status started = server.Start(); !started.ok()) return started;
  if (absl::Status listening = server.WaitListening(kStartTimeout); !listening.ok()) return listening;
  StartTimes times;
  times.listening = Now() - begin;
  const std::shared_ptr<grpc::Channel> channel = NewChannel(server.endpoint());
  const auto until = [&](const std::function<bool()>& done) {
    while (!done()) {
      if (!server.IsAlive() || Now() - begin > kStartTimeout) return false;
      SleepUntil(Now() + absl::Milliseconds(1));
    }
    return true;
  };
  if (!until([&] { return Serves(channel); })) return absl::AbortedError(absl::StrCat("the server does not serve, see ", server.log_path()));
  times.serving = Now() - begin;
  if (!until([&] { return SendOne(channel, topic); })) return absl::AbortedError(absl::StrCat("the server takes no message, see ", server.log_path()));
  times.acknowledged = Now() - begin;
  return times;
}

// The library's own start must not count.
void WarmUpGrpc() { NewChannel("127.0.0.1:1")->GetState(false); }

absl::Duration Median(std::vector<absl::Duration> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct StartOptions : OwnServerOptions {
  int runs = 5;
  absl::Duration idle = absl::Seconds(5);
};

absl::Status RunStart(const StartOptions& options, Report& report) {
  WarmUpGrpc();
  std::vector<absl::Duration> listening, serving, acknowledged;
  for (int i = 0; i < options.runs; ++i) {
    TempDir dir(options.parent);
    ServerProcess server(options.binary, dir.path(), options.server_arguments);
    absl::StatusOr<StartTimes> times = TimeStart(server, "bench-start");
    if (!times.ok()) return times.status();
    listening.push_back(times->listening);
    serving.push_back(times->serving);
    acknowledged.push_back(times->acknowledged);
    if (i + 1 < options.runs) continue;
    SleepUntil(Now() + absl::Seconds(2));
    ServerMeter idle(server.pid());
    if (absl::Status status = idle.Begin(); !status.ok()) return status;
    SleepUntil(Now() + options.idle);
    if (absl::Status status = idle.End(); !status.ok()) return status;
    report.Number("runs", "runs", options.runs, 0);
    report.Time("listening_ms", "until it listens, median", Median(listening));
    report.Time("serving_ms", "until it serves, median", Median(serving));
    report.Time("serving_max_ms", "until it serves, longest", *std::max_element(serving.begin(), serving.end()));
    report.Time("first_send_ms", "until a send is acknowledged, median", Median(acknowledged));
    idle.Add(report, 0);
  }
  return absl::OkStatus();
}

struct RecoveryOptions : OwnServerOptions {
  double gigabytes = 1;
  int body_bytes = 1024;
  int batch = 32;
  int in_flight = 16;
  int queues = 4;
  int runs = 3;
};

absl::Status RunRecovery(const RecoveryOptions& options, Report& report) {
  WarmUpGrpc();
  TempDir dir(options.parent);
  ServerProcess server(options.binary, dir.path(), options.server_arguments);
  LoadOptions load;
  load.topic = "bench-recovery";
  load.queues = options.queues;
  if (absl::StatusOr<StartTimes> times = TimeStart(server, "bench-start"); !times.ok()) return times.status();
  std::vector<absl::Duration> serving, acknowledged;
  uint64_t messages = 0;
  absl::Duration filling;
  for (int i = 0; i < options.runs; ++i) {
    // Filled in equal parts, so that each kill hits a server that has just written.
    const double target = options.gigabytes * 1e9 * (i + 1) / options.runs;
    {
      load.endpoint = server.endpoint();
      Engine engine(load.endpoint, 2);
      if (absl::Status ready = PrepareNames(engine, load, ""); !ready.ok()) return ready;
      engine.Run();
      Sender sender(engine, {.topic = load.topic, .in_flight = options.in_flight, .batch = options.batch, .body_bytes = options.body_bytes});
      const absl::Duration begin = Now();
      sender.BeginMeasuring();
      sender.Begin();
      const uint64_t before = messages;
      // counts() belongs to the engine's thread while it sends: ask there.
      while (static_cast<double>(messages) * options.body_bytes < target) {
        SleepUntil(Now() + absl::Milliseconds(50));
        if (sender.hopeless() || !server.IsAlive()) return absl::AbortedError(absl::StrCat("the server takes no messages, see ", server.log_path()));
        std::atomic<uint64_t> sent = 0;
        std::atomic<bool> answered = false;
        engine.Post([&] {
          sent = sender.counts().messages;
          answered = true;
        });
        while (!answered) SleepUntil(Now() + absl::Milliseconds(1));
        messages = before + sent;
      }
      filling += Now() - begin;
      server.Kill();  // under load
      sender.Stop();
      messages = before + sender.counts().messages;
    }
    absl::StatusOr<StartTimes> times = TimeStart(server, load.topic);
    if (!times.ok()) return times.status();
    serving.push_back(times->serving);
    acknowledged.push_back(times->acknowledged);
    std::cerr << "killed with " << static_cast<double>(messages) * options.body_bytes / 1e9 << " GB of bodies: first acknowledged send after "
              << absl::FormatDuration(times->acknowledged) << "\n";
  }
  report.Number("gigabytes", "bodies in the log", static_cast<double>(messages) * options.body_bytes / 1e9, 2, "GB");
  report.Number("fill_mb_per_second", "filled at", static_cast<double>(messages) * options.body_bytes / 1e6 / absl::ToDoubleSeconds(filling), 0, "MB/s");
  report.Number("runs", "kills, the log growing", options.runs, 0);
  report.Time("serving_ms", "until it serves, last kill", serving.back());
  report.Time("first_send_ms", "until a send is acknowledged, last kill", acknowledged.back());
  report.Time("first_send_max_ms", "until a send is acknowledged, longest", *std::max_element(acknowledged.begin(), acknowledged.end()));
  ServerMeter after(server.pid());
  if (absl::Status status = after.Begin(); !status.ok()) return status;
  SleepUntil(Now() + absl::Seconds(1));
  if (absl::Status status = after.End(); !status.ok()) return status;
  report.Bytes("server_resident_bytes", "server memory (RSS) after it", static_cast<double>(after.resident_bytes()));
  return absl::OkStatus();
}

}  // namespace

void AddStartCommand(CLI::App& app, Invocation& invocation) {
  auto options = std::make_shared<StartOptions>();
  CLI::App* command = app.add_subcommand("start", "Start a server of its own on an empty folder: time until it serves, memory, idle CPU");
  AddOwnServerOptions(command, *options);
  command->add_option("--runs", options->runs, "How often")->check(CLI::Range(1, 1000))->capture_default_str();
  AddDuration(command, "--idle", options->idle, "Idle time to measure after the last start");
  command->callback([options, &invocation] { invocation.run = [options](Report& report) { return RunStart(*options, report); }; });
}

void AddRecoveryCommand(CLI::App& app, Invocation& invocation) {
  auto options = std::make_shared<RecoveryOptions>();
  CLI::App* command = app.add_subcommand("recovery", "Fill a server of its own, kill -9 it under load, and time its restart until the first acknowledged send");
  AddOwnServerOptions(command, *options);
  command->add_option("--gigabytes", options->gigabytes, "Bodies in the log at the last kill (10^9 bytes)")->check(CLI::PositiveNumber)->capture_default_str();
  command->add_option("--body-bytes", options->body_bytes, "Size of a body")->check(CLI::Range(kStampBytes, 4 << 20))->capture_default_str();
  command->add_option("--queues", options->queues, "Queues of the topic")->check(CLI::Range(1, 1000000))->capture_default_str();
  command->add_option("--runs", options->runs, "Kills, each after an equal part")->check(CLI::Range(1, 100))->capture_default_str();
  command->callback([options, &invocation] { invocation.run = [options](Report& report) { return RunRecovery(*options, report); }; });
}

}  // namespace fulmar::bench
