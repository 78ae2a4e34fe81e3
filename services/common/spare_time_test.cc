#include "services/common/spare_time.h"

#include <gtest/gtest.h>

namespace fulmar::common {
namespace {

constexpr int64_t kMs = 1'000'000;

TEST(SpareTimeTest, AThreadThatIsNearlyAlwaysAtWorkHasNoneUntilItRestsHalfTheTime) {
  SpareTime spare(0, 0);
  EXPECT_TRUE(spare.has_time());

  spare.Update(10 * kMs, 7 * kMs);  // 70 %
  EXPECT_TRUE(spare.has_time());
  spare.Update(20 * kMs, 16 * kMs);  // 90 %
  EXPECT_FALSE(spare.has_time());
  spare.Update(30 * kMs, 22 * kMs);  // 60 %: the other one's work is gone, that is all
  EXPECT_FALSE(spare.has_time());
  spare.Update(40 * kMs, 26 * kMs);  // 40 %
  EXPECT_TRUE(spare.has_time());
}

TEST(SpareTimeTest, LooksAtSpansOfAFewMillisecondsOnly) {
  SpareTime spare(0, 0);

  EXPECT_FALSE(spare.IsDue(kMs));
  spare.Update(kMs, kMs);  // one event that took its time
  EXPECT_TRUE(spare.has_time());
  EXPECT_TRUE(spare.IsDue(5 * kMs));
  spare.Update(5 * kMs, 5 * kMs);
  EXPECT_FALSE(spare.has_time());
}

}  // namespace
}  // namespace fulmar::common
