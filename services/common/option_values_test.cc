#include "services/common/option_values.h"

#include <cstdint>
#include <limits>

#include "services/common/option_checks.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fulmar::common {
namespace {

template <class T>
absl::StatusOr<T> Parse(const std::string& text, OptionFormat format = OptionFormat::kPlain) {
  return OptionValue<T>::Parse(text, format);
}

TEST(OptionValueTest, BytesTakeUnits) {
  const auto bytes = [](const std::string& text) { return Parse<int64_t>(text, OptionFormat::kBytes); };

  EXPECT_EQ(bytes("0").value(), 0);
  EXPECT_EQ(bytes("65536").value(), 65536);
  EXPECT_EQ(bytes("64KiB").value(), 65536);
  EXPECT_EQ(bytes("64 kib").value(), 65536);
  EXPECT_EQ(bytes("256MiB").value(), 268435456);
  EXPECT_EQ(bytes("-1GiB").value(), -(int64_t{1} << 30));
  EXPECT_EQ(bytes("8388607TiB").value(), int64_t{8388607} << 40);
  for (const char* text : {"", "MiB", "1MB", "1M", "1.5MiB", "1 000", "8388608TiB", "9223372036854775808", "x"})
    EXPECT_FALSE(bytes(text).ok()) << text;
}

TEST(OptionValueTest, BytesAreShownInTheLargestUnitThatFits) {
  for (const auto& [value, text] : std::vector<std::pair<int64_t, std::string>>{
           {0, "0"}, {1000, "1000"}, {1024, "1KiB"}, {1025, "1025"}, {int64_t{2} << 40, "2TiB"}, {3 << 20, "3MiB"}})
    EXPECT_EQ(OptionValue<int64_t>::ToText(value, OptionFormat::kBytes), text);
}

TEST(OptionValueTest, NumbersThatDoNotFitAreRefused) {
  EXPECT_EQ(Parse<int32_t>("-5").value(), -5);
  EXPECT_FALSE(Parse<int32_t>("2147483648").ok());
  EXPECT_FALSE(Parse<int32_t>("3MiB").ok());
  EXPECT_EQ(Parse<int32_t>("1GiB", OptionFormat::kBytes).value(), 1 << 30);
  EXPECT_FALSE(Parse<int32_t>("2GiB", OptionFormat::kBytes).ok());
  EXPECT_FALSE(Parse<int64_t>("1.0").ok());
  EXPECT_EQ(Parse<int64_t>("9223372036854775807").value(), std::numeric_limits<int64_t>::max());
}

TEST(OptionValueTest, DurationsAreFinite) {
  EXPECT_EQ(Parse<absl::Duration>("72h").value(), absl::Hours(72));
  EXPECT_EQ(Parse<absl::Duration>("1h30m").value(), absl::Minutes(90));
  EXPECT_EQ(Parse<absl::Duration>("0").value(), absl::ZeroDuration());
  for (const char* text : {"", "5", "inf", "-inf", "3d", "ms"}) EXPECT_FALSE(Parse<absl::Duration>(text).ok()) << text;
  EXPECT_EQ(OptionValue<absl::Duration>::ToText(absl::Hours(72), OptionFormat::kPlain), "72h");
}

TEST(OptionValueTest, DecimalsAreFiniteAndBoolsHaveManyNames) {
  EXPECT_EQ(Parse<double>("1e-3").value(), 0.001);
  for (const char* text : {"nan", "inf", "-inf", "1e999", "", "1,5"}) EXPECT_FALSE(Parse<double>(text).ok()) << text;
  EXPECT_TRUE(Parse<bool>("yes").value());
  EXPECT_FALSE(Parse<bool>("0").value());
  EXPECT_FALSE(Parse<bool>("maybe").ok());
}

TEST(OptionValueTest, ListsAreSplitAtCommas) {
  using List = std::vector<std::string>;
  EXPECT_EQ(Parse<List>("a, b ,,c").value(), (List{"a", "b", "c"}));
  EXPECT_EQ(Parse<List>("").value(), List{});
}

TEST(FormatOfKeyTest, TheNameSaysThatItCountsBytes) {
  EXPECT_EQ(FormatOfKey("broker.log.segment_bytes"), OptionFormat::kBytes);
  EXPECT_EQ(FormatOfKey("broker.cache.bytes"), OptionFormat::kBytes);
  EXPECT_EQ(FormatOfKey("broker.megabytes"), OptionFormat::kPlain);
}

TEST(OptionChecksTest, BoundsAreInside) {
  using namespace option_checks;
  EXPECT_TRUE(Between(1, 3).Holds(1));
  EXPECT_TRUE(Between(1, 3).Holds(3));
  EXPECT_FALSE(Between(1, 3).Holds(0));
  EXPECT_FALSE(Between(1, 3).Holds(4));
  EXPECT_TRUE(AtLeast(absl::Seconds(1)).Holds(absl::Seconds(1)));
  EXPECT_FALSE(AtLeast(absl::Seconds(1)).Holds(absl::ZeroDuration()));
  EXPECT_TRUE(ZeroOrBetween(5, 9).Holds(0));
  EXPECT_FALSE(ZeroOrBetween(5, 9).Holds(4));
  EXPECT_FALSE(NotEmpty().Holds(std::string()));
  EXPECT_FALSE(IsHostPort().Holds(std::string("x")));
  EXPECT_TRUE(HostPortOrEmpty().Holds(std::string()));
  EXPECT_EQ(ZeroOrBetween(1 << 10, 1 << 20).Describe(OptionFormat::kBytes), "0 or between 1KiB and 1MiB");
}

}  // namespace
}  // namespace fulmar::common
