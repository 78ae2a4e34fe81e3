#include "services/broker/ordered_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <memory>
#include <random>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/common/sim/test_seed.h"

namespace fulmar::broker {
namespace {

using Handle = GroupQueue::Handle;

class ListedGroups final : public MessageGroups {
 public:
  absl::StatusOr<uint64_t> GroupOf(int64_t offset) override {
    if (offset < min) return absl::NotFoundError("removed");
    return of[static_cast<size_t>(offset)];
  }
  void ForEachOf(uint64_t group, int64_t from, int64_t end, absl::FunctionRef<bool(int64_t)> visit) override {
    for (int64_t i = std::max(from, min); i < end; ++i) {
      if (of[static_cast<size_t>(i)] == group && !visit(i)) return;
    }
  }
  std::vector<uint64_t> of;
  int64_t min = 0;
};

// What an OrderedQueue must be, said as simply as possible: one fate per message, everything by looking at all of them.
struct Model {
  enum class Fate { kOpen, kHeld, kOut, kWaiting, kDone };
  struct Message {
    Fate fate = Fate::kOpen;
    bool noted = false;     // acknowledged behind others
    bool for_good = false;  // the note does not end with the invisible time
    int32_t attempt = 0;
    uint32_t serial = 0, hold = 0;
    int64_t until = 0;
  };
  ListedGroups& groups;
  std::vector<Message> messages;
  int64_t now = 1000;

