#include "services/registry/admin_remote_client.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/grpc/rpc_client.h"

namespace fulmar::registry {
namespace {

absl::Status FromGrpc(const BrokerView& broker, const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      absl::StrCat("shard '", broker.shard, "' at ", ToString(broker.endpoint), ": ", status.error_message()));
}

absl::Status NoShard() { return absl::UnavailableError("no broker has announced itself to this registry yet"); }

// Collects the answers of several brokers; the first error that is not NotFound is the result, NotFound only when all say so.
template <class Response>
struct Collected {
  Response merged;
  absl::Status error;
  absl::Status not_found;
  bool any = false;

  template <class Merge>
  void Take(const absl::StatusOr<Response>& answer, Merge merge) {
    if (answer.ok()) {
      any = true;
      merge(*answer, merged);
    } else if (absl::IsNotFound(answer.status())) {
      not_found = answer.status();
    } else if (error.ok()) {
      error = answer.status();
    }
  }
  absl::StatusOr<Response> Result() {
    if (!error.ok()) return error;
    if (!any && !not_found.ok()) return not_found;
    return std::move(merged);
  }
};

}  // namespace

RemoteAdminView::RemoteAdminView(common::RpcClients& clients, RouteTable& table, MakeChannel make_channel,
                                 std::function<std::vector<admin::v1::ServiceStatus>()> own_services, absl::Duration timeout)
    : clients_(clients), table_(table), make_channel_(std::move(make_channel)), own_services_(std::move(own_services)), timeout_(timeout) {}

RemoteAdminView::~RemoteAdminView() = default;

common::RpcClient& RemoteAdminView::ClientOf(const std::string& endpoint) {
  absl::MutexLock lock(&mutex_);
  std::unique_ptr<common::RpcClient>& client = by_endpoint_[endpoint];
  if (client == nullptr) client = std::make_unique<common::RpcClient>(clients_, make_channel_(endpoint), "fulmar.admin.v1.AdminService");
  return *client;
}

template <class Request, class Response>
void RemoteAdminView::AskLeaders(std::vector<BrokerView> leaders, const Request& request, const char* method,
                                 std::function<void(const BrokerView&, const absl::StatusOr<Response>&)> merge,
                                 absl::AnyInvocable<void() &&> finish) {
  struct Round {
    absl::Mutex mutex;
    size_t left = 0;
    std::function<void(const BrokerView&, const absl::StatusOr<Response>&)> merge;
    absl::AnyInvocable<void() &&> finish;
  };
  auto round = std::make_shared<Round>();
  round->left = leaders.size();
  round->merge = std::move(merge);
  round->finish = std::move(finish);
  for (BrokerView& leader : leaders) {
    common::RpcClient& client = ClientOf(ToString(leader.endpoint));
    client.Unary<Response>(method, request, timeout_,
                           [round, broker = std::move(leader)](const grpc::Status& status, const grpc::ClientContext&, Response& response) {
                             const absl::StatusOr<Response> answer =
                                 status.ok() ? absl::StatusOr<Response>(std::move(response)) : FromGrpc(broker, status);
                             bool last = false;
                             {
                               absl::MutexLock lock(&round->mutex);
                               round->merge(broker, answer);
                               last = --round->left == 0;
                             }
                             if (last) std::move(round->finish)();
                           });
  }
}

void RemoteAdminView::DescribeTopic(std::string topic, index::Done<admin::v1::DescribeTopicResponse> done) {
  using Response = admin::v1::DescribeTopicResponse;
  std::vector<BrokerView> leaders = table_.Leaders({});
  if (leaders.empty()) return std::move(done)(NoShard());
  admin::v1::DescribeTopicRequest request;
  request.set_name(std::move(topic));
  auto all = std::make_shared<Collected<Response>>();
  AskLeaders<admin::v1::DescribeTopicRequest, Response>(
      std::move(leaders), std::move(request),
      "DescribeTopic",
      [all](const BrokerView&, const absl::StatusOr<Response>& answer) {
        all->Take(answer, [](const Response& one, Response& merged) {
          *merged.mutable_topic() = one.topic();
          merged.mutable_queues()->MergeFrom(one.queues());
          merged.set_messages_in(merged.messages_in() + one.messages_in());
          merged.set_bytes_in(merged.bytes_in() + one.bytes_in());
        });
      },
      [all, done = std::move(done)]() mutable { std::move(done)(all->Result()); });
}

void RemoteAdminView::DescribeGroup(std::string group, index::Done<admin::v1::DescribeGroupResponse> done) {
  using Response = admin::v1::DescribeGroupResponse;
  std::vector<BrokerView> leaders = table_.Leaders({});
  if (leaders.empty()) return std::move(done)(NoShard());
  admin::v1::DescribeGroupRequest request;
  request.set_name(std::move(group));
  auto all = std::make_shared<Collected<Response>>();
  AskLeaders<admin::v1::DescribeGroupRequest, Response>(
      std::move(leaders), std::move(request),
      "DescribeGroup",
      [all](const BrokerView&, const absl::StatusOr<Response>& answer) {
        all->Take(answer, [](const Response& one, Response& merged) {
          *merged.mutable_group() = one.group();
          merged.mutable_queues()->MergeFrom(one.queues());
          merged.mutable_client_ids()->MergeFrom(one.client_ids());
        });
      },
      [all, done = std::move(done)]() mutable { std::move(done)(all->Result()); });
}

void RemoteAdminView::ResetGroupOffset(admin::v1::ResetGroupOffsetRequest request, index::DoneStatus done) {
  using Response = admin::v1::ResetGroupOffsetResponse;
  std::vector<BrokerView> leaders = table_.Leaders({});
  if (leaders.empty()) return std::move(done)(NoShard());
  auto all = std::make_shared<Collected<Response>>();
  AskLeaders<admin::v1::ResetGroupOffsetRequest, Response>(
      std::move(leaders), std::move(request),
      "ResetGroupOffset",
      [all](const BrokerView&, const absl::StatusOr<Response>& answer) { all->Take(answer, [](const Response&, Response&) {}); },
      [all, done = std::move(done)]() mutable { std::move(done)(all->Result().status()); });
}

void RemoteAdminView::ClusterStatus(index::Done<admin::v1::GetClusterStatusResponse> done) {
  using Response = admin::v1::GetClusterStatusResponse;
  auto status = std::make_shared<Response>();
  for (admin::v1::ServiceStatus& service : own_services_()) *status->add_services() = std::move(service);
  std::vector<BrokerView> leaders = table_.Leaders({});
  if (leaders.empty()) return std::move(done)(std::move(*status));
  AskLeaders<admin::v1::GetClusterStatusRequest, Response>(
      std::move(leaders), {},
      "GetClusterStatus",
      [status](const BrokerView& broker, const absl::StatusOr<Response>& answer) {
        if (answer.ok()) {
          status->mutable_shards()->MergeFrom(answer->shards());
          return;
        }
        admin::v1::ShardStatus* row = status->add_shards();
        row->set_name(broker.shard);
        row->set_endpoint(ToString(broker.endpoint));
        row->set_term(broker.term);
        row->set_version(broker.version);
        row->set_problem(std::string(answer.status().message()));
      },
      [status, done = std::move(done)]() mutable { std::move(done)(std::move(*status)); });
}

}  // namespace fulmar::registry
