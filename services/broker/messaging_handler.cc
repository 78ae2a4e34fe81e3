#include "services/broker/messaging_handler.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/broker/filter_cache.h"
#include "services/broker/message_convert.h"
#include "services/broker/pull_reply_handler.h"
#include "services/broker/route_convert.h"
#include "services/common/errors.h"
#include "services/common/status.h"
#include "services/v2/call_info_convert.h"
#include "services/v2/status_convert.h"

namespace fulmar::broker {
namespace {

using v2edge::CallInfo;
using v2edge::CallInfoOf;

std::string WholeName(const pb::Resource& resource, const CallInfo& call) {
  return v2edge::WholeName(v2edge::EffectiveNamespace(resource.resource_namespace(), call.name_space), resource.name());
}

ClientRef ToClient(const CallInfo& call) { return {.client_id = std::string(call.client_id), .slow_heartbeat = call.slow_heartbeat()}; }

absl::Status CheckClient(const CallInfo& call) {
  return call.client_id.empty() ? errors::ClientIdRequired("the header x-mq-client-id is missing") : absl::OkStatus();
}

// Client, topic and group in the order of the reference; `group` may be empty where the RPC works without.
absl::Status CheckNames(const CallInfo& call, const std::string& topic, const std::string& group, bool group_needed = true) {
  FULMAR_RETURN_IF_ERROR(CheckClient(call));
  FULMAR_RETURN_IF_ERROR(index::CheckTopicName(topic));
  return group.empty() && !group_needed ? absl::OkStatus() : index::CheckGroupName(group);
}

absl::StatusOr<Filter> ToFilter(FilterCache& filters, int32_t type, std::string_view expression) {
  return filters.Get(type == pb::SQL ? FilterKind::kSql : FilterKind::kTag, expression);
}

absl::Status CheckInvisible(absl::Duration duration, absl::Duration max) {
  if (duration < absl::ZeroDuration()) return errors::IllegalInvisibleTime("the invisibleTime is too small, it must not be negative");
  if (duration > max) return errors::IllegalInvisibleTime(absl::StrCat("the invisibleTime is too large, at most ", absl::FormatDuration(max), " is allowed"));
  return absl::OkStatus();
}

OffsetPolicy ToPolicy(pb::QueryOffsetPolicy policy) {
  switch (policy) {
    case pb::END: return OffsetPolicy::kEnd;
    case pb::TIMESTAMP: return OffsetPolicy::kTime;
    default: return OffsetPolicy::kBeginning;
  }
}

absl::StatusOr<PullCommand> ToPullCommand(const pb::PullMessageRequest& request, const CallInfo& call, absl::Duration max_wait, FilterCache& filters) {
  PullCommand command;
  command.client = ToClient(call);
  command.topic = WholeName(request.message_queue().topic(), call);
  command.group = WholeName(request.group(), call);
  FULMAR_RETURN_IF_ERROR(CheckNames(call, command.topic, command.group, false));
  if (request.offset() < 0) return errors::IllegalOffset(absl::StrCat("the offset ", request.offset(), " is negative"));
  FULMAR_ASSIGN_OR_RETURN(command.filter, ToFilter(filters, request.filter_expression().type(), request.filter_expression().expression()));
  command.queue = request.message_queue().id();
  command.offset = request.offset();
  command.max_messages = std::max(1, request.batch_size());
  std::optional<absl::Duration> asked;
  if (request.has_long_polling_timeout()) asked = v2edge::FromProto(request.long_polling_timeout());
  command.wait = PollTime(asked, call.remaining, /*push_consumer=*/false, max_wait);
  return command;
}

absl::Status NothingCame() { return errors::MessageNotFound("no message came in time"); }

PullReply::Part StatusPart(const absl::Status& status) {
  PullReply::Part part;
  v2edge::SetStatus(status, part.mutable_status());
  return part;
}

std::vector<PullReply::Part> ToParts(const absl::StatusOr<PullOutcome>& outcome, const DeliveryTarget& target) {
  if (!outcome.ok()) return {StatusPart(outcome.status())};
  std::vector<PullReply::Part> parts;
  parts.push_back(StatusPart(outcome->messages.empty() ? NothingCame() : absl::OkStatus()));
  for (const Delivered& message : outcome->messages) {
    const absl::StatusOr<MessageView> view = ParseMessageRecord(message.record.view());
    FULMAR_CHECK(view.ok(), std::string(view.status().message()));  // the shard has checked it
    FULMAR_CHECK(parts.emplace_back().ParseFromString(EncodeDelivery(PullReply::Part::kMessageFieldNumber, *view, message, target).Flat()));
  }
  parts.emplace_back().set_next_offset(outcome->next_offset);
  return parts;
}

}  // namespace

MessagingHandler::MessagingHandler(MessagingOptions options, Shard& shard, registry::RouteSource* routes, common::GrpcServer& server, common::Clock& clock,
                                   v2edge::RpcMetrics& metrics)
    : RpcService(kServiceName),
      options_(std::move(options)),
      shard_(shard),
      shard_routes_(options_.routes, shard),
      routes_(routes != nullptr ? *routes : shard_routes_),
      server_(server),
      clock_(clock),
      metrics_(metrics),
      data_plane_(options_.data_plane, shard, server.data_plane(), clock, metrics),
      hot_calls_{hot_methods_, data_plane_, server.data_plane()},
      telemetry_(options_.settings, *this) {
  AddUnary("QueryRoute", &MessagingHandler::QueryRoute);
  AddUnary("QueryAssignment", &MessagingHandler::QueryAssignment);
  AddUnary("Heartbeat", &MessagingHandler::Heartbeat);
  AddBidi("Telemetry", &MessagingHandler::Telemetry);
  AddUnary("NotifyClientTermination", &MessagingHandler::NotifyClientTermination);
  AddUnary("ChangeInvisibleDuration", &MessagingHandler::ChangeInvisibleDuration);
  AddUnary("ForwardMessageToDeadLetterQueue", &MessagingHandler::ForwardMessageToDeadLetterQueue);
  AddServerStream("PullMessage", &MessagingHandler::PullMessage);
  AddUnary("UpdateOffset", &MessagingHandler::UpdateOffset);
  AddUnary("GetOffset", &MessagingHandler::GetOffset);
  AddUnary("QueryOffset", &MessagingHandler::QueryOffset);
  AddUnary("EndTransaction", &MessagingHandler::EndTransaction);
  AddUnary("RecallMessage", &MessagingHandler::RecallMessage);
  AddUnary("SyncLiteSubscription", &MessagingHandler::SyncLiteSubscription);
  server.AddService(*this);
  server.AddRawMethods(hot_methods_);
}

MessagingHandler::~MessagingHandler() = default;

void MessagingHandler::Start() {
  server_.data_plane().Post([this] { hot_calls_.Start(options_.ready_calls); });
}

void MessagingHandler::Stop() {
  telemetry_.Stop();
  server_.data_plane().Post([this] { data_plane_.Stop(); });
}

void MessagingHandler::QueryRoute(common::UnaryCall* unary, const pb::QueryRouteRequest* request, pb::QueryRouteResponse* response) {
  const auto reply = ReplyTo(unary, response, "QueryRoute");
  const CallInfo call = CallInfoOf(unary->context());
  registry::RouteQuery query{.topic = WholeName(request->topic(), call), .requested = FromProto(request->endpoints())};
  absl::Status status = CheckClient(call);
  if (status.ok()) status = index::CheckTopicName(query.topic);
  if (!status.ok()) return reply.End(status);
  routes_.QueryRoute(std::move(query), [reply, topic = request->topic()](absl::StatusOr<registry::Route> route) {
    if (route.ok()) FillRoute(*route, topic, &*reply);
    reply.EndOnLoop(route.status());
  });
}

void MessagingHandler::QueryAssignment(common::UnaryCall* unary, const pb::QueryAssignmentRequest* request,
                                                            pb::QueryAssignmentResponse* response) {
  const auto reply = ReplyTo(unary, response, "QueryAssignment");
  const CallInfo call = CallInfoOf(unary->context());
  registry::AssignmentQuery query{
      .topic = WholeName(request->topic(), call), .group = WholeName(request->group(), call), .requested = FromProto(request->endpoints())};
  if (const absl::Status status = CheckNames(call, query.topic, query.group); !status.ok()) return reply.End(status);
  routes_.QueryAssignment(std::move(query), [reply, topic = request->topic()](absl::StatusOr<registry::Assignment> assignment) {
    if (assignment.ok()) FillAssignment(*assignment, topic, &*reply);
    reply.EndOnLoop(assignment.status());
  });
}

// A heartbeat may come before settings, or without any after a restart of the server: it stands for itself. Go's first one after a lost
// connection carries no metadata at all, not even a client id, and counts as a check of the connection.
void MessagingHandler::Heartbeat(common::UnaryCall* unary, const pb::HeartbeatRequest* request, pb::HeartbeatResponse* response) {
  const auto reply = ReplyTo(unary, response, "Heartbeat");
  const CallInfo call = CallInfoOf(unary->context());
  const std::string group = WholeName(request->group(), call);
  absl::Status status;
  if (request->client_type() == pb::LITE_PUSH_CONSUMER || request->client_type() == pb::LITE_SIMPLE_CONSUMER)
    status = errors::UnrecognizedClientType("lite consumers are not served");
  else if (!group.empty()) status = index::CheckGroupName(group);
  if (status.ok() && !call.client_id.empty()) shard_.TouchClient(ToClient(call), group);
  return reply.End(status);
}

void MessagingHandler::Telemetry(common::ServerCall* call) { telemetry_.Open(*call); }

// Never an error: clients wait for it while they shut down.
void MessagingHandler::NotifyClientTermination(common::UnaryCall* unary, const pb::NotifyClientTerminationRequest* request,
                                                                    pb::NotifyClientTerminationResponse* response) {
  const auto reply = ReplyTo(unary, response, "NotifyClientTermination");
  const CallInfo call = CallInfoOf(unary->context());
  const absl::Status status = CheckClient(call);
  if (status.ok()) shard_.ClientTerminated(std::string(call.client_id), WholeName(request->group(), call));
  return reply.End(status);
}

// There is always a handle in the answer, the old one on errors: some clients take it over before they look at the status.
void MessagingHandler::ChangeInvisibleDuration(common::UnaryCall* unary, const pb::ChangeInvisibleDurationRequest* request,
                                                                    pb::ChangeInvisibleDurationResponse* response) {
  const auto reply = ReplyTo(unary, response, "ChangeInvisibleDuration");
  const CallInfo call = CallInfoOf(unary->context());
  ChangeInvisibleCommand command{.client = ToClient(call),
                                 .topic = WholeName(request->topic(), call),
                                 .group = WholeName(request->group(), call),
                                 .receipt_handle = request->receipt_handle(),
                                 .message_id = request->message_id(),
                                 .invisible_duration = v2edge::FromProto(request->invisible_duration())};
  reply->set_receipt_handle(request->receipt_handle());
  absl::Status status = CheckNames(call, command.topic, command.group);
  if (status.ok()) status = CheckInvisible(command.invisible_duration, options_.max_invisible);
  if (!status.ok()) return reply.End(status);
  shard_.ChangeInvisible(std::move(command), [reply](absl::StatusOr<std::string> handle) {
    if (handle.ok() && !handle->empty()) reply->set_receipt_handle(*handle);
    reply.EndOnLoop(handle.status());
  });
}

void MessagingHandler::ForwardMessageToDeadLetterQueue(common::UnaryCall* unary,
                                                                            const pb::ForwardMessageToDeadLetterQueueRequest* request,
                                                                            pb::ForwardMessageToDeadLetterQueueResponse* response) {
  const auto reply = ReplyTo(unary, response, "ForwardMessageToDeadLetterQueue");
  const CallInfo call = CallInfoOf(unary->context());
  DeadLetterCommand command{.client = ToClient(call),
                            .topic = WholeName(request->topic(), call),
                            .group = WholeName(request->group(), call),
                            .receipt_handle = request->receipt_handle(),
                            .message_id = request->message_id(),
                            .delivery_attempt = request->delivery_attempt()};
  if (const absl::Status status = CheckNames(call, command.topic, command.group); !status.ok()) return reply.End(status);
  shard_.ForwardToDeadLetter(std::move(command), [reply](absl::Status status) { reply.EndOnLoop(std::move(status)); });
}

void MessagingHandler::PullMessage(common::ServerCall* stream, const pb::PullMessageRequest* request) {
  const std::shared_ptr<PullReply> reply = PullReply::Make(*stream);
  v2edge::RpcMetrics::Rpc& rpc = metrics_.Of("PullMessage");
  const CallInfo call = CallInfoOf(stream->context());
  absl::StatusOr<PullCommand> command = ToPullCommand(*request, call, options_.data_plane.max_wait, data_plane_.filters());
  if (!command.ok()) {
    rpc.Record(V2CodeOf(command.status()), absl::ZeroDuration());
    return reply->Reply({StatusPart(command.status())});
  }
  const pb::Resource& topic = request->message_queue().topic();
  DeliveryTarget target{.name_space = std::string(v2edge::EffectiveNamespace(topic.resource_namespace(), call.name_space)),
                        .topic = topic.name(),
                        .store_host = options_.data_plane.store_host};
  const ReceiveId parked = shard_.Pull(*std::move(command), [this, reply, &rpc, started = clock_.Steady(), target = std::move(target)](absl::StatusOr<PullOutcome> outcome) mutable {
    rpc.Record(outcome.ok() && outcome->messages.empty() ? V2CodeOf(NothingCame()) : V2CodeOf(outcome.status()), clock_.Steady() - started);
    server_.data_plane().Post([reply, target = std::move(target), outcome = std::move(outcome)] { reply->Reply(ToParts(outcome, target)); });
  });
  reply->WhenCancelled([this, parked] { shard_.CancelPull(parked); });
}

void MessagingHandler::UpdateOffset(common::UnaryCall* unary, const pb::UpdateOffsetRequest* request, pb::UpdateOffsetResponse* response) {
  const auto reply = ReplyTo(unary, response, "UpdateOffset");
  const CallInfo call = CallInfoOf(unary->context());
  const std::string topic = WholeName(request->message_queue().topic(), call), group = WholeName(request->group(), call);
  absl::Status status = CheckNames(call, topic, group);
  if (status.ok() && request->offset() < 0) status = errors::IllegalOffset(absl::StrCat("the offset ", request->offset(), " is negative"));
  if (!status.ok()) return reply.End(status);
  shard_.UpdateOffset(topic, group, request->message_queue().id(), request->offset(), [reply](absl::Status done) { reply.EndOnLoop(std::move(done)); });
}

void MessagingHandler::GetOffset(common::UnaryCall* unary, const pb::GetOffsetRequest* request, pb::GetOffsetResponse* response) {
  const auto reply = ReplyTo(unary, response, "GetOffset");
  const CallInfo call = CallInfoOf(unary->context());
  const std::string topic = WholeName(request->message_queue().topic(), call), group = WholeName(request->group(), call);
  if (const absl::Status status = CheckNames(call, topic, group); !status.ok()) return reply.End(status);
  shard_.GetOffset(topic, group, request->message_queue().id(), [reply](absl::StatusOr<int64_t> offset) {
    if (offset.ok()) reply->set_offset(*offset);
    reply.EndOnLoop(offset.status());
  });
}

void MessagingHandler::QueryOffset(common::UnaryCall* unary, const pb::QueryOffsetRequest* request, pb::QueryOffsetResponse* response) {
  const auto reply = ReplyTo(unary, response, "QueryOffset");
  const CallInfo call = CallInfoOf(unary->context());
  const std::string topic = WholeName(request->message_queue().topic(), call);
  absl::Status status = CheckNames(call, topic, "", false);
  if (status.ok() && request->query_offset_policy() == pb::TIMESTAMP && !request->has_timestamp())
    status = errors::BadRequest("a time is asked for but none is given");
  if (!status.ok()) return reply.End(status);
  shard_.QueryOffset(topic, request->message_queue().id(), ToPolicy(request->query_offset_policy()), v2edge::FromProto(request->timestamp()),
                     [reply](absl::StatusOr<int64_t> offset) {
                       if (offset.ok()) reply->set_offset(*offset);
                       reply.EndOnLoop(offset.status());
                     });
}

void MessagingHandler::EndTransaction(common::UnaryCall* unary, const pb::EndTransactionRequest*, pb::EndTransactionResponse* response) {
  const auto reply = ReplyTo(unary, response, "EndTransaction");
  reply.End(errors::NotImplemented("transactions are not implemented yet"));
}

void MessagingHandler::RecallMessage(common::UnaryCall* unary, const pb::RecallMessageRequest* request, pb::RecallMessageResponse* response) {
  const auto reply = ReplyTo(unary, response, "RecallMessage");
  const CallInfo call = CallInfoOf(unary->context());
  const std::string topic = WholeName(request->topic(), call);
  if (const absl::Status status = CheckNames(call, topic, "", false); !status.ok()) return reply.End(status);
  shard_.Recall(topic, request->recall_handle(), [reply](absl::StatusOr<std::string> message_id) {
    if (message_id.ok()) reply->set_message_id(*message_id);
    reply.EndOnLoop(message_id.status());
  });
}

void MessagingHandler::SyncLiteSubscription(common::UnaryCall* unary, const pb::SyncLiteSubscriptionRequest*,
                                                                 pb::SyncLiteSubscriptionResponse* response) {
  const auto reply = ReplyTo(unary, response, "SyncLiteSubscription");
  reply.End(errors::NotImplemented("lite topics are not implemented yet"));
}

absl::Status MessagingHandler::CheckFilter(int32_t type, std::string_view expression) { return ToFilter(data_plane_.filters(), type, expression).status(); }

// Clients choose once, at their start, whether they work through message groups in order: as soon as one topic wants it.
void MessagingHandler::ResolveConsumer(std::string group, std::vector<std::string> topics,
                                       absl::AnyInvocable<void(absl::StatusOr<index::GroupDefinition>) &&> done) {
  ResolveGroup(std::move(group), [this, topics = std::move(topics), done = std::move(done)](absl::StatusOr<index::GroupDefinition> definition) mutable {
    if (!definition.ok() || topics.empty() || definition->order != index::DeliveryOrder::kByTopic) return std::move(done)(std::move(definition));
    DecideOrder(*std::move(definition), std::move(topics), std::move(done));
  });
}

void MessagingHandler::DecideOrder(index::GroupDefinition group, std::vector<std::string> topics,
                                   absl::AnyInvocable<void(absl::StatusOr<index::GroupDefinition>) &&> done) {
  const std::string topic = std::move(topics.back());
  topics.pop_back();
  shard_.ResolveTopic(topic, [this, group = std::move(group), topics = std::move(topics), done = std::move(done)](absl::StatusOr<index::TopicDefinition> found) mutable {
    if (found.ok() && index::InOrder(group, *found)) group.order = index::DeliveryOrder::kFifo;
    if (!topics.empty() && group.order == index::DeliveryOrder::kByTopic) return DecideOrder(std::move(group), std::move(topics), std::move(done));
    server_.data_plane().Post([done = std::move(done), group = std::move(group)]() mutable { std::move(done)(std::move(group)); });
  });
}

void MessagingHandler::ResolveGroup(std::string group, absl::AnyInvocable<void(absl::StatusOr<index::GroupDefinition>) &&> done) {
  shard_.ResolveGroup(std::move(group), [this, done = std::move(done)](absl::StatusOr<index::GroupDefinition> definition) mutable {
    server_.data_plane().Post([done = std::move(done), definition = std::move(definition)]() mutable { std::move(done)(std::move(definition)); });
  });
}

void MessagingHandler::StreamOpened(const CallInfo& call) { shard_.ClientStream(ToClient(call), +1); }
void MessagingHandler::StreamEnded(const CallInfo& call) { shard_.ClientStream(ToClient(call), -1); }
void MessagingHandler::ClientSeen(const CallInfo& call, const std::string& group) { shard_.TouchClient(ToClient(call), group); }

}  // namespace fulmar::broker
