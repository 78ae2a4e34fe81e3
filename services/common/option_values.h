#ifndef FULMAR_COMMON_OPTION_VALUES_H_
#define FULMAR_COMMON_OPTION_VALUES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace fulmar::common {

// How numbers of an option read: 268435456 or 256MiB.
enum class OptionFormat { kPlain, kBytes };
// kBytes for keys that end in "bytes".
OptionFormat FormatOfKey(std::string_view key);

// Text to value and back for each type that an option may have. Parse errors say what is wanted, with an example;
// who calls adds which option. ToText() of a value parses to that value.
template <class T>
struct OptionValue;

#define FULMAR_OPTION_VALUE(T)                                                        \
  template <>                                                                         \
  struct OptionValue<T> {                                                             \
    static std::string TypeName(OptionFormat format);                                 \
    static absl::StatusOr<T> Parse(const std::string& text, OptionFormat format);     \
    static std::string ToText(const T& value, OptionFormat format);                   \
  }
FULMAR_OPTION_VALUE(bool);
FULMAR_OPTION_VALUE(int32_t);
FULMAR_OPTION_VALUE(int64_t);
FULMAR_OPTION_VALUE(double);
FULMAR_OPTION_VALUE(absl::Duration);
FULMAR_OPTION_VALUE(std::string);
FULMAR_OPTION_VALUE(std::vector<std::string>);
#undef FULMAR_OPTION_VALUE

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_OPTION_VALUES_H_
