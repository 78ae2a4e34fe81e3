#include "tools/bench/histogram.h"

#include <gtest/gtest.h>

#include <cmath>

namespace fulmar::bench {
namespace {

TEST(HistogramTest, AnEmptyOneAnswersZero) {
  const Histogram histogram;

  EXPECT_EQ(histogram.Percentile(99), absl::ZeroDuration());
  EXPECT_EQ(histogram.Mean(), absl::ZeroDuration());
}

TEST(HistogramTest, PercentilesOfOneToAThousandMicrosecondsAreRightToOnePercent) {
  Histogram histogram;
  for (int i = 1000; i >= 1; --i) histogram.Add(absl::Microseconds(i));

  for (const double percent : {1.0, 50.0, 90.0, 99.0, 99.9}) {
    const double got = absl::ToDoubleMicroseconds(histogram.Percentile(percent));
    EXPECT_NEAR(got, percent * 10, percent * 10 * 0.01) << percent;
  }
  EXPECT_EQ(histogram.max(), absl::Milliseconds(1));
  EXPECT_NEAR(absl::ToDoubleMicroseconds(histogram.Mean()), 500.5, 0.01);
}

TEST(HistogramTest, EveryMagnitudeKeepsItsPrecision) {
  for (double ns = 1; ns < 1e13; ns *= 1.37) {
    Histogram histogram;
    histogram.Add(absl::Nanoseconds(std::floor(ns)));
    histogram.Add(absl::Hours(24));  // so that the value is not clamped to the maximum

    EXPECT_NEAR(absl::ToDoubleNanoseconds(histogram.Percentile(50)), std::floor(ns), std::floor(ns) * 0.01) << ns;
  }
}

TEST(HistogramTest, OneSlowValueInAThousandShowsAtTheRightPercentile) {
  Histogram histogram;
  for (int i = 0; i < 999; ++i) histogram.Add(absl::Microseconds(100));
  histogram.Add(absl::Seconds(1));

  EXPECT_LT(histogram.Percentile(99.9), absl::Microseconds(102));
  EXPECT_EQ(histogram.Percentile(100), absl::Seconds(1));
}

TEST(HistogramTest, MergedOnesCountTogether) {
  Histogram one, two;
  one.Add(absl::Microseconds(10));
  two.Add(absl::Microseconds(30));

  one.Merge(two);

  EXPECT_EQ(one.count(), 2u);
  EXPECT_EQ(one.Mean(), absl::Microseconds(20));
  EXPECT_EQ(one.max(), absl::Microseconds(30));
}

TEST(HistogramTest, AClockThatWentBackCountsAsZero) {
  Histogram histogram;
  histogram.Add(-absl::Seconds(1));

  EXPECT_EQ(histogram.Percentile(50), absl::ZeroDuration());
}

}  // namespace
}  // namespace fulmar::bench
