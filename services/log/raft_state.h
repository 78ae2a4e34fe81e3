#ifndef FULMAR_LOG_RAFT_STATE_H_
#define FULMAR_LOG_RAFT_STATE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/common/files.h"
#include "services/common/ids.h"

namespace fulmar::log {

// What Raft must not forget beside its entries.
struct RaftState {
  std::string shard_name;
  Term term;
  uint64_t vote = 0;
  uint64_t node_id = 0;
  // Who takes part, after the change of members at entry `members_index`.
  LogIndex members_index;
  std::vector<uint64_t> voters;
  std::vector<uint64_t> learners;
  std::vector<uint64_t> voters_outgoing;  // while a change of several members is under way
  std::vector<uint64_t> learners_next;
  bool auto_leave = false;
  // A point that was committed and durable when this was written: a log that ends before it has lost entries.
  LogIndex committed;
  LogPosition committed_end;
};

// The file raft.state: two slots of 4096 bytes that are written one after the other, each synced before the next. So at
// most one of them is ever being written; either one alone tells the truth; and a damaged one is made whole by the other.
//
//   slot: magic 8, version u32, crc u32, then 8 each: sequence, term, vote, node id, committed index, committed end,
//         members index; then u32 each: auto_leave, counts of voters, learners, outgoing voters, next learners, name bytes;
//         then those members (8 each), then the name
//
// Threads: one at a time; calls block.
class RaftStateFile {
 public:
  // Errors: DataLoss (neither slot is whole, names the file), as Files.
  static absl::StatusOr<std::unique_ptr<RaftStateFile>> Open(common::Files& files, const std::string& path);
  // The file does not exist yet; afterwards it does, durably except for its name in the folder.
  static absl::StatusOr<std::unique_ptr<RaftStateFile>> Create(common::Files& files, const std::string& path,
                                                               RaftState state);

  const RaftState& state() const { return state_; }
  // Durable when it returns OK. After an error nothing that depends on `state` may leave this process.
  absl::Status Write(const RaftState& state);

 private:
  RaftStateFile(std::unique_ptr<common::File> file, RaftState state, uint64_t sequence)
      : file_(std::move(file)), state_(std::move(state)), sequence_(sequence) {}

  std::unique_ptr<common::File> file_;
  RaftState state_;
  uint64_t sequence_;
};

inline constexpr size_t kRaftStateSlotBytes = 4096;

// Pure parts, for tests and fuzzing.
struct RaftStateSlot {
  uint64_t sequence = 0;
  RaftState state;
};
std::string EncodeRaftStateSlot(const RaftStateSlot& slot);
std::optional<RaftStateSlot> ParseRaftStateSlot(std::string_view bytes);

}  // namespace fulmar::log

#endif  // FULMAR_LOG_RAFT_STATE_H_
