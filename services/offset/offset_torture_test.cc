// Random lives of an offset service under a model: what was answered is there, whatever was lost meanwhile.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/common/sim/test_seed.h"
#include "services/offset/offset_testing.h"

namespace fulmar::offset {
namespace {

using index::QueueProgress;

constexpr int64_t kSegmentBytes = 16 << 10;

// Sends random changes, one at a time per object, and remembers what may be there: the answered state, and the one on its way.
class RandomClient {
 public:
  explicit RandomClient(OffsetNode& node) : node_(node) {}

  void Claim() {
    term_ += 1;
    const auto progress = node_.Claim("s", term_);
    ASSERT_TRUE(progress.ok()) << progress.status();
    Check(*progress);
  }

  // Sends something; the answer comes while the scheduler runs.
  void Step() {
    const uint64_t choice = node_.random().Next() % 100;
    if (choice < 6) {
      EnsureGroup(RandomGroup());
    } else if (choice < 8) {
      DeleteGroup(Hot() ? "g0" : RandomGroup());
    } else if (choice < 12) {
      EnsureTopic(RandomTopic());
    } else if (choice < 13) {
      DeleteTopic(Hot() ? "t0" : RandomTopic());
    } else {
      WriteProgress();
    }
  }

  // Nothing that was under way will be answered any more.
  void Crashed() {
    ++life_;
    busy_.clear();
  }

 private:
  struct Expected {
    std::optional<QueueProgress> answered;       // nullopt: must not be there
    std::vector<std::optional<QueueProgress>> maybe;  // sent after it without an answer
  };
  using Key = std::pair<std::string, std::pair<uint32_t, int32_t>>;

  // A few objects change all the time, the others hardly ever: only those are still alive in segments that may go.
  bool Hot() { return node_.random().Next() % 100 < 96; }
  std::string RandomGroup() { return absl::StrCat("g", node_.random().Next() % 6); }
  std::string RandomTopic() { return absl::StrCat("t", node_.random().Next() % 4); }

  // Only one request per object is under way, so that the order of answers does not matter to the model.
  bool Take(const std::string& object) { return busy_.insert(object).second; }

  void EnsureGroup(const std::string& group) {
    if (!Take(group)) return;
    node_.core().EnsureGroup({.name = group}, [this, group, life = life_](auto answer) {
      if (life != life_) return;
      busy_.erase(group);
      if (answer.ok()) groups_.insert(group);
    });
  }
  void EnsureTopic(const std::string& topic) {
    if (!Take(topic)) return;
    node_.core().EnsureTopic({.name = topic, .shards = {"s"}}, [this, topic, life = life_](auto answer) {
      if (life != life_) return;
      busy_.erase(topic);
      if (!answer.ok()) return;
      EXPECT_TRUE(answer->topic_id == last_ids_[topic] || !used_ids_.contains(answer->topic_id)) << "an id was given twice";
      used_ids_.insert(answer->topic_id);
      last_ids_[topic] = answer->topic_id;
      topics_[topic] = answer->topic_id;
    });
  }
  void DeleteGroup(const std::string& group) {
    if (AnyWriteUnderWay() || !Take(group)) return;
    groups_.erase(group);
    for (auto& [key, expected] : expected_) {
      if (key.first == group) expected.maybe.push_back(std::nullopt);
    }
    node_.core().DeleteGroup(group, [this, group, life = life_](absl::Status answer) {
      if (life != life_) return;
      busy_.erase(group);
      if (!answer.ok()) return;
      for (auto& [key, expected] : expected_) {
        if (key.first == group) expected = {};
      }
    });
  }
  void DeleteTopic(const std::string& topic) {
    if (AnyWriteUnderWay() || !Take(topic)) return;
    const uint32_t id = last_ids_[topic];  // an earlier deletion without an answer may not have happened
    topics_.erase(topic);
    for (auto& [key, expected] : expected_) {
      if (key.second.first == id) expected.maybe.push_back(std::nullopt);
    }
    node_.core().DeleteTopic(topic, [this, topic, id, life = life_](absl::Status answer) {
      if (life != life_) return;
      busy_.erase(topic);
      if (!answer.ok()) return;
      last_ids_.erase(topic);
      for (auto& [key, expected] : expected_) {
        if (key.second.first == id) expected = {};
      }
    });
  }
  void WriteProgress() {
    if (groups_.empty() || topics_.empty()) return;
    std::vector<QueueProgress> entries;
    for (uint64_t left = node_.random().Next() % 4 + 1; left > 0; --left) {
      const bool hot = Hot();
      const auto group = std::next(groups_.begin(), hot ? 0 : static_cast<long>(node_.random().Next() % groups_.size()));
      const auto topic = std::next(topics_.begin(), hot ? 0 : static_cast<long>(node_.random().Next() % topics_.size()));
      if (topic->second == 0 || busy_.contains(*group) || busy_.contains(topic->first)) continue;
      QueueProgress entry{.group = *group,
                          .topic_id = topic->second,
                          .queue = static_cast<int32_t>(node_.random().Next() % 3),
                          .cursor = static_cast<int64_t>(node_.random().Next() % 1000)};
      entry.in_flight.push_back({.offset = entry.cursor + 1, .attempt = 1, .invisible_until = absl::UnixEpoch()});
      if (!Take(NameOf(KeyOf(entry)))) continue;
      expected_[KeyOf(entry)].maybe.push_back(entry);
      entries.push_back(std::move(entry));
    }
    if (entries.empty()) return;
    node_.core().Write("s", Term{term_}, entries, [this, entries, life = life_](absl::Status answer) {
      if (life != life_) return;
      for (const QueueProgress& entry : entries) {
        busy_.erase(NameOf(KeyOf(entry)));
        if (answer.ok()) expected_[KeyOf(entry)] = {.answered = entry};
      }
    });
  }
  bool AnyWriteUnderWay() const {
    return std::any_of(busy_.begin(), busy_.end(), [](const std::string& name) { return name[0] == 'p'; });
  }

