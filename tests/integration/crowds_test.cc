#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "tests/integration/client.h"
#include "tests/integration/server_process.h"

// Many clients at once, and clients that vanish.
namespace fulmar::integration {
namespace {

int64_t Parked(Client& client) {
  admin::GetClusterStatusResponse status;
  EXPECT_TRUE(client.admin().GetClusterStatus(client.Context().get(), {}, &status).ok());
  return status.shards_size() == 1 ? status.shards(0).parked_receives() : -1;
}

template <class Condition>
bool Within(absl::Duration time, Condition condition) {
  for (const absl::Time until = absl::Now() + time; absl::Now() < until; absl::SleepFor(absl::Milliseconds(20))) {
    if (condition()) return true;
  }
  return condition();
}

// Receives that wait, all driven by one thread.
class Crowd {
 public:
  explicit Crowd(const std::string& endpoint, int connections) {
    for (int i = 0; i < connections; ++i) clients_.push_back(std::make_unique<Client>(endpoint));
  }
  ~Crowd() { Vanish(); }

  void Park(const v2::ReceiveMessageRequest& request) {
    auto call = std::make_unique<Call>();
    Client& client = *clients_[calls_.size() % clients_.size()];
    call->context = client.Context(absl::Seconds(100));
    call->reader = client.stub().AsyncReceiveMessage(call->context.get(), request, &queue_, call.get());
    calls_.push_back(std::move(call));
    ++pending_;
  }
  // Works until so many messages came, or the time is over; the number.
  int ReadUntil(int messages, absl::Duration time) {
    const absl::Time until = absl::Now() + time;
    while (got_ < messages && absl::Now() < until) Step(until);
    return got_;
  }
  void Vanish() {
    for (auto& call : calls_) call->context->TryCancel();
    const absl::Time until = absl::Now() + absl::Seconds(30);
    while (pending_ > 0 && absl::Now() < until) Step(until);
    calls_.clear();
    clients_.clear();
  }

 private:
  struct Call {
    std::unique_ptr<grpc::ClientContext> context;
    std::unique_ptr<grpc::ClientAsyncReader<v2::ReceiveMessageResponse>> reader;
    v2::ReceiveMessageResponse part;
    bool started = false;
  };
  void Step(absl::Time until) {
    void* tag = nullptr;
    bool ok = false;
    if (queue_.AsyncNext(&tag, &ok, absl::ToChronoTime(until)) != grpc::CompletionQueue::GOT_EVENT) return;
    auto* call = static_cast<Call*>(tag);
    if (!ok) {
      --pending_;
      return;
    }
    if (call->started && call->part.has_message()) ++got_;
    call->started = true;
    call->reader->Read(&call->part, call);
  }

