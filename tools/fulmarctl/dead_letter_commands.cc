// Dead letters, over the calls that every client has: a group's dead-letter topic is read and acknowledged like any other.
//
// `redrive` is a consumer of the dead-letter topic under a group of its own: receive, send to the origin, acknowledge. A crash between the
// two last steps sends a message once more, and never loses one. What a filter leaves out is given back at the end of the run; after a
// crash it comes back by itself when its invisible time is over.
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tools/fulmarctl/commands.h"
#include "tools/fulmarctl/output.h"
#include "tools/fulmarctl/routes.h"

namespace fulmar::ctl {
namespace {

using admin::v1::AdminService;
using nlohmann::ordered_json;

constexpr char kRedriveCount[] = "FULMAR_REDRIVE_COUNT";  // user property: how often this message was redriven
constexpr char kRedriveGroupPrefix[] = "FULMAR_REDRIVE_";
constexpr absl::Duration kInvisible = absl::Minutes(10);
constexpr absl::Duration kGivenBack = absl::Milliseconds(1300);  // what an earlier run gave back is there again after a second
constexpr int kBatch = 32;

// Groups and topics are named whole here: the dead-letter topic and the origins that it names are.
v2::Resource Whole(const std::string& name) {
  v2::Resource resource;
  resource.set_name(name);
  return resource;
}
std::string WholeGroup(const Session& session, const std::string& group) {
  const std::string& name_space = session.options().resource_namespace;
  return name_space.empty() ? group : absl::StrCat(name_space, "%", group);
}

struct Selection {
  std::string group, tags;
  std::vector<std::string> properties;
  int max = 1000000;
};

struct RedriveArguments : Selection {
  std::string to;
  double rate = 0;
  int max_redrives = 3;
  bool dry_run = false;
};

void AddSelection(CLI::App& command, Selection& selection) {
  command.add_option("GROUP", selection.group, "The consumer group whose dead letters they are")->required();
  command.add_option("--tag", selection.tags, "Only these tags: \"a || b\"");
  command.add_option("--property", selection.properties, "Only with this property: KEY=VALUE (may be repeated: all must fit)")->expected(1)->take_all();
  command.add_option("--max", selection.max, "At most this many messages")->check(CLI::Range(1, 1000000));
}

absl::Status CheckSelection(const Selection& selection) {
  for (const std::string& property : selection.properties) {
    const size_t equals = property.find('=');
    if (equals == std::string::npos || equals == 0) return absl::InvalidArgumentError(absl::StrCat("property '", property, "': expected KEY=VALUE"));
  }
  return absl::OkStatus();
}

bool Matches(const Selection& selection, const v2::Message& message) {
  if (!selection.tags.empty() && selection.tags != "*") {
    bool tagged = false;
    for (const absl::string_view tag : absl::StrSplit(selection.tags, "||")) {
      tagged = tagged || absl::StripAsciiWhitespace(tag) == message.system_properties().tag();
    }
    if (!tagged) return false;
  }
  return std::all_of(selection.properties.begin(), selection.properties.end(), [&message](const std::string& wanted) {
    const size_t equals = wanted.find('=');
    const auto it = message.user_properties().find(wanted.substr(0, equals));
    return it != message.user_properties().end() && it->second == wanted.substr(equals + 1);
  });
}

int RedrivesOf(const v2::Message& message) {
  const auto it = message.user_properties().find(kRedriveCount);
  int count = 0;
  return it != message.user_properties().end() && absl::SimpleAtoi(it->second, &count) && count > 0 ? count : 0;
}

ordered_json ToJson(const v2::Message& message, const std::string& result) {
  const v2::SystemProperties& system = message.system_properties();
  ordered_json out = {{"messageId", system.message_id()},
                      {"originTopic", system.dead_letter_queue().topic()},
                      {"tag", nullptr},
                      {"keys", std::vector<std::string>(system.keys().begin(), system.keys().end())},
                      {"redrives", RedrivesOf(message)},
                      {"offset", system.queue_offset()},
                      {"storedAt", TimeText(TimeOf(system.store_timestamp()))},
                      {"bodyBytes", message.body().size()}};
  if (system.has_tag()) out["tag"] = system.tag();
  if (!result.empty()) out["result"] = result;
  return out;
}

// The brokers of the dead-letter topic; none when no message ever died. (Asking for a route could make the topic.)
absl::StatusOr<std::vector<v2::MessageQueue>> DeadLetterBrokers(Session& session, const std::string& topic) {
  admin::v1::DescribeTopicRequest request;
  request.set_name(topic);
  const auto known = CallAdmin(session, &AdminService::Stub::DescribeTopic, request);
  if (absl::IsNotFound(known.status())) return std::vector<v2::MessageQueue>();
  if (!known.ok()) return known.status();
  return BrokersOf(session, Whole(topic));
}

// ---- list

// One page of what one broker holds; moves `offset`. Empty: the end.
absl::StatusOr<std::vector<v2::Message>> Page(Session& session, const v2::MessageQueue& queue, const std::string& group, int64_t& offset) {
  v2::PullMessageRequest request;
  *request.mutable_group() = Whole(group);
  *request.mutable_message_queue() = queue;
  request.set_offset(offset);
  request.set_batch_size(kBatch);
  request.mutable_filter_expression()->set_type(v2::TAG);
  request.mutable_filter_expression()->set_expression("*");
  const std::string address = AddressText(queue.broker());
  const auto context = session.NewContext();
  const auto stream = session.messaging(address).PullMessage(context.get(), request);
  std::vector<v2::Message> messages;
  absl::Status refused;
  v2::PullMessageResponse response;
  while (stream->Read(&response)) {
    if (response.has_message()) messages.push_back(std::move(*response.mutable_message()));
    if (response.has_status() && response.status().code() != v2::MESSAGE_NOT_FOUND) refused = Session::ToStatus(response.status());
    if (response.has_next_offset()) offset = response.next_offset();
  }
  const grpc::Status status = stream->Finish();
  if (!status.ok()) return session.ToStatus(status, address);
  if (!refused.ok()) return refused;
  if (!messages.empty()) offset = std::max(offset, messages.back().system_properties().queue_offset() + 1);
  return messages;
}

absl::Status List(Session& session, const Selection& selection, bool json) {
  if (absl::Status wrong = CheckSelection(selection); !wrong.ok()) return wrong;
  const std::string group = WholeGroup(session, selection.group);
  const auto brokers = DeadLetterBrokers(session, absl::StrCat("%DLQ%", group));
  if (!brokers.ok()) return brokers.status();
  std::vector<std::vector<std::string>> rows;
  int listed = 0;
  for (const v2::MessageQueue& queue : *brokers) {
    int64_t offset = 0;
    while (listed < selection.max) {
      const auto page = Page(session, queue, group, offset);
      if (!page.ok()) return page.status();
      if (page->empty()) break;
      for (const v2::Message& message : *page) {
        if (listed >= selection.max || !Matches(selection, message)) continue;
        ++listed;
        const v2::SystemProperties& system = message.system_properties();
        if (json) {
          std::cout << ToJson(message, "").dump() << "\n";
        } else {
          rows.push_back({system.message_id(), system.dead_letter_queue().topic(), system.has_tag() ? system.tag() : "-",
                          absl::StrCat(RedrivesOf(message)), absl::StrCat(system.queue_offset()), TimeText(TimeOf(system.store_timestamp())),
                          BytesText(message.body().size())});
        }
      }
    }
  }
  if (json) return absl::OkStatus();
  if (rows.empty()) {
    std::cout << "group " << selection.group << " has no such dead letters\n";
  } else {
    std::cout << Table({"MESSAGE", "ORIGIN TOPIC", "TAG", "REDRIVEN BEFORE", "OFFSET", "STORED", "BODY"}, rows);
  }
  return absl::OkStatus();
}

// ---- redrive

class Redrive {
 public:
  Redrive(Session& session, const RedriveArguments& arguments, bool json)
      : session_(session),
        arguments_(arguments),
        json_(json),
        topic_(absl::StrCat("%DLQ%", WholeGroup(session, arguments.group))),
        own_group_(absl::StrCat(kRedriveGroupPrefix, WholeGroup(session, arguments.group))) {}

