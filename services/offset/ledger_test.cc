// The consumption ledger on simulated files and time: its rules one by one, then random calls under a model, with power cuts at random moments.
#include "services/offset/ledger.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/common/errors.h"
#include "services/common/sim/test_seed.h"
#include "services/offset/offset_testing.h"

namespace fulmar::offset {
namespace {

using Outcome = LedgerBegun::Outcome;
using State = LedgerEntry::State;

constexpr int kPreconditionFailed = 42800, kBadRequest = 40000, kNotFound = 40400, kIllegalGroup = 40003;

class LedgerTest : public testing::Test {
 protected:
  explicit LedgerTest(int64_t segment_bytes = 1 << 20) : node(sim::TestSeed(), segment_bytes) {}
  void SetUp() override { ASSERT_TRUE(node.Start().ok()); }

  absl::StatusOr<LedgerBegun> Begin(const std::string& key, const std::string& holder, absl::Duration lease = absl::Seconds(30), absl::Duration ttl = absl::Hours(1)) {
    auto answer = OffsetNode::NewAnswer<absl::StatusOr<LedgerBegun>>();
    node.core().LedgerBegin({.group = "g", .key = key, .holder = holder, .lease = lease, .ttl = ttl}, OffsetNode::Into(answer));
    return node.Wait(answer);
  }
  absl::StatusOr<LedgerEntry> Complete(const std::string& key, uint64_t token, const std::string& result = "", absl::Duration ttl = absl::Hours(1)) {
    auto answer = OffsetNode::NewAnswer<absl::StatusOr<LedgerEntry>>();
    node.core().LedgerComplete({.group = "g", .key = key, .token = token, .result = result, .ttl = ttl}, OffsetNode::Into(answer));
    return node.Wait(answer);
  }
  absl::Status Abandon(const std::string& key, uint64_t token) {
    auto answer = OffsetNode::NewAnswer<absl::Status>();
    node.core().LedgerAbandon("g", key, token, OffsetNode::Into(answer));
    return node.Wait(answer);
  }
  absl::StatusOr<LedgerEntry> Get(const std::string& key, const std::string& group = "g") {
    auto answer = OffsetNode::NewAnswer<absl::StatusOr<LedgerEntry>>();
    node.core().LedgerGet(group, key, OffsetNode::Into(answer));
    return node.Wait(answer);
  }
  uint64_t Started(const std::string& key, const std::string& holder, absl::Duration lease = absl::Seconds(30)) {
    const auto begun = Begin(key, holder, lease);
    EXPECT_TRUE(begun.ok()) << begun.status();
    EXPECT_EQ(begun->outcome, Outcome::kStarted);
    return begun->entry.token;
  }
  // Keys of the index that belong to the ledger.
  size_t Rows() const {
    size_t rows = 0;
    for (const auto& [key, value] : node.IndexContents()) rows += key[0] == kLedgerKind || key[0] == kLedgerEndKind;
    return rows;
  }

