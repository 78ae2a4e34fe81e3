#ifndef FULMAR_BROKER_FILTER_H_
#define FULMAR_BROKER_FILTER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "services/broker/message_record.h"

namespace fulmar::broker {

class SqlFilter;

enum class FilterKind : uint8_t { kTag, kSql };

// What a consumer asks for. Cheap to copy.
//   Tags: "*" or empty takes all; "a || b" takes these tags; empty parts are ignored, spaces trimmed.
//   SQL:  a condition on the properties and TAGS (docs/sql-filters.md); takes what it is TRUE for, not what it cannot tell.
class Filter {
 public:
  Filter() = default;  // takes all
  // Errors: IllegalFilterExpression (says where).
  static absl::StatusOr<Filter> Parse(FilterKind kind, std::string_view expression);
  bool takes_all() const { return tags_.empty() && sql_ == nullptr; }
  // Cheap first test on the index entry; false is certain, true must be confirmed by Matches().
  bool MayMatch(uint32_t tag_hash) const;
  bool Matches(const MessageView& message) const;
  friend bool operator==(const Filter& a, const Filter& b);

 private:
  std::vector<std::string> tags_;      // sorted
  std::vector<uint32_t> tag_hashes_;   // sorted
  std::shared_ptr<const SqlFilter> sql_;  // then there are no tags
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_FILTER_H_
