#include "services/log/segment_names.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace fulmar::log {
namespace {

constexpr std::string_view kSegmentSuffix = ".seg", kSparePrefix = "spare-", kSpareSuffix = ".free",
                           kUnfinishedSuffix = ".tmp";

// A number of exactly `digits` digits.
std::optional<uint64_t> ParseDigits(std::string_view text, size_t digits) {
  uint64_t value = 0;
  if (text.size() != digits || !std::all_of(text.begin(), text.end(), absl::ascii_isdigit) ||
      !absl::SimpleAtoi(text, &value))
    return std::nullopt;
  return value;
}

std::optional<uint64_t> ParseSpare(std::string_view name, std::string_view suffix) {
  if (!name.starts_with(kSparePrefix) || !name.ends_with(suffix)) return std::nullopt;
  name.remove_prefix(kSparePrefix.size());
  return ParseDigits(name.substr(0, name.size() - std::min(name.size(), suffix.size())), 10);
}

}  // namespace

std::string SegmentsDir(std::string_view dir) { return absl::StrCat(dir, "/segments"); }
std::string RaftStatePath(std::string_view dir) { return absl::StrCat(dir, "/raft.state"); }
std::string LockPath(std::string_view dir) { return absl::StrCat(dir, "/LOCK"); }

std::string SegmentPath(std::string_view dir, LogPosition base) {
  return absl::StrCat(SegmentsDir(dir), "/", absl::Dec(base.value, absl::kZeroPad20), kSegmentSuffix);
}
std::string SparePath(std::string_view dir, uint64_t number) {
  return absl::StrCat(SegmentsDir(dir), "/", kSparePrefix, absl::Dec(number, absl::kZeroPad10), kSpareSuffix);
}
std::string UnfinishedSparePath(std::string_view dir, uint64_t number) {
  return absl::StrCat(SegmentsDir(dir), "/", kSparePrefix, absl::Dec(number, absl::kZeroPad10), kUnfinishedSuffix);
}

std::optional<LogPosition> ParseSegmentName(std::string_view name) {
  if (!name.ends_with(kSegmentSuffix)) return std::nullopt;
  const std::optional<uint64_t> base = ParseDigits(name.substr(0, name.size() - kSegmentSuffix.size()), 20);
  if (!base.has_value() || *base > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
  return LogPosition{static_cast<int64_t>(*base)};
}
std::optional<uint64_t> ParseSpareName(std::string_view name) { return ParseSpare(name, kSpareSuffix); }
std::optional<uint64_t> ParseUnfinishedSpareName(std::string_view name) {
  return ParseSpare(name, kUnfinishedSuffix);
}

}  // namespace fulmar::log
