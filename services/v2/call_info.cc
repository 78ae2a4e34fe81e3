#include "services/v2/call_info.h"

#include "absl/strings/str_cat.h"

namespace fulmar::v2edge {
namespace {

// Splits "%DLQ%" or "%RETRY%" off the front.
std::string_view TakePrefix(std::string_view& name) {
  for (const std::string_view prefix : {"%DLQ%", "%RETRY%"}) {
    if (!name.starts_with(prefix)) continue;
    name.remove_prefix(prefix.size());
    return prefix;
  }
  return {};
}

bool IsWithin(std::string_view name_space, std::string_view name) {
  return name.size() > name_space.size() && name.starts_with(name_space) && name[name_space.size()] == '%';
}

}  // namespace

std::string WholeName(std::string_view name_space, std::string_view name) {
  if (name_space.empty() || name.empty()) return std::string(name);
  std::string_view rest = name;
  const std::string_view prefix = TakePrefix(rest);
  if (IsWithin(name_space, rest)) return std::string(name);
  return absl::StrCat(prefix, name_space, "%", rest);
}

std::string NameWithin(std::string_view name_space, std::string_view whole_name) {
  std::string_view rest = whole_name;
  const std::string_view prefix = TakePrefix(rest);
  if (name_space.empty() || !IsWithin(name_space, rest)) return std::string(whole_name);
  return absl::StrCat(prefix, rest.substr(name_space.size() + 1));
}

}  // namespace fulmar::v2edge
