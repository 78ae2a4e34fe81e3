// Goal: whatever the moment of a kill or a power loss, no record acknowledged as kSync and none that was applied is lost,
// none is invented, and the order stays. Method: lives of one log on one simulated disk, with random load, faults and
// ends; a model of what was promised; a checker over what each next life finds. The checker itself is shown to notice a
// disk that lies about syncs.
//   FULMAR_SEED=<seed> replays; FULMAR_LOG_TORTURE_LIVES=<n> makes it longer (default 3000).

#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/common/sim/test_seed.h"
#include "services/log/log_test_node.h"

namespace fulmar::log {
namespace {

using ::testing::IsEmpty;

// Hands everything through, and answers some syncs without syncing: the planted bug.
class LyingFiles final : public common::Files {
 public:
  LyingFiles(common::Files& files, common::Random& random, uint64_t one_in)
      : files_(files), random_(random), one_in_(one_in) {}

  absl::StatusOr<std::unique_ptr<common::File>> Open(const std::string& path, common::OpenMode mode) override {
    auto file = files_.Open(path, mode);
    if (!file.ok()) return file.status();
    return std::make_unique<LyingFile>(*this, *std::move(file));
  }
  absl::Status MakeDirs(const std::string& dir) override { return files_.MakeDirs(dir); }
  absl::StatusOr<std::vector<std::string>> List(const std::string& dir) override { return files_.List(dir); }
  absl::StatusOr<bool> Exists(const std::string& path) override { return files_.Exists(path); }
  absl::Status Remove(const std::string& path) override { return files_.Remove(path); }
  absl::Status Rename(const std::string& from, const std::string& to) override { return files_.Rename(from, to); }
  absl::Status SyncDir(const std::string& dir) override { return files_.SyncDir(dir); }
  absl::StatusOr<uint64_t> FreeBytes(const std::string& dir) override { return files_.FreeBytes(dir); }
  absl::StatusOr<std::unique_ptr<common::File>> Lock(const std::string& path) override { return files_.Lock(path); }

 private:
  class LyingFile final : public common::File {
   public:
    LyingFile(LyingFiles& files, std::unique_ptr<common::File> file) : files_(files), file_(std::move(file)) {}
    absl::StatusOr<size_t> PRead(uint64_t offset, size_t size, char* out) const override {
      return file_->PRead(offset, size, out);
    }
    absl::Status PWrite(uint64_t offset, std::string_view data) override { return file_->PWrite(offset, data); }
    absl::Status PWriteV(uint64_t offset, absl::Span<const std::string_view> pieces) override {
      return file_->PWriteV(offset, pieces);
    }
    absl::Status Sync() override {
      return files_.random_.Next() % files_.one_in_ == 0 ? absl::OkStatus() : file_->Sync();
    }
    absl::Status Truncate(uint64_t size) override { return file_->Truncate(size); }
    absl::Status ZeroFill(uint64_t size) override { return file_->ZeroFill(size); }
    absl::StatusOr<uint64_t> Size() const override { return file_->Size(); }
    const std::string& path() const override { return file_->path(); }

   private:
    LyingFiles& files_;
    std::unique_ptr<common::File> file_;
  };

  common::Files& files_;
  common::Random& random_;
  const uint64_t one_in_;
};

// What the log has promised so far, over all its lives.
class Model {
 public:
  // Everything that was ever handed to Append, by number.
  int NextNumber() { return next_number_++; }

  void Promise(int number, LogPosition position) { promised_[number] = position; }
  // Everything below is allowed to be gone.
  void Removed(LogPosition below) { removed_below_ = std::max(removed_below_, below); }

