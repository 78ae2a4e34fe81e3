// RaftCore by itself: one replica, its durability rules, what it refuses.
#include "services/log/raft_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "services/log/raft_core_test_group.h"

namespace fulmar::log {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

RaftStored NewGroup(std::vector<uint64_t> voters = {1}) {
  RaftStored stored;
  stored.conf_state.voters = std::move(voters);
  return stored;
}

std::unique_ptr<RaftCore> MustOpen(const RaftOptions& options, const RaftStored& stored) {
  absl::StatusOr<std::unique_ptr<RaftCore>> core = RaftCore::Open(options, stored);
  EXPECT_TRUE(core.ok()) << core.status();
  return *std::move(core);
}

RaftEntry Payload(int64_t index, int64_t term, uint64_t value) {
  return {{index}, {term}, RaftEntryKind::kPayload, {.payload_bytes = 100, .payload_crc = 7, .extra = value}, ""};
}

// A single voter that leads term 1, its first entry durable and applied.
struct Single {
  explicit Single(RaftOptions options = {}) : core(MustOpen(options, NewGroup())) {
    EXPECT_TRUE(core->Campaign().ok());
    const RaftReady elected = core->TakeReady();
    core->OnPersistReady(elected.number);
    for (const RaftEntry& entry : core->TakeReady().committed) core->AdvanceApplied(entry.index);
  }
  LogIndex Propose(uint64_t value) {
    absl::StatusOr<RaftCore::Place> place = core->Propose({.payload_bytes = 1, .extra = value});
    EXPECT_TRUE(place.ok()) << place.status();
    return place->index;
  }
  std::unique_ptr<RaftCore> core;
};

TEST(RaftCoreTest, ASingleVoterLeadsAfterItsOwnCampaign) {
  auto core = MustOpen({}, NewGroup());
  EXPECT_FALSE(core->HasReady());

  ASSERT_TRUE(core->Campaign().ok());

  const RaftReady ready = core->TakeReady();
  EXPECT_TRUE(ready.must_persist);
  EXPECT_EQ(ready.hard_state, (RaftHardState{{1}, 1, {0}}));
  EXPECT_EQ(ready.soft_state->role, RaftRole::kLeader);
  EXPECT_THAT(ready.entries, ElementsAre(RaftEntry{{1}, {1}, RaftEntryKind::kTermStart, {}, ""}));
  EXPECT_THAT(ready.committed, IsEmpty());
  EXPECT_TRUE(core->IsLeader());
}

TEST(RaftCoreTest, ASingleVoterCampaignsBySilenceToo) {
  auto core = MustOpen({.election_ticks = 10}, NewGroup());

  for (int tick = 1; tick < 10; ++tick) core->Tick();
  EXPECT_FALSE(core->IsLeader());
  for (int tick = 10; tick < 20; ++tick) core->Tick();
  EXPECT_TRUE(core->IsLeader());
}

TEST(RaftCoreTest, NothingIsCommittedBeforeItIsDurable) {
  Single single;
  const LogIndex index = single.Propose(42);

  const RaftReady write = single.core->TakeReady();
  EXPECT_THAT(write.entries, SizeIs(1));
  EXPECT_THAT(write.committed, IsEmpty());
  EXPECT_FALSE(single.core->HasReady());
  EXPECT_LT(single.core->Status().committed, index);

  single.core->OnPersistReady(write.number);
  const RaftReady commit = single.core->TakeReady();
  EXPECT_FALSE(commit.must_persist);
  ASSERT_THAT(commit.committed, SizeIs(1));
  EXPECT_EQ(commit.committed[0], write.entries[0]);
  EXPECT_EQ(commit.committed[0].handle.extra, 42u);
  EXPECT_FALSE(single.core->HasReady());
}

TEST(RaftCoreTest, SeveralWritesMayBeUnderWayAndBecomeDurableInOrder) {
  Single single;
  std::vector<RaftReady> writes;
  for (uint64_t value : {1, 2, 3}) {
    single.Propose(value);
    writes.push_back(single.core->TakeReady());
  }

  single.core->OnPersistReady(writes[0].number);
  EXPECT_THAT(single.core->TakeReady().committed, ElementsAre(writes[0].entries[0]));

  // The third covers the second.
  single.core->OnPersistReady(writes[2].number);
  EXPECT_THAT(single.core->TakeReady().committed, ElementsAre(writes[1].entries[0], writes[2].entries[0]));
}

TEST(RaftCoreTest, AReadyThatWritesNothingDoesNotCoverAWriteUnderWay) {
  Single single;
  single.Propose(1);
  const RaftReady first = single.core->TakeReady();
  single.Propose(2);
  const RaftReady second = single.core->TakeReady();
  single.core->OnPersistReady(first.number);
  const RaftReady commit = single.core->TakeReady();  // number 3, nothing to write
  EXPECT_FALSE(commit.must_persist);
  single.core->AdvanceApplied(commit.committed.back().index);

  EXPECT_EQ(single.core->Status().committed, first.entries[0].index);
  single.core->OnPersistReady(second.number);
  EXPECT_THAT(single.core->TakeReady().committed, ElementsAre(second.entries[0]));
}

TEST(RaftCoreTest, ARestartRaisesTheTermAndCommitsWhatWasDurable) {
  RaftStored stored = NewGroup();
  stored.hard_state = {{3}, 1, {0}};
  stored.entries = {{{1}, {1}, RaftEntryKind::kTermStart, {}, ""}, Payload(2, 1, 20), Payload(3, 3, 30)};
  auto core = MustOpen({.applied = {1}}, stored);

  ASSERT_TRUE(core->Campaign().ok());

  const RaftReady write = core->TakeReady();
  EXPECT_EQ(write.hard_state->term, Term{4});
  EXPECT_EQ(write.hard_state->vote, 1u);
  EXPECT_THAT(write.entries, ElementsAre(RaftEntry{{4}, {4}, RaftEntryKind::kTermStart, {}, ""}));
  EXPECT_THAT(write.committed, IsEmpty());
  core->OnPersistReady(write.number);
  EXPECT_THAT(core->TakeReady().committed, ElementsAre(stored.entries[1], stored.entries[2], write.entries[0]));
}

TEST(RaftCoreTest, AStoredCommitIsReplayedWithoutAnElection) {
  RaftStored stored = NewGroup();
  stored.hard_state = {{1}, 1, {2}};
  stored.entries = {Payload(1, 1, 10), Payload(2, 1, 20), Payload(3, 1, 30)};

  auto core = MustOpen({}, stored);

  ASSERT_TRUE(core->HasReady());
  EXPECT_THAT(core->TakeReady().committed, ElementsAre(stored.entries[0], stored.entries[1]));
}

TEST(RaftCoreTest, AReadyCarriesABoundedNumberOfPayloadBytes) {
  RaftStored stored = NewGroup();
  stored.hard_state = {{1}, 1, {10}};
  for (int64_t index = 1; index <= 10; ++index) stored.entries.push_back(Payload(index, 1, index));
  auto core = MustOpen({.max_ready_payload_bytes = 550}, stored);

  std::vector<size_t> sizes;
  while (core->HasReady()) sizes.push_back(core->TakeReady().committed.size());

  // An entry counts 100 bytes of payload and 64 of its own.
  EXPECT_THAT(sizes, ElementsAre(3, 3, 3, 1));
}

TEST(RaftCoreTest, ConfigurationChangesOutliveARestart) {
  std::string bytes;
  {
    Single single;
    const RaftConfChange change{{{RaftConfChange::Type::kAddLearner, 9}}, "127.0.0.1:1", false};
    ASSERT_TRUE(single.core->ProposeConfChange(change).ok());
    const RaftReady write = single.core->TakeReady();
    ASSERT_THAT(write.entries, SizeIs(1));
    EXPECT_EQ(write.entries[0].kind, RaftEntryKind::kConfChange);
    bytes = write.entries[0].conf_change;
    EXPECT_EQ(*single.core->DecodeConfChange(bytes), change);
  }
  RaftStored stored = NewGroup();
  stored.hard_state = {{1}, 1, {2}};
  stored.entries = {Payload(1, 1, 10), {{2}, {1}, RaftEntryKind::kConfChange, {}, bytes}};

  auto core = MustOpen({}, stored);

  const RaftReady ready = core->TakeReady();
  ASSERT_THAT(ready.committed, SizeIs(2));
  EXPECT_EQ(ready.committed[1], stored.entries[1]);
  absl::StatusOr<RaftConfState> conf_state = core->ApplyConfChange(ready.committed[1].conf_change);
  ASSERT_TRUE(conf_state.ok()) << conf_state.status();
  EXPECT_THAT(conf_state->learners, ElementsAre(9));
}

TEST(RaftCoreTest, ImpossibleConfigurationChangesAreRefused) {
  Single single;
  using Type = RaftConfChange::Type;

  EXPECT_EQ(single.core->ProposeConfChange({{{Type::kRemove, 1}}, "", false}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(single.core->ProposeConfChange({{{Type::kAddVoter, 0}}, "", false}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(single.core->ProposeConfChange({}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(single.core->HasReady());

  ASSERT_TRUE(single.core->ProposeConfChange({{{Type::kAddVoter, 2}}, "", false}).ok());
  EXPECT_EQ(single.core->ProposeConfChange({{{Type::kAddVoter, 3}}, "", false}).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_FALSE(single.core->ApplyConfChange("\xff\xff").ok());
}

// raft-rs lets a leader send at once. A single voter with a learner would so tell of a term that a crash can take back.
TEST(RaftCoreTest, ALeaderSendsNothingBeforeItsOwnVoteIsDurable) {
  RaftStored stored = NewGroup();
  stored.conf_state.learners = {2};
  auto core = MustOpen({}, stored);
  ASSERT_TRUE(core->Campaign().ok());

  const RaftReady election = core->TakeReady();
  EXPECT_THAT(election.messages, IsEmpty());
  ASSERT_TRUE(core->Propose({.payload_bytes = 1}).ok());
  const RaftReady proposal = core->TakeReady();
  EXPECT_THAT(proposal.messages, IsEmpty());

  core->OnPersistReady(election.number);
  ASSERT_TRUE(core->HasReady());
  EXPECT_THAT(core->TakeReady().messages, testing::Not(IsEmpty()));
}

TEST(RaftCoreTest, AFollowerAnswersOnlyWhenTheEntriesAreDurable) {
  TestGroup group(3);
  group.Elect(1);
  ASSERT_TRUE(group[1].Propose(5).ok());
  for (const RaftMessage& message : group[1].Work()) {
    if (message.to == 2) {
      ASSERT_TRUE(group[2].core().Step(message.bytes).ok());
    }
  }

  EXPECT_THAT(group[2].Work(), IsEmpty());
  EXPECT_EQ(group[2].unpersisted(), 1u);

  group[2].Persist();
  EXPECT_THAT(group[2].Work(), SizeIs(1));
}

TEST(RaftCoreTest, OnlyALeaderTakesProposals) {
  auto core = MustOpen({}, NewGroup({1, 2, 3}));

  EXPECT_EQ(core->Propose({}).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(core->TransferLeader(2).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(core->ReadIndex("x").code(), absl::StatusCode::kUnavailable);
}

TEST(RaftCoreTest, StoredStateThatContradictsItselfIsRefused) {
  const auto refusal = [](const RaftStored& stored, RaftOptions options = {}) {
    return RaftCore::Open(options, stored).status();
  };
  RaftStored stored = NewGroup();
  stored.hard_state = {{2}, 1, {0}};
  stored.entries = {Payload(1, 1, 10), Payload(2, 2, 20)};
  ASSERT_TRUE(refusal(stored).ok());

  RaftStored old_term = stored;
  old_term.hard_state.term = {1};
  EXPECT_EQ(refusal(old_term).code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(refusal(old_term).message(), HasSubstr("term 1 is older than the last entry's term 2"));

  RaftStored gap = stored;
  gap.entries[1].index = {3};
  EXPECT_EQ(refusal(gap).code(), absl::StatusCode::kDataLoss);

  EXPECT_EQ(refusal(stored, {.applied = {3}}).code(), absl::StatusCode::kDataLoss);
  RaftStored committed = stored;
  committed.hard_state.commit = {3};
  EXPECT_EQ(refusal(committed).code(), absl::StatusCode::kDataLoss);

  RaftStored twice = stored;
  twice.conf_state.voters = {1, 1};
  EXPECT_EQ(refusal(twice).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refusal(stored, {.node_id = 0}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refusal(stored, {.election_ticks = 2, .heartbeat_ticks = 2}).code(), absl::StatusCode::kInvalidArgument);
}

TEST(RaftCoreTest, BadMessageBytesAreAnErrorAndChangeNothing) {
  TestGroup group(3);
  group.Elect(1);
  ASSERT_TRUE(group[1].Propose(5).ok());
  std::string append;
  for (const RaftMessage& message : group[1].Work()) {
    if (message.to == 2) append = message.bytes;
  }
  RaftCore& core = group[2].core();
  const RaftStatus before = core.Status();

  EXPECT_EQ(core.Step("\xff\xff\xff").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(core.Step(std::string(2 << 20, '\0')).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(group[3].core().Step(append).code(), absl::StatusCode::kInvalidArgument) << "meant for another node";
  EXPECT_EQ(core.Step("").code(), absl::StatusCode::kInvalidArgument);

  EXPECT_FALSE(core.HasReady());
  EXPECT_EQ(core.Status().last_index, before.last_index);
  EXPECT_TRUE(core.Step(append).ok());
  EXPECT_EQ(core.Status().last_index.value, before.last_index.value + 1);
}

// Goal: no damage to a message crashes the process. raft_engine/tests/hostile_messages.rs goes further.
TEST(RaftCoreTest, NoSingleFlippedBitCrashes) {
  TestGroup group(3);
  group.Elect(1);
  ASSERT_TRUE(group[1].Propose(5).ok());
  std::vector<std::string> messages;
  for (const RaftMessage& message : group[1].Work()) messages.push_back(message.bytes);
  ASSERT_THAT(messages, SizeIs(2));

  for (const std::string& message : messages) {
    for (size_t bit = 0; bit < message.size() * 8; ++bit) {
      TestGroup fresh(3);
      fresh.Elect(1);
      std::string damaged = message;
      damaged[bit / 8] ^= 1 << bit % 8;
      for (uint64_t id : {2, 3}) fresh[id].core().Step(damaged).IgnoreError();
      fresh.Settle();
    }
  }
}

TEST(RaftCoreTest, CompactionForgetsEntriesButNotTheLastTerm) {
  Single single;
  for (uint64_t value = 1; value <= 5; ++value) single.Propose(value);
  const RaftReady write = single.core->TakeReady();
  single.core->OnPersistReady(write.number);
  single.core->AdvanceApplied(single.core->TakeReady().committed.back().index);

  single.core->Compact({6});

  const RaftStatus status = single.core->Status();
  EXPECT_EQ(status.first_index, LogIndex{7});
  EXPECT_EQ(status.last_index, LogIndex{6});
  EXPECT_EQ(single.core->TermOf({6}), Term{1});
  EXPECT_EQ(single.core->TermOf({5}), std::nullopt);
  EXPECT_EQ(single.Propose(6), LogIndex{7});
}

TEST(RaftCoreTest, WhatRaftSaysCanBeTaken) {
  auto core = MustOpen({.log_level = RaftOptions::LogLevel::kInfo}, NewGroup());
  ASSERT_TRUE(core->Campaign().ok());

  uint64_t dropped = 1;
  const std::vector<RaftLogLine> lines = core->TakeLogLines(&dropped);

  EXPECT_EQ(dropped, 0u);
  ASSERT_FALSE(lines.empty());
  EXPECT_THAT(lines.back().text, HasSubstr("became leader at term 1"));
  EXPECT_THAT(core->TakeLogLines(), IsEmpty());
}

TEST(RaftCoreDeathTest, ABrokenOrderOfCallsStopsTheProcess) {
  Single single;
  single.Propose(1);
  const RaftReady write = single.core->TakeReady();

  EXPECT_DEATH(single.core->OnPersistReady(write.number + 1), "cannot be durable");
  EXPECT_DEATH(single.core->AdvanceApplied(write.entries[0].index), "outside of");
  EXPECT_DEATH(single.core->Compact(write.entries[0].index), "cannot compact");
}

}  // namespace
}  // namespace fulmar::log
