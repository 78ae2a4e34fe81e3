#include "services/common/option_values.h"

#include <array>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace fulmar::common {
namespace {

struct ByteUnit {
  std::string_view name;
  int shift;
};
constexpr std::array<ByteUnit, 4> kByteUnits = {{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}}};

absl::Status Wants(std::string_view what) { return absl::InvalidArgumentError(absl::StrCat("is not ", what)); }

// Longest unit first, so that 256 MiB is not written as 262144KiB.
std::string BytesToText(int64_t value) {
  for (const auto& [name, shift] : kByteUnits)
    if (value != 0 && value % (int64_t{1} << shift) == 0) return absl::StrCat(value >> shift, name);
  return absl::StrCat(value);
}

absl::StatusOr<int64_t> ParseBytes(std::string_view text) {
  const absl::Status error = Wants("a number of bytes, such as 65536, 64KiB, 256MiB or 1GiB");
  int shift = 0;
  for (const auto& unit : kByteUnits) {
    if (!absl::EndsWithIgnoreCase(text, unit.name)) continue;
    shift = unit.shift;
    text = absl::StripAsciiWhitespace(text.substr(0, text.size() - unit.name.size()));
    break;
  }
  int64_t number = 0;
  if (!absl::SimpleAtoi(text, &number)) return error;
  const int64_t limit = std::numeric_limits<int64_t>::max() >> shift;
  if (number > limit || number < -limit) return error;
  return number * (int64_t{1} << shift);
}

template <class Int>
absl::StatusOr<Int> ParseInt(const std::string& text, OptionFormat format) {
  if (format == OptionFormat::kBytes) {
    const absl::StatusOr<int64_t> bytes = ParseBytes(text);
    if (!bytes.ok()) return bytes.status();
    if (*bytes > std::numeric_limits<Int>::max() || *bytes < std::numeric_limits<Int>::min())
      return Wants("a number of bytes that this option can hold");
    return static_cast<Int>(*bytes);
  }
  Int number = 0;
  if (!absl::SimpleAtoi(text, &number)) return Wants("a whole number");
  return number;
}

std::string IntType(OptionFormat format) { return format == OptionFormat::kBytes ? "bytes" : "number"; }
std::string IntText(int64_t value, OptionFormat format) {
  return format == OptionFormat::kBytes ? BytesToText(value) : absl::StrCat(value);
}

}  // namespace

OptionFormat FormatOfKey(std::string_view key) {
  return absl::EndsWith(key, "_bytes") || absl::EndsWith(key, ".bytes") ? OptionFormat::kBytes : OptionFormat::kPlain;
}

std::string OptionValue<bool>::TypeName(OptionFormat) { return "bool"; }
absl::StatusOr<bool> OptionValue<bool>::Parse(const std::string& text, OptionFormat) {
  bool value = false;
  if (!absl::SimpleAtob(text, &value)) return Wants("true or false");
  return value;
}
std::string OptionValue<bool>::ToText(const bool& value, OptionFormat) { return value ? "true" : "false"; }

std::string OptionValue<int32_t>::TypeName(OptionFormat format) { return IntType(format); }
absl::StatusOr<int32_t> OptionValue<int32_t>::Parse(const std::string& text, OptionFormat format) {
  return ParseInt<int32_t>(text, format);
}
std::string OptionValue<int32_t>::ToText(const int32_t& value, OptionFormat format) { return IntText(value, format); }

std::string OptionValue<int64_t>::TypeName(OptionFormat format) { return IntType(format); }
absl::StatusOr<int64_t> OptionValue<int64_t>::Parse(const std::string& text, OptionFormat format) {
  return ParseInt<int64_t>(text, format);
}
std::string OptionValue<int64_t>::ToText(const int64_t& value, OptionFormat format) { return IntText(value, format); }

std::string OptionValue<double>::TypeName(OptionFormat) { return "decimal"; }
absl::StatusOr<double> OptionValue<double>::Parse(const std::string& text, OptionFormat) {
  double value = 0;
  // SimpleAtod also takes "nan" and "inf", which no check compares as one expects.
  if (!absl::SimpleAtod(text, &value) || !(value - value == 0)) return Wants("a number, such as 0.5");
  return value;
}
std::string OptionValue<double>::ToText(const double& value, OptionFormat) { return absl::StrCat(value); }

std::string OptionValue<absl::Duration>::TypeName(OptionFormat) { return "duration"; }
absl::StatusOr<absl::Duration> OptionValue<absl::Duration>::Parse(const std::string& text, OptionFormat) {
  absl::Duration value;
  if (!absl::ParseDuration(text, &value) || value == absl::InfiniteDuration() || value == -absl::InfiniteDuration())
    return Wants("a duration, such as 0, 20ms, 1.5s, 10m, 72h or 1h30m");
  return value;
}
std::string OptionValue<absl::Duration>::ToText(const absl::Duration& value, OptionFormat) {
  return absl::FormatDuration(value);
}

std::string OptionValue<std::string>::TypeName(OptionFormat) { return "text"; }
absl::StatusOr<std::string> OptionValue<std::string>::Parse(const std::string& text, OptionFormat) { return text; }
std::string OptionValue<std::string>::ToText(const std::string& value, OptionFormat) { return value; }

std::string OptionValue<std::vector<std::string>>::TypeName(OptionFormat) { return "list"; }
absl::StatusOr<std::vector<std::string>> OptionValue<std::vector<std::string>>::Parse(const std::string& text,
                                                                                     OptionFormat) {
  std::vector<std::string> items;
  for (const absl::string_view item : absl::StrSplit(text, ',', absl::SkipWhitespace()))
    items.emplace_back(absl::StripAsciiWhitespace(item));
  return items;
}
std::string OptionValue<std::vector<std::string>>::ToText(const std::vector<std::string>& value, OptionFormat) {
  return absl::StrJoin(value, ",");
}

}  // namespace fulmar::common
