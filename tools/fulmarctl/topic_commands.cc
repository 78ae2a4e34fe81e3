#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tools/fulmarctl/commands.h"
#include "tools/fulmarctl/output.h"

namespace fulmar::ctl {
namespace {

using admin::v1::AdminService;
using nlohmann::ordered_json;

std::string TypeText(admin::v1::TopicType type) {
  return absl::AsciiStrToLower(admin::v1::TopicType_Name(type).substr(sizeof("TOPIC_TYPE_") - 1));
}
std::string DurabilityText(admin::v1::Durability durability) { return durability == admin::v1::DURABILITY_ASYNC ? "async" : "sync"; }

double SecondsOf(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + duration.nanos() / 1e9;
}
// Seconds would be hard to read for a day.
std::string DurationOrNone(const google::protobuf::Duration& duration) {
  const absl::Duration value = absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
  return value == absl::ZeroDuration() ? "none" : absl::FormatDuration(value);
}

ordered_json ToJson(const admin::v1::Topic& topic) {
  return {{"name", topic.name()},
          {"id", topic.topic_id()},
          {"version", topic.version()},
          {"type", TypeText(topic.type())},
          {"queues", topic.queues()},
          {"durability", DurabilityText(topic.durability())},
          {"messageTtlSeconds", SecondsOf(topic.message_ttl())},
          {"dedupWindowSeconds", SecondsOf(topic.dedup_window())},
          {"quota", {{"messages", topic.quota().messages()}, {"bytes", topic.quota().bytes()}}},
          {"shards", std::vector<std::string>(topic.shards().begin(), topic.shards().end())},
          {"created", TimeText(TimeOf(topic.created()))}};
}

// Values of `topic create` and `topic update`.
struct TopicArguments {
  std::string name, type, durability, message_ttl, dedup_window;
  int queues = 0;
  QuotaArguments quota;
};

void AddSettings(CLI::App& command, const std::shared_ptr<TopicArguments>& arguments) {
  command.add_option("NAME", arguments->name, "The topic's name")->required();
  command.add_option("--type", arguments->type, "normal, fifo, delay, transaction, priority or mixed")
      ->check(CLI::IsMember({"normal", "fifo", "delay", "transaction", "priority", "mixed"}, CLI::ignore_case));
  command.add_option("--queues", arguments->queues, "Queues per shard")->check(CLI::Range(1, 1024));
  command.add_option("--durability", arguments->durability, "sync: a send is answered when it is on the disk; async: before that")
      ->check(CLI::IsMember({"sync", "async"}, CLI::ignore_case));
  command.add_option("--message-ttl", arguments->message_ttl, "Messages older than this are not delivered any more, such as 1h; 0: they do not expire")
      ->check(DurationText());
  command.add_option("--dedup-window", arguments->dedup_window, "A repeat of a message within this time is stored once, such as 10m; 0: off")
      ->check(DurationText());
  AddQuotaOptions(command, arguments->quota, "stored");
}

admin::v1::Topic ToProto(const TopicArguments& arguments) {
  admin::v1::Topic topic;
  topic.set_name(arguments.name);
  if (!arguments.type.empty()) {
    admin::v1::TopicType type;
    if (admin::v1::TopicType_Parse(absl::StrCat("TOPIC_TYPE_", absl::AsciiStrToUpper(arguments.type)), &type)) topic.set_type(type);
  }
  if (!arguments.durability.empty()) {
    topic.set_durability(absl::EqualsIgnoreCase(arguments.durability, "async") ? admin::v1::DURABILITY_ASYNC
                                                                               : admin::v1::DURABILITY_SYNC);
  }
  topic.set_queues(arguments.queues);
  if (!arguments.message_ttl.empty()) *topic.mutable_message_ttl() = DurationProto(arguments.message_ttl);
  if (!arguments.dedup_window.empty()) *topic.mutable_dedup_window() = DurationProto(arguments.dedup_window);
  FillQuota(arguments.quota, *topic.mutable_quota());
  return topic;
}

void PrintTopic(const admin::v1::Topic& topic, bool json, const std::string& did) {
  if (json) {
    ordered_json out = ToJson(topic);
    out["result"] = did;
    std::cout << out.dump() << "\n";
    return;
  }
  std::cout << "topic " << topic.name() << " " << did << ": " << TypeText(topic.type()) << ", " << topic.queues() << " queues, "
            << DurabilityText(topic.durability()) << "\n";
}

absl::Status Describe(Session& session, const std::string& name, bool json) {
  admin::v1::DescribeTopicRequest request;
  request.set_name(name);
  const auto answer = CallAdmin(session, &AdminService::Stub::DescribeTopic, request);
  if (!answer.ok()) return answer.status();
  if (json) {
    ordered_json out = ToJson(answer->topic());
    out["messagesIn"] = answer->messages_in();
    out["bytesIn"] = answer->bytes_in();
    out["queueStates"] = ordered_json::array();
    for (const admin::v1::QueueState& queue : answer->queues()) {
      out["queueStates"].push_back({{"shard", queue.shard()},
                                    {"queue", queue.queue()},
                                    {"minOffset", queue.min_offset()},
                                    {"nextOffset", queue.next_offset()},
                                    {"messages", queue.next_offset() - queue.min_offset()}});
    }
    std::cout << out.dump() << "\n";
    return absl::OkStatus();
  }
  const admin::v1::Topic& topic = answer->topic();
  std::cout << "Topic       " << topic.name() << " (id " << topic.topic_id() << ", version " << topic.version() << ")\n"
            << "Type        " << TypeText(topic.type()) << "\n"
            << "Durability  " << DurabilityText(topic.durability()) << "\n"
            << "Message TTL " << DurationOrNone(topic.message_ttl()) << "\n"
            << "Dedup       " << DurationOrNone(topic.dedup_window()) << "\n"
            << "Quota       " << QuotaText(topic.quota()) << "\n"
            << "Shards      " << absl::StrJoin(topic.shards(), ", ") << "\n"
            << "Created     " << TimeText(TimeOf(topic.created())) << "\n"
            << "Taken in    " << answer->messages_in() << " messages, " << BytesText(answer->bytes_in()) << " since the broker started\n\n";
  std::vector<std::vector<std::string>> rows;
  for (const admin::v1::QueueState& queue : answer->queues()) {
    rows.push_back({queue.shard(), absl::StrCat(queue.queue()), absl::StrCat(queue.min_offset()), absl::StrCat(queue.next_offset()),
                    absl::StrCat(queue.next_offset() - queue.min_offset())});
  }
  std::cout << Table({"SHARD", "QUEUE", "MIN OFFSET", "NEXT OFFSET", "MESSAGES"}, rows);
  return absl::OkStatus();
}

}  // namespace

void AddTopicCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* topic = app.add_subcommand("topic", "Create, change, list, describe and delete topics")->require_subcommand(1);

