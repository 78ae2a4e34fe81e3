#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_format.h"
#include "tools/fulmarctl/commands.h"
#include "tools/fulmarctl/output.h"
#include "tools/fulmarctl/routes.h"

namespace fulmar::ctl {
namespace {

using nlohmann::ordered_json;

constexpr size_t kMaxBodyBytes = 4 << 20;

// The form that all official clients use: "01", MAC address, process, seconds since 2021, counter; ours takes chance for the first two.
std::string MakeMessageId() {
  static std::random_device chance;
  static uint32_t counter = 0;
  const int64_t seconds = absl::ToUnixSeconds(absl::Now()) - 1609459200;
  return absl::StrFormat("01%08X%08X%08X%08X", chance(), chance(), static_cast<uint32_t>(seconds), counter++);
}

struct SendArguments {
  std::string topic, tag, file, body;
  std::vector<std::string> keys, properties;
  std::string ttl, delay, deliver_at;
  std::optional<int> priority;
  bool has_body = false;
};

absl::StatusOr<std::string> ReadBody(const SendArguments& arguments) {
  if (arguments.has_body && !arguments.file.empty()) return absl::InvalidArgumentError("give BODY or --file, not both");
  if (arguments.has_body && arguments.body != "-") return arguments.body;
  if (arguments.file.empty() || arguments.file == "-") {
    return std::string(std::istreambuf_iterator<char>(std::cin), {});
  }
  std::ifstream file(arguments.file, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", arguments.file));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

absl::Status Send(Session& session, const SendArguments& arguments, bool json) {
  absl::StatusOr<std::string> body = ReadBody(arguments);
  if (!body.ok()) return body.status();
  if (body->empty()) return absl::InvalidArgumentError("the body is empty; the protocol wants at least one byte");
  if (body->size() > kMaxBodyBytes) {
    return absl::InvalidArgumentError(absl::StrCat("the body has ", body->size(), " bytes, at most ", kMaxBodyBytes, " are taken"));
  }
  v2::SendMessageRequest request;
  v2::Message* message = request.add_messages();
  *message->mutable_topic() = session.Name(arguments.topic);
  v2::SystemProperties* system = message->mutable_system_properties();
  system->set_message_id(MakeMessageId());
  system->set_message_type(v2::NORMAL);
  system->set_body_encoding(v2::IDENTITY);
  system->mutable_born_timestamp()->set_seconds(absl::ToUnixSeconds(absl::Now()));
  system->set_born_host(session.client_id().substr(0, session.client_id().find('@')));
  if (!arguments.tag.empty()) system->set_tag(arguments.tag);
  for (const std::string& key : arguments.keys) system->add_keys(key);
  for (const std::string& property : arguments.properties) {
    const size_t equals = property.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(absl::StrCat("property '", property, "': expected KEY=VALUE"));
    }
    (*message->mutable_user_properties())[property.substr(0, equals)] = property.substr(equals + 1);
  }
  if (arguments.priority) {
    system->set_message_type(v2::PRIORITY);
    system->set_priority(*arguments.priority);
  }
  if (!arguments.delay.empty() || !arguments.deliver_at.empty()) {
    absl::Time at;
    std::string why;
    absl::Duration delay;
    if (arguments.delay.empty() && !absl::ParseTime(absl::RFC3339_full, arguments.deliver_at, &at, &why)) {
      return absl::InvalidArgumentError(absl::StrCat("--deliver-at '", arguments.deliver_at, "': expected a time such as 2030-01-31T08:00:00Z"));
    }
    if (absl::ParseDuration(arguments.delay, &delay)) at = absl::Now() + delay;
    system->set_message_type(v2::DELAY);
    system->mutable_delivery_timestamp()->set_seconds(absl::ToUnixSeconds(at));
    system->mutable_delivery_timestamp()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(at - absl::FromUnixSeconds(absl::ToUnixSeconds(at)))));
  }
  if (!arguments.ttl.empty()) {
    absl::Duration ttl;
    absl::ParseDuration(arguments.ttl, &ttl);
    (*message->mutable_user_properties())["FULMAR_TTL_MS"] = absl::StrCat(absl::ToInt64Milliseconds(ttl));
  }
  message->set_body(*std::move(body));

