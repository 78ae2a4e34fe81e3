#include "tools/bench/receiver.h"

#include "absl/strings/str_cat.h"
#include "tools/bench/process.h"

namespace fulmar::bench {
namespace {

constexpr absl::Duration kAckTimeout = absl::Seconds(20);
constexpr absl::Duration kPauseAfterFailure = absl::Milliseconds(5);

}  // namespace

// Deletes itself.
class Receiver::Ack final : public UnaryCall {
 public:
  Ack(Receiver& receiver, int connection, const v2::AckMessageRequest& request)
      : receiver_(receiver), messages_(static_cast<uint64_t>(request.entries_size())) {
    Start(receiver_.engine_, connection, "AckMessage", ToBuffer(request.SerializeAsString()), kAckTimeout);
  }

 private:
  void Done(const grpc::Status& status, grpc::ByteBuffer& answer) override {
    v2::AckMessageResponse response;
    if (!status.ok()) {
      ++receiver_.counts_.failures[absl::StrCat("AckMessage: gRPC ", status.error_code(), " ", status.error_message())];
    } else if (!Parse(answer, response) || response.status().code() != v2::OK) {
      ++receiver_.counts_.failures[absl::StrCat("AckMessage: ", v2::Code_Name(response.status().code()))];
    } else if (receiver_.measuring_) {
      receiver_.counts_.acknowledged += messages_;
    }
    receiver_.Ended();
    delete this;
  }

  Receiver& receiver_;
  const uint64_t messages_;
};

class Receiver::Stream final : public StreamCall {
 public:
  Stream(Receiver& receiver, int connection) : receiver_(receiver), connection_(connection) {}

  void Open() {
    ++receiver_.open_;
    is_open_ = true;
    Start(receiver_.engine_, connection_, "ReceiveMessage", receiver_.request_);
  }
  void CancelIfOpen() {
    if (is_open_) Cancel();
  }

 private:
  void Answer(grpc::ByteBuffer& answer) override {
    v2::ReceiveMessageResponse& response = receiver_.response_;
    if (!Parse(answer, response)) {
      ++receiver_.counts_.failures["ReceiveMessage: an answer that cannot be read"];
      return;
    }
    if (response.has_status()) {
      const v2::Code code = response.status().code();
      if (code != v2::OK && code != v2::MESSAGE_NOT_FOUND) Failed(v2::Code_Name(code));
      return;
    }
    if (!response.has_message()) return;
    const v2::SystemProperties& system = response.message().system_properties();
    if (receiver_.measuring_) {
      ++receiver_.counts_.received;
      if (system.delivery_attempt() > 1) ++receiver_.counts_.redelivered;
      if (const std::optional<absl::Duration> stamp = StampOf(response.message().body())) receiver_.counts_.latency.Add(Now() - *stamp);
    }
    ++receiver_.total_received_;
    ++received_;
    if (!receiver_.options_.acknowledge) return;
    v2::AckMessageEntry* entry = ack_.add_entries();
    entry->set_message_id(system.message_id());
    entry->set_receipt_handle(system.receipt_handle());
  }

  void Done(const grpc::Status& status) override {
    is_open_ = false;
    --receiver_.open_;
    const bool stopping = receiver_.stopping_;
    if (!status.ok() && !stopping) Failed(absl::StrCat("gRPC ", status.error_code(), " ", status.error_message()));
    if (ack_.entries_size() > 0) {
      ack_.mutable_group()->set_name(receiver_.options_.group);
      ack_.mutable_topic()->set_name(receiver_.options_.topic);
      {
        absl::MutexLock lock(&receiver_.mutex_);
        ++receiver_.busy_;
      }
      new Ack(receiver_, connection_, ack_);
      ack_.clear_entries();
    }
    const int64_t received = received_;
    received_ = 0;
    if (receiver_.options_.again && !stopping) {
      Open();
    } else {
      receiver_.Ended();
    }
    if (received > 0 && receiver_.listener_) receiver_.listener_(received);
  }

  void Failed(const std::string& reason) {
    ++receiver_.counts_.failures[absl::StrCat("ReceiveMessage: ", reason)];
    SleepUntil(Now() + kPauseAfterFailure);
  }

  Receiver& receiver_;
  const int connection_;
  bool is_open_ = false;
  int64_t received_ = 0;
  v2::AckMessageRequest ack_;
};

Receiver::Receiver(Engine& engine, ReceiveOptions options)
    : engine_(engine),
      options_(std::move(options)),
      request_(ToBuffer(ReceiveRequest(options_.topic, options_.group, options_.batch, options_.wait, options_.invisible).SerializeAsString())) {
  for (int i = 0; i < options_.receives; ++i) streams_.push_back(std::make_unique<Stream>(*this, i));
}

Receiver::~Receiver() { Stop(); }

void Receiver::Begin() {
  {
    absl::MutexLock lock(&mutex_);
    busy_ += options_.receives;
  }
  engine_.Post([this] {
    for (const auto& stream : streams_) stream->Open();
  });
}

void Receiver::BeginMeasuring() { measuring_ = true; }

void Receiver::EndMeasuring() { measuring_ = false; }

void Receiver::Ended() {
  absl::MutexLock lock(&mutex_);
  --busy_;
}

void Receiver::Stop() {
  if (!stopping_.exchange(true)) {
    engine_.Post([this] {
      for (const auto& stream : streams_) stream->CancelIfOpen();
    });
  }
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(+[](int* busy) { return *busy == 0; }, &busy_));
}

}  // namespace fulmar::bench
