// The data plane on simulated time, with a fake shard behind it and streams that a test can let fail.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apache/rocketmq/v2/service.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/broker/data_plane.h"
#include "services/broker/fake_shard_testing.h"
#include "services/common/sim/sim_clock.h"
#include "services/common/sim/sim_executor.h"

namespace fulmar::broker {
namespace {

namespace pb = ::apache::rocketmq::v2;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(PollTimeTest, FollowsTheRule) {
  const absl::Duration inf = absl::InfiniteDuration(), max = absl::Seconds(60);
  const auto seconds = [](double s) { return absl::Seconds(s); };

  EXPECT_EQ(PollTime(seconds(10), seconds(13), false, max), seconds(10));
  EXPECT_EQ(PollTime(std::nullopt, seconds(13), false, max), seconds(11.5));  // Go's simple consumer
  EXPECT_EQ(PollTime(std::nullopt, seconds(23), true, max), seconds(21.5));   // C++ push
  EXPECT_EQ(PollTime(seconds(40), seconds(40), true, max), seconds(39.5));    // Rust: no slack
  EXPECT_EQ(PollTime(seconds(600), seconds(700), false, max), max);
  EXPECT_EQ(PollTime(std::nullopt, inf, false, max), seconds(20));
  EXPECT_EQ(PollTime(seconds(0), seconds(3), false, max), seconds(0));
  EXPECT_EQ(PollTime(seconds(0), seconds(3), true, max), seconds(1));
  EXPECT_EQ(PollTime(seconds(5), seconds(2), false, max), seconds(1.5));
  EXPECT_EQ(PollTime(seconds(5), seconds(0.1), false, max), seconds(0));
  EXPECT_EQ(PollTime(seconds(-5), seconds(9), false, max), seconds(0));
  EXPECT_EQ(PollTime(-inf, seconds(9), true, max), seconds(1));
}

// A stream of which the transport takes `takes` parts, then it is dead.
struct StreamLog {
  size_t takes = 1000;
  bool replied = false, failed = false;
  std::vector<pb::ReceiveMessageResponse> parts;
  int code() const { return parts.empty() ? 0 : parts[0].status().code(); }
};
class TestStream final : public ReceiveStream {
 public:
  explicit TestStream(StreamLog& log) : log_(log) {}
  void Reply(std::vector<OutBytes> parts, absl::AnyInvocable<void(size_t) &&> done) override {
    EXPECT_FALSE(log_.replied || log_.failed);
    log_.replied = true;
    for (const OutBytes& part : parts) EXPECT_TRUE(log_.parts.emplace_back().ParseFromString(part.Flat()));
    std::move(done)(std::min(parts.size(), log_.takes));
  }
  void Fail(absl::Status) override {
    EXPECT_FALSE(log_.replied || log_.failed);
    log_.failed = true;
  }

 private:
  StreamLog& log_;
};

class DataPlaneTest : public ::testing::Test {
 protected:
  DataPlane::ReceiveCall Receive(StreamLog& log, absl::Duration wait = absl::Seconds(5), bool push = false, absl::Duration remaining = absl::Seconds(30)) {
    pb::ReceiveMessageRequest request;
    request.mutable_group()->set_name("g");
    request.mutable_message_queue()->mutable_topic()->set_name("orders");
    request.set_batch_size(32);
    request.set_auto_renew(push);
    request.mutable_long_polling_timeout()->set_seconds(absl::ToInt64Seconds(wait));
    const std::string bytes = request.SerializeAsString();
    v2edge::CallInfo call = call_;
    call.remaining = remaining;
    return plane_.Receive(call, bytes, std::make_unique<TestStream>(log));
  }
  int Send(int messages = 1) {
    pb::SendMessageRequest request;
    for (int i = 0; i < messages; ++i) {
      pb::Message* message = request.add_messages();
      message->mutable_topic()->set_name("orders");
      message->set_body("b");
      message->mutable_system_properties()->set_message_id("m");
    }
    const std::string bytes = request.SerializeAsString();
    pb::SendMessageResponse response;
    plane_.Send(call_, bytes, [&](absl::StatusOr<std::string> reply) { EXPECT_TRUE(response.ParseFromString(*reply)); });
    scheduler_.RunUntilIdle();
    return response.status().code();
  }
  std::vector<std::string> Returned() {
    return shard_.Peek([](auto& s) { return s.returned; });
  }

