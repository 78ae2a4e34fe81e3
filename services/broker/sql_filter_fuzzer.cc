// Whatever the bytes: an expression is accepted or refused within its bounds; an accepted one means the same when it is printed and read again;
// its NOT is the negation; no message, however damaged, takes it out of step. Input: expression, a zero byte, tag, a zero byte, properties as
// on the wire.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "services/broker/message_record.h"
#include "services/broker/sql_filter.h"
#include "services/broker/sql_filter_values.h"
#include "services/common/errors.h"
#include "services/common/status.h"

namespace {

std::string_view TakePart(std::string_view& bytes) {
  const size_t end = std::min(bytes.find('\0'), bytes.size());
  const std::string_view part = bytes.substr(0, end);
  bytes.remove_prefix(std::min(end + 1, bytes.size()));
  return part;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulmar::broker;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string_view expression = TakePart(bytes), tag = TakePart(bytes), user = bytes;

  const auto filter = SqlFilter::Compile(expression);
  if (!filter.ok()) {
    FULMAR_CHECK(fulmar::V2CodeOf(filter.status()) == 40010);
    return 0;
  }
  const sql::Truth truth = (*filter)->Evaluate(tag, user);
  if (truth == sql::Truth::kTrue) FULMAR_CHECK((*filter)->MayMatch(TagHash(tag)));

  const std::string printed = sql::PrintSql(*sql::ParseSql(expression));
  if (printed.size() + 10 > sql::kMaxExpressionBytes) return 0;  // parentheses made it too long
  const auto again = SqlFilter::Compile(printed);
  FULMAR_CHECK(again.ok(), std::string(again.status().message()));
  FULMAR_CHECK((*again)->Evaluate(tag, user) == truth);
  const auto negation = SqlFilter::Compile(absl::StrCat("NOT (", printed, ")"));
  if (negation.ok()) FULMAR_CHECK((*negation)->Evaluate(tag, user) == sql::Not(truth));  // else one operator too deep
  return 0;
}
