#include "services/index/definitions.h"

#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/common/errors.h"

namespace fulmar::index {
namespace {

TopicDefinition SomeTopic() {
  return {.name = "orders",
          .topic_id = 7,
          .version = 300,
          .type = TopicType::kMixed,
          .queues = 4,
          .durability = log::Durability::kAsync,
          .shards = {"broker-0", "broker-1"},
          .created = absl::FromUnixMicros(1'700'000'000'000'001),
          .message_ttl = absl::Seconds(1),
          .dedup_window = absl::Minutes(1),
          .quota = {.messages = 300, .bytes = 5}};
}

GroupDefinition SomeGroup() {
  return {.name = "billing",
          .version = 301,
          .order = DeliveryOrder::kFifo,
          .from = StartFrom::kLatest,
          .retry = {.max_attempts = 3, .delays = {absl::Milliseconds(10), absl::Seconds(5)}},
          .created = absl::FromUnixMicros(1'700'000'000'000'002),
          .suspended = true,
          .mode = ConsumeMode::kBroadcast,
          .quota = {.messages = 1, .bytes = 300}};
}

TEST(TopicDefinitionTest, EncodesToTheBytesThatAreOnDisk) {
  EXPECT_EQ(absl::BytesToHexString(Encode(SomeTopic())),
            "02"                                       // format
            "066f7264657273"                           // name
            "07000000"                                 // topic id
            "2c01000000000000"                         // version
            "64"                                       // type
            "04000000"                                 // queues
            "01"                                       // durability
            "02" "0862726f6b65722d30" "0862726f6b65722d31"  // shards
            "01401e18240a0600"                         // created
            "80897a" "809c9c39"                        // TTL, dedup window
            "ac02" "05");                              // quota: messages, bytes
}

TEST(GroupDefinitionTest, EncodesToTheBytesThatAreOnDisk) {
  EXPECT_EQ(absl::BytesToHexString(Encode(SomeGroup())),
            "02"                    // format
            "0762696c6c696e67"      // name
            "2d01000000000000"      // version
            "02" "02"               // order, from
            "03000000"              // max attempts
            "02" "a09c01" "80ade204"  // delays
            "02401e18240a0600"      // created
            "01" "02"               // suspended, mode
            "01" "ac02");           // quota: messages, bytes
}

TEST(DefinitionsTest, TheBytesOfFormat1AreStillRead) {
  const auto topic = DecodeTopic(absl::HexStringToBytes("01" "066f7264657273" "07000000" "2c01000000000000" "64" "04000000" "01"
                                                        "02" "0862726f6b65722d30" "0862726f6b65722d31" "01401e18240a0600"));
  TopicDefinition old_topic = SomeTopic();
  old_topic.message_ttl = old_topic.dedup_window = absl::ZeroDuration();
  old_topic.quota = {};
  EXPECT_EQ(topic.value(), old_topic);
  const auto group = DecodeGroup(absl::HexStringToBytes("01" "0762696c6c696e67" "2d01000000000000" "02" "02" "03000000"
                                                        "02" "a09c01" "80ade204" "02401e18240a0600"));
  GroupDefinition old_group = SomeGroup();
  old_group.suspended = false;
  old_group.mode = ConsumeMode::kClustering;
  old_group.quota = {};
  EXPECT_EQ(group.value(), old_group);
}

TEST(DefinitionsTest, SettingsOutOfTheirRangeAreRefused) {
  TopicDefinition topic = SomeTopic();
  EXPECT_TRUE(CheckTopic(topic).ok());
  topic.message_ttl = absl::Microseconds(999);
  EXPECT_EQ(V2CodeOf(CheckTopic(topic)), 40000);
  topic = SomeTopic();
  topic.message_ttl = -absl::Seconds(1);
  EXPECT_EQ(V2CodeOf(CheckTopic(topic)), 40000);
  topic = SomeTopic();
  topic.dedup_window = kMaxDedupWindow + absl::Seconds(1);
  EXPECT_EQ(V2CodeOf(CheckTopic(topic)), 40000);
  topic = SomeTopic();
  topic.quota.bytes = kMaxQuota + 1;
  EXPECT_EQ(V2CodeOf(CheckTopic(topic)), 40000);
  GroupDefinition group = SomeGroup();
  EXPECT_TRUE(CheckGroup(group).ok());
  group.quota.messages = kMaxQuota + 1;
  EXPECT_EQ(V2CodeOf(CheckGroup(group)), 40000);
}

TEST(DefinitionsTest, DecodeToWhatWasEncoded) {
  EXPECT_EQ(DecodeTopic(Encode(SomeTopic())).value(), SomeTopic());
  EXPECT_EQ(DecodeGroup(Encode(SomeGroup())).value(), SomeGroup());
  EXPECT_EQ(DecodeTopic(Encode(TopicDefinition{})).value(), TopicDefinition{});
  EXPECT_EQ(DecodeGroup(Encode(GroupDefinition{})).value(), GroupDefinition{});
}

TEST(DefinitionsTest, CutOrLengthenedBytesAreDataLoss) {
  const std::string topic = Encode(SomeTopic()), group = Encode(SomeGroup());
  for (size_t size = 0; size < topic.size(); ++size) {
    EXPECT_EQ(DecodeTopic(topic.substr(0, size)).status().code(), absl::StatusCode::kDataLoss) << size;
  }
  for (size_t size = 0; size < group.size(); ++size) {
    EXPECT_EQ(DecodeGroup(group.substr(0, size)).status().code(), absl::StatusCode::kDataLoss) << size;
  }
  EXPECT_EQ(DecodeTopic(topic + '\0').status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(DecodeGroup(group + '\0').status().code(), absl::StatusCode::kDataLoss);
}

TEST(DefinitionsTest, UnknownFormatsAndEnumValuesAreDataLoss) {
  std::string topic = Encode(SomeTopic());
  topic[0] = 3;
  EXPECT_EQ(DecodeTopic(topic).status().code(), absl::StatusCode::kDataLoss);
  topic = Encode(SomeTopic());
  topic[1 + 7 + 4 + 8] = 5;  // no such topic type
  EXPECT_EQ(DecodeTopic(topic).status().code(), absl::StatusCode::kDataLoss);
  std::string group = Encode(SomeGroup());
  group[1 + 8 + 8] = 0;  // no such order
  EXPECT_EQ(DecodeGroup(group).status().code(), absl::StatusCode::kDataLoss);
}

TEST(DefinitionsTest, ACountThatTheBytesCannotHoldIsDataLossAndReservesNothing) {
  std::string topic = Encode(TopicDefinition{.name = "t"});
  const size_t count_at = 1 + 2 + 4 + 8 + 1 + 4 + 1;
  topic.replace(count_at, 1, "\xff\xff\xff\xff\x7f");
  EXPECT_EQ(DecodeTopic(topic).status().code(), absl::StatusCode::kDataLoss);
}

TEST(TopicNameTest, OneTo127CharactersOfTheAlphabetAreAccepted) {
  EXPECT_TRUE(CheckTopicName("a").ok());
  EXPECT_TRUE(CheckTopicName("Az09_-%|").ok());
  EXPECT_TRUE(CheckTopicName(std::string(127, 'x')).ok());
}

TEST(TopicNameTest, OtherNamesAreRefusedWithTheCodeOfTheProtocol) {
  for (const std::string& name : {std::string(), std::string(128, 'x'), std::string("a b"), std::string("a.b"),
                                  std::string("a\0b", 3), std::string("\xc3\xa4"), std::string("a/b")}) {
    const absl::Status status = CheckTopicName(name);
    EXPECT_EQ(V2CodeOf(status), 40002) << absl::CEscape(name);
    EXPECT_EQ(status.message().find('\0'), std::string_view::npos);
  }
}

TEST(TopicNameTest, SystemTopicsAreRefused) {
  for (std::string_view name : {"TBW102", "SCHEDULE_TOPIC_XXXX", "BenchmarkTest", "RMQ_SYS_TRANS_HALF_TOPIC",
                                "RMQ_SYS_TRACE_TOPIC", "RMQ_SYS_TRANS_OP_HALF_TOPIC", "TRANS_CHECK_MAX_TIME_TOPIC",
                                "SELF_TEST_TOPIC", "OFFSET_MOVED_EVENT", "CHECKPOINT_TOPIC", "rmq_sys_x", "rmq_sys_"}) {
    EXPECT_EQ(V2CodeOf(CheckTopicName(name)), 40002) << name;
  }
  EXPECT_TRUE(CheckTopicName("SELF_TEST_TOPIC2").ok());
}

TEST(TopicNameTest, DerivedTopicsMayHave255Characters) {
  EXPECT_TRUE(CheckTopicName("%DLQ%" + std::string(250, 'g')).ok());
  EXPECT_TRUE(CheckTopicName("%RETRY%" + std::string(248, 'g')).ok());
  EXPECT_FALSE(CheckTopicName("%DLQ%" + std::string(251, 'g')).ok());
  EXPECT_TRUE(CheckTopicName(DeadLetterTopicOf(std::string(120, 'g'))).ok());
}

TEST(GroupNameTest, OneTo120CharactersAndNoSystemPrefix) {
  EXPECT_TRUE(CheckGroupName(std::string(120, 'g')).ok());
  EXPECT_EQ(V2CodeOf(CheckGroupName(std::string(121, 'g'))), 40003);
  EXPECT_EQ(V2CodeOf(CheckGroupName("")), 40003);
  EXPECT_EQ(V2CodeOf(CheckGroupName("a b")), 40003);
  EXPECT_EQ(V2CodeOf(CheckGroupName("CID_RMQ_SYS_x")), 40003);
}

TEST(CheckTopicTest, QueuesOutsideTheirBoundsAreRefused) {
  TopicDefinition topic = SomeTopic();
  EXPECT_TRUE(CheckTopic(topic).ok());
  for (int32_t queues : {0, -1, kMaxQueues + 1}) {
    topic.queues = queues;
    EXPECT_EQ(CheckTopic(topic).code(), absl::StatusCode::kInvalidArgument) << queues;
  }
}

TEST(CheckGroupTest, AttemptsAndDelaysOutsideTheirBoundsAreRefused) {
  EXPECT_TRUE(CheckGroup(SomeGroup()).ok());
  GroupDefinition group = SomeGroup();
  group.retry.max_attempts = 0;
  EXPECT_FALSE(CheckGroup(group).ok());
  group = SomeGroup();
  group.retry.delays = {absl::Milliseconds(-1)};
  EXPECT_FALSE(CheckGroup(group).ok());
  group.retry.delays = {absl::InfiniteDuration()};
  EXPECT_FALSE(CheckGroup(group).ok());
  group.retry.delays.assign(kMaxRetryDelays + 1, absl::Seconds(1));
  EXPECT_FALSE(CheckGroup(group).ok());
}

TEST(DefaultRetryDelaysTest, AreTheEighteenStepsOfTheProtocol) {
  EXPECT_EQ(DefaultRetryDelays().size(), 18u);
  EXPECT_EQ(DefaultRetryDelays().front(), absl::Seconds(1));
  EXPECT_EQ(DefaultRetryDelays().back(), absl::Hours(2));
}

}  // namespace
}  // namespace fulmar::index
