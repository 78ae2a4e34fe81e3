#include "tests/torture/consumer.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace fulmar::torture {
namespace {

constexpr int kBatch = 32;
constexpr absl::Duration kWait = absl::Seconds(1);
constexpr absl::Duration kTimeout = absl::Seconds(5);
constexpr absl::Duration kSoon = absl::Seconds(1);   // what a failed listener asks for
constexpr double kFailChance = 0.02, kForgetChance = 0.01, kSlowChance = 0.02;
constexpr int kMaxFailedAttempts = 3;
// Of the invisible time: behind it an acknowledgement might meet the redelivery.
constexpr double kAckShare = 0.6;

}  // namespace

bool Consumer::Receive(std::vector<Held>& held) {
  v2::ReceiveMessageRequest request;
  request.mutable_group()->set_name(options_.group);
  request.mutable_message_queue()->mutable_topic()->set_name(options_.topic);
  request.mutable_filter_expression()->set_type(v2::TAG);
  request.mutable_filter_expression()->set_expression("*");
  request.set_batch_size(1 + static_cast<int>(random_() % kBatch));
  SetDuration(options_.invisible, request.mutable_invisible_duration());
  SetDuration(kWait, request.mutable_long_polling_timeout());
  grpc::ClientContext context;
  Prepare(context, absl::StrCat("localhost@torture@consumer@", options_.number), kWait + kTimeout);
  const int64_t start = NowNs();
  const auto stream = server_->ReceiveMessage(&context, request);
  v2::ReceiveMessageResponse response;
  bool good = true;
  while (stream->Read(&response)) {
    if (response.has_status() && response.status().code() != v2::OK && response.status().code() != v2::MESSAGE_NOT_FOUND) good = false;
    if (!response.has_message()) continue;
    const v2::Message& message = response.message();
    const v2::SystemProperties& system = message.system_properties();
    const int64_t number = history_.Delivered({.start_ns = start,
                                               .group = options_.group,
                                               .topic = message.topic().name(),
                                               .id = system.message_id(),
                                               .queue = system.queue_id(),
                                               .offset = system.queue_offset(),
                                               .attempt = system.delivery_attempt(),
                                               .sum = SumOf(message),
                                               .stored_ms = system.store_timestamp().seconds() * 1000 + system.store_timestamp().nanos() / 1'000'000,
                                               .invisible_ms = absl::ToInt64Milliseconds(options_.invisible)});
    held.push_back({.delivery = number,
                    .id = system.message_id(),
                    .handle = system.receipt_handle(),
                    .attempt = system.delivery_attempt(),
                    .give_up_ns = start + absl::ToInt64Nanoseconds(options_.invisible * kAckShare)});
  }
  return stream->Finish().ok() && good;
}

bool Consumer::Change(Held& held, absl::Duration invisible) {
  v2::ChangeInvisibleDurationRequest request;
  request.mutable_group()->set_name(options_.group);
  request.mutable_topic()->set_name(options_.topic);
  request.set_receipt_handle(held.handle);
  request.set_message_id(held.id);
  SetDuration(invisible, request.mutable_invisible_duration());
  v2::ChangeInvisibleDurationResponse response;
  grpc::ClientContext context;
  Prepare(context, absl::StrCat("localhost@torture@consumer@", options_.number), kTimeout);
  const int64_t start = NowNs();
  const grpc::Status status = server_->ChangeInvisibleDuration(&context, request, &response);
  const int code = CodeOf(status, response.status());
  history_.Changed(start, held.delivery, absl::ToInt64Milliseconds(invisible), code);
  if (code != v2::OK) return false;
  held.handle = response.receipt_handle();
  return true;
}

void Consumer::ChangeSome(std::vector<Held>& held) {
  std::vector<Held> keep;
  for (Held& one : held) {
    const double chance = Chance();
    if (one.attempt <= kMaxFailedAttempts && chance < kFailChance) {
      Change(one, kSoon);
    } else if (one.attempt <= kMaxFailedAttempts && chance < kFailChance + kForgetChance) {
      // Forgotten.
    } else if (chance < kFailChance + kForgetChance + kSlowChance) {
      // Whether a change without an answer took place is not known; with the old handle nothing is safe any more.
      if (Change(one, options_.invisible * 2)) keep.push_back(std::move(one));
    } else {
      keep.push_back(std::move(one));
    }
  }
  held = std::move(keep);
}

void Consumer::Acknowledge(std::vector<Held> held, const std::atomic<bool>& stop) {
  while (!held.empty() && !stop) {
    const int64_t now = NowNs();
    std::erase_if(held, [now](const Held& one) { return now > one.give_up_ns; });
    if (held.empty()) return;
    v2::AckMessageRequest request;
    request.mutable_group()->set_name(options_.group);
    request.mutable_topic()->set_name(options_.topic);
    for (const Held& one : held) {
      v2::AckMessageEntry* entry = request.add_entries();
      entry->set_message_id(one.id);
      entry->set_receipt_handle(one.handle);
    }
    v2::AckMessageResponse response;
    grpc::ClientContext context;
    Prepare(context, absl::StrCat("localhost@torture@consumer@", options_.number), absl::Seconds(1));
    const grpc::Status status = server_->AckMessage(&context, request, &response);
    std::vector<Held> again;
    for (size_t i = 0; i < held.size(); ++i) {
      const bool has_entry = status.ok() && static_cast<int>(i) < response.entries_size();
      const int code = has_entry ? response.entries(static_cast<int>(i)).status().code() : CodeOf(status, response.status());
      history_.Acknowledged(now, held[i].delivery, code);
      // Without an answer it may have been taken; then the message never comes again. If it does, nobody is surprised.
      if (code == v2::OK || code < 0) history_.Consumed(options_.group, held[i].id);
      if (code != v2::OK && code != v2::INVALID_RECEIPT_HANDLE) {
        again.push_back(std::move(held[i]));
      }
    }
    held = std::move(again);
    if (!held.empty()) server_.Recover();
  }
}

void Consumer::Run(const std::atomic<bool>& stop) {
  while (!stop) {
    std::vector<Held> held;
    const bool good = Receive(held);
    ChangeSome(held);
    Acknowledge(std::move(held), stop);
    if (!good) server_.Recover();
  }
}

}  // namespace fulmar::torture
