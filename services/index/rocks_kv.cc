#include "services/index/rocks_kv.h"

#include <atomic>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/listener.h"
#include "rocksdb/write_batch.h"
#include "services/index/overlay.h"
#include "services/index/rocks_files.h"
#include "services/index/rocks_options.h"

// How a full disk is lived through.
//
//   flush or compaction finds no space ─► its thread waits in PatientFiles; RocksDB goes on taking writes into memtables
//   memtables full (Incomplete) ────────► batches go to the overlay, readers see overlay over RocksDB
//   space again ─► the flush goes on ───► overlay written batch by batch ─► overlay empty, writes go direct again
//
// While the overlay holds anything, every new batch goes to its end: the order of batches is never changed. Memtables that fill faster
// than a healthy disk takes them are lived through in the same way. Any other error of RocksDB is final: batches wait in the overlay, and
// after a restart the log fills in what is missing.
namespace fulmar::index {
namespace {

constexpr absl::Duration kStallPause = absl::Milliseconds(10);

rocksdb::Slice ToSlice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// RocksDB 7.8 takes the hints of memtable_insert_with_hint_prefix_extractor for the memtable of range deletions, too, which makes rubbish of
// both. A range deletion therefore never begins with a key that has hints: those of one length, so one byte more is none.
void DeleteRange(const std::string& begin, const std::string& end, rocksdb::WriteBatch& out) {
  const std::string after_begin = begin + '\0';  // the next key there is
  out.Delete(begin);
  if (after_begin < end) out.DeleteRange(after_begin, end);
}

void Convert(const KvBatch& batch, rocksdb::WriteBatch& out) {
  out.Clear();
  for (const KvBatch::Op& op : batch.ops()) {
    switch (op.kind) {
      case KvBatch::Op::kPut: out.Put(op.key, op.value); break;
      case KvBatch::Op::kDelete: out.Delete(op.key); break;
      case KvBatch::Op::kDeleteRange:
        if (op.key < op.value) DeleteRange(op.key, op.value, out);
        break;
    }
  }
}

class RocksIterator : public KvStore::Iterator {
 public:
  RocksIterator(rocksdb::DB& db, std::string_view begin, std::string_view end) : begin_(begin), end_(end) {
    end_slice_ = end_;
    rocksdb::ReadOptions options;
    options.iterate_upper_bound = &end_slice_;
    it_.reset(db.NewIterator(options));
    Seek(begin);
  }
  void Seek(std::string_view key) override { it_->Seek(ToSlice(key < begin_ ? std::string_view(begin_) : key)); }
  bool Valid() const override { return it_->Valid(); }
  void Next() override { it_->Next(); }
  std::string_view key() const override { return ToView(it_->key()); }
  std::string_view value() const override { return ToView(it_->value()); }
  absl::Status status() const override { return FromRocks(it_->status(), "index: scan"); }

 private:
  const std::string begin_, end_;
  rocksdb::Slice end_slice_;
  std::unique_ptr<rocksdb::Iterator> it_;
};

absl::Status MakeDirs(rocksdb::Env& env, const std::string& dir) {
  for (size_t at = dir.find('/', 1);; at = dir.find('/', at + 1)) {
    const std::string part = dir.substr(0, at);
    const rocksdb::Status status = env.CreateDirIfMissing(part);
    if (!status.ok()) return FromRocks(status, absl::StrCat("index: create ", part));
    if (at == std::string::npos) return absl::OkStatus();
  }
}

}  // namespace

class RocksKv::State : public std::enable_shared_from_this<RocksKv::State> {
 public:
  State(const RocksKvOptions& options, common::Executor& background)
      : max_overlay_bytes_(options.max_overlay_bytes), background_(background) {
    write_options_.disableWAL = true;
    write_options_.no_slowdown = true;
  }

  absl::Status Open(const RocksKvOptions& options);
  void Close();

  void Write(const KvBatch& batch);
  bool crowded() const { return crowded_.load(std::memory_order_relaxed); }
  std::optional<std::string> Get(std::string_view key) const;
  std::unique_ptr<Iterator> Scan(std::string_view begin, std::string_view end) const;
  void FlushAsync();
  absl::Status Flush();
  std::optional<std::string> GetDurable(std::string_view key) const;
  Stats GetStats() const;

 private:
  class Listener;