  grpc::CompletionQueue queue_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<Call>> calls_;
  int pending_ = 0, got_ = 0;
};

TEST(CrowdsTest, TenThousandReceivesWaitInBoundedMemoryAndGoWithTheirClients) {
  constexpr int kReceives = 10000;
  constexpr int64_t kMaxBytesEach = 48 * 1024;  // gRPC's part of an open call is about 30 KiB
  ServerProcess server({"--broker.receive.min_invisible_duration=500ms"});
  Client client(server.endpoint());
  const std::string topic = NewName("crowd"), group = NewName("crowd-group");
  CreateTopic(client, topic);
  EXPECT_EQ(client.Receive(NewReceive(topic, group)).code(), v2::MESSAGE_NOT_FOUND);
  const int64_t before = server.ResidentBytes();
  Crowd crowd(server.endpoint(), 20);
  for (int i = 0; i < kReceives; ++i) {
    crowd.Park(NewReceive(topic, group, absl::Seconds(60)));
    if (i % 500 == 499) crowd.ReadUntil(1, absl::Milliseconds(1));  // lets the client library breathe
  }
  EXPECT_TRUE(Within(absl::Seconds(30), [&] {
    crowd.ReadUntil(1, absl::Milliseconds(5));
    return Parked(client) >= kReceives;
  })) << Parked(client);
  const int64_t each = (server.ResidentBytes() - before) / kReceives;
  if (!ServerIsSanitized()) {
    EXPECT_LT(each, kMaxBytesEach);
  }
  RecordProperty("bytes_per_parked_receive", std::to_string(each));

  for (int i = 0; i < 100; ++i) client.Send(NewMessage(topic));
  EXPECT_EQ(crowd.ReadUntil(100, absl::Seconds(20)), 100) << "every message wakes one of them";

  crowd.Vanish();
  EXPECT_TRUE(Within(absl::Seconds(20), [&] { return Parked(client) == 0; })) << Parked(client);
  const int64_t after_first = server.ResidentBytes();
  {
    Crowd again(server.endpoint(), 20);
    for (int i = 0; i < kReceives; ++i) again.Park(NewReceive(topic, group, absl::Seconds(60)));
    EXPECT_TRUE(Within(absl::Seconds(30), [&] {
      again.ReadUntil(1, absl::Milliseconds(5));
      return Parked(client) >= kReceives - 100;
    })) << Parked(client);
  }
  EXPECT_TRUE(Within(absl::Seconds(20), [&] { return Parked(client) == 0; }));
  if (!ServerIsSanitized()) {
    EXPECT_LT(server.ResidentBytes() - after_first, int64_t{kReceives} * 16 * 1024) << "what a crowd took is used again by the next";
  }
}

TEST(CrowdsTest, ConsumersOfOneGroupShareTheMessagesAndOtherGroupsHaveThemAll) {
  constexpr int kProducers = 4, kEach = 50, kConsumers = 6;
  const std::string& endpoint = ServerProcess::Shared().endpoint();
  const std::string topic = NewName("shared"), groups[] = {NewName("shared-group"), NewName("shared-group")};
  absl::Mutex mutex;
  std::map<std::string, int> received[2];
  std::vector<std::thread> threads;
  for (int i = 0; i < kProducers; ++i) {
    threads.emplace_back([&] {
      Client producer(endpoint);
      for (int m = 0; m < kEach; ++m) producer.Send(NewMessage(topic));
    });
  }
  for (int i = 0; i < kConsumers; ++i) {
    threads.emplace_back([&, group = i % 2] {
      Client consumer(endpoint);
      const absl::Time until = absl::Now() + absl::Seconds(30);
      for (bool all = false; !all && absl::Now() < until;) {
        const Received batch = consumer.Receive(NewReceive(topic, groups[group], absl::Milliseconds(300), 8));
        std::vector<std::string> handles;
        for (size_t m = 0; m < batch.messages.size(); ++m) handles.push_back(batch.Handle(m));
        if (!handles.empty()) {
          EXPECT_EQ(consumer.Ack(topic, groups[group], handles).status().code(), v2::OK);
        }
        absl::MutexLock lock(&mutex);
        for (size_t m = 0; m < batch.messages.size(); ++m) ++received[group][batch.Id(m)];
        all = received[group].size() == kProducers * kEach;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  for (const auto& of_group : received) {
    EXPECT_EQ(of_group.size(), static_cast<size_t>(kProducers * kEach));
    for (const auto& [id, times] : of_group) EXPECT_EQ(times, 1) << id;
  }
}

// Push consumers get messages with auto_renew: the server keeps them invisible as long as the client lives, and not longer.
TEST(CrowdsTest, TheServerRenewsForAClientThatLivesAndGivesUpForOneThatIsGone) {
  ServerProcess server({"--broker.receive.auto_renew_duration=1s", "--broker.client.silence=2s"});
  const std::string topic = NewName("renewed"), group = NewName("renewed-group");
  Client other(server.endpoint());
  CreateTopic(other, topic);
  const auto push = [&](Client& client) {
    v2::ReceiveMessageRequest request = NewReceive(topic, group, absl::Seconds(2));
    request.clear_invisible_duration();
    request.set_auto_renew(true);
    return client.Receive(request);
  };
  v2::HeartbeatRequest beat;
  beat.set_client_type(v2::PUSH_CONSUMER);
  *beat.mutable_group() = Name(group);
  for (const bool says_goodbye : {false, true}) {
    Client living(server.endpoint());
    const std::string id = other.Send(NewMessage(topic));
    const Received first = push(living);
    ASSERT_EQ(first.messages.size(), 1U) << first.status.message();
    for (int i = 0; i < 4; ++i) {  // three times the invisible duration
      EXPECT_EQ(living.Call(&v2::MessagingService::Stub::Heartbeat, beat).status().code(), v2::OK);
      EXPECT_TRUE(other.Receive(NewReceive(topic, group, absl::Milliseconds(800), 1, absl::Seconds(10))).messages.empty()) << "it is still being worked on";
    }
    if (says_goodbye) {
      v2::NotifyClientTerminationRequest farewell;
      *farewell.mutable_group() = Name(group);
      living.Call(&v2::MessagingService::Stub::NotifyClientTermination, farewell);
    }
    const absl::Time gone = absl::Now();

    const Received again = other.Receive(NewReceive(topic, group, absl::Seconds(15), 1, absl::Seconds(10)));

    ASSERT_EQ(again.messages.size(), 1U) << again.status.message();
    EXPECT_EQ(again.Id(0), id);
    EXPECT_LT(absl::Now() - gone, says_goodbye ? absl::Seconds(3) : absl::Seconds(8));
    EXPECT_EQ(other.Ack(topic, group, {again.Handle(0)}).status().code(), v2::OK);
  }
}

TEST(CrowdsTest, MoreReceivesThanTheBoundAreToldToComeLater) {
  ServerProcess server({"--broker.receive.max_parked=50"});
  Client client(server.endpoint());
  const std::string topic = NewName("bound");
  CreateTopic(client, topic);
  Crowd crowd(server.endpoint(), 2);
  for (int i = 0; i < 50; ++i) crowd.Park(NewReceive(topic, "g", absl::Seconds(60)));
  ASSERT_TRUE(Within(absl::Seconds(10), [&] {
    crowd.ReadUntil(1, absl::Milliseconds(5));
    return Parked(client) == 50;
  }));

  EXPECT_EQ(client.Receive(NewReceive(topic, "g", absl::Seconds(2))).code(), v2::TOO_MANY_REQUESTS);
}

TEST(CrowdsTest, AReceiveOfAClientThatVanishedTakesNoMessage) {
  Client client(ServerProcess::Shared().endpoint());
  const std::string topic = NewName("vanish"), group = NewName("vanish-group");
  CreateTopic(client, topic);
  const int64_t parked = Parked(client);
  {
    Crowd crowd(ServerProcess::Shared().endpoint(), 1);
    crowd.Park(NewReceive(topic, group, absl::Seconds(60)));
    ASSERT_TRUE(Within(absl::Seconds(5), [&] { return Parked(client) > parked; }));
  }
  ASSERT_TRUE(Within(absl::Seconds(5), [&] { return Parked(client) <= parked; }));
  client.Send(NewMessage(topic));

  const Received received = client.Receive(NewReceive(topic, group, absl::Seconds(2)));

  ASSERT_EQ(received.messages.size(), 1U);
  EXPECT_EQ(received.messages[0].system_properties().delivery_attempt(), 1);
}

// Method: 32 bodies of 1 MiB do not fit into the flow-control window, so most of the batch is still with the server when the client,
// which reads one part and stops, cancels. What it took over stays invisible; what it never saw is there at once, as the first attempt.
TEST(CrowdsTest, WhatAVanishedClientNeverTookIsVisibleAgainAtOnceAndNotCounted) {
  ServerProcess server({"--broker.receive.min_invisible_duration=500ms"});
  Client client(server.endpoint()), vanishing(server.endpoint());
  const std::string topic = NewName("midstream"), group = NewName("midstream-group");
  CreateTopic(client, topic, admin::TOPIC_TYPE_NORMAL, 1);
  constexpr int kMessages = 32;
  for (int i = 0; i < kMessages; ++i) client.Send(NewMessage(topic, std::string(1 << 20, 'x')));
  {
    const auto context = vanishing.Context();
    const auto reader = vanishing.stub().ReceiveMessage(context.get(), NewReceive(topic, group, absl::Seconds(5), kMessages, absl::Seconds(60)));
    v2::ReceiveMessageResponse part;
    ASSERT_TRUE(reader->Read(&part));
    absl::SleepFor(absl::Milliseconds(300));  // the window fills
    context->TryCancel();
    reader->Finish();
  }

  std::map<std::string, int> attempts;
  const absl::Time until = absl::Now() + absl::Seconds(5);
  while (absl::Now() < until) {
    const Received received = client.Receive(NewReceive(topic, group, absl::Milliseconds(500), 32, absl::Seconds(60)));
    for (size_t i = 0; i < received.messages.size(); ++i) attempts[received.Id(i)] = received.messages[i].system_properties().delivery_attempt();
    if (received.messages.empty()) break;
  }

  EXPECT_GE(attempts.size(), static_cast<size_t>(kMessages / 2)) << "most of them were never taken over";
  for (const auto& [id, attempt] : attempts) EXPECT_EQ(attempt, 1) << id;
}

}  // namespace
}  // namespace fulmar::integration
