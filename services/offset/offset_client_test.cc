// Client and handler over a real channel in one process.
#include "services/offset/offset_client.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "fulmar/offset/v1/offset.grpc.pb.h"
#include "services/common/grpc/grpc_server.h"
#include "services/common/errors.h"
#include "services/common/sim/seeded_random.h"
#include "services/common/sim/sim_files.h"
#include "services/common/sim/test_seed.h"
#include "services/common/system_clock.h"
#include "services/common/thread_executor.h"
#include "services/index/mem_kv.h"
#include "services/offset/offset_handler.h"

namespace fulmar::offset {
namespace {

using index::DefinitionEvent;
using index::GroupDefinition;
using index::QueueProgress;
using index::TopicDefinition;
using ::testing::ElementsAre;

constexpr absl::Duration kPatience = absl::Seconds(20);

// A callback and its answer.
template <class T>
class Waiter {
 public:
  auto Into() {
    return [state = state_](T value) {
      state->value = std::move(value);
      state->there.Notify();
    };
  }
  T Get() {
    FULMAR_CHECK(state_->there.WaitForNotificationWithTimeout(kPatience), "no answer");
    return std::move(*state_->value);
  }

 private:
  struct State {
    std::optional<T> value;
    absl::Notification there;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

// What a watch saw.
class Seen {
 public:
  auto Into() {
    return [this](const DefinitionEvent& event) {
      absl::MutexLock lock(&mutex_);
      const bool topic = event.kind == DefinitionEvent::kTopic || event.kind == DefinitionEvent::kTopicDeleted;
      const bool deleted = event.kind == DefinitionEvent::kTopicDeleted || event.kind == DefinitionEvent::kGroupDeleted;
      events_.push_back(absl::StrCat(deleted ? "no " : "", topic ? event.topic.name : event.group.name));
    };
  }
  // Waits until `event` was seen last.
  bool WaitFor(const std::string& event) {
    absl::MutexLock lock(&mutex_);
    const auto seen = [this, &event] { return !events_.empty() && events_.back() == event; };
    return mutex_.AwaitWithTimeout(absl::Condition(&seen), kPatience);
  }
  std::vector<std::string> Take() {
    absl::MutexLock lock(&mutex_);
    return std::exchange(events_, {});
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::string> events_;
};

class OffsetClientTest : public ::testing::Test {
 protected:
  OffsetClientTest() : files_(sim::TestSeed()), random_(sim::TestSeed()) {
    OffsetCoreOptions options;
    options.log.dir = "/offset";
    options.log.shard_name = "offset";
    options.log.segment_bytes = 1 << 20;
    core_ = OffsetCore::Open(options, {.files = files_, .clock = clock_, .random = random_, .shard = shard_, .writer = writer_,
                                       .reader = reader_, .kv = kv_}).value();
    core_->Start();
    handler_ = std::make_unique<OffsetHandler>(*core_);
    StartServer();
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 20);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 50);
    common::GrpcServerOptions client_options;
    client_options.listen = "127.0.0.1:0";
    client_process_ = common::GrpcServer::Create(client_options, metrics_).value();
    FULMAR_CHECK(client_process_->Start().ok());
    client_ = std::make_unique<OffsetClient>(
        client_process_->clients(), grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port_), grpc::InsecureChannelCredentials(), arguments), timers_,
        OffsetClientOptions{.min_backoff = absl::Milliseconds(5), .max_backoff = absl::Milliseconds(50)});
  }
  ~OffsetClientTest() override {
    client_.reset();
    client_process_->Shutdown(absl::ZeroDuration());
    StopServer();
    Waiter<bool> stopped;
    core_->Stop([into = stopped.Into()] { into(true); });
    stopped.Get();
    for (common::ThreadExecutor* executor : {&shard_, &writer_, &reader_, &timers_}) executor->Stop();
  }

  void StartServer() {
    common::GrpcServerOptions options;
    options.listen = absl::StrCat("127.0.0.1:", port_);
    server_ = common::GrpcServer::Create(options, metrics_).value();
    server_->AddService(*handler_);
    FULMAR_CHECK(server_->Start().ok());
    port_ = server_->port();
  }
  // Calls under way are cancelled.
  void StopServer() {
    if (server_ == nullptr) return;
    server_->Shutdown(absl::ZeroDuration());
    server_.reset();
  }

