#include "services/log/log_test_node.h"

#include "absl/strings/str_cat.h"
#include "services/common/status.h"

namespace fulmar::log {
namespace {

// Longer than anything a test waits for takes on a disk without a latency hook.
constexpr absl::Duration kPatience = absl::Seconds(30);

}  // namespace

void RecordingMachine::Apply(const AppliedEntry& entry) {
  FULMAR_CHECK(!applying);
  applying = true;
  FULMAR_CHECK(applied.index.value == 0 || entry.index.value == applied.index.value + 1);
  for (const AppliedRecord& record : entry.records)
    records.push_back({entry.index, record.type, record.position, std::string(record.body.view()), entry.time});
  applied = {entry.index, entry.term, entry.end};
  applying = false;
}

std::vector<std::string> RecordingMachine::Bodies() const {
  std::vector<std::string> bodies;
  for (const Record& record : records) bodies.push_back(record.body);
  return bodies;
}

LogNode::LogNode(common::Files& files, sim::SimScheduler& scheduler, common::Random& random, LogOptions options,
                 LogTransport* transport)
    : files_(files),
      scheduler_(scheduler),
      random_(random),
      options_(std::move(options)),
      transport_(transport),
      shard_(std::make_unique<sim::SimExecutor>(scheduler, "shard")),
      writer_(std::make_unique<sim::SimExecutor>(scheduler, "writer")),
      reader_(std::make_unique<sim::SimExecutor>(scheduler, "reader")) {}

LogNode::~LogNode() { Crash(); }

absl::Status LogNode::Open(AppliedPoint applied) {
  machine.applied = applied;
  absl::StatusOr<std::unique_ptr<ReplicatedLog>> log = ReplicatedLog::Open(
      options_, {files_, scheduler_.clock(), random_, *shard_, *writer_, *reader_, nullptr, transport_}, machine, applied);
  if (!log.ok()) return log.status();
  log_ = *std::move(log);
  return absl::OkStatus();
}

absl::Status LogNode::OpenAndLead(AppliedPoint applied) {
  FULMAR_RETURN_IF_ERROR(Open(applied));
  shard_->Invoke([this] { log_->Start(); });
  scheduler_.RunUntil([this] { return !machine.terms_led.empty() || !machine.faults.empty(); }, kPatience);
  if (!machine.faults.empty()) return machine.faults.front();
  return machine.terms_led.empty() ? absl::DeadlineExceededError("the log does not lead") : absl::OkStatus();
}

void LogNode::Crash() {
  for (sim::SimExecutor* executor : {shard_.get(), writer_.get(), reader_.get()}) executor->Stop();
  log_.reset();
}

void LogNode::StopAndClose() {
  bool stopped = false;
  shard_->Invoke([&] { log_->Stop([&] { stopped = true; }); });
  FULMAR_CHECK(scheduler_.RunUntil([&] { return stopped; }, kPatience));
  Crash();
}

std::shared_ptr<Outcome> LogNode::Append(std::string body, Durability durability, AppendClass append_class) {
  auto outcome = std::make_shared<Outcome>();
  shard_->Invoke([&] {
    log_->Append(RecordType::kMessage, std::move(body), durability, append_class,
                 [outcome, this](absl::StatusOr<RecordPlace> result) {
                   FULMAR_CHECK(!outcome->result.has_value(), "answered twice");
                   FULMAR_CHECK(!machine.applying, "answered inside Apply");
                   outcome->result = std::move(result);
                   outcome->applied_records = machine.records.size();
                 });
    FULMAR_CHECK(!outcome->result.has_value(), "answered inside Append");
  });
  return outcome;
}

absl::StatusOr<RecordPlace> LogNode::AppendAndWait(std::string body, Durability durability, AppendClass append_class) {
  const std::shared_ptr<Outcome> outcome = Append(std::move(body), durability, append_class);
  if (!scheduler_.RunUntil([&] { return outcome->result.has_value(); }, kPatience))
    return absl::DeadlineExceededError("no answer");
  return *outcome->result;
}

absl::StatusOr<std::string> LogNode::Read(LogPosition position, uint32_t length) {
  std::optional<absl::StatusOr<common::SharedBytes>> result;
  shard_->Invoke([&] {
    log_->Read(position, length, [&](absl::StatusOr<common::SharedBytes> bytes) { result = std::move(bytes); });
  });
  if (!scheduler_.RunUntil([&] { return result.has_value(); }, kPatience)) return absl::DeadlineExceededError("no answer");
  if (!result->ok()) return result->status();
  return std::string((*result)->view());
}

LogStats LogNode::Stats() {
  return shard_->Invoke([this] { return log_->Stats(); });
}
std::vector<SegmentInfo> LogNode::Segments() {
  return shard_->Invoke([this] { return log_->Segments(); });
}
void LogNode::RemoveSegmentsBelow(LogPosition position) {
  shard_->Invoke([&] { log_->RemoveSegmentsBelow(position); });
}
absl::Status LogNode::CanAppend(uint64_t bytes, AppendClass append_class) {
  return shard_->Invoke([&] { return log_->CanAppend(bytes, append_class); });
}

LogOptions SmallLog() {
  LogOptions options;
  options.dir = "/log";
  options.shard_name = "shard-0";
  options.segment_bytes = 16 << 10;
  options.cache_bytes = 8 << 10;
  return options;
}

std::string BodyOf(int number, size_t size) {
  std::string body = absl::StrCat("record-", number, ":");
  while (body.size() < size) body.push_back(static_cast<char>('a' + (body.size() * 7 + static_cast<size_t>(number)) % 26));
  return body;
}

}  // namespace fulmar::log
