// Three replicas in one simulated world, joined by a transport that loses and delays: the seam for replication.

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/common/sim/test_seed.h"
#include "services/log/log_test_node.h"

namespace fulmar::log {
namespace {

class LogGroupTest : public ::testing::Test {
 protected:
  class Transport final : public LogTransport {
   public:
    explicit Transport(LogGroupTest& group) : group_(group) {}
    void Send(ReplicaMessage message) override { group_.Deliver(std::move(message)); }

   private:
    LogGroupTest& group_;
  };
  struct Replica {
    explicit Replica(LogGroupTest& group) : files(sim::TestSeed()), transport(group) {}
    sim::SimFiles files;
    Transport transport;
    std::unique_ptr<LogNode> node;
  };

  LogGroupTest() {
    for (uint64_t id = 1; id <= 3; ++id) replicas_.push_back(std::make_unique<Replica>(*this));
    for (uint64_t id = 1; id <= 3; ++id) Start(id);
  }

  void Start(uint64_t id) {
    Replica& replica = *replicas_[id - 1];
    LogOptions options = SmallLog();
    options.node_id = id;
    options.voters = {1, 2, 3};
    options.cache_bytes = 4 << 20;
    replica.node = std::make_unique<LogNode>(replica.files, scheduler_, random_, options, &replica.transport);
    const absl::Status opened = replica.node->Open();
    ASSERT_TRUE(opened.ok()) << opened;
    replica.node->OnShard([&] { replica.node->log().Start(); return true; });
  }
  void Crash(uint64_t id) {
    replicas_[id - 1]->node.reset();
    replicas_[id - 1]->files.LosePower();
  }

  void Deliver(ReplicaMessage message) {
    if (loss_percent_ > 0 && random_.Next() % 100 < loss_percent_) return;
    // As bytes on a wire: nothing is shared with the sender.
    for (ReplicaPayload& payload : message.payloads) payload.bytes = common::SharedBytes(std::string(payload.bytes.view()));
    network_.After(absl::Microseconds(static_cast<int64_t>(random_.Next() % 2000)), [this, message = std::move(message)]() mutable {
      LogNode* const node = replicas_[message.to - 1]->node.get();
      if (node == nullptr) return;
      node->OnShard([&] {
        node->log().Step(std::move(message.raft), std::move(message.payloads));
        return true;
      });
    });
  }

  // The leader of the highest term; null when there is none.
  LogNode* Leader() {
    LogNode* leader = nullptr;
    Term term;
    for (const auto& replica : replicas_) {
      if (replica->node == nullptr) continue;
      const LogStats stats = replica->node->Stats();
      if (stats.leader && stats.term > term) {
        term = stats.term;
        leader = replica->node.get();
      }
    }
    return leader;
  }
  LogNode* AwaitLeader() {
    scheduler_.RunUntil([this] { return Leader() != nullptr; }, absl::Seconds(60));
    return Leader();
  }

  ::testing::ScopedTrace trace_{__FILE__, __LINE__, absl::StrCat("FULMAR_SEED=", sim::TestSeed())};
  sim::SimClock clock_;
  sim::SeededRandom random_{sim::TestSeed()};
  sim::SimScheduler scheduler_{clock_, &random_};
  sim::SimExecutor network_{scheduler_, "network"};
  std::vector<std::unique_ptr<Replica>> replicas_;
  uint64_t loss_percent_ = 0;
};

TEST_F(LogGroupTest, AllReplicasApplyTheSameRecordsAtTheSamePositions) {
  loss_percent_ = 5;
  LogNode* const leader = AwaitLeader();
  ASSERT_NE(leader, nullptr);
  for (int i = 0; i < 200; ++i) {
    const auto outcome = leader->Append(BodyOf(i, 100), i % 2 == 0 ? Durability::kSync : Durability::kAsync);
    if (i % 5 == 0) scheduler_.RunFor(absl::Milliseconds(3));
  }
  loss_percent_ = 0;
  scheduler_.RunFor(absl::Seconds(10));

  ASSERT_GE(leader->machine.records.size(), 1u);
  for (const auto& replica : replicas_) {
    const RecordingMachine& machine = replica->node->machine;
    EXPECT_THAT(machine.faults, ::testing::IsEmpty());
    ASSERT_EQ(machine.records.size(), leader->machine.records.size());
    EXPECT_EQ(machine.applied.index, leader->machine.applied.index);
    EXPECT_EQ(machine.applied.position, leader->machine.applied.position);
    for (size_t i = 0; i < machine.records.size(); ++i) {
      EXPECT_EQ(machine.records[i].body, leader->machine.records[i].body);
      EXPECT_EQ(machine.records[i].position, leader->machine.records[i].position);
      EXPECT_EQ(machine.records[i].time, leader->machine.records[i].time);
    }
  }
}

TEST_F(LogGroupTest, WhatWasAcknowledgedSurvivesTheLeader) {
  LogNode* leader = AwaitLeader();
  ASSERT_NE(leader, nullptr);
  std::vector<std::string> acknowledged;
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(leader->AppendAndWait(BodyOf(i)).ok());
    acknowledged.push_back(BodyOf(i));
  }
  uint64_t dead = 0;
  for (uint64_t id = 1; id <= 3; ++id)
    if (replicas_[id - 1]->node.get() == leader) dead = id;
  Crash(dead);

  leader = AwaitLeader();
  ASSERT_NE(leader, nullptr);
  for (int i = 30; i < 60; ++i) {
    ASSERT_TRUE(leader->AppendAndWait(BodyOf(i)).ok());
    acknowledged.push_back(BodyOf(i));
  }
  Start(dead);
  scheduler_.RunFor(absl::Seconds(20));

  for (const auto& replica : replicas_) {
    EXPECT_THAT(replica->node->machine.faults, ::testing::IsEmpty());
    EXPECT_EQ(replica->node->machine.Bodies(), acknowledged);
  }
}

}  // namespace
}  // namespace fulmar::log
