#ifndef FULMAR_COMMON_OPTION_CHECKS_H_
#define FULMAR_COMMON_OPTION_CHECKS_H_

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "services/common/host_port.h"
#include "services/common/option_values.h"

// What the fourth column of an option's row may say; see options.h. A check has
//   bool Holds(const T& value) const;                      and
//   std::string Describe(OptionFormat format) const;       "between 1MiB and 2GiB", to follow "must be"; may be empty
namespace fulmar::common::option_checks {

namespace internal {
// Numbers of any width are compared and shown as int64_t.
template <class T>
using Wide = std::conditional_t<std::is_integral_v<T>, int64_t, T>;

template <class T>
std::string Text(const T& value, OptionFormat format) {
  return OptionValue<T>::ToText(value, format);
}
}  // namespace internal

// Every value that the type can hold.
struct Any {
  template <class T>
  bool Holds(const T&) const {
    return true;
  }
  std::string Describe(OptionFormat) const { return ""; }
};

template <class T>
struct BetweenCheck {
  bool Holds(const T& value) const { return low <= value && value <= high; }
  std::string Describe(OptionFormat format) const {
    return "between " + internal::Text(low, format) + " and " + internal::Text(high, format);
  }
  T low;
  T high;
};
template <class T>
BetweenCheck<internal::Wide<T>> Between(T low, T high) {
  return {low, high};
}

template <class T>
struct AtLeastCheck {
  bool Holds(const T& value) const { return low <= value; }
  std::string Describe(OptionFormat format) const { return "at least " + internal::Text(low, format); }
  T low;
};
template <class T>
AtLeastCheck<internal::Wide<T>> AtLeast(T low) {
  return {low};
}

// For numbers and durations that mean "off" when they are 0.
template <class T>
struct ZeroOrBetweenCheck {
  bool Holds(const T& value) const { return value == T{} || (low <= value && value <= high); }
  std::string Describe(OptionFormat format) const { return "0 or " + BetweenCheck<T>{low, high}.Describe(format); }
  T low;
  T high;
};
template <class T>
ZeroOrBetweenCheck<internal::Wide<T>> ZeroOrBetween(T low, T high) {
  return {low, high};
}

// An enum by name.
struct OneOfCheck {
  bool Holds(const std::string& value) const { return std::find(names.begin(), names.end(), value) != names.end(); }
  std::string Describe(OptionFormat) const { return "one of " + absl::StrJoin(names, ", "); }
  std::vector<std::string> names;
};
template <class... Names>
OneOfCheck OneOf(Names... names) {
  return {{std::string(names)...}};
}

struct NotEmpty {
  template <class Text>
  bool Holds(const Text& value) const {
    return !value.empty();
  }
  std::string Describe(OptionFormat) const { return "not empty"; }
};

struct IsHostPort {
  bool Holds(const std::string& value) const { return ParseHostPort(value).ok(); }
  bool Holds(const std::vector<std::string>& values) const {
    return std::all_of(values.begin(), values.end(), [](const std::string& v) { return ParseHostPort(v).ok(); });
  }
  std::string Describe(OptionFormat) const { return "HOST:PORT"; }
};

// The same, or nothing.
struct HostPortOrEmpty {
  bool Holds(const std::string& value) const { return value.empty() || ParseHostPort(value).ok(); }
  std::string Describe(OptionFormat) const { return "HOST:PORT or empty"; }
};

}  // namespace fulmar::common::option_checks

#endif  // FULMAR_COMMON_OPTION_CHECKS_H_
