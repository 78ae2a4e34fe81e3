#include "services/index/key_index.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/common/sim/test_seed.h"
#include "services/index/mem_kv.h"

namespace fulmar::index {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int64_t kBlock = 1000;

struct LogEntry {
  int64_t time_ms;
  std::vector<std::pair<uint32_t, int64_t>> items;  // hash, position
};

struct World {
  void Apply(const LogEntry& entry) {
    KvBatch batch;
    for (const auto& [hash, position] : entry.items) keys->Add(hash, {position}, static_cast<uint32_t>(position % 97), position % 2 == 1);
    keys->EndEntry(entry.time_ms, batch);
    kv.Write(batch);
  }
  void Trim(int64_t begin) {
    KvBatch batch;
    keys->Trim({begin}, batch);
    kv.Write(batch);
  }
  void Restart() {
    keys = std::make_unique<KeyIndex>(kv, kBlock);
    ASSERT_TRUE(keys->Load().ok());
  }
  // All pages, the newest first.
  std::vector<int64_t> Find(KeyIndex::Query query) {
    std::vector<int64_t> positions;
    for (;;) {
      const absl::StatusOr<KeyIndex::Page> page = KeyIndex::Find(kv, query, kBlock);
      EXPECT_TRUE(page.ok()) << page.status();
      if (!page.ok()) return positions;
      EXPECT_LE(page->hits.size(), query.max_hits);
      for (const KeyIndex::Hit& hit : page->hits) {
        EXPECT_EQ(hit.length, static_cast<uint32_t>(hit.position.value % 97));
        EXPECT_EQ(hit.tagged, hit.position.value % 2 == 1);
        positions.push_back(hit.position.value);
      }
      if (page->finished) return positions;
      EXPECT_LT(page->below, query.below);
      query.below = page->below;
    }
  }
  std::vector<int64_t> Find(uint32_t hash) { return Find({.hash = hash}); }