  absl::Status Run() {
    if (absl::Status wrong = CheckSelection(arguments_); !wrong.ok()) return wrong;
    const auto brokers = DeadLetterBrokers(session_, topic_);
    if (!brokers.ok()) return brokers.status();
    absl::Status status = brokers->empty() ? absl::OkStatus() : MakeOwnGroup();
    for (const v2::MessageQueue& queue : *brokers) {
      if (status.ok()) status = Drain(queue);
      const absl::Status given_back = GiveBack(queue);
      if (status.ok()) status = given_back;
    }
    Report();
    return status;
  }

 private:
  // It never gives up on a message: what is left out today is there tomorrow.
  absl::Status MakeOwnGroup() {
    admin::v1::CreateGroupRequest request;
    request.mutable_group()->set_name(own_group_);
    request.mutable_group()->set_max_attempts(1000);
    request.mutable_group()->set_order(admin::v1::DELIVERY_ORDER_CONCURRENT);
    const auto answer = CallAdmin(session_, &AdminService::Stub::CreateGroup, request);
    return absl::IsAlreadyExists(answer.status()) ? absl::OkStatus() : answer.status();
  }

  absl::Status Drain(const v2::MessageQueue& queue) {
    while (redriven_ < arguments_.max) {
      const auto messages = Receive(queue);
      if (!messages.ok()) return messages.status();
      bool news = false;
      for (size_t i = 0; i < messages->size(); ++i) {
        const v2::Message& message = (*messages)[i];
        const v2::SystemProperties& system = message.system_properties();
        const bool is_new = seen_.emplace(queue.broker().name(), system.queue_id(), system.queue_offset()).second;
        news = news || is_new;
        absl::StatusOr<bool> moved = is_new && redriven_ < arguments_.max ? One(queue, message) : absl::StatusOr<bool>(false);
        if (!moved.ok() || !*moved) give_back_.push_back(message);
        if (!moved.ok()) {
          give_back_.insert(give_back_.end(), messages->begin() + static_cast<ptrdiff_t>(i) + 1, messages->end());
          return moved.status();
        }
      }
      if (!news) return absl::OkStatus();  // all was looked at
    }
    return absl::OkStatus();
  }