  ::testing::ScopedTrace trace_{__FILE__, __LINE__, absl::StrCat("FULMAR_SEED=", sim::TestSeed())};
  OffsetNode node;
};

// ---- rules

TEST_F(LedgerTest, OneBeginsAndTheOthersAreToldWho) {
  const auto first = Begin("k", "a", absl::Seconds(30));
  const auto second = Begin("k", "b");

  EXPECT_EQ(first->outcome, Outcome::kStarted);
  EXPECT_GT(first->entry.token, 0u);
  EXPECT_EQ(second->outcome, Outcome::kHeld);
  EXPECT_EQ(second->entry.holder, "a");
  EXPECT_EQ(second->entry.lease_until_ms, first->entry.lease_until_ms);
}

TEST_F(LedgerTest, KeysAndGroupsDoNotMeet) {
  EXPECT_EQ(Begin("k", "a")->outcome, Outcome::kStarted);
  EXPECT_EQ(Begin("k2", "b")->outcome, Outcome::kStarted);
  EXPECT_EQ(V2CodeOf(Get("k", "other").status()), kNotFound);
}

TEST_F(LedgerTest, ACompletedKeyIsNeverBegunAgain) {
  const uint64_t token = Started("k", "a");
  ASSERT_TRUE(Complete("k", token, "charged 5 EUR").ok());

  for (const char* holder : {"a", "b"}) {
    const auto again = Begin("k", holder);
    EXPECT_EQ(again->outcome, Outcome::kCompleted);
    EXPECT_EQ(again->entry.result, "charged 5 EUR");
    EXPECT_EQ(again->entry.token, token);
  }
  node.scheduler().RunFor(absl::Minutes(59));
  EXPECT_EQ(Begin("k", "c")->outcome, Outcome::kCompleted);
}

TEST_F(LedgerTest, ARepeatedBeginOfTheSameHolderKeepsItsTokenAndRenewsTheLease) {
  const auto first = Begin("k", "a");
  node.scheduler().RunFor(absl::Seconds(20));
  const auto again = Begin("k", "a");

  EXPECT_EQ(again->outcome, Outcome::kStarted);
  EXPECT_EQ(again->entry.token, first->entry.token);
  EXPECT_GE(again->entry.lease_until_ms, first->entry.lease_until_ms + 20'000);
  node.scheduler().RunFor(absl::Seconds(20));
  EXPECT_EQ(Begin("k", "b")->outcome, Outcome::kHeld);
}

TEST_F(LedgerTest, AfterTheLeaseAnotherOneTakesOverWithAGreaterToken) {
  const uint64_t first = Started("k", "a", absl::Seconds(30));
  node.scheduler().RunFor(absl::Milliseconds(29'900));
  EXPECT_EQ(Begin("k", "b")->outcome, Outcome::kHeld);
  node.scheduler().RunFor(absl::Milliseconds(200));
  const uint64_t second = Started("k", "b");

  EXPECT_GT(second, first);
  EXPECT_EQ(V2CodeOf(Complete("k", first).status()), kPreconditionFailed);
  EXPECT_EQ(V2CodeOf(Abandon("k", first)), kPreconditionFailed);
  EXPECT_TRUE(Complete("k", second).ok());
  EXPECT_EQ(V2CodeOf(Complete("k", first).status()), kPreconditionFailed);
}

TEST_F(LedgerTest, ALeaseThatNobodyTookOverStillCompletes) {
  const uint64_t token = Started("k", "a", absl::Seconds(1));
  node.scheduler().RunFor(absl::Minutes(5));
  EXPECT_TRUE(Complete("k", token).ok());
}

TEST_F(LedgerTest, ARepeatedCompleteChangesNothing) {
  const uint64_t token = Started("k", "a");
  const auto first = Complete("k", token, "one");
  node.scheduler().RunFor(absl::Seconds(5));
  EXPECT_EQ(Complete("k", token, "two").value(), first.value());
  EXPECT_EQ(Get("k")->result, "one");
}

TEST_F(LedgerTest, AnAbandonedKeyIsFreeAtOnceAndItsTokenIsWorthless) {
  const uint64_t first = Started("k", "a");
  EXPECT_TRUE(Abandon("k", first).ok());
  EXPECT_TRUE(Abandon("k", first).ok());
  EXPECT_EQ(V2CodeOf(Get("k").status()), kNotFound);
  EXPECT_EQ(V2CodeOf(Complete("k", first).status()), kPreconditionFailed);
  EXPECT_EQ(Rows(), 0u);

  const uint64_t second = Started("k", "a");
  EXPECT_GT(second, first);
  EXPECT_EQ(V2CodeOf(Abandon("k", first)), kPreconditionFailed);
  EXPECT_TRUE(Complete("k", second).ok());
  EXPECT_EQ(V2CodeOf(Abandon("k", second)), kPreconditionFailed);
}

TEST_F(LedgerTest, WhatIsNotBegunCannotBeCompleted) {
  EXPECT_EQ(V2CodeOf(Complete("k", 1).status()), kPreconditionFailed);
  EXPECT_TRUE(Abandon("k", 1).ok());
}

TEST_F(LedgerTest, LimitsAreChecked) {
  EXPECT_EQ(V2CodeOf(Begin("", "a").status()), kBadRequest);
  EXPECT_EQ(V2CodeOf(Begin(std::string(257, 'k'), "a").status()), kBadRequest);
  EXPECT_TRUE(Begin(std::string(256, 'k'), "a").ok());
  EXPECT_EQ(V2CodeOf(Begin("k", "").status()), kBadRequest);
  EXPECT_EQ(V2CodeOf(Begin("k", std::string(257, 'h')).status()), kBadRequest);
  EXPECT_EQ(V2CodeOf(Begin("k", "a", absl::Milliseconds(999)).status()), kBadRequest);
  EXPECT_EQ(V2CodeOf(Begin("k", "a", absl::Hours(13)).status()), kBadRequest);
  EXPECT_EQ(V2CodeOf(Begin("k", "a", -absl::InfiniteDuration()).status()), kBadRequest);
  EXPECT_EQ(V2CodeOf(Begin("k", "a", absl::Seconds(5), absl::InfiniteDuration()).status()), kBadRequest);
  const uint64_t token = Started("k", "a");
  EXPECT_EQ(V2CodeOf(Complete("k", token, std::string(4097, 'r')).status()), kBadRequest);
  EXPECT_EQ(V2CodeOf(Complete("k", token, "", absl::Hours(24 * 91)).status()), kBadRequest);
  EXPECT_EQ(V2CodeOf(Get("k", "a b").status()), kIllegalGroup);
  EXPECT_TRUE(Complete("k", token, std::string(4096, 'r')).ok());
}

TEST_F(LedgerTest, AnyBytesMayBeAKey) {
  const std::string key("a\0b\xff/", 5);
  const uint64_t token = Started(key, "a");
  EXPECT_TRUE(Complete(key, token).ok());
  EXPECT_EQ(Get(key)->key, key);
}

TEST_F(LedgerTest, OfManyWhoBeginTogetherOneStarts) {
  std::vector<Answer<absl::StatusOr<LedgerBegun>>> answers;
  for (int i = 0; i < 50; ++i) {
    answers.push_back(OffsetNode::NewAnswer<absl::StatusOr<LedgerBegun>>());
    node.core().LedgerBegin({.group = "g", .key = "k", .holder = absl::StrCat("h", i)}, OffsetNode::Into(answers.back()));
  }
  int started = 0;
  for (const auto& answer : answers) started += node.Wait(answer)->outcome == Outcome::kStarted;
  EXPECT_EQ(started, 1);
}

TEST_F(LedgerTest, TooManyAtOnceAreRefused) {
  node.StopAndClose();
  node.options().ledger.max_waiting = 10;
  ASSERT_TRUE(node.Start().ok());
  std::vector<Answer<absl::StatusOr<LedgerBegun>>> answers;
  for (int i = 0; i < 50; ++i) {
    answers.push_back(OffsetNode::NewAnswer<absl::StatusOr<LedgerBegun>>());
    node.core().LedgerBegin({.group = "g", .key = absl::StrCat("k", i), .holder = "h"}, OffsetNode::Into(answers.back()));
  }
  int refused = 0;
  for (const auto& answer : answers) refused += V2CodeOf(node.Wait(answer).status()) == 42900;
  EXPECT_GT(refused, 0);
  EXPECT_TRUE(Begin("later", "h").ok());
}

// ---- time to live

TEST_F(LedgerTest, WhatIsOverIsGoneAndItsRowsToo) {
  ASSERT_TRUE(Complete("done", Started("done", "a"), "", absl::Minutes(10)).ok());
  ASSERT_TRUE(Begin("open", "a", absl::Minutes(1), absl::Minutes(9)).ok());
  const uint64_t old = Get("done")->token;
  node.scheduler().RunFor(absl::Seconds(599));
  EXPECT_TRUE(Get("done").ok());
  node.scheduler().RunFor(absl::Seconds(5));

  EXPECT_EQ(V2CodeOf(Get("done").status()), kNotFound);
  EXPECT_EQ(V2CodeOf(Get("open").status()), kNotFound);
  EXPECT_EQ(Rows(), 0u);
  EXPECT_GT(Started("done", "a"), old);
}

TEST_F(LedgerTest, WhatIsOverCountsAsGoneBeforeTheCleanerCame) {
  node.StopAndClose();
  node.options().ledger.cleanup_interval = absl::Hours(24);
  ASSERT_TRUE(node.Start().ok());
  const uint64_t first = Started("k", "a");
  ASSERT_TRUE(Complete("k", first, "", absl::Seconds(10)).ok());
  node.scheduler().RunFor(absl::Seconds(11));

  EXPECT_EQ(V2CodeOf(Get("k").status()), kNotFound);
  EXPECT_GT(Started("k", "b"), first);
  EXPECT_EQ(Rows(), 2u);
}

TEST_F(LedgerTest, TheCleanerGoesInSlicesAndLeavesTheRest) {
  node.StopAndClose();
  node.options().ledger.cleanup_slice = 7;
  ASSERT_TRUE(node.Start().ok());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(Complete(absl::StrCat("k", i), Started(absl::StrCat("k", i), "a"), "", i % 2 == 0 ? absl::Minutes(1) : absl::Hours(2)).ok());
  node.scheduler().RunFor(absl::Seconds(70));

  EXPECT_EQ(Rows(), 100u);
  EXPECT_EQ(node.Status().ledger.removed, 50u);
  EXPECT_TRUE(Get("k1").ok());
}

TEST_F(LedgerTest, AFullDiskBeginsNothingNewAndCompletesWhatIsBegun) {
  node.StopAndClose();
  node.options().log.segment_bytes = 16 << 10;
  node.Kill();
  ASSERT_TRUE(node.Start().ok());
  const uint64_t token = Started("k", "a", absl::Hours(1));
  node.files().SetCapacity(node.files().UsedBytes() + 100);
  node.kv().SetFull(true);
  absl::Status refused;
  for (int i = 0; i < 10'000 && refused.ok(); ++i) refused = Begin(absl::StrCat("fill", i), "a").status();
  EXPECT_EQ(V2CodeOf(refused), 42900) << refused;
  EXPECT_TRUE(Complete("k", token).ok());

  node.files().SetCapacity(std::nullopt);
  node.kv().SetFull(false);
  node.scheduler().RunFor(absl::Seconds(5));
  EXPECT_TRUE(Begin("later", "a").ok());
}

// ---- crashes

// Goal: what was answered is there, tokens never come twice, one holder at a time, through power cuts, lost indexes, compaction and clean-up.
// Method: a model of each key; a call without an answer may have happened or not. Replay: FULMAR_SEED=<seed>.
class LedgerModelTest : public LedgerTest {
 protected:
  LedgerModelTest() : LedgerTest(16 << 10) {
    node.options().compaction = {.max_sealed_segments = 3, .chunk_bytes = 256, .chunk_keys = 7};
    node.options().ledger.cleanup_slice = 3;
  }

  struct Model {
    enum class Is { kNothing, kBegun, kCompleted } is = Is::kNothing;
    std::string holder;
    uint64_t token = 0;
    int64_t lease_until_ms = 0, expires_ms = 0;
  };
  uint64_t Below(uint64_t bound) { return node.random().Next() % bound; }
  int64_t NowMs() { return absl::ToUnixMillis(node.clock().Now()); }

  // Takes what is there for the truth, if it is one of the two that may be there.
  void Look(const std::string& key, const Model& before, const Model& after) {
    const auto entry = Get(key);
    const auto matches = [&](const Model& model) {
      const bool gone = model.is == Model::Is::kNothing || model.expires_ms <= NowMs();
      if (!entry.ok()) return gone;
      return !gone && (entry->state == State::kCompleted) == (model.is == Model::Is::kCompleted) && (model.token == 0 || entry->token == model.token) && entry->holder == model.holder;
    };
    EXPECT_TRUE(entry.ok() || V2CodeOf(entry.status()) == kNotFound) << entry.status();
    EXPECT_TRUE(matches(before) || matches(after)) << key << (entry.ok() ? absl::StrCat(" has holder ", entry->holder, " token ", entry->token) : " is not there");
    Model& model = models_[key];
    if (!entry.ok()) {
      model = {};
      return;
    }
    model = {entry->state == State::kCompleted ? Model::Is::kCompleted : Model::Is::kBegun, entry->holder, entry->token, entry->lease_until_ms, entry->expires_ms};
    highest_ = std::max(highest_, entry->token);
  }

  // True: the power went away during the call.
  template <class T>
  bool MaybeCrash(const Answer<T>& answer) {
    if (Below(60) != 0) {
      (void)node.scheduler().RunUntil([&] { return answer->has_value(); }, absl::Seconds(30));
      EXPECT_TRUE(answer->has_value());
      return false;
    }
    for (uint64_t tasks = Below(12); tasks > 0; --tasks) node.scheduler().RunOne();
    if (answer->has_value()) return false;
    node.LosePower();
    if (Below(4) == 0) node.ForgetIndex();
    EXPECT_TRUE(node.Start().ok());
    return true;
  }

  void Step() {
    const std::string key = absl::StrCat("k", Below(12)), holder = absl::StrCat("h", Below(4));
    Model before = models_[key];
    if (before.expires_ms <= NowMs()) before = {};
    switch (Below(10)) {
      case 0: return node.scheduler().RunFor(absl::Seconds(static_cast<int64_t>(Below(40))));
      case 1: return Look(key, before, before);
      case 2:
      case 3: return StepComplete(key, before);
      case 4: return StepAbandon(key, before);
      default: return StepBegin(key, holder, before);
    }
  }

  void StepBegin(const std::string& key, const std::string& holder, const Model& before) {
    const absl::Duration lease = absl::Seconds(static_cast<int64_t>(1 + Below(30))), ttl = absl::Seconds(static_cast<int64_t>(1 + Below(100)));
    const int64_t now_ms = NowMs();
    auto answer = OffsetNode::NewAnswer<absl::StatusOr<LedgerBegun>>();
    node.core().LedgerBegin({.group = "g", .key = key, .holder = holder, .lease = lease, .ttl = ttl}, OffsetNode::Into(answer));
    const bool own = before.is == Model::Is::kBegun && before.holder == holder;
    Model after{Model::Is::kBegun, holder, own ? before.token : 0, 0, INT64_MAX};
    if (MaybeCrash(answer)) return Look(key, before, after);
    const auto& begun = **answer;
    ASSERT_TRUE(begun.ok()) << begun.status();
    const bool held = before.is == Model::Is::kBegun && !own && before.lease_until_ms > NowMs();
    EXPECT_TRUE(!held || begun->outcome == Outcome::kHeld) << "two holders at once";
    if (begun->outcome != Outcome::kStarted) {
      EXPECT_EQ(begun->entry.token, before.token);
      return;
    }
    EXPECT_TRUE(before.is != Model::Is::kCompleted || before.expires_ms <= NowMs()) << "completed, and begun again";
    EXPECT_GE(begun->entry.lease_until_ms, now_ms + absl::ToInt64Milliseconds(lease));
    if (!own || begun->entry.token != before.token) {
      EXPECT_GT(begun->entry.token, highest_) << "a token must be greater than all before it";
    }
    highest_ = std::max(highest_, begun->entry.token);
    models_[key] = {Model::Is::kBegun, holder, begun->entry.token, begun->entry.lease_until_ms, begun->entry.expires_ms};
    ++started_;
  }

  void StepComplete(const std::string& key, const Model& before) {
    const uint64_t token = Below(5) == 0 ? before.token + Below(3) - 1 : before.token;
    auto answer = OffsetNode::NewAnswer<absl::StatusOr<LedgerEntry>>();
    node.core().LedgerComplete({.group = "g", .key = key, .token = token, .ttl = absl::Seconds(static_cast<int64_t>(1 + Below(200)))}, OffsetNode::Into(answer));
    const bool may = before.is != Model::Is::kNothing && token == before.token;
    Model after = before;
    if (may) after.is = Model::Is::kCompleted, after.expires_ms = INT64_MAX;
    if (MaybeCrash(answer)) return Look(key, before, after);
    const auto& completed = **answer;
    if (!may) {
      EXPECT_EQ(V2CodeOf(completed.status()), kPreconditionFailed);
      return;
    }
    if (before.expires_ms <= NowMs() && !completed.ok()) return;  // it ended while this was under way
    ASSERT_TRUE(completed.ok()) << completed.status();
    models_[key] = {Model::Is::kCompleted, completed->holder, completed->token, 0, completed->expires_ms};
  }

  void StepAbandon(const std::string& key, const Model& before) {
    const uint64_t token = Below(5) == 0 ? before.token + 1 : before.token;
    auto answer = OffsetNode::NewAnswer<absl::Status>();
    node.core().LedgerAbandon("g", key, token, OffsetNode::Into(answer));
    const bool nothing = before.is == Model::Is::kNothing, may = before.is == Model::Is::kBegun && token == before.token;
    if (MaybeCrash(answer)) return Look(key, before, may ? Model() : before);
    EXPECT_EQ((*answer)->ok(), nothing || may || before.expires_ms <= NowMs()) << **answer;
    if ((*answer)->ok()) models_[key] = {};
  }

  std::map<std::string, Model> models_;
  uint64_t highest_ = 0;
  int started_ = 0;
};

TEST_F(LedgerModelTest, AgreesWithItsModelThroughPowerCutsCompactionAndCleanUp) {
  uint64_t compactions = 0;
  for (int step = 0; step < 12'000 && !testing::Test::HasFailure(); ++step) {
    Step();
    if (step % 500 == 499) compactions += node.Status().compactions;
  }
  EXPECT_GT(started_, 1000);
  EXPECT_GT(compactions, 0u) << "the test is about them too";
  EXPECT_LE(node.Status().log.segment_files, 20u);
}

// Goal: the ledger's part of the index is a function of the log that is left.
TEST_F(LedgerModelTest, AnIndexRebuiltFromTheRestOfTheLogIsTheSameToTheByte) {
  for (int step = 0; step < 4'000 && !testing::Test::HasFailure(); ++step) Step();
  // Nothing may end between the two looks.
  for (int i = 0; i < 12; ++i) (void)Complete(absl::StrCat("z", i), Started(absl::StrCat("z", i), "h"));
  node.scheduler().RunFor(absl::Minutes(10));
  node.StopAndClose();
  const auto before = node.IndexContents();
  EXPECT_GE(Rows(), 24u);

  node.ForgetIndex();
  ASSERT_TRUE(node.Start().ok());
  node.scheduler().RunFor(absl::Seconds(1));
  node.StopAndClose();

  EXPECT_EQ(node.IndexContents(), before);
}

// ---- bytes

TEST(LedgerRecordsTest, WhatWasEncodedIsDecoded) {
  const LedgerEntry entry{.state = State::kCompleted,
                          .group = "g",
                          .key = std::string("k\0\xff", 3),
                          .token = UINT64_MAX,
                          .lease_until_ms = INT64_MIN,
                          .completed_ms = INT64_MAX,
                          .expires_ms = -1,
                          .holder = "h",
                          .result = "r"};
  EXPECT_EQ(DecodeLedgerEntry(Encode(entry)).value(), entry);
  const std::string removal = Encode(LedgerRemoval{{{"g", "k", 7, -9}, {"g2", "", 0, 5}}});
  EXPECT_EQ(Encode(DecodeLedgerRemoval(removal).value()), removal);
}

TEST(LedgerRecordsTest, AnyCutIsDataLoss) {
  const std::string entry = Encode(LedgerEntry{.group = "g", .key = "k", .holder = "h"}), removal = Encode(LedgerRemoval{{{"g", "k", 7, 9}}});
  for (size_t cut = 0; cut < entry.size(); ++cut) EXPECT_TRUE(absl::IsDataLoss(DecodeLedgerEntry(entry.substr(0, cut)).status())) << cut;
  for (size_t cut = 0; cut < removal.size(); ++cut) EXPECT_TRUE(absl::IsDataLoss(DecodeLedgerRemoval(removal.substr(0, cut)).status())) << cut;
  EXPECT_TRUE(absl::IsDataLoss(DecodeLedgerEntry(entry + "x").status()));
}

TEST(LedgerRecordsTest, EndsAreOrderedByTheirTime) {
  std::string last;
  for (const int64_t time : {INT64_MIN, int64_t{-5}, int64_t{0}, int64_t{255}, int64_t{256}, INT64_MAX}) {
    const std::string key = LedgerEndKey(time, "group", std::string("k\0y", 3));
    EXPECT_LT(last, key);
    const auto end = DecodeLedgerEndKey(key);
    EXPECT_EQ(end->expires_ms, time);
    EXPECT_EQ(end->group, "group");
    EXPECT_EQ(end->key, std::string("k\0y", 3));
    last = key;
  }
}

}  // namespace
}  // namespace fulmar::offset
