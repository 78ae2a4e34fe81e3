#include "services/common/sim/sim_files.h"

#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/common/sim/sim_clock.h"
#include "services/common/sim/test_seed.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fulmar::sim {
namespace {

using common::File;
using common::OpenMode;
using ::testing::ElementsAre;

std::unique_ptr<File> MustOpen(SimFiles& files, const std::string& path, OpenMode mode = OpenMode::kCreateOrOpen) {
  auto file = files.Open(path, mode);
  EXPECT_TRUE(file.ok()) << file.status();
  return *std::move(file);
}

// A file whose name and content are durable.
void Settle(SimFiles& files, const std::string& path, std::string_view data) {
  const auto file = MustOpen(files, path);
  EXPECT_TRUE(file->PWrite(0, data).ok());
  EXPECT_TRUE(file->Sync().ok());
  EXPECT_TRUE(files.SyncDir("/d").ok());
}

class SimFilesTest : public ::testing::Test {
 protected:
  SimFilesTest() { EXPECT_TRUE(files_.MakeDirs("/d").ok()); }

  ::testing::ScopedTrace trace_{__FILE__, __LINE__, absl::StrCat("FULMAR_SEED=", TestSeed())};
  SimFiles files_{TestSeed()};
};

// The same small contract that PosixFiles has.
TEST_F(SimFilesTest, ReadsWhatWasWritten) {
  const auto file = MustOpen(files_, "/d/a");
  ASSERT_TRUE(file->PWriteV(3, {"hel", "", "lo"}).ok());
  std::string out(4, '.');

  EXPECT_EQ(ReadWholeFile(files_, "/d/a").value(), std::string("\0\0\0hello", 8));
  EXPECT_EQ(file->PRead(6, 4, out.data()).value(), 2u);
  EXPECT_EQ(out, "lo..");
  EXPECT_EQ(file->PRead(8, 4, out.data()).value(), 0u);
  EXPECT_EQ(file->Size().value(), 8u);
  ASSERT_TRUE(file->ZeroFill(5).ok());
  EXPECT_EQ(files_.Contents("/d/a"), std::string(5, '\0'));
}

TEST_F(SimFilesTest, OpenModesSayWhatMustExist) {
  EXPECT_EQ(files_.Open("/d/a", OpenMode::kRead).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(files_.Open("/none/a", OpenMode::kCreate).status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(files_.Open("/d/a", OpenMode::kCreate).ok());
  EXPECT_EQ(files_.Open("/d/a", OpenMode::kCreate).status().code(), absl::StatusCode::kAlreadyExists);
  const auto reader = MustOpen(files_, "/d/a", OpenMode::kRead);
  EXPECT_FALSE(reader->PWrite(0, "x").ok());
  EXPECT_FALSE(reader->Truncate(0).ok());
  EXPECT_FALSE(reader->ZeroFill(1).ok());
}

TEST_F(SimFilesTest, FoldersAreMadeListedAndRemoved) {
  ASSERT_TRUE(files_.MakeDirs("/d/x/y/").ok());
  MustOpen(files_, "/d/b");
  MustOpen(files_, "/d/x/inner");

  EXPECT_THAT(files_.List("/d").value(), ElementsAre("b", "x"));
  EXPECT_THAT(files_.List("/").value(), ElementsAre("d"));
  EXPECT_EQ(files_.List("/none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(files_.Remove("/d/x").ok());
  EXPECT_TRUE(files_.Remove("/d/x/inner").ok());
  EXPECT_TRUE(files_.Remove("/d/x/y").ok());
  EXPECT_TRUE(files_.Remove("/d/x").ok());
  EXPECT_FALSE(files_.Exists("/d/x").value());
  EXPECT_TRUE(files_.Exists("/d/b").value());
  EXPECT_FALSE(files_.MakeDirs("/d/b/c").ok());
}

TEST_F(SimFilesTest, ALockIsHeldByOneUntilItsHolderIsGone) {
  auto lock = files_.Lock("/d/lock");
  ASSERT_TRUE(lock.ok());
  EXPECT_EQ(files_.Lock("/d/lock").status().code(), absl::StatusCode::kUnavailable);
  lock->reset();
  auto again = files_.Lock("/d/lock");
  EXPECT_TRUE(again.ok());

  files_.KillProcess();

  auto of_next_process = files_.Lock("/d/lock");
  EXPECT_TRUE(of_next_process.ok());
  again->reset();  // a dead handle releases nothing
  EXPECT_EQ(files_.Lock("/d/lock").status().code(), absl::StatusCode::kUnavailable);
}

// --- Power loss. Many losses, because what is kept is drawn each time.

TEST_F(SimFilesTest, SyncedBytesSurviveEveryPowerLoss) {
  Settle(files_, "/d/a", "durable");
  for (int round = 0; round < 50; ++round) {
    ASSERT_TRUE(MustOpen(files_, "/d/a")->PWrite(7, std::string(5000, 'u')).ok());

    files_.LosePower();

    ASSERT_EQ(files_.Contents("/d/a").substr(0, 7), "durable");
  }
}

// Every sector of an overwritten range is wholly old or wholly new, and over many losses each way of losing is seen.
TEST_F(SimFilesTest, UnsyncedSectorsAreOldOrNew) {
  std::set<std::string> patterns;
  for (int round = 0; round < 1000; ++round) {
    Settle(files_, "/d/a", std::string(2048, 'o'));
    ASSERT_TRUE(MustOpen(files_, "/d/a")->PWrite(0, std::string(2048, 'n')).ok());

    files_.LosePower();

    std::string pattern;
    const std::string left = files_.Contents("/d/a");
    ASSERT_EQ(left.size(), 2048u);
    for (size_t sector = 0; sector < 4; ++sector) {
      const char kept = left[sector * 512];
      ASSERT_EQ(left.substr(sector * 512, 512), std::string(512, kept));
      pattern.push_back(kept);
    }
    patterns.insert(pattern);
  }
  EXPECT_EQ(patterns.size(), 16u);
}

TEST_F(SimFilesTest, AGrowingFileMayKeepItsOldSizeOrHaveZerosWhereBytesWereLost) {
  std::set<std::string> seen;
  for (int round = 0; round < 200; ++round) {
    ASSERT_TRUE(MustOpen(files_, "/d/a")->ZeroFill(0).ok());
    Settle(files_, "/d/a", std::string(512, 'o'));
    ASSERT_TRUE(MustOpen(files_, "/d/a")->PWrite(512, std::string(512, 'n')).ok());

    files_.LosePower();

    const std::string left = files_.Contents("/d/a");
    ASSERT_EQ(left.substr(0, 512), std::string(512, 'o'));
    seen.insert(left.size() == 512 ? "short" : left[512] == '\0' ? "zeros" : "new");
  }
  EXPECT_THAT(seen, ElementsAre("new", "short", "zeros"));
}

TEST_F(SimFilesTest, UnsyncedNamesMayBeLostAndSyncedOnesAreNot) {
  std::set<bool> created_seen;
  for (int round = 0; round < 50; ++round) {
    Settle(files_, "/d/settled", "x");
    ASSERT_TRUE(MustOpen(files_, "/d/fresh")->PWrite(0, "y").ok());
    ASSERT_TRUE(MustOpen(files_, "/d/fresh")->Sync().ok());  // syncs the bytes, not the name

    files_.LosePower();

    ASSERT_TRUE(files_.Exists("/d/settled").value());
    created_seen.insert(files_.Exists("/d/fresh").value());
    (void)files_.Remove("/d/fresh");
    ASSERT_TRUE(files_.SyncDir("/d").ok());
  }
  EXPECT_THAT(created_seen, ElementsAre(false, true));
}

TEST_F(SimFilesTest, AnUnsyncedRemovalMayBeUndone) {
  std::set<bool> seen;
  for (int round = 0; round < 50; ++round) {
    Settle(files_, "/d/a", "x");
    ASSERT_TRUE(files_.Remove("/d/a").ok());

    files_.LosePower();

    seen.insert(files_.Exists("/d/a").value());
  }
  EXPECT_THAT(seen, ElementsAre(false, true));

  Settle(files_, "/d/a", "x");
  ASSERT_TRUE(files_.Remove("/d/a").ok());
  ASSERT_TRUE(files_.SyncDir("/d").ok());
  files_.LosePower();
  EXPECT_FALSE(files_.Exists("/d/a").value());
}

// Power is lost at each step of ReplaceFile, which is what it is for.
TEST_F(SimFilesTest, AReplacedFileIsOldOrNewAtEveryStep) {
  ASSERT_TRUE(common::ReplaceFile(files_, "/d/a", "old").ok());
  std::set<std::string> seen;
  for (const FileOp op :
       {FileOp::kOpen, FileOp::kTruncate, FileOp::kWrite, FileOp::kSync, FileOp::kRename, FileOp::kSyncDir}) {
    for (int round = 0; round < 100; ++round) {
      files_.FailNth(op);
      ASSERT_FALSE(common::ReplaceFile(files_, "/d/a", "new").ok());

      files_.LosePower();

      const std::string left = common::ReadWholeFile(files_, "/d/a").value();
      ASSERT_TRUE(left == "old" || left == "new") << left;
      seen.insert(left);
      ASSERT_TRUE(common::ReplaceFile(files_, "/d/a", "old").ok());
    }
  }
  EXPECT_THAT(seen, ElementsAre("new", "old"));
  ASSERT_TRUE(common::ReplaceFile(files_, "/d/a", "new").ok());
  files_.LosePower();
  EXPECT_EQ(files_.Contents("/d/a"), "new");
}

TEST_F(SimFilesTest, TheSameSeedLosesTheSame) {
  const auto run = [](uint64_t seed) {
    SimFiles files(seed);
    EXPECT_TRUE(files.MakeDirs("/d").ok());
    Settle(files, "/d/a", "");
    EXPECT_TRUE(MustOpen(files, "/d/a")->PWrite(0, std::string(100'000, 'n')).ok());
    MustOpen(files, "/d/b");
    files.LosePower();
    return absl::StrCat(files.Exists("/d/b").value(), files.Contents("/d/a"));
  };

  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_EQ(run(seed), run(seed));
    seen.insert(run(seed));
  }
  EXPECT_GT(seen.size(), 5u);
}

TEST_F(SimFilesTest, HandlesDieWithTheProcessButItsBytesStay) {
  const auto file = MustOpen(files_, "/d/a");
  ASSERT_TRUE(file->PWrite(0, "unsynced").ok());
  char out[8];

  files_.KillProcess();

  EXPECT_FALSE(file->PWrite(0, "x").ok());
  EXPECT_FALSE(file->Sync().ok());
  EXPECT_FALSE(file->PRead(0, 1, out).ok());
  EXPECT_FALSE(file->Size().ok());
  EXPECT_FALSE(file->Truncate(0).ok());
  EXPECT_EQ(files_.Contents("/d/a"), "unsynced");
  EXPECT_EQ(files_.DurableContents("/d/a"), "");
}

// --- Faults.

TEST_F(SimFilesTest, TheNthCallOnAMatchingPathFailsOnce) {
  const auto a = MustOpen(files_, "/d/a");
  const auto b = MustOpen(files_, "/d/b");
  files_.FailNth(FileOp::kSync, 2, "/b");

  EXPECT_TRUE(b->Sync().ok());
  EXPECT_TRUE(a->Sync().ok());
  EXPECT_TRUE(a->Sync().ok());
  EXPECT_EQ(b->Sync().code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(b->Sync().ok());
  EXPECT_EQ(files_.Count(FileOp::kSync), 5);
}

TEST_F(SimFilesTest, AFailedWriteLeavesAPrefix) {
  std::set<size_t> lengths;
  for (int round = 0; round < 50; ++round) {
    const auto file = MustOpen(files_, "/d/a");
    ASSERT_TRUE(file->ZeroFill(0).ok());
    files_.FailNth(FileOp::kWrite);

    EXPECT_EQ(file->PWrite(0, "0123456789").code(), absl::StatusCode::kDataLoss);

    const std::string left = files_.Contents("/d/a");
    EXPECT_EQ(left, std::string("0123456789").substr(0, left.size()));
    lengths.insert(left.size());
  }
  EXPECT_GT(lengths.size(), 3u);
}

// The trap of fsync: the second call succeeds although the bytes never reached the disk.
TEST_F(SimFilesTest, AfterAFailedSyncTheNextOneSucceedsWithoutTheBytes) {
  const std::string old_bytes(4096, 'o');
  std::set<bool> all_there;
  for (int round = 0; round < 50; ++round) {
    Settle(files_, "/d/a", old_bytes);
    const auto file = MustOpen(files_, "/d/a");
    ASSERT_TRUE(file->PWrite(0, std::string(4096, 'n')).ok());
    files_.FailNth(FileOp::kSync);
    EXPECT_FALSE(file->Sync().ok());

    EXPECT_TRUE(file->Sync().ok());

    EXPECT_EQ(files_.Contents("/d/a"), std::string(4096, 'n'));
    EXPECT_EQ(files_.DurableContents("/d/a"), old_bytes);
    files_.LosePower();
    all_there.insert(files_.Contents("/d/a") == std::string(4096, 'n'));
  }
  EXPECT_THAT(all_there, ElementsAre(false, true));
}

TEST_F(SimFilesTest, BytesWrittenAgainAfterAFailedSyncAreDurableAfterTheNext) {
  Settle(files_, "/d/a", "old");
  const auto file = MustOpen(files_, "/d/a");
  ASSERT_TRUE(file->PWrite(0, "bad").ok());
  files_.FailNth(FileOp::kSync);
  EXPECT_FALSE(file->Sync().ok());

  ASSERT_TRUE(file->PWrite(0, "new").ok());
  ASSERT_TRUE(file->Sync().ok());
  files_.LosePower();

  EXPECT_EQ(files_.Contents("/d/a"), "new");
}

TEST_F(SimFilesTest, AFullDiskRefusesGrowthOnly) {
  files_.SetCapacity(1000);
  const auto file = MustOpen(files_, "/d/a");
  ASSERT_TRUE(file->ZeroFill(900).ok());

  EXPECT_EQ(files_.FreeBytes("/d").value(), 100u);
  EXPECT_EQ(file->PWrite(900, std::string(101, 'x')).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(file->Size().value(), 900u);
  EXPECT_TRUE(file->PWrite(0, std::string(900, 'x')).ok());
  EXPECT_TRUE(file->PWrite(900, std::string(100, 'x')).ok());
  EXPECT_EQ(MustOpen(files_, "/d/b")->ZeroFill(1).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(MustOpen(files_, "/d/b")->Truncate(1).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(files_.UsedBytes(), 1000u);

  ASSERT_TRUE(files_.Remove("/d/a").ok());
  EXPECT_TRUE(MustOpen(files_, "/d/b")->ZeroFill(1000).ok());
  files_.SetCapacity(std::nullopt);
  EXPECT_TRUE(MustOpen(files_, "/d/b")->ZeroFill(2000).ok());
}

TEST_F(SimFilesTest, DamageIsSeenAtOnceAndAfterPowerLoss) {
  Settle(files_, "/d/a", "abcdef");

  files_.FlipBit("/d/a", 1, 0);
  files_.TruncateFile("/d/a", 3);
  EXPECT_EQ(files_.Contents("/d/a"), "acc");
  files_.LosePower();

  EXPECT_EQ(files_.Contents("/d/a"), "acc");
}

TEST_F(SimFilesTest, AHookMakesTheDiskSlow) {
  SimClock clock;
  const absl::Duration start = clock.Steady();
  files_.SetLatencyHook([&clock](FileOp op, const std::string& path, uint64_t bytes) {
    if (op == FileOp::kSync && path == "/d/a") clock.Advance(absl::Milliseconds(2));
    if (op == FileOp::kWrite) clock.Advance(absl::Nanoseconds(1) * static_cast<int64_t>(bytes));
  });
  const auto file = MustOpen(files_, "/d/a");

  ASSERT_TRUE(file->PWrite(0, "12345").ok());
  ASSERT_TRUE(file->Sync().ok());

  EXPECT_EQ(clock.Steady() - start, absl::Milliseconds(2) + absl::Nanoseconds(5));
}

TEST_F(SimFilesTest, ThreadsMayShareIt) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([this, t] {
      const auto file = MustOpen(files_, absl::StrCat("/d/", t));
      for (uint64_t i = 0; i < 200; ++i) {
        EXPECT_TRUE(file->PWrite(i, "x").ok());
        EXPECT_TRUE(file->Sync().ok());
        char out = 0;
        EXPECT_EQ(file->PRead(i, 1, &out).value(), 1u);
      }
    });
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(files_.UsedBytes(), 800u);
}

}  // namespace
}  // namespace fulmar::sim
