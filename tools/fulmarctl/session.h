#ifndef FULMAR_TOOLS_FULMARCTL_SESSION_H_
#define FULMAR_TOOLS_FULMARCTL_SESSION_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "apache/rocketmq/v2/service.grpc.pb.h"
#include "fulmar/admin/v1/admin.grpc.pb.h"

namespace fulmar::ctl {

namespace v2 = apache::rocketmq::v2;

struct SessionOptions {
  std::string endpoint = "127.0.0.1:8081";
  bool tls = false;
  std::string ca_file;             // empty: the system's roots
  bool skip_verify = false;        // take any certificate (a self-signed one of `standalone`)
  absl::Duration timeout = absl::Seconds(5);
  std::string resource_namespace;  // of topics and groups in messages
};

// Connections to the endpoint and to the brokers that routes name. Single-threaded use.
class Session {
 public:
  explicit Session(SessionOptions options);

  const SessionOptions& options() const { return options_; }
  const std::string& client_id() const { return client_id_; }
  admin::v1::AdminService::Stub& admin() { return *admin_; }
  // The messaging service at "host:port"; "" is the endpoint itself.
  v2::MessagingService::Stub& messaging(const std::string& address = "");

  // To the endpoint itself, for services that only one kind of server has.
  std::shared_ptr<grpc::Channel> channel() { return ChannelTo(options_.endpoint); }

  // A context with deadline and the metadata that the protocol asks of clients. `extra` is added to the deadline (long polls).
  std::unique_ptr<grpc::ClientContext> NewContext(absl::Duration extra = absl::ZeroDuration()) const;

  // `address` and what went wrong; for "no answer" also what to check.
  absl::Status ToStatus(const grpc::Status& status, const std::string& address = "") const;
  static absl::Status ToStatus(const v2::Status& status);

  v2::Resource Name(const std::string& name) const;

 private:
  std::shared_ptr<grpc::Channel> ChannelTo(const std::string& address);

  const SessionOptions options_;
  const std::string client_id_;
  std::map<std::string, std::shared_ptr<grpc::Channel>> channels_;
  std::map<std::string, std::unique_ptr<v2::MessagingService::Stub>> messaging_;
  std::unique_ptr<admin::v1::AdminService::Stub> admin_;
};

// Calls one unary admin RPC: `Call(session, &Stub::ListTopics, request)`.
template <class Request, class Response>
absl::StatusOr<Response> CallAdmin(Session& session,
                                   grpc::Status (admin::v1::AdminService::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                   const Request& request) {
  Response response;
  std::unique_ptr<grpc::ClientContext> context = session.NewContext();
  const grpc::Status status = (session.admin().*method)(context.get(), request, &response);
  if (!status.ok()) return session.ToStatus(status);
  return response;
}

inline absl::Time TimeOf(const google::protobuf::Timestamp& time) {
  return absl::UnixEpoch() + absl::Seconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

}  // namespace fulmar::ctl

#endif  // FULMAR_TOOLS_FULMARCTL_SESSION_H_