  MemKv kv;
  std::unique_ptr<KeyIndex> keys = std::make_unique<KeyIndex>(kv, kBlock);
};

TEST(KeyIndexTest, RecordsAreFoundInTheOpenBlockAndInClosedOnesTheNewestFirst) {
  World world;
  world.Apply({10, {{7, 100}, {8, 200}}});
  EXPECT_THAT(world.Find(7), ElementsAre(100));
  world.Apply({20, {{7, 1500}, {7, 1600}}});
  world.Apply({30, {{7, 9000}}});

  EXPECT_THAT(world.Find(7), ElementsAre(9000, 1600, 1500, 100));
  EXPECT_THAT(world.Find(8), ElementsAre(200));
  EXPECT_THAT(world.Find(9), IsEmpty());
}

TEST(KeyIndexTest, AnEntryThatCrossesBlocksIsFoundWhole) {
  World world;
  world.Apply({10, {{7, 900}, {7, 1100}, {7, 2100}, {7, 5000}}});
  EXPECT_THAT(world.Find(7), ElementsAre(5000, 2100, 1100, 900));
  EXPECT_THAT(world.Find({.hash = 7, .max_hits = 1}), ElementsAre(5000, 2100, 1100, 900));
}

TEST(KeyIndexTest, PagesMeetEveryHitOnce) {
  World world;
  for (int64_t i = 0; i < 500; ++i) world.Apply({i, {{7, 50 * i}, {8, 50 * i + 1}}});
  for (const size_t max_hits : {1, 3, 64}) {
    for (const size_t max_blocks : {1, 4, 1000}) {
      EXPECT_EQ(world.Find({.hash = 7, .max_hits = max_hits, .max_blocks = max_blocks}).size(), 500u) << max_hits << " " << max_blocks;
    }
  }
}

TEST(KeyIndexTest, TimesLeaveOutWholeBlocks) {
  World world;
  for (int64_t i = 0; i < 10; ++i) world.Apply({100 * i, {{7, 1000 * i}}});
  EXPECT_THAT(world.Find({.hash = 7, .from_ms = 700}), ElementsAre(9000, 8000, 7000));
  // A block that ends behind the span may have begun inside of it.
  EXPECT_THAT(world.Find({.hash = 7, .from_ms = 300, .to_ms = 400}), ElementsAre(5000, 4000, 3000));
  EXPECT_THAT(world.Find({.hash = 7, .from_ms = 901}), IsEmpty());
}

TEST(KeyIndexTest, OneRowPerEntryAndOneValuePerBucketOfABlock) {
  World world;
  for (int64_t i = 0; i < 10; ++i) world.Apply({i, {{7, 100 * i}, {8, 100 * i + 1}}});
  EXPECT_EQ(world.kv.Contents().size(), 10u);
  world.Apply({99, {{7, 1000}}});
  EXPECT_EQ(world.kv.Contents().size(), 1u + 1u + 1u);  // both hashes in one bucket, the time, the new row
}

TEST(KeyIndexTest, DamageIsDataLoss) {
  World world;
  world.Apply({1, {{7, 100}}});
  KvBatch batch;
  batch.Put(world.kv.Contents().begin()->first, "123456789");
  world.kv.Write(batch);
  EXPECT_EQ(KeyIndex::Find(world.kv, {.hash = 7}, kBlock).status().code(), absl::StatusCode::kDataLoss);
}

// Goal: whatever happens, the index says what the remaining log says, byte by byte as if it were built from it. Method: random logs, crashes that
// forget a part of what was not flushed (which is then applied again), trims at any entry; compared with an index built from the rest.
TEST(KeyIndexTest, CrashesAndTrimsLeaveWhatARebuildWouldMake) {
  SCOPED_TRACE(absl::StrCat("FULMAR_SEED=", sim::TestSeed()));
  std::mt19937_64 random(sim::TestSeed());
  const auto upto = [&random](uint64_t n) { return random() % n; };
  for (int life = 0; life < 200; ++life) {
    World world;
    std::vector<LogEntry> log;
    int64_t position = 0, time_ms = 0, begin = 0;
    size_t first = 0;
    size_t flushed = 0;      // entries that the store has made durable
    bool trimmed = false;    // since then
    for (int step = 0; step < 60; ++step) {
      const uint64_t what = upto(20);
      if (what < 15) {
        LogEntry entry{time_ms += static_cast<int64_t>(upto(5)), {}};
        for (uint64_t i = upto(6); i > 0; --i) {
          position += static_cast<int64_t>(1 + upto(400));
          const uint32_t hash = static_cast<uint32_t>(upto(5)) << 24;
          entry.items.emplace_back(hash, position);
          if (upto(2) == 0) entry.items.emplace_back(hash + 1, position);
        }
        ++position;
        world.Apply(entry);
        log.push_back(entry);
      } else if (what < 17) {
        ASSERT_TRUE(world.kv.Flush().ok());
        flushed = log.size();
        trimmed = false;
      } else if (what < 18) {
        const size_t kept = trimmed ? 0 : upto(log.size() - flushed + 1);
        world.kv.Crash(kept);
        world.Restart();
        world.Trim(begin);  // as a shard does before it applies the rest
        for (size_t i = flushed + kept; i < log.size(); ++i) world.Apply(log[i]);
        ASSERT_TRUE(world.kv.Flush().ok());
        flushed = log.size();
      } else if (!log.empty()) {
        // Retention removes only what the store has made durable.
        ASSERT_TRUE(world.kv.Flush().ok());
        flushed = log.size();
        first += upto(log.size() - first + 1);
        for (size_t i = 0; i < first; ++i) {
          for (const auto& [hash, at] : log[i].items) begin = std::max(begin, at + 1);
        }
        world.Trim(begin);
        trimmed = true;
      }
    }

    World rebuilt;
    for (size_t i = first; i < log.size(); ++i) rebuilt.Apply(log[i]);
    ASSERT_EQ(world.kv.Contents(), rebuilt.kv.Contents()) << "life " << life;
    for (uint32_t kind = 0; kind < 5; ++kind) {
      std::vector<int64_t> expected;
      for (size_t i = first; i < log.size(); ++i) {
        for (const auto& [hash, at] : log[i].items) {
          if (hash == kind << 24) expected.push_back(at);
        }
      }
      std::reverse(expected.begin(), expected.end());
      ASSERT_EQ(world.Find(kind << 24), expected) << "life " << life;
    }
  }
}

}  // namespace
}  // namespace fulmar::index