  // Compares what a new life has applied (from the oldest segment on) with the promises. Sentences for what is wrong.
  std::vector<std::string> Check(const RecordingMachine& machine) {
    std::vector<std::string> wrong;
    std::map<int, LogPosition> found;
    int last = -1;
    LogPosition last_position{-1};
    for (const RecordingMachine::Record& record : machine.records) {
      const std::optional<int> number = NumberOf(record.body);
      if (!number.has_value()) {
        wrong.push_back(absl::StrCat("invented: a record at ", record.position.value, " that nobody appended"));
        continue;
      }
      if (*number <= last) wrong.push_back(absl::StrCat("reordered: ", *number, " after ", last));
      if (record.position <= last_position) wrong.push_back(absl::StrCat("position ", record.position.value, " goes back"));
      last = *number;
      last_position = record.position;
      found[*number] = record.position;
    }
    for (const auto& [number, position] : promised_) {
      if (position < removed_below_) continue;
      const auto at = found.find(number);
      if (at == found.end()) wrong.push_back(absl::StrCat("lost: ", number, " at ", position.value));
      else if (at->second != position) wrong.push_back(absl::StrCat("moved: ", number, " to ", at->second.value));
    }
    // From now on all of it counts: it was applied, so it may have been seen.
    for (const auto& [number, position] : found) promised_[number] = position;
    return wrong;
  }

 private:
  std::optional<int> NumberOf(const std::string& body) const {
    int number = -1;
    const size_t colon = body.find(':');
    if (colon == std::string::npos || !absl::SimpleAtoi(body.substr(7, colon - 7), &number) || number < 0 ||
        number >= next_number_ || body != BodyOf(number, body.size()))
      return std::nullopt;
    return number;
  }

  int next_number_ = 0;
  std::map<int, LogPosition> promised_;
  LogPosition removed_below_;
};

class Torture {
 public:
  explicit Torture(uint64_t seed, uint64_t lie_one_in = 0)
      : random_(seed), scheduler_(clock_, &random_), disk_(seed), lying_(disk_, random_, std::max<uint64_t>(1, lie_one_in)),
        files_(lie_one_in == 0 ? static_cast<common::Files&>(disk_) : lying_) {}

  // One life of the log; what is wrong with what it found.
  std::vector<std::string> Live() {
    std::unique_ptr<LogNode> node = NewNode();
    const absl::Status opened = OpenSomehow(node);
    if (!opened.ok()) return {absl::StrCat("does not open: ", opened.ToString())};
    for (const auto& [number, position] : std::exchange(survivors_, {})) model_.Promise(number, position);
    std::vector<std::string> wrong = model_.Check(node->machine);

    Work(*node);
    if (!node->machine.faults.empty()) ++faulted_lives;
    End(*node);
    return wrong;
  }

  int faulted_lives = 0, power_losses = 0;
  int64_t appended = 0;

 private:
  std::unique_ptr<LogNode> NewNode() { return std::make_unique<LogNode>(files_, scheduler_, random_, Options()); }
  uint64_t Draw(uint64_t below) { return random_.Next() % below; }

  static LogOptions Options() {
    LogOptions options = SmallLog();
    options.segment_bytes = 12 << 10;
    options.cache_bytes = 2 << 10;
    options.max_batch_bytes = 3000;
    return options;
  }

  absl::Status OpenSomehow(std::unique_ptr<LogNode>& node) {
    // A disk that breaks while the log is being opened, too. Faults of the life before may still wait for their call.
    if (Draw(10) == 0) disk_.FailNth(RandomOp(), static_cast<int>(1 + Draw(12)));
    while (true) {
      const absl::Status opened = node->OpenAndLead();
      if (opened.ok() || !absl::StrContains(opened.message(), "injected fault")) return opened;
      for (const RecordingMachine::Record& record : node->machine.records) Applied(record);
      node->Crash();
      if (!LoseSomething()) survivors_.clear();
      node = NewNode();
    }
  }

  sim::FileOp RandomOp() {
    constexpr sim::FileOp kOps[] = {sim::FileOp::kWrite, sim::FileOp::kSync, sim::FileOp::kSync, sim::FileOp::kRename,
                                    sim::FileOp::kSyncDir, sim::FileOp::kOpen};
    return kOps[Draw(std::size(kOps))];
  }

  void Work(LogNode& node) {
    if (Draw(4) == 0) disk_.FailNth(RandomOp(), static_cast<int>(1 + Draw(60)));
    const uint64_t steps = Draw(400);
    for (uint64_t step = 0; step < steps; ++step) {
      const uint64_t what = Draw(100);
      if (what < 25) Append(node);
      else if (what < 90) scheduler_.RunOne();
      else if (what < 97) scheduler_.RunFor(absl::Milliseconds(static_cast<int64_t>(Draw(15))));
      else if (what < 98 && node.Segments().size() > 2) Retain(node);
    }
  }

