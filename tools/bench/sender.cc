#include "tools/bench/sender.h"

#include "absl/strings/str_cat.h"
#include "tools/bench/process.h"

namespace fulmar::bench {
namespace {

constexpr absl::Duration kSendTimeout = absl::Seconds(20);
// Refusals come back quickly; without a pause they would take the whole machine.
constexpr absl::Duration kPauseAfterRefusal = absl::Milliseconds(1);

}  // namespace

class Sender::Slot final : public UnaryCall {
 public:
  Slot(Sender& sender, int connection) : sender_(sender), connection_(connection) {}

  void Send(const grpc::ByteBuffer& request, absl::Duration since) {
    since_ = since;
    Start(sender_.engine_, connection_, "SendMessage", request, kSendTimeout);
  }

 private:
  void Done(const grpc::Status& status, grpc::ByteBuffer& answer) override { sender_.OnAnswer(this, since_, status, answer); }

  Sender& sender_;
  const int connection_;
  absl::Duration since_;
};

Sender::Sender(Engine& engine, SendOptions options)
    : engine_(engine), options_(std::move(options)), template_(options_.topic, options_.batch, options_.body_bytes) {
  for (int i = 0; i < options_.in_flight; ++i) slots_.push_back(std::make_unique<Slot>(*this, i));
}

Sender::~Sender() { Stop(); }

bool Sender::TakeDue(Slot* slot, absl::Duration& due) {
  const bool too_far_ahead = options_.max_ahead > 0 && ahead_ >= options_.max_ahead;
  if (!stopping_ && !too_far_ahead && (options_.rate == 0 || !overdue_.empty())) {
    if (options_.rate > 0) {
      due = overdue_.front();
      overdue_.pop_front();
    }
    ahead_ += options_.batch;
    ++busy_;
    return true;
  }
  idle_.push_back(slot);
  return false;
}

void Sender::Begin() {
  for (const auto& slot : slots_) {
    grpc::ByteBuffer request;
    absl::Duration due = Now();
    {
      absl::MutexLock lock(&mutex_);
      if (!TakeDue(slot.get(), due)) continue;
      request = template_.Next(due);
    }
    slot->Send(request, due);
  }
  if (options_.rate > 0) pacer_ = std::thread([this] { PaceLoop(); });
}

void Sender::PaceLoop() {
  const absl::Duration step = absl::Seconds(options_.batch / options_.rate);
  for (absl::Duration due = Now() + step; !stopping_; due += step) {
    SleepUntil(due);
    Slot* slot = nullptr;
    grpc::ByteBuffer request;
    {
      absl::MutexLock lock(&mutex_);
      if (idle_.empty()) {
        overdue_.push_back(due);
        continue;
      }
      slot = idle_.back();
      idle_.pop_back();
      ++busy_;
      request = template_.Next(due);
    }
    slot->Send(request, due);
  }
}

void Sender::OnAnswer(Slot* slot, absl::Duration since, const grpc::Status& status, grpc::ByteBuffer& answer) {
  std::string refused;
  if (!status.ok()) {
    refused = absl::StrCat("gRPC ", status.error_code(), " ", status.error_message());
  } else if (!Parse(answer, response_)) {
    refused = "an answer that cannot be read";
  } else if (response_.status().code() != v2::OK) {
    refused = v2::Code_Name(response_.status().code());
  }
  const absl::Duration now = Now();
  if (measuring_ && refused.empty()) {
    counts_.latency.Add(now - since);
    counts_.messages += static_cast<uint64_t>(options_.batch);
  } else if (measuring_) {
    counts_.refused[refused] += static_cast<uint64_t>(options_.batch);
  }
  if (refused.empty()) {
    failures_in_a_row_ = 0;
  } else {
    ++failures_in_a_row_;
    SleepUntil(now + kPauseAfterRefusal);
  }

  grpc::ByteBuffer request;
  absl::Duration due = now;
  {
    absl::MutexLock lock(&mutex_);
    --busy_;
    if (!refused.empty()) ahead_ -= options_.batch;
    if (!TakeDue(slot, due)) return;
    request = template_.Next(due);
  }
  slot->Send(request, due);
}

void Sender::Consumed(int64_t messages) {
  if (options_.max_ahead == 0) return;
  std::vector<std::pair<Slot*, grpc::ByteBuffer>> ready;
  absl::Duration due = Now();
  {
    absl::MutexLock lock(&mutex_);
    ahead_ -= messages;
    while (!idle_.empty()) {
      Slot* slot = idle_.back();
      idle_.pop_back();
      if (!TakeDue(slot, due)) break;
      ready.emplace_back(slot, template_.Next(due));
    }
  }
  for (auto& [slot, request] : ready) slot->Send(request, due);
}

void Sender::BeginMeasuring() { measuring_ = true; }

void Sender::EndMeasuring() { measuring_ = false; }

void Sender::Stop() {
  stopping_ = true;
  if (pacer_.joinable()) pacer_.join();
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(+[](size_t* busy) { return *busy == 0; }, &busy_));
}

}  // namespace fulmar::bench