  absl::StatusOr<std::vector<v2::MessageQueue>> brokers = BrokersOf(session, session.Name(arguments.topic));
  if (!brokers.ok()) return brokers.status();
  const v2::MessageQueue& target = (*brokers)[std::random_device()() % brokers->size()];
  system->set_queue_id(target.id());
  const std::string address = AddressText(target.broker());
  v2::SendMessageResponse response;
  const auto context = session.NewContext();
  const grpc::Status status = session.messaging(address).SendMessage(context.get(), request, &response);
  if (!status.ok()) return session.ToStatus(status, address);
  if (absl::Status refused = Session::ToStatus(response.status()); !refused.ok()) return refused;
  if (response.entries_size() != 1) return absl::InternalError(absl::StrCat("the answer has ", response.entries_size(), " entries, expected 1"));
  const v2::SendResultEntry& entry = response.entries(0);
  if (!entry.recall_handle().empty()) {
    if (json) {
      std::cout << ordered_json({{"topic", arguments.topic}, {"messageId", entry.message_id()}, {"broker", target.broker().name()}, {"recallHandle", entry.recall_handle()}}).dump() << "\n";
    } else {
      std::cout << "stored " << entry.message_id() << " in topic " << arguments.topic << " on " << target.broker().name() << ", delivered "
                << TimeText(TimeOf(system->delivery_timestamp())) << "\nrecall handle: " << entry.recall_handle() << "\n";
    }
    return absl::OkStatus();
  }
  if (json) {
    std::cout << ordered_json({{"topic", arguments.topic}, {"messageId", entry.message_id()}, {"broker", target.broker().name()}, {"offset", entry.offset()}}).dump() << "\n";
  } else {
    std::cout << "stored " << entry.message_id() << " in topic " << arguments.topic << " on " << target.broker().name() << ", offset " << entry.offset() << "\n";
  }
  return absl::OkStatus();
}

struct RecallArguments {
  std::string topic, handle;
};

// The handle says which shard made it, and only that shard can read it: the others refuse.
absl::Status Recall(Session& session, const RecallArguments& arguments, bool json) {
  absl::StatusOr<std::vector<v2::MessageQueue>> brokers = BrokersOf(session, session.Name(arguments.topic));
  if (!brokers.ok()) return brokers.status();
  v2::RecallMessageRequest request;
  *request.mutable_topic() = session.Name(arguments.topic);
  request.set_recall_handle(arguments.handle);
  absl::Status refused;
  for (const v2::MessageQueue& queue : *brokers) {
    const std::string address = AddressText(queue.broker());
    v2::RecallMessageResponse response;
    const auto context = session.NewContext();
    const grpc::Status status = session.messaging(address).RecallMessage(context.get(), request, &response);
    if (!status.ok()) return session.ToStatus(status, address);
    refused = Session::ToStatus(response.status());
    if (refused.ok()) {
      if (json) std::cout << ordered_json({{"topic", arguments.topic}, {"messageId", response.message_id()}}).dump() << "\n";
      else std::cout << "recalled " << response.message_id() << "\n";
      return absl::OkStatus();
    }
    if (response.status().code() != v2::BAD_REQUEST) return refused;
  }
  return refused;
}

struct ReceiveArguments {
  std::string topic, group, tag = "*", sql, wait = "5s", invisible = "30s";
  int max = 1;
  bool ack = false, follow = false;
};

ordered_json ToJson(const v2::Message& message) {
  const v2::SystemProperties& system = message.system_properties();
  ordered_json properties = ordered_json::object();
  std::map<std::string, std::string> sorted(message.user_properties().begin(), message.user_properties().end());
  for (const auto& [key, value] : sorted) properties[key] = value;
  ordered_json out = {{"messageId", system.message_id()},
                      {"topic", message.topic().name()},
                      {"tag", nullptr},
                      {"keys", std::vector<std::string>(system.keys().begin(), system.keys().end())},
                      {"properties", properties},
                      {"attempt", system.delivery_attempt()},
                      {"queue", system.queue_id()},
                      {"offset", system.queue_offset()},
                      {"bornAt", TimeText(TimeOf(system.born_timestamp()))},
                      {"storedAt", TimeText(TimeOf(system.store_timestamp()))},
                      {"bodyBytes", message.body().size()},
                      {"body", nullptr},
                      {"bodyBase64", absl::Base64Escape(message.body())},
                      {"receiptHandle", system.receipt_handle()}};
  if (system.has_tag()) out["tag"] = system.tag();
  if (IsPlainText(message.body())) out["body"] = message.body();
  if (system.has_dead_letter_queue()) {
    out["deadLetterOf"] = {{"topic", system.dead_letter_queue().topic()}, {"messageId", system.dead_letter_queue().message_id()}};
  }
  return out;
}

void Print(const v2::Message& message, bool json) {
  if (json) {
    std::cout << ToJson(message).dump() << std::endl;  // at once: someone may follow through a pipe
    return;
  }
  const v2::SystemProperties& system = message.system_properties();
  std::cout << "── " << system.message_id() << "  queue " << system.queue_id() << " offset " << system.queue_offset() << "  stored "
            << TimeText(TimeOf(system.store_timestamp())) << "  attempt " << system.delivery_attempt() << "\n";
  if (system.has_tag()) std::cout << "   tag " << system.tag() << "\n";
  if (system.keys_size() > 0) std::cout << "   keys " << absl::StrJoin(system.keys(), ", ") << "\n";
  std::map<std::string, std::string> sorted(message.user_properties().begin(), message.user_properties().end());
  for (const auto& [key, value] : sorted) std::cout << "   " << key << " = " << value << "\n";
  if (IsPlainText(message.body())) {
    std::cout << message.body() << std::endl;
  } else {
    std::cout << "(" << BytesText(message.body().size()) << " of binary data; see them with --output json)" << std::endl;
  }
}

absl::Status Acknowledge(Session& session, const ReceiveArguments& arguments, const std::string& address,
                         const std::vector<v2::Message>& messages) {
  v2::AckMessageRequest request;
  *request.mutable_group() = session.Name(arguments.group);
  *request.mutable_topic() = session.Name(arguments.topic);
  for (const v2::Message& message : messages) {
    v2::AckMessageEntry* entry = request.add_entries();
    entry->set_message_id(message.system_properties().message_id());
    entry->set_receipt_handle(message.system_properties().receipt_handle());
  }
  v2::AckMessageResponse response;
  const auto context = session.NewContext();
  const grpc::Status status = session.messaging(address).AckMessage(context.get(), request, &response);
  if (!status.ok()) return session.ToStatus(status, address);
  for (const v2::AckMessageResultEntry& entry : response.entries()) {
    if (absl::Status refused = Session::ToStatus(entry.status()); !refused.ok()) {
      return absl::Status(refused.code(), absl::StrCat("message ", entry.message_id(), " not acknowledged: ", refused.message()));
    }
  }
  return Session::ToStatus(response.status());
}

// One poll of one broker; the messages it gave.
absl::StatusOr<std::vector<v2::Message>> Poll(Session& session, const ReceiveArguments& arguments, const v2::MessageQueue& queue,
                                              int want, absl::Duration wait) {
  v2::ReceiveMessageRequest request;
  *request.mutable_group() = session.Name(arguments.group);
  request.mutable_filter_expression()->set_type(arguments.sql.empty() ? v2::TAG : v2::SQL);
  request.mutable_filter_expression()->set_expression(arguments.sql.empty() ? arguments.tag : arguments.sql);
  request.set_batch_size(want);
  absl::Duration invisible;
  absl::ParseDuration(arguments.invisible, &invisible);
  request.mutable_invisible_duration()->set_seconds(absl::ToInt64Seconds(invisible));
  return ReceiveFrom(session, std::move(request), queue, wait);
}

absl::Status Receive(Session& session, const ReceiveArguments& arguments, bool json) {
  absl::Duration wait;
  absl::ParseDuration(arguments.wait, &wait);
  absl::StatusOr<std::vector<v2::MessageQueue>> brokers = BrokersOf(session, session.Name(arguments.topic));
  if (!brokers.ok()) return brokers.status();
  // Several brokers share the waiting time, so that a message on any of them is met soon.
  const absl::Duration each = std::max(wait / static_cast<int64_t>(brokers->size()), absl::Milliseconds(1));
  int received = 0;
  const absl::Time until = absl::Now() + wait;
  for (size_t turn = 0;; ++turn) {
    const v2::MessageQueue& queue = (*brokers)[turn % brokers->size()];
    const int want = arguments.follow ? 32 : std::min(arguments.max - received, 32);
    absl::StatusOr<std::vector<v2::Message>> messages = Poll(session, arguments, queue, want, arguments.follow ? std::max(each, absl::Seconds(1)) : each);
    if (!messages.ok()) return messages.status();
    for (const v2::Message& message : *messages) Print(message, json);
    received += static_cast<int>(messages->size());
    if (arguments.ack && !messages->empty()) {
      if (absl::Status acked = Acknowledge(session, arguments, AddressText(queue.broker()), *messages); !acked.ok()) return acked;
    }
    if (arguments.follow) continue;  // until the user interrupts
    if (received >= arguments.max || (messages->empty() && absl::Now() >= until)) break;
  }
  if (received == 0 && !json) std::cerr << "nothing there (waited " << arguments.wait << ")\n";
  return absl::OkStatus();
}

}  // namespace

