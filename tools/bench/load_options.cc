#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "fulmar/admin/v1/admin.grpc.pb.h"
#include "tools/bench/commands.h"
#include "tools/bench/messages.h"
#include "tools/bench/process.h"

namespace fulmar::bench {
namespace {

absl::Status Unless(bool good, const std::string& what, const grpc::Status& status) {
  if (good) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), absl::StrCat("cannot make ", what, ": ", status.error_message()));
}

}  // namespace

void AddDuration(CLI::App* command, const std::string& name, absl::Duration& value, const std::string& help) {
  command
      ->add_option_function<std::string>(
          name,
          [&value, name](const std::string& text) {
            if (!absl::ParseDuration(text, &value) || value < absl::ZeroDuration()) {
              throw CLI::ValidationError(name, "'" + text + "' is not a duration such as 500ms, 10s or 1m");
            }
          },
          help)
      ->type_name("DURATION")
      ->default_str(absl::FormatDuration(value));
}

void AddServerOptions(CLI::App* command, LoadOptions& options) {
  command->add_option("-e,--endpoint", options.endpoint, "The server, HOST:PORT")->envname("FULMAR_ENDPOINT")->capture_default_str();
  command->add_option("--server-pid", options.server_pid, "Its process, to measure CPU and memory; 0: do not")->capture_default_str();
}

void AddLoadOptions(CLI::App* command, LoadOptions& options) {
  AddServerOptions(command, options);
  command->add_option("--connections", options.connections, "TCP connections")->check(CLI::Range(1, 1000))->capture_default_str();
  command->add_option("--in-flight", options.in_flight, "SendMessage calls under way, over all connections")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("--batch", options.batch, "Messages in one SendMessage")->check(CLI::Range(1, 10000))->capture_default_str();
  command->add_option("--body-bytes", options.body_bytes, "Size of a body")->check(CLI::Range(kStampBytes, 4 << 20))->capture_default_str();
  command->add_option("--rate", options.rate, "Messages per second, evenly spread (open loop); 0: as fast as answers come")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  AddDuration(command, "--warm-up", options.warm_up, "Load before measuring");
  AddDuration(command, "--duration", options.duration, "How long to measure");
  command->add_option("--topic", options.topic, "Topic; without it a new one is made");
  command->add_option("--queues", options.queues, "Queues of a new topic")->check(CLI::Range(1, 1000000))->capture_default_str();
  command->add_option("--durability", options.durability, "Durability of a new topic")
      ->check(CLI::IsMember({"sync", "async"}))
      ->capture_default_str();
}

absl::Status PrepareNames(Engine& engine, LoadOptions& options, const std::string& group) {
  if (!engine.WaitConnected(absl::Seconds(5))) return absl::UnavailableError(absl::StrCat("nothing answers at ", options.endpoint));
  if (options.topic.empty()) options.topic = absl::StrCat("bench-", absl::Hex(absl::ToUnixMillis(absl::Now())));
  const auto stub = admin::v1::AdminService::NewStub(engine.channel());
  {
    grpc::ClientContext context;
    admin::v1::CreateTopicRequest request;
    admin::v1::CreateTopicResponse response;
    request.mutable_topic()->set_name(options.topic);
    request.mutable_topic()->set_type(admin::v1::TOPIC_TYPE_NORMAL);
    request.mutable_topic()->set_queues(options.queues);
    request.mutable_topic()->set_durability(options.durability == "async" ? admin::v1::DURABILITY_ASYNC : admin::v1::DURABILITY_SYNC);
    const grpc::Status status = stub->CreateTopic(&context, request, &response);
    if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) return absl::OkStatus();
    if (absl::Status made = Unless(status.ok(), absl::StrCat("topic ", options.topic), status); !made.ok()) return made;
  }
  if (group.empty()) return absl::OkStatus();
  grpc::ClientContext context;
  admin::v1::CreateGroupRequest request;
  admin::v1::CreateGroupResponse response;
  request.mutable_group()->set_name(group);
  request.mutable_group()->set_order(admin::v1::DELIVERY_ORDER_CONCURRENT);
  request.mutable_group()->set_from(admin::v1::START_FROM_EARLIEST);
  const grpc::Status status = stub->CreateGroup(&context, request, &response);
  return Unless(status.ok(), absl::StrCat("group ", group), status);
}

absl::Status ServerMeter::Begin() {
  absl::StatusOr<absl::Duration> cpu = CpuTime(pid_);
  if (!cpu.ok()) return cpu.status();
  begin_cpu_ = *cpu;
  begin_ = Now();
  return absl::OkStatus();
}

absl::Status ServerMeter::End() {
  end_ = Now();
  absl::StatusOr<absl::Duration> cpu = CpuTime(pid_);
  if (!cpu.ok()) return cpu.status();
  end_cpu_ = *cpu;
  absl::StatusOr<uint64_t> resident = ResidentBytes(pid_);
  if (!resident.ok()) return resident.status();
  resident_ = *resident;
  return absl::OkStatus();
}

void ServerMeter::Add(Report& report, uint64_t messages) const {
  if (pid_ == 0) return;
  if (messages > 0) {
    report.Number("server_cpu_us_per_message", "server CPU per message", absl::ToDoubleMicroseconds(cpu()) / static_cast<double>(messages), 2, "µs");
  }
  report.Number("server_cpu_percent", "server CPU of one core", 100 * absl::FDivDuration(cpu(), wall()), 2, "%");
  report.Bytes("server_resident_bytes", "server memory (RSS)", static_cast<double>(resident_));
}

}  // namespace fulmar::bench
