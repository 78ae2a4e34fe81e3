#include "tools/fulmarctl/session.h"

#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace fulmar::ctl {
namespace {

std::string MakeClientId() {
  char host[256] = "localhost";
  gethostname(host, sizeof host - 1);
  return absl::StrCat(host, "@", getpid(), "@fulmarctl@", absl::Hex(absl::ToUnixMicros(absl::Now())));
}

std::shared_ptr<grpc::ChannelCredentials> CredentialsOf(const SessionOptions& options) {
  if (!options.tls) return grpc::InsecureChannelCredentials();
  if (options.skip_verify) {
    grpc::experimental::TlsChannelCredentialsOptions tls;
    tls.set_verify_server_certs(false);
    tls.set_check_call_host(false);
    tls.set_certificate_verifier(std::make_shared<grpc::experimental::NoOpCertificateVerifier>());
    return grpc::experimental::TlsCredentials(tls);
  }
  grpc::SslCredentialsOptions ssl;
  if (!options.ca_file.empty()) {
    std::ifstream file(options.ca_file);
    ssl.pem_root_certs.assign(std::istreambuf_iterator<char>(file), {});
  }
  return grpc::SslCredentials(ssl);
}

}  // namespace

Session::Session(SessionOptions options) : options_(std::move(options)), client_id_(MakeClientId()) {
  admin_ = admin::v1::AdminService::NewStub(ChannelTo(options_.endpoint));
}

std::shared_ptr<grpc::Channel> Session::ChannelTo(const std::string& address) {
  std::shared_ptr<grpc::Channel>& channel = channels_[address];
  if (channel == nullptr) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    channel = grpc::CreateCustomChannel(address, CredentialsOf(options_), arguments);
  }
  return channel;
}

v2::MessagingService::Stub& Session::messaging(const std::string& address) {
  const std::string& target = address.empty() ? options_.endpoint : address;
  std::unique_ptr<v2::MessagingService::Stub>& stub = messaging_[target];
  if (stub == nullptr) stub = v2::MessagingService::NewStub(ChannelTo(target));
  return *stub;
}

std::unique_ptr<grpc::ClientContext> Session::NewContext(absl::Duration extra) const {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(absl::ToChronoTime(absl::Now() + options_.timeout + extra));
  context->AddMetadata("x-mq-client-id", client_id_);
  context->AddMetadata("x-mq-language", "CPP");
  context->AddMetadata("x-mq-client-version", "fulmarctl");
  context->AddMetadata("x-mq-protocol-version", "v2");
  if (!options_.resource_namespace.empty()) context->AddMetadata("x-mq-namespace", options_.resource_namespace);
  return context;
}

absl::Status Session::ToStatus(const grpc::Status& status, const std::string& address) const {
  if (status.ok()) return absl::OkStatus();
  const std::string& target = address.empty() ? options_.endpoint : address;
  const auto code = static_cast<absl::StatusCode>(status.error_code());  // same numbers
  if (code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kDeadlineExceeded) {
    return absl::Status(code, absl::StrCat("no answer from ", target, " within ", absl::FormatDuration(options_.timeout), " (",
                                           status.error_message(), "); is the server running there, and does it speak ",
                                           options_.tls ? "TLS" : "plaintext (else use --tls)", "?"));
  }
  return absl::Status(code, status.error_message());
}

absl::Status Session::ToStatus(const v2::Status& status) {
  const int code = status.code();
  if (code == v2::OK || code == v2::MULTIPLE_RESULTS) return absl::OkStatus();
  const std::string text = absl::StrCat(v2::Code_Name(status.code()), ": ", status.message());
  if (code == v2::NOT_FOUND || (code > v2::NOT_FOUND && code < v2::NOT_FOUND + 100)) return absl::NotFoundError(text);
  if (code == v2::UNAUTHORIZED) return absl::UnauthenticatedError(text);
  if (code == v2::FORBIDDEN) return absl::PermissionDeniedError(text);
  if (code == v2::TOO_MANY_REQUESTS) return absl::ResourceExhaustedError(text);
  if (code == v2::NOT_IMPLEMENTED || code == v2::UNSUPPORTED) return absl::UnimplementedError(text);
  if (code == v2::HA_NOT_AVAILABLE) return absl::UnavailableError(text);
  if (code >= 40000 && code < 50000) return absl::InvalidArgumentError(text);
  return absl::InternalError(text);
}

v2::Resource Session::Name(const std::string& name) const {
  v2::Resource resource;
  resource.set_name(name);
  resource.set_resource_namespace(options_.resource_namespace);
  return resource;
}

}  // namespace fulmar::ctl