  auto create_arguments = std::make_shared<TopicArguments>();
  CLI::App* create = topic->add_subcommand("create", "Create a topic; done already is fine when the settings are the same");
  AddSettings(*create, create_arguments);
  create->callback([&invocation, create_arguments] {
    invocation.run = [&invocation, create_arguments](Session& session) -> absl::Status {
      admin::v1::CreateTopicRequest request;
      *request.mutable_topic() = ToProto(*create_arguments);
      const auto answer = CallAdmin(session, &AdminService::Stub::CreateTopic, request);
      if (!answer.ok()) return answer.status();
      PrintTopic(answer->topic(), invocation.json, answer->created() ? "created" : "exists");
      return absl::OkStatus();
    };
  });

  auto update_arguments = std::make_shared<TopicArguments>();
  CLI::App* update = topic->add_subcommand("update", "Change settings of a topic (queues only grow, the type stays)");
  AddSettings(*update, update_arguments);
  update->callback([&invocation, update_arguments] {
    invocation.run = [&invocation, update_arguments](Session& session) -> absl::Status {
      admin::v1::UpdateTopicRequest request;
      *request.mutable_topic() = ToProto(*update_arguments);
      const auto answer = CallAdmin(session, &AdminService::Stub::UpdateTopic, request);
      if (!answer.ok()) return answer.status();
      PrintTopic(answer->topic(), invocation.json, "updated");
      return absl::OkStatus();
    };
  });

  CLI::App* list = topic->add_subcommand("list", "List the topics");
  list->callback([&invocation] {
    invocation.run = [&invocation](Session& session) -> absl::Status {
      const auto answer = CallAdmin(session, &AdminService::Stub::ListTopics, admin::v1::ListTopicsRequest());
      if (!answer.ok()) return answer.status();
      if (invocation.json) {
        ordered_json out = ordered_json::array();
        for (const admin::v1::Topic& one : answer->topics()) out.push_back(ToJson(one));
        std::cout << out.dump() << "\n";
        return absl::OkStatus();
      }
      std::vector<std::vector<std::string>> rows;
      for (const admin::v1::Topic& one : answer->topics()) {
        rows.push_back({one.name(), TypeText(one.type()), absl::StrCat(one.queues()), DurabilityText(one.durability()),
                        absl::StrJoin(one.shards(), ","), TimeText(TimeOf(one.created()))});
      }
      std::cout << Table({"TOPIC", "TYPE", "QUEUES", "DURABILITY", "SHARDS", "CREATED"}, rows);
      return absl::OkStatus();
    };
  });

  auto describe_name = std::make_shared<std::string>();
  CLI::App* describe = topic->add_subcommand("describe", "Show a topic's settings and the offsets of its queues");
  describe->add_option("NAME", *describe_name, "The topic's name")->required();
  describe->callback([&invocation, describe_name] {
    invocation.run = [&invocation, describe_name](Session& session) { return Describe(session, *describe_name, invocation.json); };
  });

  auto delete_name = std::make_shared<std::string>();
  CLI::App* remove = topic->add_subcommand("delete", "Delete a topic with all its messages");
  remove->add_option("NAME", *delete_name, "The topic's name")->required();
  remove->callback([&invocation, delete_name] {
    invocation.run = [&invocation, delete_name](Session& session) -> absl::Status {
      admin::v1::DeleteTopicRequest request;
      request.set_name(*delete_name);
      const auto answer = CallAdmin(session, &AdminService::Stub::DeleteTopic, request);
      if (!answer.ok()) return answer.status();
      if (invocation.json) {
        std::cout << ordered_json({{"name", *delete_name}, {"result", "deleted"}}).dump() << "\n";
      } else {
        std::cout << "topic " << *delete_name << " deleted\n";
      }
      return absl::OkStatus();
    };
  });
}

}  // namespace fulmar::ctl