  void Schedule(absl::Duration delay);
  void MaintenanceTask();
  // Empties the overlay, starts a wanted flush. Not OK: it has to be done again.
  absl::Status Maintain() ABSL_EXCLUSIVE_LOCKS_REQUIRED(maintenance_);
  absl::Status Drain() ABSL_EXCLUSIVE_LOCKS_REQUIRED(maintenance_);
  absl::Status FlushAndWait() ABSL_EXCLUSIVE_LOCKS_REQUIRED(maintenance_);
  absl::Status StartFlush() ABSL_EXCLUSIVE_LOCKS_REQUIRED(maintenance_);
  void Fail(const absl::Status& status) ABSL_LOCKS_EXCLUDED(problem_mutex_);
  void OnFullDisk(const rocksdb::IOStatus& status) ABSL_LOCKS_EXCLUDED(problem_mutex_);
  // Why nothing can be flushed now; OK: nothing is known.
  absl::Status Trouble() const ABSL_LOCKS_EXCLUDED(problem_mutex_);
  void SetDamage(const absl::Status& status) const ABSL_LOCKS_EXCLUDED(problem_mutex_);
  uint64_t Property(const std::string& name) const;

  const uint64_t max_overlay_bytes_;
  common::Executor& background_;
  rocksdb::WriteOptions write_options_;
  std::shared_ptr<PatientFiles> files_;
  std::unique_ptr<rocksdb::Env> env_;
  std::unique_ptr<rocksdb::DB> db_;

  absl::Mutex maintenance_;  // one at a time recovers and drains; taken before the others, may be held for long
  bool closed_ ABSL_GUARDED_BY(maintenance_) = false;

  mutable absl::Mutex write_mutex_ ABSL_ACQUIRED_AFTER(maintenance_);  // short: one memtable insert
  rocksdb::WriteBatch scratch_ ABSL_GUARDED_BY(write_mutex_);
  Overlay overlay_ ABSL_GUARDED_BY(write_mutex_);
  std::atomic<bool> has_overlay_ = false;  // lets readers skip the lock
  std::atomic<bool> crowded_ = false;      // of overlay_

  std::atomic<bool> flush_wanted_ = false;
  mutable absl::Mutex problem_mutex_ ABSL_ACQUIRED_AFTER(write_mutex_);
  absl::Status failure_ ABSL_GUARDED_BY(problem_mutex_);         // RocksDB has given up; stays until it is opened again
  absl::Status full_ ABSL_GUARDED_BY(problem_mutex_);            // a thread waits for space
  mutable absl::Status damage_ ABSL_GUARDED_BY(problem_mutex_);  // stays until the index is rebuilt
  bool scheduled_ ABSL_GUARDED_BY(problem_mutex_) = false;
  uint64_t flushes_ ABSL_GUARDED_BY(problem_mutex_) = 0;  // that ended well
};

// Called by RocksDB's threads, also inside Write(): takes no lock but the innermost.
class RocksKv::State::Listener : public rocksdb::EventListener {
 public:
  explicit Listener(State& state) : state_(state) {}
  void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status* status) override {
    state_.Fail(FromRocks(*status, "index: background work"));
  }
  void OnFlushCompleted(rocksdb::DB*, const rocksdb::FlushJobInfo&) override {
    absl::MutexLock lock(&state_.problem_mutex_);
    ++state_.flushes_;
  }
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status, bool* auto_recovery) override {
    *auto_recovery = false;
  }

 private:
  State& state_;
};

absl::Status RocksKv::State::Open(const RocksKvOptions& options) {
  rocksdb::Options rocks = MakeRocksOptions(options);
  rocks.listeners.push_back(std::make_shared<Listener>(*this));
  if (absl::Status status = MakeDirs(*rocks.env, options.dir); !status.ok()) return status;
  files_ = std::make_shared<PatientFiles>(rocks.env->GetFileSystem(), options.retry_interval,
                                          [this](const rocksdb::IOStatus& status) { OnFullDisk(status); });
  env_ = rocksdb::NewCompositeEnv(files_);
  rocks.env = env_.get();
  // A process has two indexes at most, the broker's and the offset service's: one that waits for its disk must not hold up the other.
  for (rocksdb::Env::Priority priority : {rocksdb::Env::HIGH, rocksdb::Env::LOW}) env_->IncBackgroundThreadsIfNeeded(2, priority);
  rocksdb::DB* db = nullptr;
  files_->BeginOpening();
  const rocksdb::Status status = rocksdb::DB::Open(rocks, options.dir, &db);
  files_->EndOpening();
  if (!status.ok()) return FromRocks(status, absl::StrCat("index: open ", options.dir));
  db_.reset(db);
  return absl::OkStatus();
}

void RocksKv::State::Close() {
  absl::MutexLock lock(&maintenance_);
  closed_ = true;
  files_->Stop();
  db_.reset();
}