  void Append(LogNode& node) {
    const int number = model_.NextNumber();
    const Durability durability = Draw(3) == 0 ? Durability::kAsync : Durability::kSync;
    ++appended;
    node.OnShard([&] {
      node.log().Append(RecordType::kMessage, BodyOf(number, 20 + Draw(Draw(20) == 0 ? 6000 : 300)), durability,
                        AppendClass::kUser, [this, number, durability](absl::StatusOr<RecordPlace> place) {
                          if (!place.ok()) return;
                          if (durability == Durability::kSync) model_.Promise(number, place->position);
                          else early_[number] = place->position;
                        });
      return true;
    });
  }

  void Retain(LogNode& node) {
    const std::vector<SegmentInfo> segments = node.Segments();
    const LogPosition below = segments[Draw(segments.size())].base;
    model_.Removed(below);
    node.RemoveSegmentsBelow(below);
  }

  void End(LogNode& node) {
    const bool stops = Draw(5) == 0;
    if (stops) node.StopAndClose();
    for (const RecordingMachine::Record& record : node.machine.records) Applied(record);
    const bool calm = node.machine.faults.empty();
    node.Crash();
    const bool killed = LoseSomething();
    // Early answers are as good as others after a clean stop, and when only the process dies.
    if (calm && (stops || killed)) survivors_ = std::move(early_);
    early_.clear();
  }

  // What was applied may have been seen by a consumer.
  void Applied(const RecordingMachine::Record& record) {
    int number = -1;
    if (absl::SimpleAtoi(record.body.substr(7, record.body.find(':') - 7), &number)) model_.Promise(number, record.position);
  }

  // True: only the process died, every written byte stays.
  bool LoseSomething() {
    if (Draw(2) == 0) {
      disk_.KillProcess();
      return true;
    }
    ++power_losses;
    disk_.LosePower();
    return false;
  }

  sim::SimClock clock_;
  sim::SeededRandom random_;
  sim::SimScheduler scheduler_;
  sim::SimFiles disk_;
  LyingFiles lying_;
  common::Files& files_;
  Model model_;
  std::map<int, LogPosition> early_;      // kAsync answers of this life
  std::map<int, LogPosition> survivors_;  // of the life before, that must be found
};

int Lives() {
  int lives = 3000;
  if (const char* text = std::getenv("FULMAR_LOG_TORTURE_LIVES")) (void)absl::SimpleAtoi(text, &lives);
  return lives;
}

TEST(LogTortureTest, NothingPromisedIsLostInventedOrReordered) {
  SCOPED_TRACE(absl::StrCat("FULMAR_SEED=", sim::TestSeed()));
  constexpr int kLivesPerDisk = 30;
  int faulted = 0, power_losses = 0;
  int64_t appended = 0;
  for (int disk = 0; disk < std::max(1, Lives() / kLivesPerDisk); ++disk) {
    const uint64_t seed = sim::TestSeed() + static_cast<uint64_t>(disk);
    Torture torture(seed);
    for (int life = 0; life < kLivesPerDisk; ++life)
      ASSERT_THAT(torture.Live(), IsEmpty()) << "disk seed " << seed << ", life " << life;
    faulted += torture.faulted_lives;
    power_losses += torture.power_losses;
    appended += torture.appended;
  }
  RecordProperty("appended", absl::StrCat(appended));
  EXPECT_GT(faulted, 0);
  EXPECT_GT(power_losses, 0);
}

TEST(LogTortureTest, TheCheckerNoticesADiskThatLiesAboutSyncs) {
  SCOPED_TRACE(absl::StrCat("FULMAR_SEED=", sim::TestSeed()));
  for (uint64_t disk = 0; disk < 50; ++disk) {
    Torture torture(sim::TestSeed() + disk, /*lie_one_in=*/3);
    for (int life = 0; life < 30; ++life)
      for (const std::string& wrong : torture.Live())
        if (absl::StrContains(wrong, "lost:")) return;
  }
  FAIL() << "50 lying disks were believed";
}

}  // namespace
}  // namespace fulmar::log
