#include "services/broker/data_plane.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/broker/wire_replies.h"
#include "services/common/errors.h"
#include "services/common/status.h"

namespace fulmar::broker {
namespace {

constexpr absl::Duration kAnswerMargin = absl::Milliseconds(500);    // kept for the way back
constexpr absl::Duration kUnaskedMargin = absl::Milliseconds(1500);  // the same, where the client named no time and measures by its deadline
constexpr absl::Duration kUnaskedWait = absl::Seconds(20);
constexpr absl::Duration kPushMinimum = absl::Seconds(1);
constexpr int32_t kSqlFilter = 2;  // v2 FilterType
constexpr int kMessageNotFound = 40401;

absl::Duration ToDuration(const wire::TimeView& time) { return absl::Seconds(time.seconds) + absl::Nanoseconds(time.nanos); }

ClientRef ToClient(const v2edge::CallInfo& call) {
  return {.client_id = std::string(call.client_id), .slow_heartbeat = call.slow_heartbeat()};
}

std::string WholeName(const wire::ResourceView& resource, const v2edge::CallInfo& call) {
  return v2edge::WholeName(v2edge::EffectiveNamespace(resource.name_space, call.name_space), resource.name);
}

absl::Status CheckClient(const v2edge::CallInfo& call) {
  return call.client_id.empty() ? errors::ClientIdRequired("the header x-mq-client-id is missing") : absl::OkStatus();
}

absl::StatusOr<ReceiveCommand> ToReceiveCommand(const wire::ReceiveRequest& request, const v2edge::CallInfo& call, const DataPlaneOptions& options,
                                                FilterCache& filters) {
  FULMAR_RETURN_IF_ERROR(CheckClient(call));
  ReceiveCommand command;
  command.client = ToClient(call);
  command.topic = WholeName(request.topic, call);
  command.group = WholeName(request.group, call);
  FULMAR_RETURN_IF_ERROR(index::CheckTopicName(command.topic));
  FULMAR_RETURN_IF_ERROR(index::CheckGroupName(command.group));
  FULMAR_ASSIGN_OR_RETURN(command.filter, filters.Get(request.filter_type == kSqlFilter ? FilterKind::kSql : FilterKind::kTag, request.filter));
  command.max_messages = std::max(1, request.batch_size);
  command.auto_renew = request.auto_renew;
  command.invisible_duration = ToDuration(request.invisible_duration.value_or(wire::TimeView{}));
  std::optional<absl::Duration> asked;
  if (request.long_polling_timeout.has_value()) asked = ToDuration(*request.long_polling_timeout);
  command.wait = PollTime(asked, call.remaining, request.auto_renew, options.max_wait);
  command.attempt_id = std::string(request.attempt_id.value_or(""));
  return command;
}

absl::StatusOr<AckCommand> ToAckCommand(const wire::AckRequest& request, const v2edge::CallInfo& call) {
  FULMAR_RETURN_IF_ERROR(CheckClient(call));
  AckCommand command;
  command.client = ToClient(call);
  command.topic = WholeName(request.topic, call);
  command.group = WholeName(request.group, call);
  FULMAR_RETURN_IF_ERROR(index::CheckTopicName(command.topic));
  FULMAR_RETURN_IF_ERROR(index::CheckGroupName(command.group));
  if (request.entries.empty()) return errors::BadRequest("there is nothing to acknowledge");
  return command;
}

std::vector<AckEntry> ToEntries(const wire::AckRequest& request) {
  std::vector<AckEntry> entries;
  entries.reserve(request.entries.size());
  for (const wire::AckEntryView& entry : request.entries)
    entries.push_back({.receipt_handle = std::string(entry.receipt_handle), .message_id = std::string(entry.message_id)});
  return entries;
}

absl::Status Malformed(std::string_view message) { return absl::InvalidArgumentError(absl::StrCat("the bytes are no ", message)); }

// The v2 code in field 1.1 of a response that we wrote ourselves.
int CodeIn(std::string_view response) {
  wire::Reader outer(response);
  if (!outer.Next() || !outer.Is(wire::WireType::kBytes)) return 0;
  wire::Reader inner(outer.bytes());
  return inner.Next() ? static_cast<int>(inner.varint()) : 0;
}

}  // namespace

absl::Duration PollTime(std::optional<absl::Duration> asked, absl::Duration remaining, bool push_consumer, absl::Duration max_wait) {
  absl::Duration wait;
  if (asked.has_value()) wait = *asked;
  else wait = remaining == absl::InfiniteDuration() ? kUnaskedWait : remaining - kUnaskedMargin;
  if (push_consumer) wait = std::max(wait, kPushMinimum);
  return std::max(absl::ZeroDuration(), std::min({wait, max_wait, remaining - kAnswerMargin}));
}

struct DataPlane::OpenReceive {
  std::unique_ptr<ReceiveStream> stream;  // null: cancelled
  ReceiveId parked = 0;
  common::Executor::TimerId error_timer = 0;
  absl::Status error;                     // what the timer will answer
  std::string group;
  DeliveryTarget target;
  absl::Duration started;                 // on the steady clock
  absl::Duration error_at;                // the same: no error is told before
};

DataPlane::DataPlane(DataPlaneOptions options, Shard& shard, common::Executor& loop, common::Clock& clock, v2edge::RpcMetrics& metrics)
    : options_(std::move(options)),
      shard_(shard),
      loop_(loop),
      clock_(clock),
      send_rpc_(metrics.Of("SendMessage")),
      ack_rpc_(metrics.Of("AckMessage")),
      receive_rpc_(metrics.Of("ReceiveMessage")) {}

DataPlane::~DataPlane() = default;

DataPlane::UnaryReply DataPlane::Measured(v2edge::RpcMetrics::Rpc& rpc, UnaryReply reply) {
  return [this, &rpc, started = clock_.Steady(), reply = std::move(reply)](absl::StatusOr<std::string> response) mutable {
    rpc.Record(response.ok() ? CodeIn(*response) : 0, clock_.Steady() - started);
    std::move(reply)(std::move(response));
  };
}

void DataPlane::Send(const v2edge::CallInfo& call, std::string_view request, UnaryReply reply) {
  reply = Measured(send_rpc_, std::move(reply));
  send_request_.Clear();
  if (!wire::ParseSendRequest(request, send_request_)) return std::move(reply)(Malformed("SendMessageRequest"));
  if (const absl::Status client = CheckClient(call); !client.ok()) return std::move(reply)(wire::EncodeStatus(client));
  absl::StatusOr<SendCommand> command = ToSendCommand(send_request_, call, options_.limits, digester_, clock_.Now());
  if (!command.ok()) return std::move(reply)(wire::EncodeStatus(command.status()));
  command->remaining = call.remaining;
  shard_.Send(*std::move(command), [this, reply = std::move(reply)](absl::StatusOr<std::vector<SendOutcome>> outcome) mutable {
    loop_.Post([reply = std::move(reply), outcome = std::move(outcome)]() mutable { std::move(reply)(wire::EncodeSendResponse(outcome)); });
  });
}

void DataPlane::Ack(const v2edge::CallInfo& call, std::string_view request, UnaryReply reply) {
  reply = Measured(ack_rpc_, std::move(reply));
  wire::AckRequest ack;
  if (!wire::ParseAckRequest(request, ack)) return std::move(reply)(Malformed("AckMessageRequest"));
  std::vector<AckEntry> entries = ToEntries(ack);
  absl::StatusOr<AckCommand> command = ToAckCommand(ack, call);
  if (!command.ok()) return std::move(reply)(wire::EncodeAckResponse(entries, command.status()));
  command->entries = entries;
  shard_.Ack(*std::move(command), [this, entries = std::move(entries), reply = std::move(reply)](absl::StatusOr<std::vector<absl::Status>> outcome) mutable {
    loop_.Post([entries = std::move(entries), reply = std::move(reply), outcome = std::move(outcome)]() mutable {
      std::move(reply)(wire::EncodeAckResponse(entries, outcome));
    });
  });
}

DataPlane::ReceiveCall DataPlane::Receive(const v2edge::CallInfo& call, std::string_view request, std::unique_ptr<ReceiveStream> stream) {
  wire::ReceiveRequest receive;
  if (!wire::ParseReceiveRequest(request, receive)) {
    receive_rpc_.Record(0, absl::ZeroDuration());
    stream->Fail(Malformed("ReceiveMessageRequest"));
    return 0;
  }
  auto open = std::make_unique<OpenReceive>();
  open->stream = std::move(stream);
  open->started = clock_.Steady();
  open->error_at = open->started + std::min(options_.error_delay, call.remaining - kAnswerMargin);
  if (receives_.size() >= options_.max_open_receives) {
    Finish(std::move(open), errors::TooManyRequests(absl::StrCat(receives_.size(), " receives are open, no more are taken")));
    return 0;
  }

  const ReceiveCall id = ++last_receive_;
  OpenReceive& entry = *(receives_[id] = std::move(open));
  absl::StatusOr<ReceiveCommand> command = ToReceiveCommand(receive, call, options_, filters_);
  if (!command.ok()) {
    OnReceived(id, command.status());
    return receives_.contains(id) ? id : 0;
  }
  entry.group = command->group;
  entry.target = {.name_space = std::string(v2edge::EffectiveNamespace(receive.topic.name_space, call.name_space)),
                  .topic = std::string(receive.topic.name),
                  .store_host = options_.store_host};
  entry.parked = shard_.Receive(*std::move(command), [this, id](absl::StatusOr<std::vector<Delivered>> messages) mutable {
    loop_.Post([this, id, messages = std::move(messages)]() mutable { OnReceived(id, std::move(messages)); });
  });
  return id;
}

void DataPlane::CancelReceive(ReceiveCall call) {
  const auto found = receives_.find(call);
  if (found == receives_.end() || found->second->stream == nullptr) return;
  OpenReceive& open = *found->second;
  open.stream.reset();
  receive_rpc_.Record(0, clock_.Steady() - open.started);
  if (open.error_timer != 0) {  // only its error was still to be told
    loop_.Cancel(open.error_timer);
    receives_.erase(found);
    return;
  }
  shard_.CancelReceive(open.parked);  // its answer removes the entry
}

void DataPlane::OnReceived(ReceiveCall call, absl::StatusOr<std::vector<Delivered>> messages) {
  const auto found = receives_.find(call);
  FULMAR_CHECK(found != receives_.end(), "a receive was answered twice");
  OpenReceive& open = *found->second;
  if (open.stream == nullptr) {
    if (messages.ok()) Return(std::move(open.group), *messages, 0);
    receives_.erase(found);
    return;
  }
  const absl::Duration early = open.error_at - clock_.Steady();
  if (!messages.ok() && V2CodeOf(messages.status()) != kMessageNotFound && !stopping_ && early > absl::ZeroDuration()) {
    open.error = messages.status();
    open.error_timer = loop_.After(early, [this, call] {
      const auto late = receives_.find(call);
      std::unique_ptr<OpenReceive> failed = std::move(late->second);
      receives_.erase(late);
      absl::Status error = std::move(failed->error);
      Finish(std::move(failed), std::move(error));
    });
    return;
  }
  std::unique_ptr<OpenReceive> receive = std::move(found->second);
  receives_.erase(found);
  Finish(std::move(receive), std::move(messages));
}

void DataPlane::Finish(std::unique_ptr<OpenReceive> receive, absl::StatusOr<std::vector<Delivered>> messages) {
  if (messages.ok() && messages->empty()) messages = errors::MessageNotFound("no message came in time");
  receive_rpc_.Record(V2CodeOf(messages.status()), clock_.Steady() - receive->started);
  if (messages.ok()) ReplyMessages(*receive, *std::move(messages));
  else ReplyStatus(*receive->stream, messages.status());
}

void DataPlane::ReplyMessages(OpenReceive& receive, std::vector<Delivered> messages) {
  std::vector<OutBytes> parts;
  parts.reserve(messages.size() + 2);
  parts.push_back({.head = wire::EncodeStatus(absl::OkStatus()), .body = {}});
  for (const Delivered& message : messages) {
    const absl::StatusOr<MessageView> view = ParseMessageRecord(message.record.view());
    FULMAR_CHECK(view.ok(), std::string(view.status().message()));  // the shard has checked it
    parts.push_back(EncodeDelivery(2, *view, message, receive.target));
  }
  parts.push_back({.head = wire::EncodeDeliveryTime(clock_.Now()), .body = {}});
  receive.stream->Reply(std::move(parts), [this, group = std::move(receive.group), messages = std::move(messages)](size_t taken) mutable {
    if (taken <= messages.size()) Return(std::move(group), messages, taken == 0 ? 0 : taken - 1);  // part 0 is the status
  });
}

void DataPlane::ReplyStatus(ReceiveStream& stream, const absl::Status& status) {
  std::vector<OutBytes> parts;
  parts.push_back({.head = wire::EncodeStatus(status), .body = {}});
  parts.push_back({.head = wire::EncodeDeliveryTime(clock_.Now()), .body = {}});
  stream.Reply(std::move(parts), [](size_t) {});
}

void DataPlane::Return(std::string group, const std::vector<Delivered>& messages, size_t first) {
  std::vector<std::string> handles;
  for (size_t i = first; i < messages.size(); ++i) handles.push_back(messages[i].receipt_handle);
  if (!handles.empty()) shard_.ReturnUndelivered(std::move(group), std::move(handles));
}

void DataPlane::Stop() {
  stopping_ = true;
  for (auto it = receives_.begin(); it != receives_.end();) {
    OpenReceive& open = *it->second;
    if (open.error_timer == 0) {
      ++it;
      continue;
    }
    loop_.Cancel(open.error_timer);
    ReplyStatus(*open.stream, open.error);
    it = receives_.erase(it);
  }
}

}  // namespace fulmar::broker