  // True: it is at its origin and no dead letter any more.
  absl::StatusOr<bool> One(const v2::MessageQueue& queue, const v2::Message& message) {
    if (!Matches(arguments_, message)) return false;
    if (RedrivesOf(message) >= arguments_.max_redrives) {
      ++held_back_;
      Say(message, "held back");
      return false;
    }
    if (arguments_.dry_run) {
      ++redriven_;
      Say(message, "would be redriven");
      return false;
    }
    Pace();
    if (absl::Status sent = Send(message); !sent.ok()) {
      return absl::Status(sent.code(), absl::StrCat("message ", message.system_properties().message_id(), " not redriven: ", sent.message()));
    }
    ++redriven_;
    Say(message, "redriven");
    if (absl::Status acked = Acknowledge(queue, message); !acked.ok()) {
      return absl::Status(acked.code(), absl::StrCat("message ", message.system_properties().message_id(),
                                                     " was redriven, but may be again: ", acked.message()));
    }
    return true;
  }

  void Pace() {
    if (arguments_.rate <= 0) return;
    const absl::Time now = absl::Now();
    if (next_ > now) absl::SleepFor(next_ - now);
    next_ = std::max(next_, now) + absl::Seconds(1) / arguments_.rate;
  }

  absl::StatusOr<std::vector<v2::Message>> Receive(const v2::MessageQueue& queue) {
    v2::ReceiveMessageRequest request;
    *request.mutable_group() = Whole(own_group_);
    request.mutable_filter_expression()->set_type(v2::TAG);
    request.mutable_filter_expression()->set_expression("*");
    request.set_batch_size(kBatch);
    request.mutable_invisible_duration()->set_seconds(absl::ToInt64Seconds(kInvisible));
    return ReceiveFrom(session_, std::move(request), queue, kGivenBack);
  }

  absl::Status Send(const v2::Message& dead) {
    const v2::SystemProperties& old = dead.system_properties();
    const std::string to = arguments_.to.empty() ? old.dead_letter_queue().topic() : WholeGroup(session_, arguments_.to);
    if (to.empty()) return absl::FailedPreconditionError("it does not say where it came from; name a topic with --to");
    v2::SendMessageRequest request;
    v2::Message* message = request.add_messages();
    *message->mutable_topic() = Whole(to);
    *message->mutable_user_properties() = dead.user_properties();
    (*message->mutable_user_properties())[kRedriveCount] = absl::StrCat(RedrivesOf(dead) + 1);
    message->set_body(dead.body());
    v2::SystemProperties* system = message->mutable_system_properties();
    system->set_message_id(old.message_id());
    if (old.has_tag()) system->set_tag(old.tag());
    *system->mutable_keys() = old.keys();
    system->set_body_encoding(old.body_encoding());
    *system->mutable_born_timestamp() = old.born_timestamp();
    system->set_born_host(old.born_host());
    if (old.has_trace_context()) system->set_trace_context(old.trace_context());
    system->set_message_type(v2::NORMAL);
    if (old.has_message_group()) {
      system->set_message_type(v2::FIFO);
      system->set_message_group(old.message_group());
    } else if (old.has_priority() || old.message_type() == v2::PRIORITY) {
      system->set_message_type(v2::PRIORITY);
      system->set_priority(old.priority());
    } else if (old.message_type() == v2::DELAY) {
      system->set_message_type(v2::DELAY);  // its topic takes nothing else; its time is over, so it comes at once
      *system->mutable_delivery_timestamp() = old.has_delivery_timestamp() ? old.delivery_timestamp() : old.born_timestamp();
    }
    std::vector<v2::MessageQueue>& brokers = brokers_of_[to];
    if (brokers.empty()) {
      auto found = BrokersOf(session_, Whole(to));
      if (!found.ok()) return found.status();
      brokers = *std::move(found);
    }
    const v2::MessageQueue& target = brokers[std::random_device()() % brokers.size()];
    system->set_queue_id(target.id());
    const std::string address = AddressText(target.broker());
    v2::SendMessageResponse response;
    const auto context = session_.NewContext();
    const grpc::Status status = session_.messaging(address).SendMessage(context.get(), request, &response);
    if (!status.ok()) return session_.ToStatus(status, address);
    if (absl::Status refused = Session::ToStatus(response.status()); !refused.ok()) return refused;
    if (response.entries_size() != 1) return absl::InternalError(absl::StrCat("the answer has ", response.entries_size(), " entries, expected 1"));
    return Session::ToStatus(response.entries(0).status());
  }

