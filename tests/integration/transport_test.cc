#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "tests/integration/client.h"
#include "tests/integration/server_process.h"

// The port itself: plaintext and TLS side by side, silence, noise, reflection, health.
namespace fulmar::integration {
namespace {

class Socket {
 public:
  explicit Socket(int port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~Socket() { close(fd_); }
  void Say(const std::string& bytes) { EXPECT_EQ(send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size())); }
  // How long until the server closes; Infinite when it does not within `most`.
  absl::Duration UntilClosed(absl::Duration most) {
    const absl::Time started = absl::Now();
    for (;;) {
      pollfd wait{fd_, POLLIN, 0};
      const absl::Duration left = most - (absl::Now() - started);
      if (left <= absl::ZeroDuration() || poll(&wait, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1) == 0) return absl::InfiniteDuration();
      char bytes[256];
      if (recv(fd_, bytes, sizeof bytes, 0) <= 0) return absl::Now() - started;
    }
  }

 private:
  const int fd_;
};

v2::Code Beat(Client& client) {
  v2::HeartbeatResponse response;
  const grpc::Status status = client.stub().Heartbeat(client.Context(absl::Seconds(5)).get(), v2::HeartbeatRequest(), &response);
  return status.ok() ? response.status().code() : v2::CODE_UNSPECIFIED;
}

TEST(TransportTest, PlaintextAndTlsWorkOnTheOnePort) {
  const std::string& endpoint = ServerProcess::Shared().endpoint();
  Client plain(endpoint), tls(endpoint, {.tls = true});
  const std::string topic = NewName("both");

  const std::string id = tls.Send(NewMessage(topic));
  const Received received = plain.Receive(NewReceive(topic, NewName("both-group"), absl::Seconds(5)));

  ASSERT_EQ(received.messages.size(), 1U);
  EXPECT_EQ(received.Id(0), id);
  EXPECT_EQ(tls.Receive(NewReceive(topic, NewName("both-group"), absl::Seconds(5))).messages.size(), 1U);
}

TEST(TransportTest, AListenerForTlsOnlyRefusesPlaintextAndLogsWhy) {
  ServerProcess server({"--server.tls.mode=only"});
  Client plain(server.endpoint()), tls(server.endpoint(), {.tls = true});

  EXPECT_EQ(Beat(tls), v2::OK);
  EXPECT_EQ(Beat(plain), v2::CODE_UNSPECIFIED);
  EXPECT_TRUE(server.WaitForLog("plaintext")) << server.Log();
}

TEST(TransportTest, AListenerWithoutTlsRefusesIt) {
  ServerProcess server({"--server.tls.mode=off"});
  Client plain(server.endpoint()), tls(server.endpoint(), {.tls = true});

  EXPECT_EQ(Beat(plain), v2::OK);
  EXPECT_EQ(Beat(tls), v2::CODE_UNSPECIFIED);
}

// Silent ones do not keep others from being accepted, and are closed after 5 s.
TEST(TransportTest, SilentConnectionsAreClosedAndHoldNobodyUp) {
  const ServerProcess& server = ServerProcess::Shared();
  std::vector<std::unique_ptr<Socket>> silent;
  for (int i = 0; i < 200; ++i) silent.push_back(std::make_unique<Socket>(server.port()));
  const absl::Time started = absl::Now();
  Client client(server.endpoint());

  EXPECT_EQ(Beat(client), v2::OK);
  EXPECT_LT(absl::Now() - started, absl::Seconds(2));

  const absl::Duration closed = silent.front()->UntilClosed(absl::Seconds(9));
  EXPECT_GT(closed, absl::Seconds(3));
  EXPECT_LT(closed, absl::Seconds(8));
  for (const auto& socket : silent) ASSERT_LT(socket->UntilClosed(absl::Seconds(5)), absl::Seconds(5));
}

TEST(TransportTest, NoiseIsClosedAndOthersAreServedOn) {
  const ServerProcess& server = ServerProcess::Shared();
  for (const std::string& noise : {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(4096, '\0'), std::string("\x16\x03\x01\xff\xff"), std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
                                   std::string("SSH-2.0-x\r\n")}) {
    Socket socket(server.port());
    socket.Say(noise);
    Client client(server.endpoint());
    EXPECT_EQ(Beat(client), v2::OK);
  }
}

TEST(TransportTest, ReflectionListsAndDescribesTheServices) {
  Client client(ServerProcess::Shared().endpoint());
  const std::string list = std::string("\x3a\x00", 2);  // list_services = ""
  const std::string symbol = "apache.rocketmq.v2.MessagingService";

  const RawAnswer services = client.Raw("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", list);
  const RawAnswer described =
      client.Raw("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "\x22" + std::string(1, static_cast<char>(symbol.size())) + symbol);

  ASSERT_EQ(services.messages.size(), 1U) << services.status.error_message();
  for (const char* name : {"apache.rocketmq.v2.MessagingService", "fulmar.admin.v1.AdminService", "grpc.health.v1.Health"})
    EXPECT_NE(services.messages[0].find(name), std::string::npos) << name;
  ASSERT_EQ(described.messages.size(), 1U);
  EXPECT_NE(described.messages[0].find("apache/rocketmq/v2/service.proto"), std::string::npos);
}

TEST(TransportTest, ReflectionSpeaksVersion1Too) {
  Client client(ServerProcess::Shared().endpoint());

  const RawAnswer services = client.Raw("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", std::string("\x3a\x00", 2));

  ASSERT_EQ(services.messages.size(), 1U) << services.status.error_message();
  EXPECT_NE(services.messages[0].find("apache.rocketmq.v2.MessagingService"), std::string::npos);
}

TEST(TransportTest, AWatchOfHealthIsToldBeforeTheServerStops) {
  RawAnswer watch;
  std::thread watching;
  absl::Time stopping;
  {
    ServerProcess server;
    Client client(server.endpoint());
    ASSERT_EQ(Beat(client), v2::OK);
    watching = std::thread([&watch, endpoint = server.endpoint()] { watch = Client(endpoint).Raw("/grpc.health.v1.Health/Watch", "", absl::Seconds(30)); });
    absl::SleepFor(absl::Milliseconds(300));  // until it watches; too early only makes the test pass less
    stopping = absl::Now();
  }
  EXPECT_LT(absl::Now() - stopping, absl::Seconds(8)) << "it must not wait for the watch, which its grace of 10 s would allow";
  watching.join();

  ASSERT_GE(watch.messages.size(), 2U);
  EXPECT_EQ(watch.messages[0], "\x08\x01");
  EXPECT_EQ(watch.messages[1], "\x08\x02");
}

TEST(TransportTest, HealthIsToldByCheckAndByWatch) {
  Client client(ServerProcess::Shared().endpoint());
  const std::string serving = "\x08\x01";
  const std::string name = "apache.rocketmq.v2.MessagingService";

  EXPECT_EQ(client.Raw("/grpc.health.v1.Health/Check", "").messages, std::vector<std::string>{serving});
  EXPECT_EQ(client.Raw("/grpc.health.v1.Health/Check", "\x0a" + std::string(1, static_cast<char>(name.size())) + name).messages, std::vector<std::string>{serving});
  EXPECT_EQ(client.Raw("/grpc.health.v1.Health/Check", "\x0a\x02no").status.error_code(), grpc::StatusCode::NOT_FOUND);
  const RawAnswer watch = client.Raw("/grpc.health.v1.Health/Watch", "", absl::Seconds(1));
  EXPECT_EQ(watch.messages, std::vector<std::string>{serving});
  EXPECT_EQ(watch.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << "it stays open";
}

}  // namespace
}  // namespace fulmar::integration