void AddMessageCommands(CLI::App& app, Invocation& invocation) {
  auto send_arguments = std::make_shared<SendArguments>();
  CLI::App* send = app.add_subcommand("send", "Send one message; the body comes from BODY, --file or standard input");
  send->add_option("TOPIC", send_arguments->topic, "The topic's name")->required();
  CLI::Option* body = send->add_option("BODY", send_arguments->body, "The body as text; - or nothing: standard input");
  send->add_option("--tag", send_arguments->tag, "Its tag");
  send->add_option("--key", send_arguments->keys, "A key (may be repeated)")->expected(1)->take_all();
  send->add_option("--property", send_arguments->properties, "KEY=VALUE (may be repeated)")->expected(1)->take_all();
  send->add_option("--priority", send_arguments->priority, "Its priority, in a topic of type priority: the higher number goes first")
      ->check(CLI::NonNegativeNumber);
  CLI::Option* delay = send->add_option("--delay", send_arguments->delay, "Delivered after this time, such as 5s; the topic takes delayed messages")->check(DurationText());
  send->add_option("--deliver-at", send_arguments->deliver_at, "Delivered at this time: 2030-01-31T08:00:00Z")->excludes(delay);
  send->add_option("--ttl", send_arguments->ttl, "Not delivered any more after this time, such as 30s (the property FULMAR_TTL_MS)")->check(DurationText());
  send->add_option("--file", send_arguments->file, "The body is this file; - for standard input");
  send->callback([&invocation, send_arguments, body] {
    send_arguments->has_body = body->count() > 0;
    invocation.run = [&invocation, send_arguments](Session& session) { return Send(session, *send_arguments, invocation.json); };
  });

  auto recall_arguments = std::make_shared<RecallArguments>();
  CLI::App* recall = app.add_subcommand("recall", "Take a delayed message back before its delivery");
  recall->add_option("TOPIC", recall_arguments->topic, "The topic's name")->required();
  recall->add_option("HANDLE", recall_arguments->handle, "The recall handle that send printed")->required();
  recall->callback([&invocation, recall_arguments] {
    invocation.run = [&invocation, recall_arguments](Session& session) { return Recall(session, *recall_arguments, invocation.json); };
  });

  auto receive_arguments = std::make_shared<ReceiveArguments>();
  CLI::App* receive = app.add_subcommand("receive", "Receive messages as a member of a consumer group");
  receive->add_option("TOPIC", receive_arguments->topic, "The topic's name")->required();
  receive->add_option("--group", receive_arguments->group, "The consumer group")->required();
  receive->add_option("--max", receive_arguments->max, "At most this many messages")->check(CLI::Range(1, 1000000))->capture_default_str();
  CLI::Option* tag = receive->add_option("--tag", receive_arguments->tag, "Only these tags: \"a || b\", * for all")->capture_default_str();
  receive->add_option("--sql", receive_arguments->sql, "Only what this holds for: \"amount > 100 AND TAGS IN ('a', 'b')\" (docs/sql-filters.md)")->excludes(tag);
  receive->add_option("--wait", receive_arguments->wait, "How long to wait for a message")->check(DurationText())->capture_default_str();
  receive->add_option("--invisible", receive_arguments->invisible, "Without --ack: when others may receive it again")
      ->check(DurationText())
      ->capture_default_str();
  receive->add_flag("--ack", receive_arguments->ack, "Acknowledge what was printed");
  receive->add_flag("--follow", receive_arguments->follow, "Go on until interrupted");
  receive->callback([&invocation, receive_arguments] {
    invocation.run = [&invocation, receive_arguments](Session& session) { return Receive(session, *receive_arguments, invocation.json); };
  });
}

}  // namespace fulmar::ctl