  sim::SimClock clock_;
  sim::SimScheduler scheduler_{clock_};
  sim::SimExecutor shard_executor_{scheduler_, "shard"};
  sim::SimExecutor loop_{scheduler_, "data-plane"};
  FakeShard shard_{shard_executor_};
  common::Metrics metrics_;
  v2edge::RpcMetrics rpc_metrics_{metrics_};
  DataPlane plane_{DataPlaneOptions{.max_open_receives = 3}, shard_, loop_, clock_, rpc_metrics_};
  const v2edge::CallInfo call_{.client_id = "c", .name_space = "", .language = "JAVA"};
};

TEST_F(DataPlaneTest, AnEmptyPollEndsExactlyAtItsTime) {
  StreamLog log;
  Receive(log, absl::Seconds(5));

  scheduler_.RunFor(absl::Milliseconds(4999));
  EXPECT_FALSE(log.replied);
  scheduler_.RunFor(absl::Milliseconds(1));

  ASSERT_THAT(log.parts, SizeIs(2));
  EXPECT_EQ(log.code(), pb::MESSAGE_NOT_FOUND);
  EXPECT_TRUE(log.parts[1].has_delivery_timestamp());
  EXPECT_EQ(plane_.open_receives(), 0u);
}

TEST_F(DataPlaneTest, ErrorsOfAReceiveWaitASecondAndEmptyAnswersDoNot) {
  shard_.Peek([](auto& s) { s.receive_error = errors::ConsumerGroupNotFound("no"); });
  StreamLog log;
  Receive(log);

  scheduler_.RunFor(absl::Milliseconds(999));
  EXPECT_FALSE(log.replied);
  scheduler_.RunFor(absl::Milliseconds(1));

  EXPECT_EQ(log.code(), pb::CONSUMER_GROUP_NOT_FOUND);
}

TEST_F(DataPlaneTest, AnErrorIsToldBeforeAShortDeadline) {
  shard_.Peek([](auto& s) { s.receive_error = errors::Forbidden("no"); });
  StreamLog log;
  Receive(log, absl::Seconds(5), false, absl::Milliseconds(700));

  scheduler_.RunFor(absl::Milliseconds(200));

  EXPECT_EQ(log.code(), pb::FORBIDDEN);
}

TEST_F(DataPlaneTest, AReceiveWithIllegalNamesIsRefusedLate) {
  StreamLog log;
  pb::ReceiveMessageRequest request;
  request.mutable_group()->set_name("bad group");
  request.mutable_message_queue()->mutable_topic()->set_name("orders");
  const DataPlane::ReceiveCall call = plane_.Receive(call_, request.SerializeAsString(), std::make_unique<TestStream>(log));

  EXPECT_NE(call, 0u);
  EXPECT_FALSE(log.replied);
  scheduler_.RunFor(absl::Seconds(1));

  EXPECT_EQ(log.code(), pb::ILLEGAL_CONSUMER_GROUP);
}

TEST_F(DataPlaneTest, AClientThatGoesWhileItsErrorWaitsIsForgotten) {
  shard_.Peek([](auto& s) { s.receive_error = errors::Forbidden("no"); });
  StreamLog log;
  const DataPlane::ReceiveCall call = Receive(log);
  scheduler_.RunUntilIdle();

  loop_.Post([&] { plane_.CancelReceive(call); });
  scheduler_.RunFor(absl::Seconds(2));

  EXPECT_FALSE(log.replied);
  EXPECT_EQ(plane_.open_receives(), 0u);
}

TEST_F(DataPlaneTest, OfADyingStreamWhatTheTransportDidNotTakeIsGivenBack) {
  ASSERT_EQ(Send(3), pb::OK);
  StreamLog log{.takes = 2};  // the status and the first message
  Receive(log);

  scheduler_.RunUntilIdle();

  EXPECT_THAT(Returned(), ElementsAre("handle-1", "handle-2"));
}

TEST_F(DataPlaneTest, AStreamDeadFromTheBeginningGivesBackAll) {
  ASSERT_EQ(Send(2), pb::OK);
  StreamLog log{.takes = 0};
  Receive(log);

  scheduler_.RunUntilIdle();

  EXPECT_THAT(Returned(), ElementsAre("handle-0", "handle-1"));
}

TEST_F(DataPlaneTest, AWholeBatchThatWasTakenIsNotGivenBack) {
  ASSERT_EQ(Send(2), pb::OK);
  StreamLog log{.takes = 3};  // all but the delivery time
  Receive(log);

  scheduler_.RunUntilIdle();

  EXPECT_THAT(log.parts, SizeIs(4));
  EXPECT_THAT(Returned(), IsEmpty());
}

TEST_F(DataPlaneTest, WhatTheShardDeliversToACancelledReceiveIsGivenBack) {
  StreamLog log;
  const DataPlane::ReceiveCall call = Receive(log);
  scheduler_.RunUntilIdle();
  // The shard answers, and before the answer arrives the stream ends.
  pb::SendMessageRequest request;
  request.add_messages()->mutable_topic()->set_name("orders");
  request.mutable_messages(0)->set_body("b");
  request.mutable_messages(0)->mutable_system_properties()->set_message_id("m");
  plane_.Send(call_, request.SerializeAsString(), [](absl::StatusOr<std::string>) {});
  while (shard_.Peek([](auto& s) { return !s.parked.empty(); })) scheduler_.RunOne();

  plane_.CancelReceive(call);
  scheduler_.RunUntilIdle();

  EXPECT_FALSE(log.replied);
  EXPECT_THAT(Returned(), ElementsAre("handle-0"));
  EXPECT_EQ(plane_.open_receives(), 0u);
}

TEST_F(DataPlaneTest, ReceivesAboveTheBoundAreRefused) {
  std::vector<StreamLog> logs(4);
  for (StreamLog& log : logs) Receive(log);

  scheduler_.RunUntilIdle();

  EXPECT_EQ(logs[3].code(), pb::TOO_MANY_REQUESTS);
  EXPECT_FALSE(logs[2].replied);
}

TEST_F(DataPlaneTest, StoppingTellsDelayedErrorsAtOnce) {
  shard_.Peek([](auto& s) { s.receive_error = errors::Forbidden("no"); });
  StreamLog before, after;
  Receive(before);
  scheduler_.RunUntilIdle();

  loop_.Post([&] { plane_.Stop(); });
  scheduler_.RunUntilIdle();
  EXPECT_EQ(before.code(), pb::FORBIDDEN);
  Receive(after);
  scheduler_.RunUntilIdle();

  EXPECT_EQ(after.code(), pb::FORBIDDEN);
}

TEST_F(DataPlaneTest, MalformedBytesFailTheStream) {
  StreamLog log;

  EXPECT_EQ(plane_.Receive(call_, "\x0a\x05", std::make_unique<TestStream>(log)), 0u);

  EXPECT_TRUE(log.failed);
}

TEST_F(DataPlaneTest, WithoutAClientIdNothingIsDone) {
  const v2edge::CallInfo nobody;
  std::vector<int> codes;
  pb::AckMessageRequest ack;
  ack.add_entries()->set_receipt_handle("h");
  plane_.Ack(nobody, ack.SerializeAsString(), [&](absl::StatusOr<std::string> reply) {
    pb::AckMessageResponse response;
    EXPECT_TRUE(response.ParseFromString(*reply));
    codes.push_back(response.status().code());
    EXPECT_EQ(response.entries_size(), 1);  // one for each, always
  });

  scheduler_.RunUntilIdle();

  EXPECT_THAT(codes, ElementsAre(pb::CLIENT_ID_REQUIRED));
  EXPECT_TRUE(shard_.Peek([](auto& s) { return s.acks.empty(); }));
}

TEST_F(DataPlaneTest, AFailedSendSaysWhyAndAFullServerSaysLater) {
  shard_.Peek([](auto& s) { s.send_error = errors::TooManyRequests("full"); });

  EXPECT_EQ(Send(), pb::TOO_MANY_REQUESTS);
}

TEST_F(DataPlaneTest, ABatchSizeOfNothingAsksForOne) {
  StreamLog log;
  pb::ReceiveMessageRequest request;
  request.mutable_group()->set_name("g");
  request.mutable_message_queue()->mutable_topic()->set_name("orders");
  request.set_batch_size(-5);
  plane_.Receive(call_, request.SerializeAsString(), std::make_unique<TestStream>(log));
  scheduler_.RunUntilIdle();

  EXPECT_EQ(shard_.Peek([](auto& s) { return s.receives.at(0).max_messages; }), 1);
}

}  // namespace
}  // namespace fulmar::broker