  static Key KeyOf(const QueueProgress& entry) { return {entry.group, {entry.topic_id, entry.queue}}; }
  static std::string NameOf(const Key& key) { return absl::StrCat("p", key.first, "/", key.second.first, "/", key.second.second); }

  void Check(const std::vector<QueueProgress>& progress) {
    std::map<Key, QueueProgress> found;
    for (const QueueProgress& entry : progress) {
      EXPECT_TRUE(found.emplace(KeyOf(entry), entry).second);
      EXPECT_TRUE(expected_.contains(KeyOf(entry))) << "nobody wrote " << NameOf(KeyOf(entry));
    }
    for (auto& [key, expected] : expected_) {
      const auto it = found.find(key);
      const std::optional<QueueProgress> have = it == found.end() ? std::nullopt : std::optional(it->second);
      const bool right = have == expected.answered ||
                         std::find(expected.maybe.begin(), expected.maybe.end(), have) != expected.maybe.end();
      EXPECT_TRUE(right) << NameOf(key) << (have ? absl::StrCat(" has cursor ", have->cursor) : " is not there")
                         << (expected.answered ? absl::StrCat(", answered was ", expected.answered->cursor) : ", answered was nothing");
      expected = {.answered = have};
    }
  }

  OffsetNode& node_;
  int64_t term_ = 0;
  int life_ = 0;
  std::set<std::string> busy_;
  std::set<std::string> groups_;           // that surely exist
  std::map<std::string, uint32_t> topics_;  // likewise, with their ids
  std::map<std::string, uint32_t> last_ids_;  // until their deletion is answered
  std::set<uint32_t> used_ids_;
  std::map<Key, Expected> expected_;
};

// Goal: answered is durable, through compaction too. Method: random changes, power cut at a random moment (unsynced bytes and
// unflushed index batches lost at random), everything compared with the model after each restart.
TEST(OffsetTortureTest, WhatWasAnsweredSurvivesPowerCutsAtRandomMoments) {
  SCOPED_TRACE(absl::StrCat("FULMAR_SEED=", sim::TestSeed()));
  OffsetNode node(sim::TestSeed(), kSegmentBytes);
  node.options().compaction = {.max_sealed_segments = 3, .chunk_bytes = 256, .chunk_keys = 7};
  RandomClient client(node);
  uint64_t compactions = 0;
  for (int life = 0; life < 60 && !testing::Test::HasFailure(); ++life) {
    ASSERT_TRUE(node.Start().ok()) << life;
    client.Claim();
    for (uint64_t left = node.random().Next() % 1000; left > 0; --left) {
      client.Step();
      for (uint64_t tasks = node.random().Next() % 6; tasks > 0; --tasks) node.scheduler().RunOne();
      if (node.random().Next() % 50 == 0) node.scheduler().RunFor(absl::Milliseconds(300));
    }
    if (node.random().Next() % 4 == 0) {
      node.scheduler().RunFor(absl::Seconds(1));
      compactions += node.Status().compactions;
      EXPECT_LE(node.Status().log.segment_files, 20u);
    }
    client.Crashed();
    node.LosePower();
    if (node.random().Next() % 4 == 0) node.ForgetIndex();
  }
  EXPECT_GT(compactions, 0u) << "the test is about them too";
}

// Goal: the index is a function of the log that is left. Method: random changes with compaction, then the index is thrown away
// and filled again: byte for byte the same.
TEST(OffsetTortureTest, AnIndexRebuiltFromTheRestOfTheLogIsTheSameToTheByte) {
  SCOPED_TRACE(absl::StrCat("FULMAR_SEED=", sim::TestSeed()));
  for (uint64_t round = 0; round < 8 && !testing::Test::HasFailure(); ++round) {
    OffsetNode node(sim::TestSeed() + round, kSegmentBytes);
    node.options().compaction = {.max_sealed_segments = 2, .chunk_bytes = 256, .chunk_keys = 5};
    node.options().max_deletions = 10;
    RandomClient client(node);
    ASSERT_TRUE(node.Start().ok());
    client.Claim();
    for (int step = 0; step < 1500; ++step) {
      client.Step();
      for (uint64_t tasks = node.random().Next() % 6; tasks > 0; --tasks) node.scheduler().RunOne();
      if (step % 100 == 0) node.scheduler().RunFor(absl::Milliseconds(300));
    }
    node.scheduler().RunFor(absl::Seconds(2));
    EXPECT_GT(node.Status().compactions, 0u);
    EXPECT_GT(node.Status().log.begin.value, 0) << "nothing was removed";
    node.StopAndClose();
    const auto before = node.IndexContents();

    node.ForgetIndex();
    ASSERT_TRUE(node.Start().ok());
    node.scheduler().RunFor(absl::Seconds(1));
    node.StopAndClose();

    EXPECT_EQ(node.IndexContents(), before);
  }
}

// Goal: a full disk refuses with a status that may be retried, loses nothing, and heals by itself.
TEST(OffsetTortureTest, AFullDiskRefusesForAWhileAndHealsByItself) {
  SCOPED_TRACE(absl::StrCat("FULMAR_SEED=", sim::TestSeed()));
  OffsetNode node(sim::TestSeed(), kSegmentBytes);
  ASSERT_TRUE(node.Start().ok());
  ASSERT_TRUE(node.Claim("s", 1).ok());
  const uint32_t topic = node.EnsureTopic("t").value().topic_id;
  ASSERT_TRUE(node.EnsureGroup("g").ok());
  node.files().SetCapacity(node.files().UsedBytes() + 100);
  node.kv().SetFull(true);

  int64_t written = 0;
  absl::Status refused;
  while (refused.ok()) {
    ASSERT_LT(written, 100000);
    refused = node.Write("s", 1, {{.group = "g", .topic_id = topic, .cursor = written + 1}});
    if (refused.ok()) ++written;
  }
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  EXPECT_GT(written, 50) << "the reserve takes progress for a while";

  node.files().SetCapacity(std::nullopt);
  node.kv().SetFull(false);
  node.scheduler().RunFor(absl::Seconds(5));

  EXPECT_TRUE(node.Write("s", 1, {{.group = "g", .topic_id = topic, .cursor = written + 1}}).ok());
  node.LosePower();
  ASSERT_TRUE(node.Start().ok());
  EXPECT_EQ(node.Claim("s", 2).value().at(0).cursor, written + 1);
}

}  // namespace
}  // namespace fulmar::offset