void RocksKv::State::Write(const KvBatch& batch) {
  absl::MutexLock lock(&write_mutex_);
  if (overlay_.empty()) {
    Convert(batch, scratch_);
    const rocksdb::Status status = db_->Write(write_options_, &scratch_);
    if (status.ok()) return;
    if (!status.IsIncomplete()) Fail(FromRocks(status, "index: write"));
  }
  const bool first = overlay_.empty();
  overlay_.Add(batch);
  has_overlay_ = true;
  crowded_ = overlay_.bytes() > max_overlay_bytes_;
  if (first && Trouble().ok()) Schedule(kStallPause);  // else OnFullDisk does when there is space
}

std::optional<std::string> RocksKv::State::Get(std::string_view key) const {
  if (has_overlay_) {
    absl::MutexLock lock(&write_mutex_);
    if (std::optional<Overlay::Answer> answer = overlay_.Get(key)) return std::move(answer->value);
  }
  std::string value;
  const rocksdb::Status status = db_->Get(rocksdb::ReadOptions(), ToSlice(key), &value);
  if (status.ok()) return value;
  if (!status.IsNotFound()) SetDamage(FromRocks(status, "index: read"));
  return std::nullopt;
}

std::unique_ptr<KvStore::Iterator> RocksKv::State::Scan(std::string_view begin, std::string_view end) const {
  if (!has_overlay_) return std::make_unique<RocksIterator>(*db_, begin, end);
  absl::MutexLock lock(&write_mutex_);  // no batch may come between the two views
  return MergeOverlay(std::make_unique<RocksIterator>(*db_, begin, end), overlay_.Range(begin, end));
}

void RocksKv::State::FlushAsync() {
  flush_wanted_ = true;
  if (Trouble().ok()) Schedule(absl::ZeroDuration());
}

absl::Status RocksKv::State::Flush() {
  absl::MutexLock lock(&maintenance_);
  return FlushAndWait();
}

// RocksDB's own waiting would wait for space, too.
absl::Status RocksKv::State::FlushAndWait() {
  bool started = false;
  while (true) {
    uint64_t flushes;
    {
      absl::MutexLock lock(&problem_mutex_);
      flushes = flushes_;
    }
    if (absl::Status status = Trouble(); !status.ok()) return status;
    if (!started) {
      flush_wanted_ = true;
      started = Maintain().ok();
    }
    if (started && Property(rocksdb::DB::Properties::kNumImmutableMemTable) == 0) return absl::OkStatus();
    const auto went_on = [this, flushes]() ABSL_SHARED_LOCKS_REQUIRED(problem_mutex_) {
      return !failure_.ok() || !full_.ok() || flushes_ != flushes;
    };
    absl::MutexLock lock(&problem_mutex_, absl::Condition(&went_on));
  }
}

std::optional<std::string> RocksKv::State::GetDurable(std::string_view key) const {
  // Without the write-ahead log the persisted tier is the table files, which a flush adds after syncing them.
  rocksdb::ReadOptions options;
  options.read_tier = rocksdb::kPersistedTier;
  std::string value;
  if (!db_->Get(options, ToSlice(key), &value).ok()) return std::nullopt;
  return value;
}

// At most one task waits at a time; one that is due later also serves who wanted it earlier, which only a stall (10 ms)
// or an explicit flush could notice.
void RocksKv::State::Schedule(absl::Duration delay) {
  absl::MutexLock lock(&problem_mutex_);
  if (scheduled_) return;
  scheduled_ = true;
  auto task = [weak = weak_from_this()] {
    if (const std::shared_ptr<State> state = weak.lock()) state->MaintenanceTask();
  };
  if (delay > absl::ZeroDuration()) {
    background_.After(delay, std::move(task));
  } else {
    background_.Post(std::move(task));
  }
}

void RocksKv::State::MaintenanceTask() {
  {
    absl::MutexLock lock(&problem_mutex_);
    scheduled_ = false;
  }
  absl::MutexLock lock(&maintenance_);
  if (closed_) return;
  if (!Maintain().ok() && Trouble().ok()) Schedule(kStallPause);
}

absl::Status RocksKv::State::Maintain() {
  if (absl::Status status = Trouble(); !status.ok()) return status;
  if (absl::Status status = Drain(); !status.ok()) return status;
  if (!flush_wanted_.exchange(false)) return absl::OkStatus();
  absl::Status status = StartFlush();
  if (!status.ok()) flush_wanted_ = true;
  return status;
}