  absl::StatusOr<std::vector<QueueProgress>> Claim(int64_t term) {
    Waiter<absl::StatusOr<std::vector<QueueProgress>>> answer;
    client_->Claim("s", Term{term}, answer.Into());
    return answer.Get();
  }
  absl::Status Write(int64_t term, std::vector<QueueProgress> entries) {
    Waiter<absl::Status> answer;
    client_->Write("s", Term{term}, std::move(entries), answer.Into());
    return answer.Get();
  }
  absl::StatusOr<TopicDefinition> EnsureTopic(std::string name) {
    Waiter<absl::StatusOr<TopicDefinition>> answer;
    client_->EnsureTopic({.name = std::move(name)}, answer.Into());
    return answer.Get();
  }
  absl::StatusOr<GroupDefinition> EnsureGroup(std::string name) {
    Waiter<absl::StatusOr<GroupDefinition>> answer;
    client_->EnsureGroup({.name = std::move(name)}, answer.Into());
    return answer.Get();
  }

  sim::SimFiles files_;
  sim::SeededRandom random_;
  common::SystemClock clock_;
  index::MemKv kv_;
  common::ThreadExecutor shard_{"shard"}, writer_{"writer"}, reader_{"reader"}, timers_{"timers"};
  std::unique_ptr<OffsetCore> core_;
  std::unique_ptr<OffsetHandler> handler_;
  int port_ = 0;
  common::Metrics metrics_;
  std::unique_ptr<common::GrpcServer> server_, client_process_;
  std::unique_ptr<OffsetClient> client_;
};

TEST_F(OffsetClientTest, ProgressGoesThereAndBack) {
  ASSERT_TRUE(Claim(1).ok());
  const uint32_t topic = EnsureTopic("t").value().topic_id;
  ASSERT_TRUE(EnsureGroup("g").ok());
  const QueueProgress progress{.group = "g",
                               .topic_id = topic,
                               .queue = 2,
                               .cursor = 5,
                               .acked = {{7, 9}},
                               .in_flight = {{.offset = 6, .attempt = 2, .invisible_until = absl::FromUnixSeconds(1'700'000'000), .auto_renew = true}},
                               .sequence = 3};

  ASSERT_TRUE(Write(1, {progress}).ok());

  EXPECT_THAT(Claim(2).value(), ElementsAre(progress));
  EXPECT_EQ(Write(1, {progress}).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Claim(1).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(OffsetClientTest, ALargeClaimComesInParts) {
  ASSERT_TRUE(Claim(1).ok());
  const uint32_t topic = EnsureTopic("t").value().topic_id;
  std::vector<QueueProgress> all;
  for (int group = 0; group < 3; ++group) {
    ASSERT_TRUE(EnsureGroup(absl::StrCat("g", group)).ok());
    std::vector<QueueProgress> entries;
    for (int queue = 0; queue < 20; ++queue) {
      QueueProgress entry{.group = absl::StrCat("g", group), .topic_id = topic, .queue = queue};
      for (int i = 0; i < 10000; ++i) entry.acked.push_back({4 * i + 1, 4 * i + 2});
      entries.push_back(entry);
      all.push_back(entry);
    }
    ASSERT_TRUE(Write(1, entries).ok());
  }

  EXPECT_EQ(Claim(1).value(), all);
}

TEST_F(OffsetClientTest, DefinitionsGoThereAndBack) {
  ASSERT_TRUE(Claim(1).ok());
  TopicDefinition topic = EnsureTopic("t").value();
  GroupDefinition group = EnsureGroup("g").value();
  EXPECT_EQ(topic.topic_id, 1u);

  topic.queues = 9;
  group.retry.max_attempts = 3;
  Waiter<absl::StatusOr<TopicDefinition>> updated_topic, got_topic;
  Waiter<absl::StatusOr<GroupDefinition>> updated_group, got_group;
  Waiter<absl::StatusOr<std::vector<TopicDefinition>>> topics;
  Waiter<absl::StatusOr<std::vector<GroupDefinition>>> groups;
  client_->UpdateTopic(topic, updated_topic.Into());
  client_->UpdateGroup(group, updated_group.Into());
  topic = updated_topic.Get().value();
  group = updated_group.Get().value();
  client_->GetTopic("t", got_topic.Into());
  client_->GetGroup("g", got_group.Into());
  client_->ListTopics(topics.Into());
  client_->ListGroups(groups.Into());

  EXPECT_EQ(topic.queues, 9);
  EXPECT_EQ(got_topic.Get().value(), topic);
  EXPECT_EQ(got_group.Get().value(), group);
  EXPECT_THAT(topics.Get().value(), ElementsAre(topic));
  EXPECT_THAT(groups.Get().value(), ElementsAre(group));
  Waiter<absl::Status> no_topic, no_group;
  client_->DeleteTopic("t", no_topic.Into());
  client_->DeleteGroup("g", no_group.Into());
  EXPECT_TRUE(no_topic.Get().ok());
  EXPECT_TRUE(no_group.Get().ok());
}

TEST_F(OffsetClientTest, ErrorsKeepTheirV2Code) {
  ASSERT_TRUE(Claim(1).ok());
  Waiter<absl::StatusOr<TopicDefinition>> topic;
  Waiter<absl::StatusOr<GroupDefinition>> group;
  client_->GetTopic("none", topic.Into());
  client_->GetGroup("none", group.Into());

  const absl::Status no_topic = topic.Get().status();
  EXPECT_EQ(no_topic.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(V2CodeOf(no_topic), 40402);
  EXPECT_NE(no_topic.message().find("'none'"), std::string_view::npos);
  EXPECT_EQ(V2CodeOf(group.Get().status()), 40403);
  EXPECT_EQ(V2CodeOf(EnsureTopic("a b").status()), 40002);
}

TEST_F(OffsetClientTest, BytesThatAreNoDefinitionAreTheCallersFault) {
  auto channel = grpc::CreateChannel(absl::StrCat("127.0.0.1:", port_), grpc::InsecureChannelCredentials());
  auto stub = v1::OffsetService::NewStub(channel);
  grpc::ClientContext topic_context, progress_context;
  v1::EnsureTopicRequest topic_request;
  topic_request.set_topic("?");
  v1::EnsureTopicResponse topic_response;
  v1::WriteProgressRequest progress_request;
  progress_request.add_progress("?");
  v1::WriteProgressResponse progress_response;

  EXPECT_EQ(stub->EnsureTopic(&topic_context, topic_request, &topic_response).error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(stub->WriteProgress(&progress_context, progress_request, &progress_response).error_code(), grpc::INVALID_ARGUMENT);
}

TEST_F(OffsetClientTest, AWatchSeesWhatExistsAndEachChange) {
  ASSERT_TRUE(Claim(1).ok());
  ASSERT_TRUE(EnsureTopic("a").ok());
  Seen seen;

  auto watch = client_->WatchDefinitions(0, seen.Into());
  ASSERT_TRUE(EnsureGroup("g").ok());
  ASSERT_TRUE(seen.WaitFor("g"));
  Waiter<absl::Status> deleted;
  client_->DeleteTopic("a", deleted.Into());
  ASSERT_TRUE(seen.WaitFor("no a"));

  EXPECT_THAT(seen.Take(), ElementsAre("a", "g", "no a"));
}

TEST_F(OffsetClientTest, AWatchComesBackByItselfAndMissesNoDeletion) {
  ASSERT_TRUE(Claim(1).ok());
  ASSERT_TRUE(EnsureTopic("a").ok());
  ASSERT_TRUE(EnsureTopic("b").ok());
  Seen seen;
  auto watch = client_->WatchDefinitions(0, seen.Into());
  ASSERT_TRUE(seen.WaitFor("b"));

  StopServer();
  Waiter<absl::Status> unreachable, deleted;
  client_->Write("s", Term{1}, {}, unreachable.Into());
  EXPECT_EQ(unreachable.Get().code(), absl::StatusCode::kUnavailable);
  core_->DeleteTopic("a", deleted.Into());
  ASSERT_TRUE(deleted.Get().ok());
  seen.Take();
  StartServer();

  ASSERT_TRUE(seen.WaitFor("no a"));
  EXPECT_THAT(seen.Take(), ElementsAre("b", "no a"));
}

TEST_F(OffsetClientTest, ADestroyedWatchIsSilentAndAStoppedServerDoesNotHangOnIt) {
  ASSERT_TRUE(Claim(1).ok());
  Seen silent, other;
  auto watch = client_->WatchDefinitions(0, silent.Into());
  auto other_watch = client_->WatchDefinitions(0, other.Into());
  ASSERT_TRUE(EnsureTopic("a").ok());
  ASSERT_TRUE(silent.WaitFor("a"));

  watch.reset();
  ASSERT_TRUE(EnsureTopic("b").ok());
  ASSERT_TRUE(other.WaitFor("b"));

  EXPECT_THAT(silent.Take(), ElementsAre("a"));
  StopServer();  // other_watch is open
}

TEST_F(OffsetClientTest, AWatchDoesNotKeepAStoppingServerFromShuttingDown) {
  ASSERT_TRUE(Claim(1).ok());
  Seen seen;
  const auto watch = client_->WatchDefinitions(0, seen.Into());
  ASSERT_TRUE(EnsureTopic("a").ok());
  ASSERT_TRUE(seen.WaitFor("a"));
  const absl::Duration before = clock_.Steady();

  handler_->Stop();
  server_->Shutdown(kPatience);  // cancels what is still there then

  EXPECT_LT(clock_.Steady() - before, kPatience);
}

TEST_F(OffsetClientTest, DestructionAnswersCallsThatAreUnderWay) {
  StopServer();
  Waiter<absl::Status> answer;
  client_->Write("s", Term{1}, {}, answer.Into());

  client_.reset();

  EXPECT_FALSE(answer.Get().ok());
}

}  // namespace
}  // namespace fulmar::offset
