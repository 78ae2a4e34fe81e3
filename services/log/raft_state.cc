#include "services/log/raft_state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/crc32c.h"
#include "services/common/status.h"
#include "services/log/coding.h"
#include "services/log/frame.h"

namespace fulmar::log {
namespace {

constexpr uint64_t kMagic = 0x31544641524D4C46;  // "FLMRAFT1"
constexpr uint32_t kVersion = 1;
constexpr size_t kVersionAt = 8, kCrcAt = 12, kSequenceAt = 16, kTermAt = 24, kVoteAt = 32, kNodeAt = 40,
                 kCommittedAt = 48, kCommittedEndAt = 56, kMembersIndexAt = 64, kAutoLeaveAt = 72, kCountsAt = 76,
                 kNameBytesAt = 92, kListsAt = 96;
constexpr size_t kMaxMembers = 64;  // per list
static_assert(kListsAt + kMaxShardNameBytes + 4 * kMaxMembers * 8 <= kRaftStateSlotBytes);

uint32_t SlotCrc(std::string_view slot) {
  return common::Crc32cExtend(common::Crc32c(slot.substr(0, kCrcAt)), slot.substr(kSequenceAt));
}

absl::Status WriteSlots(common::File& file, const RaftStateSlot& slot) {
  const std::string bytes = EncodeRaftStateSlot(slot);
  for (const uint64_t offset : {uint64_t{0}, uint64_t{kRaftStateSlotBytes}}) {
    FULMAR_RETURN_IF_ERROR(file.PWrite(offset, bytes));
    // Never to be tried again, even when it was for space.
    if (const absl::Status synced = file.Sync(); !synced.ok()) return absl::DataLossError(synced.message());
  }
  return absl::OkStatus();
}

}  // namespace

std::string EncodeRaftStateSlot(const RaftStateSlot& slot) {
  const RaftState& state = slot.state;
  FULMAR_CHECK(state.shard_name.size() <= kMaxShardNameBytes, state.shard_name);
  std::string bytes(kRaftStateSlotBytes, '\0');
  char* const out = bytes.data();
  Put<uint64_t>(out, kMagic);
  Put<uint32_t>(out + kVersionAt, kVersion);
  Put<uint64_t>(out + kSequenceAt, slot.sequence);
  Put<int64_t>(out + kTermAt, state.term.value);
  Put<uint64_t>(out + kVoteAt, state.vote);
  Put<uint64_t>(out + kNodeAt, state.node_id);
  Put<int64_t>(out + kCommittedAt, state.committed.value);
  Put<int64_t>(out + kCommittedEndAt, state.committed_end.value);
  Put<int64_t>(out + kMembersIndexAt, state.members_index.value);
  Put<uint32_t>(out + kAutoLeaveAt, state.auto_leave ? 1 : 0);
  Put<uint32_t>(out + kNameBytesAt, static_cast<uint32_t>(state.shard_name.size()));
  char* count = out + kCountsAt;
  char* list = out + kListsAt;
  for (const auto* members : {&state.voters, &state.learners, &state.voters_outgoing, &state.learners_next}) {
    FULMAR_CHECK(members->size() <= kMaxMembers);
    Put<uint32_t>(count, static_cast<uint32_t>(members->size()));
    count += sizeof(uint32_t);
    for (const uint64_t member : *members) {
      Put<uint64_t>(list, member);
      list += sizeof(member);
    }
  }
  std::copy(state.shard_name.begin(), state.shard_name.end(), list);
  Put<uint32_t>(out + kCrcAt, SlotCrc(bytes));
  return bytes;
}

std::optional<RaftStateSlot> ParseRaftStateSlot(std::string_view bytes) {
  if (bytes.size() < kRaftStateSlotBytes) return std::nullopt;
  bytes = bytes.substr(0, kRaftStateSlotBytes);
  const char* const in = bytes.data();
  if (Get<uint64_t>(in) != kMagic || Get<uint32_t>(in + kVersionAt) != kVersion ||
      Get<uint32_t>(in + kCrcAt) != SlotCrc(bytes))
    return std::nullopt;
  RaftStateSlot slot;
  RaftState& state = slot.state;
  slot.sequence = Get<uint64_t>(in + kSequenceAt);
  state.term.value = Get<int64_t>(in + kTermAt);
  state.vote = Get<uint64_t>(in + kVoteAt);
  state.node_id = Get<uint64_t>(in + kNodeAt);
  state.committed.value = Get<int64_t>(in + kCommittedAt);
  state.committed_end.value = Get<int64_t>(in + kCommittedEndAt);
  state.members_index.value = Get<int64_t>(in + kMembersIndexAt);
  state.auto_leave = Get<uint32_t>(in + kAutoLeaveAt) != 0;
  const uint32_t name_bytes = Get<uint32_t>(in + kNameBytesAt);
  if (name_bytes > kMaxShardNameBytes || state.term.value < 0 || state.committed.value < 0 ||
      state.committed_end.value < 0 || state.members_index.value < 0)
    return std::nullopt;
  const char* count = in + kCountsAt;
  const char* list = in + kListsAt;
  for (auto* members : {&state.voters, &state.learners, &state.voters_outgoing, &state.learners_next}) {
    const uint32_t size = Get<uint32_t>(count);
    if (size > kMaxMembers) return std::nullopt;
    count += sizeof(uint32_t);
    for (uint32_t i = 0; i < size; ++i, list += sizeof(uint64_t)) members->push_back(Get<uint64_t>(list));
  }
  state.shard_name.assign(list, name_bytes);
  return slot;
}

absl::StatusOr<std::unique_ptr<RaftStateFile>> RaftStateFile::Open(common::Files& files, const std::string& path) {
  FULMAR_ASSIGN_OR_RETURN(std::unique_ptr<common::File> file, files.Open(path, common::OpenMode::kReadWrite));
  std::string bytes(2 * kRaftStateSlotBytes, '\0');
  FULMAR_ASSIGN_OR_RETURN(const size_t got, file->PRead(0, bytes.size(), bytes.data()));
  const std::string_view read = std::string_view(bytes).substr(0, got);
  std::optional<RaftStateSlot> first = ParseRaftStateSlot(read);
  std::optional<RaftStateSlot> second =
      got > kRaftStateSlotBytes ? ParseRaftStateSlot(read.substr(kRaftStateSlotBytes)) : std::nullopt;
  if (!first.has_value() && !second.has_value())
    return absl::DataLossError(absl::StrCat(path, ": both slots (bytes 0 and ", kRaftStateSlotBytes,
                                            ") are damaged; restore the file from a backup or from another replica"));

  // The first slot is written first. If it is damaged, either that write was cut off, and nothing has happened yet that
  // depends on it, or it rotted later, and then the second one says the same.
  const bool whole = first.has_value() && second.has_value() && first->sequence == second->sequence;
  RaftStateSlot slot = !first.has_value()                                           ? *std::move(second)
                       : second.has_value() && second->sequence > first->sequence ? *std::move(second)
                                                                                    : *std::move(first);
  if (!whole) FULMAR_RETURN_IF_ERROR(WriteSlots(*file, slot));
  return std::unique_ptr<RaftStateFile>(new RaftStateFile(std::move(file), std::move(slot.state), slot.sequence));
}

absl::StatusOr<std::unique_ptr<RaftStateFile>> RaftStateFile::Create(common::Files& files, const std::string& path,
                                                                     RaftState state) {
  // Under another name until it is whole: a crash in between must not leave a file that looks damaged.
  const std::string fresh = absl::StrCat(path, ".new");
  FULMAR_ASSIGN_OR_RETURN(std::unique_ptr<common::File> file, files.Open(fresh, common::OpenMode::kCreateOrOpen));
  FULMAR_RETURN_IF_ERROR(WriteSlots(*file, {.sequence = 1, .state = state}));
  FULMAR_RETURN_IF_ERROR(files.Rename(fresh, path));
  return std::unique_ptr<RaftStateFile>(new RaftStateFile(std::move(file), std::move(state), 1));
}

absl::Status RaftStateFile::Write(const RaftState& state) {
  FULMAR_RETURN_IF_ERROR(WriteSlots(*file_, {.sequence = sequence_ + 1, .state = state}));
  ++sequence_;
  state_ = state;
  return absl::OkStatus();
}

}  // namespace fulmar::log
