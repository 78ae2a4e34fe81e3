#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "tests/integration/client.h"
#include "tests/integration/server_process.h"

// How long a receive waits. Users time it: never less than they asked for, and hardly more.
namespace fulmar::integration {
namespace {

struct Case {
  const char* name;
  absl::Duration await;  // Infinite: not given
  absl::Duration deadline;
  bool push;
  absl::Duration least, most;
};

constexpr absl::Duration kHalf = absl::Milliseconds(500);

std::vector<Case> Cases() {
  const absl::Duration unasked = absl::InfiniteDuration();
  return {
      {"await 0 of a simple consumer", absl::ZeroDuration(), absl::Seconds(20), false, absl::ZeroDuration(), kHalf},
      {"await 0 within Java's 3 s", absl::ZeroDuration(), absl::Seconds(3), false, absl::ZeroDuration(), kHalf},
      {"await 0 of a push consumer is no hot loop", absl::ZeroDuration(), absl::Seconds(20), true, absl::Seconds(1), absl::Seconds(1) + kHalf},
      {"await 1 s", absl::Seconds(1), absl::Seconds(4), false, absl::Seconds(1), absl::Seconds(1) + kHalf},
      {"await 2.5 s", absl::Milliseconds(2500), absl::Seconds(20), false, absl::Milliseconds(2500), absl::Milliseconds(2500) + kHalf},
      {"await 6 s, longer than the reference's least", absl::Seconds(6), absl::Seconds(9), false, absl::Seconds(6), absl::Seconds(6) + kHalf},
      {"a deadline shorter than asked", absl::Seconds(20), absl::Seconds(2), false, absl::Milliseconds(1400), absl::Milliseconds(1990)},
      {"a deadline of half a second", absl::Seconds(20), kHalf, false, absl::ZeroDuration(), absl::Milliseconds(490)},
      {"no time given: until 1.5 s before the deadline", unasked, absl::Seconds(4), false, absl::Milliseconds(2400), absl::Milliseconds(3500)},
      {"an absurd await ends by the deadline", absl::Hours(1000000), absl::Seconds(3), false, absl::Milliseconds(2400), absl::Milliseconds(2990)},
      {"a push consumer waits as it asked", absl::Seconds(3), absl::Seconds(6), true, absl::Seconds(3), absl::Seconds(3) + kHalf},
  };
}

v2::ReceiveMessageRequest RequestOf(const Case& one, const std::string& topic, const std::string& group) {
  v2::ReceiveMessageRequest request = NewReceive(topic, group);
  if (one.await == absl::InfiniteDuration()) request.clear_long_polling_timeout();
  else Set(request.mutable_long_polling_timeout(), one.await);
  if (one.push) {
    request.set_auto_renew(true);
    request.clear_invisible_duration();
  }
  return request;
}

// All at the same time, each as a client of its own.
std::vector<Received> Poll(const std::vector<Case>& cases, const std::string& topic) {
  std::vector<Received> outcomes(cases.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < cases.size(); ++i) {
    threads.emplace_back([&, i] {
      Client client(ServerProcess::Shared().endpoint());
      client.Receive(NewReceive(topic, NewName("warm")));  // connects, makes the topic
      outcomes[i] = client.Receive(RequestOf(cases[i], topic, NewName("poll-group")), cases[i].deadline);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return outcomes;
}

// Never earlier than asked; hardly later, for which a busy machine gets three chances.
TEST(LongPollTest, AnEmptyReceiveTakesTheTimeThatWasAskedFor) {
  constexpr int kChances = 3;
  const std::string topic = NewName("poll");
  const absl::Duration slack = ServerIsSanitized() ? absl::Seconds(1) : absl::ZeroDuration();
  ServerProcess::Shared();
  std::vector<Case> cases = Cases();
  for (int chance = 1; chance <= kChances && !cases.empty(); ++chance) {
    const std::vector<Received> outcomes = Poll(cases, topic);
    std::vector<Case> late;
    for (size_t i = 0; i < cases.size(); ++i) {
      SCOPED_TRACE(cases[i].name);
      const bool in_time = outcomes[i].grpc.ok() && outcomes[i].took <= cases[i].most + slack;
      if (!in_time && chance < kChances) {
        late.push_back(cases[i]);
        continue;
      }
      EXPECT_TRUE(outcomes[i].grpc.ok()) << "gRPC's own deadline must not be hit: " << outcomes[i].grpc.error_message();
      EXPECT_EQ(v2::Code_Name(outcomes[i].code()), "MESSAGE_NOT_FOUND") << outcomes[i].status.message();
      EXPECT_GE(outcomes[i].took, cases[i].least);
      EXPECT_LE(outcomes[i].took, cases[i].most + slack);
    }
    cases = late;
  }
}

TEST(LongPollTest, AMessageThatArrivesEndsTheWait) {
  const std::string& endpoint = ServerProcess::Shared().endpoint();
  const std::string topic = NewName("arrival"), group = NewName("arrival-group");
  Client consumer(endpoint), producer(endpoint);
  CreateTopic(producer, topic);
  Received received;
  absl::Time arrived;
  std::thread waiting([&] {
    received = consumer.Receive(NewReceive(topic, group, absl::Seconds(15), 32));
    arrived = absl::Now();
  });
  admin::GetClusterStatusResponse status;
  do {  // until it is parked
    absl::SleepFor(absl::Milliseconds(20));
    ASSERT_TRUE(producer.admin().GetClusterStatus(producer.Context().get(), {}, &status).ok());
  } while (status.shards(0).parked_receives() == 0);

  const absl::Time sent = absl::Now();
  const std::string id = producer.Send(NewMessage(topic));
  waiting.join();

  ASSERT_EQ(received.messages.size(), 1U) << received.status.message();
  EXPECT_EQ(received.Id(0), id);
  EXPECT_LT(arrived - sent, absl::Seconds(ServerIsSanitized() ? 3 : 1));
}

TEST(LongPollTest, FiveEmptyReceivesOfOneConsumerWaitSideBySide) {
  Client client(ServerProcess::Shared().endpoint());
  const std::string topic = NewName("five"), group = NewName("five-group");
  const absl::Time started = absl::Now();
  std::vector<std::thread> threads;
  for (int i = 0; i < 5; ++i) {
    threads.emplace_back([&] { EXPECT_EQ(client.Receive(NewReceive(topic, group, absl::Seconds(2))).code(), v2::MESSAGE_NOT_FOUND); });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_LT(absl::Now() - started, absl::Seconds(4));
}

}  // namespace
}  // namespace fulmar::integration
