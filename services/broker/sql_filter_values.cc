#include "services/broker/sql_filter_values.h"

#include <charconv>
#include <cmath>
#include <system_error>

#include "absl/strings/match.h"

namespace fulmar::broker::sql {
namespace {

bool IsNumber(const Value& value) { return value.kind == ValueKind::kInteger || value.kind == ValueKind::kFloat; }

template <class T>
int Sign(T left, T right) {
  return left < right ? -1 : left > right ? 1 : 0;
}

template <class T>
std::errc Read(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error == std::errc() && end != text.data() + text.size()) return std::errc::invalid_argument;
  return error;
}

// Without a conversion that would round the integer: 2^53 + 1 is above 2^53.0.
int CompareMixed(int64_t integer, double real) {
  constexpr double kTwoTo63 = 9223372036854775808.0;
  if (real >= kTwoTo63) return -1;
  if (real < -kTwoTo63) return 1;
  const double whole = std::floor(real);
  if (const int by_whole = Sign(integer, static_cast<int64_t>(whole)); by_whole != 0) return by_whole;
  return real > whole ? -1 : 0;
}

}  // namespace

Value ToNumber(const Value& value) {
  if (IsNumber(value)) return value;
  if (value.kind != ValueKind::kString) return {};
  std::string_view text = value.text;
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  // from_chars also reads "inf" and "nan": no number begins with a letter, and no sign follows a sign.
  const std::string_view digits = text.substr(!text.empty() && text.front() == '-' && text.data() == value.text.data() ? 1 : 0);
  if (digits.empty() || (digits.front() != '.' && (digits.front() < '0' || digits.front() > '9'))) return {};
  Value number{.kind = ValueKind::kInteger};
  if (Read(text, number.integer) == std::errc()) return number;
  number.kind = ValueKind::kFloat;
  if (Read(text, number.real) != std::errc() || !std::isfinite(number.real)) return {};
  return number;
}

int CompareNumbers(const Value& left, const Value& right) {
  const bool integer_left = left.kind == ValueKind::kInteger, integer_right = right.kind == ValueKind::kInteger;
  if (integer_left && integer_right) return Sign(left.integer, right.integer);
  if (integer_left) return CompareMixed(left.integer, right.real);
  if (integer_right) return -CompareMixed(right.integer, left.real);
  return Sign(left.real, right.real);
}

Truth ToTruth(const Value& value) {
  if (value.kind == ValueKind::kBoolean) return ToTruth(value.boolean);
  if (value.kind == ValueKind::kString) return ToTruth(absl::EqualsIgnoreCase(value.text, "true"));
  return Truth::kUnknown;
}

Truth Equal(const Value& left, const Value& right) {
  if (left.kind == ValueKind::kNull || right.kind == ValueKind::kNull) return Truth::kUnknown;
  if (left.kind == ValueKind::kString && right.kind == ValueKind::kString) return ToTruth(left.text == right.text);
  if (left.kind == ValueKind::kBoolean || right.kind == ValueKind::kBoolean) {
    const Truth a = ToTruth(left), b = ToTruth(right);
    if (a == Truth::kUnknown || b == Truth::kUnknown) return Truth::kUnknown;
    return ToTruth(a == b);
  }
  return Ordered(left, right, [](int order) { return order == 0; });
}

}  // namespace fulmar::broker::sql