  absl::Status Acknowledge(const v2::MessageQueue& queue, const v2::Message& message) {
    v2::AckMessageRequest request;
    *request.mutable_group() = Whole(own_group_);
    *request.mutable_topic() = Whole(topic_);
    v2::AckMessageEntry* entry = request.add_entries();
    entry->set_message_id(message.system_properties().message_id());
    entry->set_receipt_handle(message.system_properties().receipt_handle());
    v2::AckMessageResponse response;
    const std::string address = AddressText(queue.broker());
    const auto context = session_.NewContext();
    const grpc::Status status = session_.messaging(address).AckMessage(context.get(), request, &response);
    if (!status.ok()) return session_.ToStatus(status, address);
    if (response.entries_size() == 1) return Session::ToStatus(response.entries(0).status());
    return Session::ToStatus(response.status());
  }

  absl::Status GiveBack(const v2::MessageQueue& queue) {
    absl::Status first_error;
    for (const v2::Message& message : give_back_) {
      v2::ChangeInvisibleDurationRequest request;
      *request.mutable_group() = Whole(own_group_);
      *request.mutable_topic() = Whole(topic_);
      request.set_receipt_handle(message.system_properties().receipt_handle());
      request.set_message_id(message.system_properties().message_id());
      request.mutable_invisible_duration()->set_seconds(0);
      v2::ChangeInvisibleDurationResponse response;
      const std::string address = AddressText(queue.broker());
      const auto context = session_.NewContext();
      const grpc::Status status = session_.messaging(address).ChangeInvisibleDuration(context.get(), request, &response);
      if (!status.ok()) {
        first_error = session_.ToStatus(status, address);
        break;  // they come back by themselves
      }
    }
    give_back_.clear();
    return first_error;
  }

  void Say(const v2::Message& message, const std::string& result) {
    if (json_) {
      std::cout << ToJson(message, result).dump() << std::endl;
    } else {
      std::cout << message.system_properties().message_id() << " of topic " << message.system_properties().dead_letter_queue().topic() << " "
                << result << "\n";
    }
  }

  void Report() {
    if (json_) return;
    std::cout << redriven_ << (arguments_.dry_run ? " would be redriven" : " redriven");
    if (held_back_ > 0) std::cout << ", " << held_back_ << " held back: redriven " << arguments_.max_redrives << " times before (--max-redrives)";
    std::cout << "\n";
  }

  Session& session_;
  const RedriveArguments& arguments_;
  const bool json_;
  const std::string topic_, own_group_;
  std::set<std::tuple<std::string, int32_t, int64_t>> seen_;
  std::vector<v2::Message> give_back_;  // of the broker that is being drained
  std::map<std::string, std::vector<v2::MessageQueue>> brokers_of_;
  absl::Time next_ = absl::InfinitePast();
  int redriven_ = 0, held_back_ = 0;
};

}  // namespace

void AddDeadLetterCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* dlq = app.add_subcommand("dlq", "List the dead letters of a consumer group, send them to their topics again")->require_subcommand(1);

  auto selection = std::make_shared<Selection>();
  CLI::App* list = dlq->add_subcommand("list", "List the dead letters of a group that are still kept, redriven ones too");
  AddSelection(*list, *selection);
  list->callback([&invocation, selection] {
    invocation.run = [&invocation, selection](Session& session) { return List(session, *selection, invocation.json); };
  });

  auto arguments = std::make_shared<RedriveArguments>();
  CLI::App* redrive = dlq->add_subcommand("redrive", "Send dead letters to the topics they came from, each once");
  AddSelection(*redrive, *arguments);
  redrive->add_option("--to", arguments->to, "Send them to this topic instead");
  redrive->add_option("--rate", arguments->rate, "At most this many messages a second")->check(CLI::PositiveNumber);
  redrive->add_option("--max-redrives", arguments->max_redrives, "Leave alone what was redriven so often before (the property FULMAR_REDRIVE_COUNT)")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  redrive->add_flag("--dry-run", arguments->dry_run, "Only say what would be redriven");
  redrive->callback([&invocation, arguments] {
    invocation.run = [&invocation, arguments](Session& session) { return Redrive(session, *arguments, invocation.json).Run(); };
  });
}

}  // namespace fulmar::ctl
