// What every KvStore promises, held against a std::map; RocksKv's and MemKv's own behaviour is in their tests.
#include "services/index/kv_store.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "services/common/sim/seeded_random.h"
#include "services/common/sim/test_seed.h"
#include "services/index/full_disk_env.h"
#include "services/index/manual_executor.h"
#include "services/index/keys.h"
#include "services/index/mem_kv.h"
#include "services/index/rocks_kv.h"
#include "services/index/temp_dir.h"

namespace fulmar::index {
namespace {

using Model = std::map<std::string, std::string>;

void Apply(const KvBatch& batch, Model& model) {
  for (const KvBatch::Op& op : batch.ops()) {
    if (op.kind == KvBatch::Op::kPut) model[op.key] = op.value;
    if (op.kind == KvBatch::Op::kDelete) model.erase(op.key);
    if (op.kind == KvBatch::Op::kDeleteRange && op.key < op.value) {
      model.erase(model.lower_bound(op.key), model.lower_bound(op.value));
    }
  }
}

std::string SomeKey(sim::SeededRandom& random) { return absl::StrCat("k", random.Next() % 60 + 10); }

KvBatch SomeBatch(sim::SeededRandom& random) {
  KvBatch batch;
  for (uint64_t left = random.Next() % 5 + 1; left > 0; --left) {
    switch (random.Next() % 8) {
      case 0: batch.Delete(SomeKey(random)); break;
      case 1: batch.DeleteRange(SomeKey(random), SomeKey(random)); break;
      default: batch.Put(SomeKey(random), absl::StrCat("v", random.Next()));
    }
  }
  return batch;
}

Model All(const KvStore& kv, std::string_view begin, std::string_view end) {
  Model all;
  for (auto it = kv.Scan(begin, end); it->Valid(); it->Next()) all.emplace(it->key(), it->value());
  return all;
}

void ExpectSame(const KvStore& kv, const Model& model, sim::SeededRandom& random) {
  for (int key = 10; key < 70; ++key) {
    const auto it = model.find(absl::StrCat("k", key));
    const std::optional<std::string> expected = it == model.end() ? std::nullopt : std::optional(it->second);
    EXPECT_EQ(kv.Get(absl::StrCat("k", key)), expected) << key;
  }
  EXPECT_EQ(All(kv, "a", "z"), model);
  std::string begin = SomeKey(random), end = SomeKey(random);
  if (end < begin) std::swap(begin, end);
  EXPECT_EQ(All(kv, begin, end), Model(model.lower_bound(begin), model.lower_bound(end))) << begin << " " << end;
  const auto it = kv.Scan("a", "z");
  for (int i = 0; i < 10; ++i) {
    const std::string target = SomeKey(random);
    it->Seek(target);
    const auto expected = model.lower_bound(target);
    ASSERT_EQ(it->Valid(), expected != model.end());
    if (it->Valid()) {
      EXPECT_EQ(it->key(), expected->first);
    }
  }
}

TEST(MemKvTest, AgreesWithAMapUnderRandomBatches) {
  SCOPED_TRACE(absl::StrCat("FULMAR_SEED=", sim::TestSeed()));
  sim::SeededRandom random(sim::TestSeed());
  MemKv kv;
  Model model;
  for (int i = 0; i < 300; ++i) {
    const KvBatch batch = SomeBatch(random);
    kv.Write(batch);
    Apply(batch, model);
    if (i % 10 == 0) ExpectSame(kv, model, random);
  }
}

// Goal: a crash leaves whole batches, in order, everything flushed among them. Method: replay every possible cut.
TEST(MemKvTest, ACrashLeavesAPrefixOfTheBatchesBehindTheLastFlush) {
  SCOPED_TRACE(absl::StrCat("FULMAR_SEED=", sim::TestSeed()));
  for (size_t kept = 0; kept <= 20; ++kept) {
    sim::SeededRandom random(sim::TestSeed());
    MemKv kv;
    Model model;
    for (int i = 0; i < 40; ++i) {
      const KvBatch batch = SomeBatch(random);
      kv.Write(batch);
      if (i < 20 + static_cast<int>(kept)) Apply(batch, model);
      if (i != 19) continue;
      ASSERT_TRUE(kv.Flush().ok());
    }

    EXPECT_EQ(kv.Crash(kept), 20 - kept);

    EXPECT_EQ(kv.Contents(), model) << kept;
  }
}

TEST(MemKvTest, AFlushThatWaitsDiesWithTheProcess) {
  ManualExecutor background;
  MemKv kv(&background);
  KvBatch batch;
  batch.Put("k", "v");
  kv.Write(batch);
  kv.FlushAsync();
  EXPECT_EQ(kv.GetDurable("k"), std::nullopt);

  kv.Crash();
  background.Run();

  EXPECT_EQ(kv.Get("k"), std::nullopt);
  EXPECT_EQ(kv.GetDurable("k"), std::nullopt);
}

class RocksKvTest : public ::testing::Test {
 protected:
  void Open(RocksKvOptions options = {}) {
    kv_.reset();
    options.dir = absl::StrCat(dir_.path(), "/deep/index");
    options.env = env_.get();
    if (options.memtable_bytes > (1 << 20)) options.memtable_bytes = 1 << 20;
    auto opened = RocksKv::Open(options, background_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    kv_ = *std::move(opened);
  }
  void Put(const std::string& key, const std::string& value) {
    KvBatch batch;
    batch.Put(key, value);
    kv_->Write(batch);
  }

  // There is space again: flushes as soon as the thread that waits has noticed.
  absl::Status FlushAtLast() {
    while (true) {
      background_.Run(/*timers=*/true);
      absl::Status status = kv_->Flush();
      if (status.code() != absl::StatusCode::kResourceExhausted) return status;
    }
  }

  TempDir dir_;
  std::shared_ptr<FullDiskFiles> disk_ = std::make_shared<FullDiskFiles>();
  std::unique_ptr<rocksdb::Env> env_ = rocksdb::NewCompositeEnv(disk_);
  ManualExecutor background_;
  std::unique_ptr<RocksKv> kv_;
};

// RocksDB lost a flush here when it was told of the full disk, and the last Flush waited for ever, about one time in twenty.
TEST_F(RocksKvTest, AgreesWithAMapUnderRandomBatchesFlushesAndFullDisks) {
  SCOPED_TRACE(absl::StrCat("FULMAR_SEED=", sim::TestSeed()));
  sim::SeededRandom random(sim::TestSeed());
  Open({.retry_interval = absl::Milliseconds(1)});
  Model model;
  for (int i = 0; i < 2000; ++i) {
    const KvBatch batch = SomeBatch(random);
    kv_->Write(batch);
    Apply(batch, model);
    if (i % 8 == 0) ExpectSame(*kv_, model, random);
    switch (random.Next() % 20) {
      case 0: disk_->full = true; kv_->Flush().IgnoreError(); break;
      case 1: disk_->full = false; break;
      case 2: kv_->FlushAsync(); break;
      case 3: background_.Run(/*timers=*/true); break;
    }
  }

  disk_->full = false;
  ASSERT_TRUE(FlushAtLast().ok());
  ExpectSame(*kv_, model, random);
  Open();
  ExpectSame(*kv_, model, random);
}

TEST_F(RocksKvTest, ACrashForgetsWhatWasNotFlushedAndKeepsWhatWas) {
  Open();
  Put("old", "1");
  ASSERT_TRUE(kv_->Flush().ok());
  Put("old", "2");
  Put("new", "1");
  EXPECT_EQ(kv_->Get("old"), "2");

  Open();

  EXPECT_EQ(kv_->Get("old"), "1");
  EXPECT_EQ(kv_->Get("new"), std::nullopt);
}

TEST_F(RocksKvTest, GetDurableGivesTheValueOfTheLastFlush) {
  Open();
  EXPECT_EQ(kv_->GetDurable("k"), std::nullopt);
  Put("k", "1");
  EXPECT_EQ(kv_->GetDurable("k"), std::nullopt);
  ASSERT_TRUE(kv_->Flush().ok());
  EXPECT_EQ(kv_->GetDurable("k"), "1");
  Put("k", "2");
  EXPECT_EQ(kv_->GetDurable("k"), "1");

  Open();

  EXPECT_EQ(kv_->GetDurable("k"), "1");
}

// RocksDB's hints for the insertion of queue entries once went astray in the table of range deletions and ended the process.
TEST_F(RocksKvTest, RangesOfQueueEntriesAreDeletedBetweenInsertions) {
  Open();
  const QueueId queues[] = {{7, 0}, {7, 1}};
  Model left;
  for (int64_t round = 0; round < 20; ++round) {
    KvBatch batch;
    for (const QueueId queue : queues) {
      for (int64_t offset = round * 10; offset < round * 10 + 10; ++offset) {
        batch.Put(QueueEntryKey(queue, offset), "v");
        left[QueueEntryKey(queue, offset)] = "v";
      }
    }
    kv_->Write(batch);
    KvBatch trim;
    for (const QueueId queue : queues) {
      trim.DeleteRange(QueueEntryKey(queue, std::max<int64_t>(0, round * 10 - 5)), QueueEntryKey(queue, round * 10 + 5));
      for (int64_t offset = std::max<int64_t>(0, round * 10 - 5); offset < round * 10 + 5; ++offset) left.erase(QueueEntryKey(queue, offset));
    }
    kv_->Write(trim);
  }

  EXPECT_EQ(All(*kv_, "", "z"), left);
}

TEST_F(RocksKvTest, FlushAsyncRunsOnTheBackgroundExecutor) {
  Open();
  Put("k", "1");
  kv_->FlushAsync();
  EXPECT_EQ(kv_->GetDurable("k"), std::nullopt) << "nothing may block the writer";
  EXPECT_EQ(background_.Run(), 1);
  // The flush itself is on RocksDB's thread: a blocking one behind it waits for it.
  ASSERT_TRUE(kv_->Flush().ok());
  EXPECT_EQ(kv_->GetDurable("k"), "1");
}

TEST_F(RocksKvTest, AFullDiskNeverFailsAWriterAndHealsByItself) {
  Open({.memtable_bytes = 64 << 10, .max_memtables = 2, .retry_interval = absl::Milliseconds(1)});
  Put("before", "1");
  disk_->full = true;
  EXPECT_EQ(kv_->Flush().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_GT(disk_->refused, 0);

  const std::string value(8 << 10, 'v');
  for (int i = 0; i < 50; ++i) Put(absl::StrCat("fill", i), value);
  Put("during", "1");
  Put("before", "2");
  KvBatch gone;
  gone.DeleteRange("d", "g");
  gone.Put("dx", "1");
  kv_->Write(gone);

  EXPECT_EQ(kv_->Get("before"), "2");
  EXPECT_EQ(kv_->Get("during"), std::nullopt);
  EXPECT_EQ(kv_->Get("dx"), "1");
  EXPECT_EQ(All(*kv_, "a", "z"), (Model{{"before", "2"}, {"dx", "1"}}));
  EXPECT_FALSE(kv_->GetStats().healthy);
  EXPECT_NE(kv_->GetStats().problem.find("No space"), std::string::npos);
  EXPECT_GT(kv_->GetStats().overlay_bytes, 0u);
  EXPECT_EQ(kv_->GetDurable("dx"), std::nullopt);

  disk_->full = false;
  while (!kv_->GetStats().healthy || kv_->GetStats().overlay_bytes > 0) background_.Run(/*timers=*/true);

  EXPECT_EQ(All(*kv_, "a", "z"), (Model{{"before", "2"}, {"dx", "1"}}));
  ASSERT_TRUE(kv_->Flush().ok());
  EXPECT_EQ(kv_->GetStats().problem, "");
  Open();
  EXPECT_EQ(All(*kv_, "a", "z"), (Model{{"before", "2"}, {"dx", "1"}}));
}

TEST_F(RocksKvTest, WhatWaitsForSpaceInMemoryMakesTheStoreCrowded) {
  Open({.memtable_bytes = 64 << 10, .max_memtables = 2, .max_overlay_bytes = 256 << 10, .retry_interval = absl::Milliseconds(1)});
  disk_->full = true;
  Put("k", "0");
  kv_->Flush().IgnoreError();
  const std::string value(8 << 10, 'v');
  int written = 0;
  for (; written < 1000 && !kv_->crowded(); ++written) Put(absl::StrCat("k", written), value);

  EXPECT_GT(written, 10);
  EXPECT_LT(written, 100);
  EXPECT_LT(kv_->GetStats().overlay_bytes, 300u << 10);

  disk_->full = false;
  ASSERT_TRUE(FlushAtLast().ok());
  EXPECT_FALSE(kv_->crowded());
}

TEST_F(RocksKvTest, NothingKeepsTheExecutorBusyWhileTheDiskIsFull) {
  Open({.memtable_bytes = 64 << 10, .max_memtables = 2, .retry_interval = absl::Milliseconds(1)});
  disk_->full = true;
  Put("k", "0");
  kv_->Flush().IgnoreError();
  const std::string value(8 << 10, 'v');
  for (int i = 0; i < 100; ++i) {
    Put("k", absl::StrCat(value, i));
    kv_->FlushAsync();
  }

  background_.Run(/*timers=*/true);
  EXPECT_EQ(background_.Run(/*timers=*/true), 0);

  disk_->full = false;
  ASSERT_TRUE(FlushAtLast().ok());
  EXPECT_EQ(kv_->GetDurable("k"), absl::StrCat(value, 99));
}

TEST_F(RocksKvTest, AStoreClosesWhileTheDiskIsFull) {
  Open({.retry_interval = absl::Hours(1)});
  Put("k", "0");
  disk_->full = true;
  EXPECT_EQ(kv_->Flush().code(), absl::StatusCode::kResourceExhausted);

  kv_.reset();

  disk_->full = false;
  Open();
  EXPECT_EQ(kv_->Get("k"), std::nullopt);
}

TEST_F(RocksKvTest, AStoreOnAFullDiskDoesNotOpenAndSaysWhy) {
  Open();
  kv_.reset();
  disk_->full = true;

  auto opened = RocksKv::Open({.dir = absl::StrCat(dir_.path(), "/deep/index"), .retry_interval = absl::Hours(1), .env = env_.get()}, background_);

  EXPECT_EQ(opened.status().code(), absl::StatusCode::kResourceExhausted) << opened.status();
}

// What a failed sync left behind, nobody knows: RocksDB gives up, and the log fills in what is missing after the next start.
TEST_F(RocksKvTest, AFailedSyncIsFinalUntilTheNextOpen) {
  Open();
  Put("old", "1");
  ASSERT_TRUE(kv_->Flush().ok());
  Put("new", "1");
  disk_->broken = true;
  EXPECT_FALSE(kv_->Flush().ok());
  disk_->broken = false;

  Put("later", "1");
  kv_->FlushAsync();
  background_.Run(/*timers=*/true);

  EXPECT_EQ(kv_->Get("new"), "1");
  EXPECT_EQ(kv_->Get("later"), "1");
  EXPECT_FALSE(kv_->GetStats().healthy);
  EXPECT_NE(kv_->GetStats().problem.find("Input/output"), std::string::npos) << kv_->GetStats().problem;
  EXPECT_EQ(background_.Run(/*timers=*/true), 0) << "nothing to try again";
  Open();
  EXPECT_EQ(kv_->Get("old"), "1");
  EXPECT_EQ(kv_->Get("new"), std::nullopt);
  EXPECT_TRUE(kv_->GetStats().healthy);
}

// Goal: the writer is never made to wait when memtables fill faster than they are flushed. Method: two small memtables,
// much data, no task on the executor runs meanwhile; everything is readable at once.
TEST_F(RocksKvTest, FullMemtablesMakeBatchesWaitInMemoryNotTheWriter) {
  Open({.memtable_bytes = 64 << 10, .max_memtables = 2});
  const std::string value(8 << 10, 'v');
  for (int i = 0; i < 500; ++i) Put(absl::StrCat("k", i), value);

  for (int i = 0; i < 500; ++i) ASSERT_EQ(kv_->Get(absl::StrCat("k", i)), value) << i;
  ASSERT_EQ(All(*kv_, "k", "l").size(), 500u);

  while (kv_->GetStats().overlay_bytes > 0) background_.Run(/*timers=*/true);
  ASSERT_TRUE(kv_->Flush().ok());
  Open();
  EXPECT_EQ(All(*kv_, "k", "l").size(), 500u);
}

TEST_F(RocksKvTest, ASecondOpenOfOneDirectoryIsRefused) {
  Open();
  auto second = RocksKv::Open({.dir = absl::StrCat(dir_.path(), "/deep/index")}, background_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable) << second.status();
}

// Goal: damage never gives an answer that was not right once. Method: one flipped bit in each file, one after the other: each
// time the store refuses to open, a scan tells, or all of it is as of one flush: RocksDB takes a damaged length in the manifest
// for a tail that was torn off. An older whole index does no harm, since the applied point is as old: the log applies the rest.
TEST_F(RocksKvTest, AFlippedBitIsNeverAWrongAnswer) {
  SCOPED_TRACE(absl::StrCat("FULMAR_SEED=", sim::TestSeed()));
  sim::SeededRandom random(sim::TestSeed());
  Open();
  Model model;
  std::vector<Model> flushed = {model};
  for (int i = 0; i < 2000; ++i) {
    Put(absl::StrCat("k", i % 1500), absl::StrCat("v", i));
    model[absl::StrCat("k", i % 1500)] = absl::StrCat("v", i);
    if (i % 1000 != 999) continue;
    ASSERT_TRUE(kv_->Flush().ok());
    flushed.push_back(model);
  }
  kv_.reset();
  const std::string good = absl::StrCat(dir_.path(), "/deep/index"), bad = absl::StrCat(dir_.path(), "/bad");

  int detected = 0;
  for (const auto& entry : std::filesystem::directory_iterator(good)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("LOG") || name == "LOCK" || entry.file_size() == 0) continue;
    for (int round = 0; round < 4; ++round) {
      std::filesystem::remove_all(bad);
      std::filesystem::copy(good, bad);
      const uint64_t bit = random.Next() % (entry.file_size() * 8);
      FlipBit(absl::StrCat(bad, "/", name), bit);

      auto opened = RocksKv::Open({.dir = bad}, background_);
      if (!opened.ok()) {
        ++detected;
        continue;
      }
      Model found;
      const auto it = (*opened)->Scan("k", "l");
      for (; it->Valid(); it->Next()) found.emplace(it->key(), it->value());
      if (!it->status().ok()) {
        EXPECT_EQ(it->status().code(), absl::StatusCode::kDataLoss) << it->status();
        ++detected;
        continue;
      }
      EXPECT_NE(std::find(flushed.begin(), flushed.end(), found), flushed.end()) << name << " bit " << bit;
    }
  }
  EXPECT_GT(detected, 4);
}

TEST_F(RocksKvTest, DamageThatAGetMeetsMakesTheStoreUnhealthyForGood) {
  Open();
  Put("k", std::string(1000, 'v'));
  ASSERT_TRUE(kv_->Flush().ok());
  kv_.reset();
  for (const auto& entry : std::filesystem::directory_iterator(absl::StrCat(dir_.path(), "/deep/index"))) {
    if (entry.path().extension() == ".sst") FlipBit(entry.path(), 8 * 20);
  }
  Open();

  EXPECT_EQ(kv_->Get("k"), std::nullopt);

  EXPECT_FALSE(kv_->GetStats().healthy);
  EXPECT_TRUE(kv_->GetStats().damaged);
  EXPECT_NE(kv_->GetStats().problem.find("Corruption"), std::string::npos) << kv_->GetStats().problem;
}

TEST_F(RocksKvTest, RemoveLeavesNothingToOpen) {
  Open();
  Put("k", "v");
  ASSERT_TRUE(kv_->Flush().ok());
  kv_.reset();

  ASSERT_TRUE(RocksKv::Remove(absl::StrCat(dir_.path(), "/deep/index")).ok());
  ASSERT_TRUE(RocksKv::Remove(absl::StrCat(dir_.path(), "/never/was")).ok());

  Open();
  EXPECT_EQ(kv_->Get("k"), std::nullopt);
}

}  // namespace
}  // namespace fulmar::index
