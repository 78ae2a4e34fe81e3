#include "services/broker/filter_cache.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "services/common/errors.h"

namespace fulmar::broker {
namespace {

TEST(FilterCacheTest, GivesWhatParsingGives) {
  FilterCache cache;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(cache.Get(FilterKind::kSql, "a > 1").value(), Filter::Parse(FilterKind::kSql, "a > 1").value());
    EXPECT_EQ(cache.Get(FilterKind::kTag, "a || b").value(), Filter::Parse(FilterKind::kTag, "a || b").value());
  }
  EXPECT_EQ(cache.size(), 1u);
}

TEST(FilterCacheTest, KeepsNoErrors) {
  FilterCache cache;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(V2CodeOf(cache.Get(FilterKind::kSql, "a >").status()), 40010);
  EXPECT_EQ(cache.size(), 0u);
}

TEST(FilterCacheTest, DropsTheLeastRecentlyUsedBeyondItsNumber) {
  FilterCache cache({.filters = 2, .bytes = 1000});
  (void)cache.Get(FilterKind::kSql, "a = 1");
  (void)cache.Get(FilterKind::kSql, "a = 2");
  (void)cache.Get(FilterKind::kSql, "a = 1");
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(cache.Get(FilterKind::kSql, absl::StrCat("a = 1", i)).ok());
    EXPECT_TRUE(cache.Get(FilterKind::kSql, "a = 1").ok());
    EXPECT_LE(cache.size(), 2u);
  }
}

TEST(FilterCacheTest, StaysBelowItsBytes) {
  FilterCache cache({.filters = 1000, .bytes = 100});
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(cache.Get(FilterKind::kSql, absl::StrCat("a = ", i)).ok());
    EXPECT_LE(cache.bytes(), 100u);
  }
  EXPECT_GT(cache.size(), 5u);
}

TEST(FilterCacheTest, AnExpressionAboveItsBytesIsServedAndNotKept) {
  FilterCache cache({.filters = 1000, .bytes = 10});
  EXPECT_TRUE(cache.Get(FilterKind::kSql, "a = 'longer than ten bytes'").ok());
  EXPECT_EQ(cache.size(), 0u);
  EXPECT_EQ(cache.bytes(), 0u);
}

}  // namespace
}  // namespace fulmar::broker
