#ifndef FULMAR_BROKER_FILTER_H_
#define FULMAR_BROKER_FILTER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "services/broker/message_record.h"

namespace fulmar::broker {

enum class FilterKind : uint8_t { kTag, kSql };

// What a consumer asks for. Tag expressions: "*" or empty takes all; "a || b" takes these tags; empty parts are ignored, spaces trimmed.
class Filter {
 public:
  Filter() = default;  // takes all
  // Errors: IllegalFilterExpression (says where), NotImplemented (SQL until it exists).
  static absl::StatusOr<Filter> Parse(FilterKind kind, std::string_view expression);
  bool takes_all() const { return tags_.empty(); }
  // Cheap first test on the index entry; false is certain, true must be confirmed by Matches().
  bool MayMatch(uint32_t tag_hash) const;
  bool Matches(const MessageView& message) const;
  friend bool operator==(const Filter&, const Filter&) = default;

 private:
  std::vector<std::string> tags_;      // sorted
  std::vector<uint32_t> tag_hashes_;   // sorted
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_FILTER_H_