  bool SameGroup(size_t a, size_t b) const { return a == b || (groups.of[a] != 0 && groups.of[a] == groups.of[b]); }
  bool IsHead(size_t i) const {
    for (size_t j = 0; j < i; ++j) {
      if (SameGroup(i, j) && messages[j].fate != Fate::kDone) return false;
    }
    return true;
  }
  bool Due(const Message& m) const { return (m.fate == Fate::kOut || m.fate == Fate::kWaiting) && m.until <= now; }
  // May a receive that holds `mine` take message i?
  bool MayTake(size_t i, const std::set<int64_t>& mine) const {
    if (messages[i].fate != Fate::kOpen && !Due(messages[i])) return false;
    for (size_t j = 0; j < i; ++j) {
      if (SameGroup(i, j) && messages[j].fate != Fate::kDone && !messages[j].for_good && !mine.contains(static_cast<int64_t>(j))) return false;
    }
    return true;
  }
  void End(size_t i) {
    Message& m = messages[i];
    if (!IsHead(i)) {
      m.noted = true;
      m.for_good = m.fate == Fate::kHeld;
      return;
    }
    const int64_t counts_from = m.fate == Fate::kHeld ? m.until : INT64_MAX;
    m.fate = Fate::kDone;
    for (size_t j = i + 1; j < messages.size(); ++j) {
      Message& next = messages[j];
      if (!SameGroup(i, j) || next.fate == Fate::kDone) continue;
      if (!next.noted || (!next.for_good && next.until <= now && next.until < counts_from)) return;
      next.fate = Fate::kDone;
    }
  }
  int64_t Cursor(int64_t front) const {
    int64_t cursor = 0;
    while (cursor < front && messages[static_cast<size_t>(cursor)].fate == Fate::kDone) ++cursor;
    return cursor;
  }
  int64_t Open() const {
    return std::count_if(messages.begin(), messages.end(), [](const Message& m) { return m.fate != Fate::kDone; });
  }
};

// A receive as Delivery makes it: heads whose time has come, heads that wait, what the front finds, then what follows in the same groups.
std::vector<int64_t> Receive(OrderedQueue& queue, ListedGroups& groups, int64_t end, size_t wanted, Model& model) {
  std::vector<int64_t> taken;
  std::set<int64_t> mine;
  const auto take = [&](int64_t offset) {
    EXPECT_TRUE(model.MayTake(static_cast<size_t>(offset), mine)) << offset;
    Model::Message& m = model.messages[static_cast<size_t>(offset)];
    m.hold = queue.Hold(offset);
    m.fate = Model::Fate::kHeld;
    m.noted = m.for_good = false;
    mine.insert(offset);
    taken.push_back(offset);
  };
  for (std::optional<int64_t> due; taken.size() < wanted && (due = queue.NextReady());) take(*due);
  for (std::optional<int64_t> open; taken.size() < wanted && (open = queue.NextWaiting());) take(*open);
  while (taken.size() < wanted && queue.front() < end) {
    const int64_t offset = queue.front();
    if (queue.Pass(groups.of[static_cast<size_t>(offset)])) take(offset);
  }
  for (size_t i = 0; i < taken.size() && taken.size() < wanted; ++i) {
    if (const auto next = queue.NextBehind(taken[i])) take(*next);
  }
  return taken;
}

// Goal: an OrderedQueue and the model agree after every step of any sequence of steps, also over Save and Restore: nothing is taken out of
// its order, nothing that may be taken is withheld, and what counts as done is the same. Replay: FULMAR_SEED=<seed>.
TEST(OrderedQueueModelTest, AgreesWithTheModelAfterEveryRandomStep) {
  SCOPED_TRACE(absl::StrCat("FULMAR_SEED=", sim::TestSeed()));
  std::mt19937_64 random(sim::TestSeed());
  for (int run = 0; run < 400 && !testing::Test::HasFailure(); ++run) {
    constexpr int64_t kEnd = 40;
    ListedGroups groups;
    const uint64_t kinds = 1 + random() % 8;
    for (int64_t i = 0; i < kEnd; ++i) groups.of.push_back(random() % (kinds + 1));  // 0: a message without a group
    Model model{groups, std::vector<Model::Message>(kEnd)};
    auto queue = std::make_unique<OrderedQueue>(0, groups);
    int64_t end = 0;
    uint32_t serial = 0;
    for (int step = 0; step < 500 && !testing::Test::HasFailure(); ++step) {
      SCOPED_TRACE(absl::StrCat("run ", run, " step ", step));
      const size_t offset = random() % kEnd;
      Model::Message& m = model.messages[offset];
      switch (random() % 11) {
        case 0: end = std::min<int64_t>(kEnd, end + static_cast<int64_t>(random() % 6)); break;
        case 1:
        case 2: {
          bool something = false;
          for (size_t i = 0; i < static_cast<size_t>(end); ++i) something |= model.MayTake(i, {});
          const std::vector<int64_t> taken = Receive(*queue, groups, end, 1 + random() % 5, model);
          ASSERT_EQ(!taken.empty(), something);
          break;
        }
        case 3:
        case 4: {  // deliver what is held
          if (m.hold != 0) {
            ASSERT_EQ(queue->IsHeld(static_cast<int64_t>(offset), m.hold), m.fate == Model::Fate::kHeld);
          }
          if (m.fate != Model::Fate::kHeld || m.for_good) break;
          const bool again = m.attempt > 0 && random() % 4 == 0;
          m.until = model.now + 1 + static_cast<int64_t>(random() % 50);
          m.attempt += again ? 0 : 1;
          m.serial = ++serial;
          m.fate = Model::Fate::kOut;
          const Flight& flight = queue->Deliver(static_cast<int64_t>(offset), {model.now, m.until, 7, serial, false, again});
          ASSERT_EQ(flight.attempt, m.attempt);
          break;
        }
        case 5: {  // let go what is held
          if (m.fate != Model::Fate::kHeld || m.for_good) break;
          m.until = model.now + static_cast<int64_t>(random() % 20);
          m.fate = Model::Fate::kWaiting;
          queue->Release(static_cast<int64_t>(offset), model.now, m.until);
          break;
        }
        case 6:
        case 7: {  // acknowledge with the right handle
          if (m.serial == 0 || m.attempt == 0) break;
          const Handle state = queue->Check(static_cast<int64_t>(offset), m.attempt, m.serial, true);
          const bool expired = model.Due(m);
          if (m.fate == Model::Fate::kDone || (m.noted && !expired)) {
            ASSERT_EQ(state, Handle::kDone);
          } else if ((m.fate == Model::Fate::kOut || m.fate == Model::Fate::kHeld) && !(expired && !model.IsHead(offset))) {
            ASSERT_EQ(state, Handle::kCurrent);
            ASSERT_TRUE(queue->MarkDone(static_cast<int64_t>(offset)));
            model.End(offset);
          } else {
            ASSERT_EQ(state, Handle::kStale);
          }
          break;
        }
        case 8: {  // change its invisible time, or say that it never reached the client
          if (m.fate != Model::Fate::kOut || m.noted || m.serial == 0) break;
          if (random() % 2 == 0) {
            m.until = model.now + 1 + static_cast<int64_t>(random() % 50);
            queue->Reschedule(static_cast<int64_t>(offset), m.attempt, model.now, m.until, ++serial);
            m.serial = serial;
          } else {
            ASSERT_TRUE(queue->Return(static_cast<int64_t>(offset), m.serial, model.now));
            --m.attempt;
            m.fate = Model::Fate::kWaiting;
            m.until = model.now;
          }
          break;
        }
        case 9: {
          model.now += static_cast<int64_t>(random() % 30);
          queue->OnTime(model.now, [](int64_t, const Flight&) { return std::nullopt; });
          break;
        }
        case 10: {  // a new leader takes over what was saved
          if (random() % 6 != 0) break;
          index::QueueProgress saved;
          queue->Save(absl::Seconds(5), saved);
          ASSERT_TRUE(index::CheckProgress(saved).ok()) << index::CheckProgress(saved);
          const absl::StatusOr<index::QueueProgress> read = index::DecodeProgress(index::Encode(saved));
          ASSERT_TRUE(read.ok()) << read.status();
          queue = std::make_unique<OrderedQueue>(0, groups);
          queue->Restore(*read, {.wall_minus_steady = absl::Seconds(5), .now_ms = model.now, .renew_until_ms = model.now});
          for (Model::Message& each : model.messages) {
            if (each.fate == Model::Fate::kDone || each.fate == Model::Fate::kOpen) continue;
            if (each.noted && !each.for_good && each.until <= model.now) each.noted = false;
            if (each.attempt == 0) {
              each = {};
              continue;
            }
            if (!each.for_good && each.fate == Model::Fate::kHeld) each.fate = Model::Fate::kOut;
            each.serial = each.hold = 0;
          }
          queue->OnTime(model.now, [](int64_t, const Flight&) { return std::nullopt; });
          break;
        }
      }
      ASSERT_EQ(queue->cursor(), model.Cursor(queue->front()));
      ASSERT_EQ(queue->Lag(kEnd), model.Open());
      for (int64_t i = 0; i < kEnd; ++i) {
        ASSERT_EQ(queue->Done(i), model.messages[static_cast<size_t>(i)].fate == Model::Fate::kDone) << i;
      }
    }
  }
}

class OrderedQueueTest : public testing::Test {
 protected:
  // All messages of these groups lie in the queue.
  void Have(std::vector<uint64_t> of) { groups.of = std::move(of); }
  std::vector<int64_t> Take(size_t wanted) {
    std::vector<int64_t> taken;
    for (std::optional<int64_t> due; taken.size() < wanted && (due = queue.NextReady());) Hold(*due, taken);
    for (std::optional<int64_t> open; taken.size() < wanted && (open = queue.NextWaiting());) Hold(*open, taken);
    while (taken.size() < wanted && queue.front() < std::ssize(groups.of)) {
      if (queue.Pass(groups.of[static_cast<size_t>(queue.front())])) Hold(queue.front() - 1, taken);
    }
    for (size_t i = 0; i < taken.size() && taken.size() < wanted; ++i) {
      if (const auto next = queue.NextBehind(taken[i])) Hold(*next, taken);
    }
    for (const int64_t offset : taken) queue.Deliver(offset, {now, now + 100, 1, ++serial, false});
    return taken;
  }
  void Hold(int64_t offset, std::vector<int64_t>& taken) {
    queue.Hold(offset);
    taken.push_back(offset);
  }
  void Pass(int64_t ms) {
    now += ms;
    queue.OnTime(now, [](int64_t, const Flight&) { return std::nullopt; });
  }
  ListedGroups groups;
  OrderedQueue queue{0, groups};
  int64_t now = 1000;
  uint32_t serial = 0;
};

using testing::ElementsAre;
using testing::IsEmpty;

TEST_F(OrderedQueueTest, AReceiveTakesDifferentMessageGroupsBeforeMoreOfTheSame) {
  Have({1, 1, 1, 2, 2, 3});
  EXPECT_THAT(Take(5), ElementsAre(0, 3, 5, 1, 4));
  EXPECT_THAT(Take(5), IsEmpty());
}

TEST_F(OrderedQueueTest, AnAcknowledgementBehindAnOpenMessageCountsWithIt) {
  Have({1, 1, 1});
  Take(3);
  EXPECT_TRUE(queue.MarkDone(1));
  EXPECT_TRUE(queue.MarkDone(2));
  EXPECT_EQ(queue.cursor(), 0);
  EXPECT_TRUE(queue.MarkDone(0));
  EXPECT_EQ(queue.cursor(), 3);
  EXPECT_EQ(queue.lines(), 0);
}

TEST_F(OrderedQueueTest, ANoteWhoseTimeIsOverIsVoidAndTheWholeBatchComesAgain) {
  Have({1, 1, 1});
  Take(3);
  queue.MarkDone(1);
  Pass(100);
  EXPECT_THAT(Take(3), ElementsAre(0, 1, 2));
  EXPECT_EQ(queue.Find(1)->attempt, 2);
}

TEST_F(OrderedQueueTest, WhatWasAcknowledgedBeforeItsPredecessorDiedCounts) {
  Have({1, 1, 1});
  Take(3);
  queue.MarkDone(1);
  Pass(100);                // the time of all three
  queue.Hold(0);            // on its way to the dead letters
  Pass(50);
  EXPECT_TRUE(queue.MarkDone(0));
  EXPECT_EQ(queue.cursor(), 2);
  EXPECT_THAT(Take(3), ElementsAre(2));
}

TEST_F(OrderedQueueTest, RetentionTakesTheBeginningOfALine) {
  Have({1, 1, 1, 1, 2, 1});
  EXPECT_THAT(Take(2), ElementsAre(0, 4));  // all of them were looked at
  EXPECT_EQ(queue.MoveUp(3), 3);
  groups.min = 3;
  EXPECT_EQ(queue.Lag(6), 3);
  EXPECT_EQ(queue.cursor(), 3);
  EXPECT_THAT(Take(9), ElementsAre(3, 5));
}

// Goal: memory follows the message groups in flight, not the messages that wait behind them, and other groups flow on past all of these.
// Method: 10,000 blocked groups, 1,000,000 messages behind them, one free group after every hundredth.
TEST(OrderedQueueMemoryTest, AMillionMessagesBehindTenThousandBlockedGroupsCostNoMemory) {
  constexpr int64_t kBlocked = 10'000, kBehind = 1'000'000;
  struct Computed final : MessageGroups {
    absl::StatusOr<uint64_t> GroupOf(int64_t offset) override {
      return offset % 101 == 100 ? 1'000'000 + static_cast<uint64_t>(offset) : 1 + static_cast<uint64_t>(offset) % kBlocked;
    }
    void ForEachOf(uint64_t group, int64_t from, int64_t end, absl::FunctionRef<bool(int64_t)> visit) override {
      for (int64_t i = from; i < end; ++i) {
        if (*GroupOf(i) == group && !visit(i)) return;
      }
    }
  } groups;
  OrderedQueue queue(0, groups);
  const size_t before = mallinfo2().uordblks;
  int64_t flowed = 0, blocked = 0;
  size_t when_blocked = 0;
  for (int64_t offset = 0; offset < kBlocked * 2 + kBehind; ++offset) {
    const uint64_t group = *groups.GroupOf(offset);
    if (!queue.Pass(group)) continue;
    queue.Hold(offset);
    queue.Deliver(offset, {0, 3'600'000, 1, 1, false});
    if (group >= 1'000'000) {
      EXPECT_TRUE(queue.MarkDone(offset));
      ++flowed;
    } else if (++blocked == kBlocked) {
      when_blocked = mallinfo2().uordblks - before;
    }
  }
  const size_t at_the_end = mallinfo2().uordblks - before;

  EXPECT_EQ(blocked, kBlocked);
  EXPECT_EQ(flowed, (kBlocked * 2 + kBehind) / 101);
  EXPECT_GT(queue.waiting(), kBehind - 10'000);
  EXPECT_EQ(queue.lines(), kBlocked);
  EXPECT_LT(at_the_end, when_blocked + 64 * 1024) << "bytes before: " << when_blocked;
  EXPECT_LT(at_the_end / kBlocked, 400u) << "bytes per blocked group";
  index::QueueProgress saved;
  queue.Save(absl::ZeroDuration(), saved);
  EXPECT_LT(index::Encode(saved).size() / kBlocked, 24u) << "bytes of progress per blocked group";
}

}  // namespace
}  // namespace fulmar::broker
