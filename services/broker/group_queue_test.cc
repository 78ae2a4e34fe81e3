#include "services/broker/group_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "services/common/sim/test_seed.h"

namespace fulmar::broker {
namespace {

using Handle = GroupQueue::Handle;

// What a GroupQueue must be, said as simply as possible: one fate per offset, everything by looking at all of them.
struct Model {
  enum class Fate { kOpen, kHeld, kOut, kWaiting, kDone };
  struct Message {
    Fate fate = Fate::kOpen;
    int32_t attempt = 0;
    uint32_t serial = 0;
    uint32_t hold = 0;
    int64_t until = 0;
  };
  explicit Model(int64_t end) : messages(static_cast<size_t>(end)) {}
  std::vector<Message> messages;

  std::optional<int64_t> NextNew(int64_t end) const {
    for (int64_t i = 0; i < end; ++i) {
      if (messages[static_cast<size_t>(i)].fate == Fate::kOpen) return i;
    }
    return std::nullopt;
  }
  // Offsets whose time has come.
  std::optional<int64_t> NextReady(int64_t now) const {
    for (size_t i = 0; i < messages.size(); ++i) {
      const Message& m = messages[i];
      if ((m.fate == Fate::kOut || m.fate == Fate::kWaiting) && m.until <= now) return static_cast<int64_t>(i);
    }
    return std::nullopt;
  }
  int64_t Cursor() const {
    int64_t cursor = 0;
    while (cursor < static_cast<int64_t>(messages.size()) && messages[static_cast<size_t>(cursor)].fate == Fate::kDone) ++cursor;
    return cursor;
  }
  int64_t Open() const {
    return std::count_if(messages.begin(), messages.end(), [](const Message& m) { return m.fate != Fate::kDone; });
  }
};

// Goal: a GroupQueue and the model agree after every step of any sequence of steps, also over Save and Restore.
// Replay: FULMAR_SEED=<seed>.
TEST(GroupQueueModelTest, AgreesWithTheModelAfterEveryRandomStep) {
  SCOPED_TRACE(absl::StrCat("FULMAR_SEED=", sim::TestSeed()));
  std::mt19937_64 random(sim::TestSeed());
  for (int run = 0; run < 60; ++run) {
    constexpr int64_t kEnd = 40;
    Model model(kEnd);
    auto queue = std::make_unique<GroupQueue>(0);
    int64_t now = 1000, end = 0;
    uint32_t serial = 0;
    const auto pick = [&] { return static_cast<int64_t>(random() % kEnd); };
    for (int step = 0; step < 600; ++step) {
      const int64_t offset = pick();
      Model::Message& m = model.messages[static_cast<size_t>(offset)];
      switch (random() % 10) {
        case 0: end = std::min<int64_t>(kEnd, end + static_cast<int64_t>(random() % 4)); break;
        case 1: {  // take
          const auto ready = queue->NextReady();
          ASSERT_EQ(ready, model.NextReady(now));
          const auto open = queue->NextNew(end);
          ASSERT_EQ(open, model.NextNew(end));
          const auto taken = ready ? ready : open;
          if (!taken) break;
          Model::Message& t = model.messages[static_cast<size_t>(*taken)];
          t.hold = queue->Hold(*taken);
          t.fate = Model::Fate::kHeld;
          break;
        }
        case 2:
        case 3: {  // deliver what is held
          ASSERT_EQ(queue->IsHeld(offset, m.hold), m.fate == Model::Fate::kHeld);
          if (m.fate != Model::Fate::kHeld) break;
          const int64_t until = now + 1 + static_cast<int64_t>(random() % 50);
          const Flight& flight = queue->Deliver(offset, {now, until, 7, ++serial, false});
          ++m.attempt;
          m = {Model::Fate::kOut, m.attempt, serial, 0, until};
          ASSERT_EQ(flight.attempt, m.attempt);
          break;
        }
        case 4: {  // let go what is held
          if (m.fate != Model::Fate::kHeld) break;
          const int64_t at = now + static_cast<int64_t>(random() % 20);
          queue->Release(offset, now, at);
          m.fate = Model::Fate::kWaiting;
          m.until = at;
          break;
        }
        case 5: {  // acknowledge with the right handle or with an old one
          const uint32_t with = random() % 4 == 0 ? m.serial - 1 : m.serial;
          const Handle state = queue->Check(offset, m.attempt, with, true);
          if (m.fate == Model::Fate::kDone) {
            ASSERT_EQ(state, Handle::kDone);
          } else if (with == m.serial && m.serial != 0 && (m.fate == Model::Fate::kOut || m.fate == Model::Fate::kHeld)) {
            ASSERT_EQ(state, Handle::kCurrent);
            ASSERT_TRUE(queue->MarkDone(offset));
            m.fate = Model::Fate::kDone;
          } else {
            ASSERT_EQ(state, Handle::kStale);
          }
          break;
        }
        case 6: {  // change its invisible time
          if (m.fate != Model::Fate::kOut) break;
          const int64_t until = now + 1 + static_cast<int64_t>(random() % 50);
          queue->Reschedule(offset, m.attempt, now, until, ++serial);
          m.serial = serial;
          m.until = until;
          break;
        }
        case 7: {  // it never reached the client
          const bool returned = queue->Return(offset, m.serial, now);
          ASSERT_EQ(returned, m.fate == Model::Fate::kOut) << offset;
          if (!returned) break;
          --m.attempt;
          m.fate = Model::Fate::kWaiting;
          m.until = now;
          break;
        }
        case 8: {
          now += static_cast<int64_t>(random() % 30);
          queue->OnTime(now, [](int64_t, const Flight&) { return std::nullopt; });
          break;
        }
        case 9: {  // a new leader takes over what was saved; nothing is held there
          if (random() % 8 != 0) break;
          index::QueueProgress saved;
          queue->Save(absl::Seconds(5), saved);
          queue = std::make_unique<GroupQueue>(0);
          queue->Restore(saved, {.wall_minus_steady = absl::Seconds(5), .now_ms = now, .renew_until_ms = now});
          for (Model::Message& each : model.messages) {
            if (each.fate == Model::Fate::kDone || each.fate == Model::Fate::kOpen) continue;
            if (each.attempt == 0) {
              each = {};
            } else {
              // What was held waits for the time of its last delivery; handles of before have no serial here.
              each.fate = each.fate == Model::Fate::kWaiting ? Model::Fate::kWaiting : Model::Fate::kOut;
              each.serial = 0;
            }
          }
          queue->OnTime(now, [](int64_t, const Flight&) { return std::nullopt; });
          break;
        }
      }
      ASSERT_EQ(queue->cursor(), model.Cursor());
      ASSERT_EQ(queue->Lag(kEnd), model.Open());
      const int64_t flights = std::count_if(model.messages.begin(), model.messages.end(), [](const Model::Message& each) {
        return each.fate != Model::Fate::kDone && each.fate != Model::Fate::kOpen;
      });
      ASSERT_EQ(queue->flights(), flights);
    }
  }
}

TEST(GroupQueueTest, AHandleOfAnEarlierDeliveryIsStale) {
  GroupQueue queue(0);
  queue.Hold(0);
  queue.Deliver(0, {.now_ms = 0, .until_ms = 10, .client = 1, .serial = 1, .auto_renew = false});
  queue.OnTime(10, [](int64_t, const Flight&) { return std::nullopt; });
  queue.Hold(0);
  queue.Deliver(0, {.now_ms = 10, .until_ms = 20, .client = 1, .serial = 2, .auto_renew = false});

  EXPECT_EQ(queue.Check(0, 1, 1, true), Handle::kStale);
  EXPECT_EQ(queue.Check(0, 2, 2, true), Handle::kCurrent);
}

TEST(GroupQueueTest, AnExpiredHandleIsGoodUntilTheMessageIsTakenAgain) {
  GroupQueue queue(0);
  queue.Hold(0);
  queue.Deliver(0, {.now_ms = 0, .until_ms = 10, .client = 1, .serial = 1, .auto_renew = false});
  queue.OnTime(10, [](int64_t, const Flight&) { return std::nullopt; });

  EXPECT_EQ(queue.Check(0, 1, 1, true), Handle::kCurrent);
}

TEST(GroupQueueTest, ANewLeaderHonoursWhatTheOldOneDeliveredEvenIfItsProgressWasNotWritten) {
  GroupQueue queue(0);
  queue.Restore({.cursor = 2}, {});

  EXPECT_EQ(queue.Check(5, 1, 77, /*own_term=*/false), Handle::kCurrent);
  EXPECT_TRUE(queue.MarkDone(5));
  EXPECT_EQ(queue.NextNew(10), 2);
  EXPECT_EQ(queue.Check(5, 1, 77, false), Handle::kDone);
  EXPECT_EQ(queue.Check(1, 1, 3, false), Handle::kDone);
}

TEST(GroupQueueTest, AfterAResetTheHandlesOfThisTermAreStale) {
  GroupQueue queue(0);
  queue.Hold(0);
  queue.Deliver(0, {.now_ms = 0, .until_ms = 10, .client = 1, .serial = 1, .auto_renew = false});
  queue.ResetTo(0);

  EXPECT_EQ(queue.Check(0, 1, 1, true), Handle::kStale);
  EXPECT_EQ(queue.flights(), 0);
  EXPECT_EQ(queue.out(), 0);
}

TEST(GroupQueueTest, AResetTakesWhatIsHeldAwayFromItsHolder) {
  GroupQueue queue(0);
  const uint32_t first = queue.Hold(0);
  queue.ResetTo(0);
  const uint32_t second = queue.Hold(0);

  EXPECT_FALSE(queue.IsHeld(0, first));
  EXPECT_TRUE(queue.IsHeld(0, second));
}

TEST(GroupQueueTest, OnlyWhatAGoneClientHoldsWithAutoRenewComesBackEarly) {
  GroupQueue queue(0);
  for (int64_t offset = 0; offset < 3; ++offset) queue.Hold(offset);
  queue.Deliver(0, {.now_ms = 0, .until_ms = 60000, .client = 1, .serial = 1, .auto_renew = true});
  queue.Deliver(1, {.now_ms = 0, .until_ms = 60000, .client = 2, .serial = 2, .auto_renew = true});
  queue.Deliver(2, {.now_ms = 0, .until_ms = 60000, .client = 1, .serial = 3, .auto_renew = false});

  EXPECT_EQ(queue.GiveBack([](uint64_t client) { return client == 1; }, 100, 1100), 1);
  queue.OnTime(1100, [](int64_t, const Flight&) { return std::nullopt; });
  EXPECT_EQ(queue.NextReady(), 0);
  EXPECT_EQ(queue.out(), 2);
}

TEST(GroupQueueTest, RetentionCountsWhatTheGroupNeverFinished) {
  GroupQueue queue(0);
  queue.MarkDone(1);
  queue.Hold(2);
  queue.Deliver(2, {.now_ms = 0, .until_ms = 10, .client = 1, .serial = 1, .auto_renew = false});

  EXPECT_EQ(queue.MoveUp(4), 3);  // 0, 2, 3
  EXPECT_EQ(queue.cursor(), 4);
  EXPECT_EQ(queue.flights(), 0);
  EXPECT_EQ(queue.NextNew(6), 4);
  EXPECT_FALSE(queue.next_time_ms().has_value());
}

TEST(GroupQueueTest, TimesSurviveARestartAsWallTimes) {
  GroupQueue queue(0);
  queue.Hold(0);
  queue.Deliver(0, {.now_ms = 1000, .until_ms = 31000, .client = 1, .serial = 1, .auto_renew = false});
  index::QueueProgress saved;
  queue.Save(absl::Seconds(100), saved);
  ASSERT_EQ(saved.in_flight.size(), 1u);
  EXPECT_EQ(saved.in_flight[0].invisible_until, absl::UnixEpoch() + absl::Seconds(131));

  GroupQueue later(0);  // another boot: its steady clock runs 90 s behind
  later.Restore(saved, {.wall_minus_steady = absl::Seconds(10), .now_ms = 91000});
  EXPECT_EQ(later.next_time_ms(), 121000);
}

TEST(QueueCursorTest, RangesMergeAndAreAbsorbed) {
  QueueCursor cursor;
  for (const int64_t offset : {5, 3, 4, 1}) EXPECT_TRUE(cursor.MarkDone(offset));
  EXPECT_FALSE(cursor.MarkDone(4));
  EXPECT_THAT(cursor.RangesAbove(), testing::ElementsAre(index::OffsetRange{1, 2}, index::OffsetRange{3, 6}));
  EXPECT_EQ(cursor.NextOpen(3), 6);
  EXPECT_TRUE(cursor.MarkDone(0));
  EXPECT_EQ(cursor.cursor(), 2);
  EXPECT_EQ(cursor.done_above(), 3);
  EXPECT_TRUE(cursor.MarkDone(2));
  EXPECT_EQ(cursor.cursor(), 6);
  EXPECT_EQ(cursor.done_above(), 0);
}

}  // namespace
}  // namespace fulmar::broker
