#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tools/fulmarctl/commands.h"
#include "tools/fulmarctl/output.h"

namespace fulmar::ctl {
namespace {

using admin::v1::AdminService;
using nlohmann::ordered_json;

std::string OrderText(admin::v1::DeliveryOrder order) {
  switch (order) {
    case admin::v1::DELIVERY_ORDER_FIFO: return "fifo";
    case admin::v1::DELIVERY_ORDER_CONCURRENT: return "concurrent";
    default: return "by topic";
  }
}
std::string FromText(admin::v1::StartFrom from) { return from == admin::v1::START_FROM_LATEST ? "latest" : "earliest"; }
std::string ModeText(admin::v1::ConsumeMode mode) { return mode == admin::v1::CONSUME_MODE_BROADCAST ? "broadcast" : "clustering"; }

ordered_json ToJson(const admin::v1::Group& group) {
  ordered_json delays = ordered_json::array();
  for (const google::protobuf::Duration& delay : group.retry_delays()) delays.push_back(delay.seconds() + delay.nanos() / 1e9);
  return {{"name", group.name()},
          {"version", group.version()},
          {"order", OrderText(group.order())},
          {"from", FromText(group.from())},
          {"mode", ModeText(group.mode())},
          {"suspended", group.suspended()},
          {"maxAttempts", group.max_attempts()},
          {"retryDelaysSeconds", delays},
          {"quota", {{"messages", group.quota().messages()}, {"bytes", group.quota().bytes()}}},
          {"created", TimeText(TimeOf(group.created()))}};
}

struct GroupArguments {
  std::string name, order, from;
  int max_attempts = 0;
  QuotaArguments quota;
  std::vector<std::string> retry_delays;
};

void AddSettings(CLI::App& command, const std::shared_ptr<GroupArguments>& arguments) {
  command.add_option("NAME", arguments->name, "The consumer group's name")->required();
  command.add_option("--order", arguments->order, "fifo: one message of a message group at a time; concurrent: no order. Without it the topic decides: FIFO and mixed topics are in order")
      ->check(CLI::IsMember({"concurrent", "fifo"}, CLI::ignore_case));
  command.add_option("--max-attempts", arguments->max_attempts, "Deliveries before a message becomes a dead letter")
      ->check(CLI::Range(1, 1000));
  command.add_option("--from", arguments->from, "Where a new group starts: earliest or latest")
      ->check(CLI::IsMember({"earliest", "latest"}, CLI::ignore_case));
  command.add_option("--retry-delays", arguments->retry_delays, "Delays before the next deliveries, such as 1s,5s,1m; the last one repeats")
      ->delimiter(',')
      ->check(DurationText());
  AddQuotaOptions(command, arguments->quota, "delivered");
}

admin::v1::Group ToProto(const GroupArguments& arguments) {
  admin::v1::Group group;
  group.set_name(arguments.name);
  if (!arguments.order.empty()) {
    group.set_order(absl::EqualsIgnoreCase(arguments.order, "fifo") ? admin::v1::DELIVERY_ORDER_FIFO
                                                                    : admin::v1::DELIVERY_ORDER_CONCURRENT);
  }
  if (!arguments.from.empty()) {
    group.set_from(absl::EqualsIgnoreCase(arguments.from, "latest") ? admin::v1::START_FROM_LATEST : admin::v1::START_FROM_EARLIEST);
  }
  FillQuota(arguments.quota, *group.mutable_quota());
  group.set_max_attempts(arguments.max_attempts);
  for (const std::string& text : arguments.retry_delays) *group.add_retry_delays() = DurationProto(text);
  return group;
}

void PrintGroup(const admin::v1::Group& group, bool json, const std::string& did) {
  if (json) {
    ordered_json out = ToJson(group);
    out["result"] = did;
    std::cout << out.dump() << "\n";
    return;
  }
  std::cout << "group " << group.name() << " " << did << ": " << OrderText(group.order()) << ", at most " << group.max_attempts()
            << " attempts, from " << FromText(group.from()) << "\n";
}

absl::Status Describe(Session& session, const std::string& name, bool json) {
  admin::v1::DescribeGroupRequest request;
  request.set_name(name);
  const auto answer = CallAdmin(session, &AdminService::Stub::DescribeGroup, request);
  if (!answer.ok()) return answer.status();
  int64_t lag = 0, in_flight = 0, waiting = 0;
  for (const admin::v1::GroupQueueState& queue : answer->queues()) {
    lag += queue.lag();
    in_flight += queue.in_flight();
    waiting += queue.waiting_retry();
  }
  if (json) {
    ordered_json out = ToJson(answer->group());
    out["lag"] = lag;
    out["inFlight"] = in_flight;
    out["waitingRetry"] = waiting;
    out["clients"] = std::vector<std::string>(answer->client_ids().begin(), answer->client_ids().end());
    out["queueStates"] = ordered_json::array();
    for (const admin::v1::GroupQueueState& queue : answer->queues()) {
      ordered_json row = {{"shard", queue.shard()},          {"topic", queue.topic()},           {"queue", queue.queue()},
                          {"minOffset", queue.min_offset()}, {"nextOffset", queue.next_offset()}, {"cursor", queue.cursor()},
                          {"lag", queue.lag()},              {"inFlight", queue.in_flight()},     {"waitingRetry", queue.waiting_retry()}};
      row["oldestUnconsumed"] = nullptr;
      if (queue.has_oldest_unconsumed()) row["oldestUnconsumed"] = TimeText(TimeOf(queue.oldest_unconsumed()));
      out["queueStates"].push_back(std::move(row));
    }
    std::cout << out.dump() << "\n";
    return absl::OkStatus();
  }
  const admin::v1::Group& group = answer->group();
  std::vector<std::string> delays;
  for (const google::protobuf::Duration& delay : group.retry_delays()) {
    delays.push_back(absl::FormatDuration(absl::Seconds(delay.seconds()) + absl::Nanoseconds(delay.nanos())));
  }
  std::cout << "Group         " << group.name() << " (version " << group.version() << ")\n"
            << "Order         " << OrderText(group.order()) << "\n"
            << "Mode          " << ModeText(group.mode()) << "\n"
            << "Delivers      " << (group.suspended() ? "no: suspended, go on with `group resume`" : "yes") << "\n"
            << "Quota         " << QuotaText(group.quota()) << "\n"
            << "Starts from   " << FromText(group.from()) << "\n"
            << "Max attempts  " << group.max_attempts() << "\n"
            << "Retry delays  " << absl::StrJoin(delays, " ") << "\n"
            << "Created       " << TimeText(TimeOf(group.created())) << "\n"
            << "Clients       " << (answer->client_ids().empty() ? "none" : absl::StrJoin(answer->client_ids(), ", ")) << "\n"
            << "Lag           " << lag << " (in flight " << in_flight << ", waiting for retry " << waiting << ")\n\n";
  std::vector<std::vector<std::string>> rows;
  const absl::Time now = absl::Now();
  for (const admin::v1::GroupQueueState& queue : answer->queues()) {
    rows.push_back({queue.shard(), queue.topic(), absl::StrCat(queue.queue()), absl::StrCat(queue.cursor()),
                    absl::StrCat(queue.next_offset()), absl::StrCat(queue.lag()), absl::StrCat(queue.in_flight()),
                    absl::StrCat(queue.waiting_retry()),
                    queue.has_oldest_unconsumed() ? AgeText(now - TimeOf(queue.oldest_unconsumed())) + " ago" : "-"});
  }
  std::cout << Table({"SHARD", "TOPIC", "QUEUE", "CURSOR", "NEXT OFFSET", "LAG", "IN FLIGHT", "RETRY", "OLDEST UNCONSUMED"}, rows);
  return absl::OkStatus();
}

absl::Status SetSuspended(Session& session, const std::string& name, bool suspended, bool json) {
  admin::v1::UpdateGroupRequest request;
  request.mutable_group()->set_name(name);
  request.mutable_group()->set_suspended(suspended);
  const auto answer = CallAdmin(session, &AdminService::Stub::UpdateGroup, request);
  if (!answer.ok()) return answer.status();
  PrintGroup(answer->group(), json, suspended ? "suspended" : "resumed");
  return absl::OkStatus();
}

struct ResetArguments {
  std::string group, topic, to, time;
  int64_t offset = -1;
};

absl::Status Reset(Session& session, const ResetArguments& arguments, bool json) {
  admin::v1::ResetGroupOffsetRequest request;
  request.set_group(arguments.group);
  request.set_topic(arguments.topic);
  std::string to = arguments.to;
  if (arguments.offset >= 0) {
    request.set_offset(arguments.offset);
    to = absl::StrCat("offset ", arguments.offset);
  } else if (!arguments.time.empty()) {
    absl::Time time;
    std::string error;
    absl::Duration ago;
    if (absl::ParseDuration(arguments.time, &ago)) {
      time = absl::Now() - ago;
    } else if (!absl::ParseTime(absl::RFC3339_full, arguments.time, &time, &error)) {
      return absl::InvalidArgumentError(absl::StrCat("'", arguments.time, "' is neither a time such as 2026-01-31T12:00:00Z nor an age such as 2h"));
    }
    request.mutable_time()->set_seconds(absl::ToUnixSeconds(time));
    request.mutable_time()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(absl::ToUnixSeconds(time)))));
    to = TimeText(time);
  } else if (to == "latest") {
    request.set_latest(true);
  } else if (to == "earliest") {
    request.set_earliest(true);
  } else {
    return absl::InvalidArgumentError("say where to: --to earliest|latest, --time TIME or --offset N");
  }
  const auto answer = CallAdmin(session, &AdminService::Stub::ResetGroupOffset, request);
  if (!answer.ok()) return answer.status();
  if (json) {
    std::cout << ordered_json({{"group", arguments.group}, {"topic", arguments.topic}, {"to", to}, {"result", "reset"}}).dump() << "\n";
  } else {
    std::cout << "group " << arguments.group << " reset to " << to << " in topic " << arguments.topic << "\n";
  }
  return absl::OkStatus();
}

}  // namespace

void AddGroupCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* group = app.add_subcommand("group", "Create, change, list, describe, suspend, reset and delete consumer groups")->require_subcommand(1);

  auto create_arguments = std::make_shared<GroupArguments>();
  CLI::App* create = group->add_subcommand("create", "Create a consumer group; done already is fine when the settings are the same");
  AddSettings(*create, create_arguments);
  create->callback([&invocation, create_arguments] {
    invocation.run = [&invocation, create_arguments](Session& session) -> absl::Status {
      admin::v1::CreateGroupRequest request;
      *request.mutable_group() = ToProto(*create_arguments);
      const auto answer = CallAdmin(session, &AdminService::Stub::CreateGroup, request);
      if (!answer.ok()) return answer.status();
      PrintGroup(answer->group(), invocation.json, answer->created() ? "created" : "exists");
      return absl::OkStatus();
    };
  });

  auto update_arguments = std::make_shared<GroupArguments>();
  CLI::App* update = group->add_subcommand("update", "Change settings of a consumer group");
  AddSettings(*update, update_arguments);
  update->callback([&invocation, update_arguments] {
    invocation.run = [&invocation, update_arguments](Session& session) -> absl::Status {
      admin::v1::UpdateGroupRequest request;
      *request.mutable_group() = ToProto(*update_arguments);
      const auto answer = CallAdmin(session, &AdminService::Stub::UpdateGroup, request);
      if (!answer.ok()) return answer.status();
      PrintGroup(answer->group(), invocation.json, "updated");
      return absl::OkStatus();
    };
  });

  CLI::App* list = group->add_subcommand("list", "List the consumer groups");
  list->callback([&invocation] {
    invocation.run = [&invocation](Session& session) -> absl::Status {
      const auto answer = CallAdmin(session, &AdminService::Stub::ListGroups, admin::v1::ListGroupsRequest());
      if (!answer.ok()) return answer.status();
      if (invocation.json) {
        ordered_json out = ordered_json::array();
        for (const admin::v1::Group& one : answer->groups()) out.push_back(ToJson(one));
        std::cout << out.dump() << "\n";
        return absl::OkStatus();
      }
      std::vector<std::vector<std::string>> rows;
      for (const admin::v1::Group& one : answer->groups()) {
        rows.push_back({one.name(), OrderText(one.order()), absl::StrCat(one.max_attempts()), FromText(one.from()),
                        TimeText(TimeOf(one.created()))});
      }
      std::cout << Table({"GROUP", "ORDER", "MAX ATTEMPTS", "FROM", "CREATED"}, rows);
      return absl::OkStatus();
    };
  });

  auto describe_name = std::make_shared<std::string>();
  CLI::App* describe = group->add_subcommand("describe", "Show lag, messages in flight and the oldest unconsumed message per queue");
  describe->add_option("NAME", *describe_name, "The consumer group's name")->required();
  describe->callback([&invocation, describe_name] {
    invocation.run = [&invocation, describe_name](Session& session) { return Describe(session, *describe_name, invocation.json); };
  });

  for (const bool suspended : {true, false}) {
    auto name = std::make_shared<std::string>();
    CLI::App* command = suspended ? group->add_subcommand("suspend", "Deliver nothing to a group until it is resumed; what is in flight can be acknowledged")
                                  : group->add_subcommand("resume", "Deliver to a suspended group again");
    command->add_option("NAME", *name, "The consumer group's name")->required();
    command->callback([&invocation, name, suspended] {
      invocation.run = [&invocation, name, suspended](Session& session) { return SetSuspended(session, *name, suspended, invocation.json); };
    });
  }

  auto reset_arguments = std::make_shared<ResetArguments>();
  CLI::App* reset = group->add_subcommand("reset-offset", "Move a group in a topic, forward or back");
  reset->add_option("NAME", reset_arguments->group, "The consumer group's name")->required();
  reset->add_option("--topic", reset_arguments->topic, "In which topic")->required();
  CLI::Option* to = reset->add_option("--to", reset_arguments->to, "earliest or latest")
                        ->transform(CLI::CheckedTransformer(std::map<std::string, std::string>{{"earliest", "earliest"}, {"latest", "latest"}},
                                                            CLI::ignore_case));
  CLI::Option* time = reset->add_option("--time", reset_arguments->time, "To the first message stored at this time (RFC 3339) or this long ago (2h)");
  CLI::Option* offset = reset->add_option("--offset", reset_arguments->offset, "To this offset in every queue")->check(CLI::NonNegativeNumber);
  to->excludes(time)->excludes(offset);
  time->excludes(offset);
  reset->callback([&invocation, reset_arguments] {
    invocation.run = [&invocation, reset_arguments](Session& session) { return Reset(session, *reset_arguments, invocation.json); };
  });

  auto delete_name = std::make_shared<std::string>();
  CLI::App* remove = group->add_subcommand("delete", "Delete a consumer group with its progress");
  remove->add_option("NAME", *delete_name, "The consumer group's name")->required();
  remove->callback([&invocation, delete_name] {
    invocation.run = [&invocation, delete_name](Session& session) -> absl::Status {
      admin::v1::DeleteGroupRequest request;
      request.set_name(*delete_name);
      const auto answer = CallAdmin(session, &AdminService::Stub::DeleteGroup, request);
      if (!answer.ok()) return answer.status();
      if (invocation.json) {
        std::cout << ordered_json({{"name", *delete_name}, {"result", "deleted"}}).dump() << "\n";
      } else {
        std::cout << "group " << *delete_name << " deleted\n";
      }
      return absl::OkStatus();
    };
  });
}

}  // namespace fulmar::ctl
