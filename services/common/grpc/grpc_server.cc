#include "services/common/grpc/grpc_server.h"

#include <grpcpp/security/server_credentials.h>

#include <chrono>
#include <utility>

#include "services/common/grpc/reflection_handler.h"
#include "services/common/log.h"
#include "services/common/status.h"

namespace fulmar::common {
namespace {

using FdAcceptor = grpc::ServerBuilder::experimental_type::ExternalConnectionType;

std::shared_ptr<grpc::ServerCredentials> TlsCredentials(const TlsIdentity& identity) {
  grpc::SslServerCredentialsOptions options(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  options.pem_key_cert_pairs.push_back({identity.private_key, identity.certificate_chain});
  return grpc::SslServerCredentials(options);
}

// What keeps clients of all languages connected.
void SetChannelArguments(const GrpcServerOptions& options, grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);                     // Java and C++ ping idle channels
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);  // C++ pings every 60 s; the default allows 300 s
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);                             // finds peers that vanished without a word
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.SetMaxReceiveMessageSize(options.max_receive_message_bytes);
  builder.SetMaxSendMessageSize(-1);
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Create(GrpcServerOptions options, Metrics& metrics) {
  if (options.tls != TlsMode::kPlaintextOnly && options.identity.private_key.empty())
    return absl::InvalidArgumentError("TLS is on but there is no certificate");
  FULMAR_ASSIGN_OR_RETURN(std::unique_ptr<Listener> listener, Listener::Bind(options, metrics));
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(options), std::move(listener)));
}

GrpcServer::GrpcServer(GrpcServerOptions options, std::unique_ptr<Listener> listener) : options_(std::move(options)), listener_(std::move(listener)) {
  SetChannelArguments(options_, builder_);
  if (options_.tls != TlsMode::kTlsOnly)
    plaintext_ = builder_.experimental().AddExternalConnectionAcceptor(FdAcceptor::FROM_FD, grpc::InsecureServerCredentials());
  if (options_.tls != TlsMode::kPlaintextOnly)
    tls_ = builder_.experimental().AddExternalConnectionAcceptor(FdAcceptor::FROM_FD, TlsCredentials(options_.identity));
  data_plane_ = std::make_unique<CqExecutor>("data-plane", builder_.AddCompletionQueue());
  dispatcher_ = std::make_unique<RpcDispatcher>(*data_plane_);
  clients_ = std::make_unique<RpcClients>(*data_plane_);
  builder_.RegisterAsyncGenericService(&dispatcher_->service());
}

GrpcServer::~GrpcServer() { Shutdown(absl::ZeroDuration()); }

void GrpcServer::AddService(const RpcService& service) {
  dispatcher_->Add(service);
  names_.push_back(service.name());
}

void GrpcServer::AddRawMethods(grpc::Service& methods) { builder_.RegisterService(&methods); }

absl::Status GrpcServer::Start() {
  listed_ = names_;
  reflection_v1_ = MakeReflectionV1(listed_);
  reflection_v1alpha_ = MakeReflectionV1Alpha(listed_);
  for (const RpcService* service : {static_cast<const RpcService*>(&health_), static_cast<const RpcService*>(reflection_v1_.get()),
                                    static_cast<const RpcService*>(reflection_v1alpha_.get())}) {
    dispatcher_->Add(*service);
    listed_.push_back(service->name());
  }
  SetAllServing(false);
  server_ = builder_.BuildAndStart();
  if (server_ == nullptr) return absl::InternalError("gRPC refuses to start a server; its log says why");
  data_plane_->Start();
  data_plane_->Post([this] { dispatcher_->Start(); });
  listener_->Start([this](int fd, bool tls) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
    connection.fd = fd;
    (tls ? tls_ : plaintext_)->HandleNewConnection(&connection);
  });
  FULMAR_LOG(kInfo, "grpc_listening", {{"address", options_.listen}, {"port", port()}, {"plaintext", plaintext_ != nullptr}, {"tls", tls_ != nullptr}});
  return absl::OkStatus();
}

void GrpcServer::SetServing(std::string_view service, bool serving) { health_.Set(std::string(service), serving); }

void GrpcServer::SetAllServing(bool serving) {
  SetServing("", serving);
  for (const std::string& name : names_) SetServing(name, serving);
}

void GrpcServer::Shutdown(absl::Duration grace) {
  if (std::exchange(stopped_, true)) return;
  if (server_ != nullptr) {
    health_.Stop();
    listener_->Stop();
    server_->Shutdown(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(grace));
  } else {
    data_plane_->Start();  // clients may have begun calls that only the queue can end
  }
  clients_->CancelAll();  // who owes an answer may be waiting for one of theirs
  dispatcher_->WaitUntilEmpty();
  clients_->WaitUntilEmpty();
  data_plane_->Stop();
}

}  // namespace fulmar::common
