#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "tools/fulmarctl/commands.h"
#include "tools/fulmarctl/output.h"

namespace fulmar::ctl {
namespace {

using admin::v1::AdminService;
using nlohmann::ordered_json;

absl::Status ClusterStatus(Session& session, bool json) {
  const auto answer = CallAdmin(session, &AdminService::Stub::GetClusterStatus, admin::v1::GetClusterStatusRequest());
  if (!answer.ok()) return answer.status();
  bool healthy = answer->shards_size() > 0;
  for (const admin::v1::ShardStatus& shard : answer->shards()) healthy = healthy && shard.serving();
  for (const admin::v1::ServiceStatus& service : answer->services()) healthy = healthy && service.serving();
  if (json) {
    ordered_json out = {{"healthy", healthy}, {"shards", ordered_json::array()}, {"services", ordered_json::array()}};
    for (const admin::v1::ShardStatus& shard : answer->shards()) {
      out["shards"].push_back({{"name", shard.name()},
                               {"endpoint", shard.endpoint()},
                               {"serving", shard.serving()},
                               {"problem", shard.problem()},
                               {"term", shard.term()},
                               {"version", shard.version()},
                               {"log",
                                {{"firstIndex", shard.log().first_index()},
                                 {"lastIndex", shard.log().last_index()},
                                 {"committed", shard.log().committed()},
                                 {"applied", shard.log().applied()},
                                 {"bytes", shard.log().end_position() - shard.log().begin_position()},
                                 {"segmentFiles", shard.log().segment_files()},
                                 {"diskBytes", shard.log().disk_bytes()},
                                 {"pendingBytes", shard.log().pending_bytes()},
                                 {"spaceExhausted", shard.log().space_exhausted()}}},
                               {"indexDiskBytes", shard.index_disk_bytes()},
                               {"topics", shard.topics()},
                               {"groups", shard.groups()},
                               {"queues", shard.queues()},
                               {"parkedReceives", shard.parked_receives()},
                               {"inFlight", shard.in_flight()},
                               {"clients", shard.clients()}});
    }
    for (const admin::v1::ServiceStatus& service : answer->services()) {
      out["services"].push_back({{"role", service.role()},
                                 {"endpoint", service.endpoint()},
                                 {"serving", service.serving()},
                                 {"problem", service.problem()},
                                 {"version", service.version()}});
    }
    std::cout << out.dump() << "\n";
    return absl::OkStatus();
  }
  std::vector<std::vector<std::string>> rows;
  for (const admin::v1::ShardStatus& shard : answer->shards()) {
    rows.push_back({shard.name(), shard.endpoint(), shard.serving() ? "serving" : "NOT SERVING", absl::StrCat(shard.term()),
                    absl::StrCat(shard.topics()), absl::StrCat(shard.groups()), absl::StrCat(shard.clients()),
                    absl::StrCat(shard.in_flight()), BytesText(shard.log().end_position() - shard.log().begin_position()),
                    BytesText(shard.log().disk_bytes() + shard.index_disk_bytes()), shard.version(),
                    shard.problem().empty() ? "-" : shard.problem()});
  }
  std::cout << Table({"SHARD", "ENDPOINT", "STATE", "TERM", "TOPICS", "GROUPS", "CLIENTS", "IN FLIGHT", "LOG", "DISK", "VERSION", "PROBLEM"}, rows);
  if (answer->shards().empty()) std::cout << "(no broker has announced itself)\n";
  rows.clear();
  for (const admin::v1::ServiceStatus& service : answer->services()) {
    rows.push_back({service.role(), service.endpoint(), service.serving() ? "serving" : "NOT SERVING", service.version(),
                    service.problem().empty() ? "-" : service.problem()});
  }
  if (!rows.empty()) std::cout << "\n" << Table({"SERVICE", "ENDPOINT", "STATE", "VERSION", "PROBLEM"}, rows);
  return absl::OkStatus();
}

}  // namespace

void AddClusterCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* cluster = app.add_subcommand("cluster", "Look at the cluster")->require_subcommand(1);
  CLI::App* status = cluster->add_subcommand("status", "Shards and services: who serves, since which term, how full");
  status->callback([&invocation] {
    invocation.run = [&invocation](Session& session) { return ClusterStatus(session, invocation.json); };
  });

  CLI::App* log_level = app.add_subcommand("log-level", "Change how much the server at the endpoint logs, until it restarts");
  auto level = std::make_shared<std::string>();
  log_level->add_option("LEVEL", *level, "debug, info, warn or error")->required()->check(CLI::IsMember({"debug", "info", "warn", "error"}));
  log_level->callback([&invocation, level] {
    invocation.run = [&invocation, level](Session& session) -> absl::Status {
      admin::v1::SetLogLevelRequest request;
      request.set_level(*level);
      const auto answer = CallAdmin(session, &AdminService::Stub::SetLogLevel, request);
      if (!answer.ok()) return answer.status();
      if (invocation.json) {
        std::cout << ordered_json({{"level", *level}, {"previous", answer->previous()}}).dump() << "\n";
      } else {
        std::cout << "log level " << *level << " (was " << answer->previous() << ")\n";
      }
      return absl::OkStatus();
    };
  });
}

}  // namespace fulmar::ctl
