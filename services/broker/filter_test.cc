#include "services/broker/filter.h"

#include <string>

#include "gtest/gtest.h"
#include "services/common/errors.h"

namespace fulmar::broker {
namespace {

Filter Tags(std::string_view expression) {
  const absl::StatusOr<Filter> filter = Filter::Parse(FilterKind::kTag, expression);
  EXPECT_TRUE(filter.ok()) << expression << ": " << filter.status();
  return filter.value_or(Filter());
}
MessageView WithTag(std::string_view tag) { return {.tag_hash = TagHash(tag), .tag = tag}; }

TEST(FilterTest, StarAndNothingTakeAll) {
  for (const char* expression : {"", "*", "  ", " * ", "a || *"}) {
    EXPECT_TRUE(Tags(expression).takes_all()) << expression;
    EXPECT_TRUE(Tags(expression).Matches(WithTag(""))) << expression;
    EXPECT_TRUE(Tags(expression).MayMatch(0)) << expression;
  }
}

TEST(FilterTest, TakesTheTagsNamedAndNoOthers) {
  const Filter filter = Tags("red || green");

  EXPECT_TRUE(filter.Matches(WithTag("red")));
  EXPECT_TRUE(filter.Matches(WithTag("green")));
  EXPECT_FALSE(filter.Matches(WithTag("blue")));
  EXPECT_FALSE(filter.Matches(WithTag("re")));
  EXPECT_FALSE(filter.Matches(WithTag("")));
  EXPECT_TRUE(filter.MayMatch(TagHash("red")));
  EXPECT_FALSE(filter.MayMatch(TagHash("blue")));
  EXPECT_FALSE(filter.MayMatch(0));
}

TEST(FilterTest, IgnoresEmptyPartsSpacesAndRepetition) {
  EXPECT_EQ(Tags("a||||b"), Tags(" b ||a || a||"));
}

TEST(FilterTest, RefusesWhatCannotBeATag) {
  for (const std::string& expression : {std::string("||"), std::string("a|b"), std::string("a\nb"), std::string("a|||"), std::string(17 * 1024, 'a')})
    EXPECT_EQ(V2CodeOf(Filter::Parse(FilterKind::kTag, expression).status()), 40010) << expression.substr(0, 20);
}

TEST(FilterTest, SqlIsAFilterOfItsOwn) {
  const Filter filter = Filter::Parse(FilterKind::kSql, "TAGS = 'red'").value();

  EXPECT_FALSE(filter.takes_all());
  EXPECT_TRUE(filter.Matches(WithTag("red")));
  EXPECT_FALSE(filter.Matches(WithTag("blue")));
  EXPECT_FALSE(filter.MayMatch(TagHash("blue")));
  EXPECT_EQ(filter, Filter::Parse(FilterKind::kSql, "TAGS = 'red'").value());
  EXPECT_FALSE(filter == Filter::Parse(FilterKind::kSql, "TAGS = 'blue'").value());
  EXPECT_FALSE(filter == Tags("red"));
  EXPECT_FALSE(filter == Filter());
  EXPECT_EQ(V2CodeOf(Filter::Parse(FilterKind::kSql, "*").status()), 40010);
}

}  // namespace
}  // namespace fulmar::broker