absl::Status RocksKv::State::StartFlush() {
  rocksdb::FlushOptions options;
  options.wait = false;
  options.allow_write_stall = true;
  const rocksdb::Status status = db_->Flush(options);
  absl::Status result = FromRocks(status, "index: start flush");
  if (!status.ok() && !status.IsTryAgain()) Fail(result);  // TryAgain: all memtables are full, and being flushed
  return result;
}

absl::Status RocksKv::State::Drain() {
  rocksdb::WriteBatch batch;
  while (true) {
    {
      absl::MutexLock lock(&write_mutex_);
      if (overlay_.empty()) return absl::OkStatus();
      Convert(overlay_.Front(), batch);
    }
    // Unlocked: writers only add to the end meanwhile, and only this thread takes from the front.
    const rocksdb::Status status = db_->Write(write_options_, &batch);
    if (!status.ok()) {
      absl::Status result = FromRocks(status, "index: write what waited");
      if (!status.IsIncomplete()) Fail(result);
      return result;
    }
    absl::MutexLock lock(&write_mutex_);
    overlay_.PopFront();
    if (overlay_.empty()) has_overlay_ = crowded_ = false;
  }
}

void RocksKv::State::Fail(const absl::Status& status) {
  absl::MutexLock lock(&problem_mutex_);
  failure_.Update(status);
}

void RocksKv::State::OnFullDisk(const rocksdb::IOStatus& status) {
  {
    absl::MutexLock lock(&problem_mutex_);
    full_ = FromRocks(status, "index: waiting for space");
  }
  if (status.ok()) Schedule(absl::ZeroDuration());
}

absl::Status RocksKv::State::Trouble() const {
  absl::MutexLock lock(&problem_mutex_);
  return failure_.ok() ? full_ : failure_;
}

void RocksKv::State::SetDamage(const absl::Status& status) const {
  absl::MutexLock lock(&problem_mutex_);
  damage_.Update(status);
}

uint64_t RocksKv::State::Property(const std::string& name) const {
  uint64_t value = 0;
  db_->GetIntProperty(name, &value);
  return value;
}

KvStore::Stats RocksKv::State::GetStats() const {
  Stats stats;
  stats.disk_bytes = Property(rocksdb::DB::Properties::kTotalSstFilesSize);
  stats.memtable_bytes = Property(rocksdb::DB::Properties::kSizeAllMemTables);
  stats.block_cache_bytes = Property(rocksdb::DB::Properties::kBlockCacheUsage);
  stats.pending_compaction_bytes = Property(rocksdb::DB::Properties::kEstimatePendingCompactionBytes);
  stats.estimated_keys = Property(rocksdb::DB::Properties::kEstimateNumKeys);
  {
    absl::MutexLock lock(&write_mutex_);
    stats.overlay_bytes = overlay_.bytes();
  }
  absl::MutexLock lock(&problem_mutex_);
  stats.damaged = !damage_.ok();
  for (const absl::Status& problem : {damage_, failure_, full_}) {
    if (problem.ok()) continue;
    stats.healthy = false;
    stats.problem = problem.message();
    break;
  }
  return stats;
}

absl::StatusOr<std::unique_ptr<RocksKv>> RocksKv::Open(const RocksKvOptions& options, common::Executor& background) {
  auto state = std::make_shared<State>(options, background);
  if (absl::Status status = state->Open(options); !status.ok()) return status;
  return std::unique_ptr<RocksKv>(new RocksKv(std::move(state)));
}

absl::Status RocksKv::Remove(const std::string& dir) {
  if (rocksdb::Env::Default()->FileExists(dir).IsNotFound()) return absl::OkStatus();
  return FromRocks(rocksdb::DestroyDB(dir, rocksdb::Options()), absl::StrCat("index: remove ", dir));
}

RocksKv::RocksKv(std::shared_ptr<State> state) : state_(std::move(state)) {}
RocksKv::~RocksKv() { state_->Close(); }
void RocksKv::Write(const KvBatch& batch) { state_->Write(batch); }
bool RocksKv::crowded() const { return state_->crowded(); }
std::optional<std::string> RocksKv::Get(std::string_view key) const { return state_->Get(key); }
std::unique_ptr<KvStore::Iterator> RocksKv::Scan(std::string_view begin, std::string_view end) const {
  return state_->Scan(begin, end);
}
void RocksKv::FlushAsync() { state_->FlushAsync(); }
absl::Status RocksKv::Flush() { return state_->Flush(); }
std::optional<std::string> RocksKv::GetDurable(std::string_view key) const { return state_->GetDurable(key); }
KvStore::Stats RocksKv::GetStats() const { return state_->GetStats(); }

}  // namespace fulmar::index
