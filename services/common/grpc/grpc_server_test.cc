#include "services/common/grpc/grpc_server.h"

#include <arpa/inet.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "gtest/gtest.h"
#include "services/common/grpc/tls_certificate.h"
#include "services/common/log.h"

namespace fulmar::common {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
namespace health = grpc::health::v1;

class TempDir {
 public:
  TempDir() {
    std::string name = std::filesystem::temp_directory_path() / "fulmar-tls-XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class GrpcServerTest : public ::testing::Test {
 protected:
  void Begin(TlsMode mode, absl::Duration first_byte_timeout = absl::Seconds(5), int max_connections = 100) {
    GrpcServerOptions options;
    options.listen = "127.0.0.1:0";
    options.tls = mode;
    options.first_byte_timeout = first_byte_timeout;
    options.max_connections = max_connections;
    if (mode != TlsMode::kPlaintextOnly) {
      absl::StatusOr<TlsIdentity> identity = SelfSignedIdentity(dir_.path(), LocalNames());
      ASSERT_TRUE(identity.ok()) << identity.status();
      options.identity = *identity;
    }
    absl::StatusOr<std::unique_ptr<GrpcServer>> server = GrpcServer::Create(options, metrics_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    ASSERT_TRUE(server_->Start().ok());
  }

  std::string Address() const { return "127.0.0.1:" + std::to_string(server_->port()); }
  std::shared_ptr<grpc::Channel> Plaintext() const { return grpc::CreateChannel(Address(), grpc::InsecureChannelCredentials()); }
  std::shared_ptr<grpc::Channel> Tls() const {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = LoadTlsIdentity(dir_.path() + "/tls.crt", dir_.path() + "/tls.key")->certificate_chain;
    return grpc::CreateChannel(Address(), grpc::SslCredentials(options));
  }
  static std::pair<grpc::Status, health::HealthCheckResponse::ServingStatus> Check(const std::shared_ptr<grpc::Channel>& channel, const std::string& service = "") {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    health::HealthCheckRequest request;
    request.set_service(service);
    health::HealthCheckResponse response;
    const grpc::Status status = health::Health::NewStub(channel)->Check(&context, request, &response);
    return {status, response.status()};
  }
  // A TCP connection of our own.
  int Connect() const {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(server_->port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  // Waits until the other side closes; what it says before is dropped.
  static void WaitForEnd(int fd) {
    char byte = 0;
    while (recv(fd, &byte, 1, 0) > 0) {
    }
  }
  double Metric(const std::string& line) const {
    const std::string text = metrics_.Render();
    const size_t at = text.find("\n" + line + " ");
    return at == text.npos ? -1 : strtod(text.c_str() + at + line.size() + 2, nullptr);
  }

  TempDir dir_;
  Metrics metrics_;
  std::unique_ptr<GrpcServer> server_;
};

TEST_F(GrpcServerTest, PlaintextAndTlsShareOnePort) {
  Begin(TlsMode::kBoth);
  server_->SetAllServing(true);

  EXPECT_TRUE(Check(Plaintext()).first.ok());
  EXPECT_TRUE(Check(Tls()).first.ok());
  EXPECT_EQ(Metric("fulmar_grpc_connections_accepted_total{transport=\"tls\"}"), 1);
  EXPECT_EQ(Metric("fulmar_grpc_connections_accepted_total{transport=\"plaintext\"}"), 1);
}

TEST_F(GrpcServerTest, ATlsListenerRefusesPlaintextAndSaysWhy) {
  Begin(TlsMode::kTlsOnly);
  server_->SetAllServing(true);
  LogCapture log;

  EXPECT_EQ(Check(Plaintext()).first.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(Check(Tls()).first.ok());
  EXPECT_THAT(log.Text(), HasSubstr("plaintext on a TLS listener"));
  EXPECT_GE(Metric("fulmar_grpc_connections_refused_total{reason=\"plaintext\"}"), 1);
}

TEST_F(GrpcServerTest, APlaintextListenerRefusesTls) {
  Begin(TlsMode::kPlaintextOnly);

  const int fd = Connect();
  ASSERT_EQ(send(fd, "\x16\x03\x01", 3, 0), 3);
  WaitForEnd(fd);

  EXPECT_EQ(Metric("fulmar_grpc_connections_refused_total{reason=\"tls\"}"), 1);
  close(fd);
}

TEST_F(GrpcServerTest, ASilentConnectionIsClosedAndHoldsUpNobody) {
  Begin(TlsMode::kBoth, absl::Milliseconds(300));
  server_->SetAllServing(true);
  const int silent = Connect();

  EXPECT_TRUE(Check(Plaintext()).first.ok());
  EXPECT_EQ(Metric("fulmar_grpc_connections_refused_total{reason=\"silent\"}"), 0);
  WaitForEnd(silent);

  EXPECT_EQ(Metric("fulmar_grpc_connections_refused_total{reason=\"silent\"}"), 1);
  close(silent);
}

TEST_F(GrpcServerTest, ConnectionsAboveTheBoundAreClosedAtOnce) {
  Begin(TlsMode::kBoth, absl::Seconds(5), 2);
  const int first = Connect(), second = Connect(), third = Connect();

  WaitForEnd(third);

  EXPECT_EQ(Metric("fulmar_grpc_connections_refused_total{reason=\"full\"}"), 1);
  EXPECT_EQ(Metric("fulmar_grpc_connections"), 2);
  for (const int fd : {first, second, third}) close(fd);
}

TEST_F(GrpcServerTest, ConnectionsAreCountedUntilTheyEnd) {
  Begin(TlsMode::kBoth);
  {
    const std::shared_ptr<grpc::Channel> channel = Plaintext();
    (void)Check(channel);
    EXPECT_EQ(Metric("fulmar_grpc_connections"), 1);
  }

  // The channel closes in the background; the test's own limit of time is the bound.
  while (Metric("fulmar_grpc_connections") != 0) usleep(1000);
}

TEST_F(GrpcServerTest, HealthSaysWhatItIsTold) {
  Begin(TlsMode::kPlaintextOnly);
  const std::shared_ptr<grpc::Channel> channel = Plaintext();

  EXPECT_EQ(Check(channel).second, health::HealthCheckResponse::NOT_SERVING);
  server_->SetAllServing(true);
  EXPECT_EQ(Check(channel).second, health::HealthCheckResponse::SERVING);
  server_->SetServing("", false);
  EXPECT_EQ(Check(channel).second, health::HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(Check(channel, "no.such.Service").first.error_code(), grpc::StatusCode::NOT_FOUND);
}

// The library's own health service would keep the server waiting until its grace is over.
TEST_F(GrpcServerTest, AWatchOfHealthIsToldOfChangesAndEndsWithTheServer) {
  Begin(TlsMode::kPlaintextOnly);
  const auto stub = health::Health::NewStub(Plaintext());
  grpc::ClientContext context, unknown_context;
  health::HealthCheckRequest request;
  health::HealthCheckResponse response;
  const auto watch = stub->Watch(&context, request);
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), health::HealthCheckResponse::NOT_SERVING);
  request.set_service("no.such.Service");
  const auto unknown = stub->Watch(&unknown_context, request);
  ASSERT_TRUE(unknown->Read(&response));
  EXPECT_EQ(response.status(), health::HealthCheckResponse::SERVICE_UNKNOWN);

  server_->SetAllServing(true);
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), health::HealthCheckResponse::SERVING);
  server_->Shutdown(absl::Hours(1));  // would not return

  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), health::HealthCheckResponse::NOT_SERVING);
  EXPECT_FALSE(watch->Read(&response));
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_FALSE(unknown->Finish().ok());
}

template <class Service, class Request, class Response>
void ReflectionDescribesTheServer(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  const auto stub = Service::NewStub(channel);
  const auto stream = stub->ServerReflectionInfo(&context);
  const auto ask = [&](const Request& request) {
    Response response;
    EXPECT_TRUE(stream->Write(request) && stream->Read(&response));
    return response;
  };

  Request list;
  list.set_list_services("");
  std::vector<std::string> names;
  const Response listed = ask(list);
  for (const auto& service : listed.list_services_response().service()) names.push_back(service.name());
  EXPECT_THAT(names, Contains("grpc.health.v1.Health"));
  EXPECT_THAT(names, Contains("grpc.reflection.v1.ServerReflection"));

  for (const std::string& name : names) {
    Request symbol;
    symbol.set_file_containing_symbol(name);
    const Response response = ask(symbol);
    ASSERT_GE(response.file_descriptor_response().file_descriptor_proto_size(), 1) << name;
    google::protobuf::FileDescriptorProto file;
    ASSERT_TRUE(file.ParseFromString(response.file_descriptor_response().file_descriptor_proto(0)));
    EXPECT_EQ(file.service_size(), 1) << name;
    EXPECT_FALSE(file.message_type(0).field(0).json_name().empty());
  }

  Request unknown;
  unknown.set_file_containing_symbol("no.such.Thing");
  EXPECT_EQ(ask(unknown).error_response().error_code(), static_cast<int>(grpc::StatusCode::NOT_FOUND));
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(GrpcServerTest, ReflectionDescribesEveryServiceInBothVersions) {
  Begin(TlsMode::kPlaintextOnly);

  namespace v1 = grpc::reflection::v1;
  namespace v1alpha = grpc::reflection::v1alpha;
  ReflectionDescribesTheServer<v1::ServerReflection, v1::ServerReflectionRequest, v1::ServerReflectionResponse>(Plaintext());
  ReflectionDescribesTheServer<v1alpha::ServerReflection, v1alpha::ServerReflectionRequest, v1alpha::ServerReflectionResponse>(Plaintext());
}

TEST(GrpcServerCreateTest, APortInUseIsReportedWithTheReason) {
  Metrics metrics;
  GrpcServerOptions options;
  options.listen = "127.0.0.1:0";
  const absl::StatusOr<std::unique_ptr<GrpcServer>> first = GrpcServer::Create(options, metrics);
  ASSERT_TRUE(first.ok());
  options.listen = "127.0.0.1:" + std::to_string((*first)->port());

  const absl::Status second = GrpcServer::Create(options, metrics).status();

  EXPECT_EQ(second.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.message()), HasSubstr("in use"));
}

TEST(GrpcServerCreateTest, NonsenseAddressesAreRefused) {
  Metrics metrics;
  for (const char* listen : {"", "8081", "127.0.0.1", "127.0.0.1:99999", "no such host:1"}) {
    GrpcServerOptions options;
    options.listen = listen;
    EXPECT_EQ(GrpcServer::Create(options, metrics).status().code(), absl::StatusCode::kInvalidArgument) << listen;
  }
}

TEST(CqExecutorTest, RunsTasksInOrderAndTimersInTime) {
  Metrics metrics;
  GrpcServerOptions options;
  options.listen = "127.0.0.1:0";
  auto server = *GrpcServer::Create(options, metrics);
  CqExecutor& executor = server->data_plane();
  std::vector<int> order;
  absl::Notification done;
  executor.Post([&] { order.push_back(1); });  // before the thread runs
  ASSERT_TRUE(server->Start().ok());
  executor.After(absl::Milliseconds(60), [&] {
    order.push_back(5);
    done.Notify();
  });
  executor.After(absl::Milliseconds(30), [&] { order.push_back(4); });
  executor.Post([&] {
    EXPECT_TRUE(executor.IsCurrent());
    order.push_back(2);
    const Executor::TimerId cancelled = executor.After(absl::Milliseconds(10), [&] { order.push_back(-1); });
    executor.Post([&, cancelled] {
      executor.Cancel(cancelled);
      order.push_back(3);
    });
  });

  done.WaitForNotification();

  EXPECT_FALSE(executor.IsCurrent());
  EXPECT_THAT(order, ::testing::ElementsAre(1, 2, 3, 4, 5));
}

TEST(CqExecutorTest, PostsFromManyThreadsAllRun) {
  Metrics metrics;
  GrpcServerOptions options;
  options.listen = "127.0.0.1:0";
  auto server = *GrpcServer::Create(options, metrics);
  ASSERT_TRUE(server->Start().ok());
  int count = 0;  // of the executor's thread only
  {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 5000; ++i) server->data_plane().Post([&] { ++count; });
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  server->Shutdown(absl::Seconds(1));  // runs what was posted

  EXPECT_EQ(count, 20'000);
}

TEST(TlsCertificateTest, IsMadeOnceWithAPrivateKeyForNoOtherEyes) {
  TempDir dir;
  const absl::StatusOr<TlsIdentity> first = SelfSignedIdentity(dir.path(), LocalNames());
  ASSERT_TRUE(first.ok()) << first.status();

  const absl::StatusOr<TlsIdentity> second = SelfSignedIdentity(dir.path(), LocalNames());

  EXPECT_EQ(first->certificate_chain, second->certificate_chain);
  struct stat info = {};
  ASSERT_EQ(stat((dir.path() + "/tls.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST(TlsCertificateTest, IsMadeAnewForAnotherNameOrNearItsEnd) {
  TempDir dir;
  const std::string first = SelfSignedIdentity(dir.path(), {"localhost"})->certificate_chain;
  const std::string other = SelfSignedIdentity(dir.path(), {"localhost", "broker-0.example", "10.1.2.3"})->certificate_chain;
  const std::string late = SelfSignedIdentity(dir.path(), {"localhost"}, absl::Hours(24 * 365 * 11))->certificate_chain;

  EXPECT_NE(first, other);
  EXPECT_NE(other, late);
}

TEST(TlsCertificateTest, APairThatDoesNotBelongTogetherIsRefusedByName) {
  TempDir one, two;
  ASSERT_TRUE(SelfSignedIdentity(one.path(), {"localhost"}).ok());
  ASSERT_TRUE(SelfSignedIdentity(two.path(), {"localhost"}).ok());

  const absl::Status status = LoadTlsIdentity(one.path() + "/tls.crt", two.path() + "/tls.key").status();

  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("tls.key"));
  EXPECT_EQ(LoadTlsIdentity(one.path() + "/missing", two.path() + "/tls.key").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace fulmar::common
