#include "services/broker/filter.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "services/broker/sql_filter.h"
#include "services/common/errors.h"
#include "services/common/status.h"

namespace fulmar::broker {
namespace {

// As much as all properties of a message together: longer is a mistake, and every receive carries its expression.
constexpr size_t kMaxExpressionBytes = 16 * 1024;

template <class T>
void SortUnique(std::vector<T>& values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

absl::Status CheckTag(std::string_view tag, std::string_view expression) {
  for (const char c : tag) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c)))
      return errors::IllegalFilterExpression(absl::StrCat("tag expression has a control character at ", &c - expression.data()));
    if (c == '|')
      return errors::IllegalFilterExpression(absl::StrCat("tag expression has a single '|' at ", &c - expression.data(), ", tags are joined by '||'"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Filter> Filter::Parse(FilterKind kind, std::string_view expression) {
  Filter filter;
  if (kind == FilterKind::kSql) {
    FULMAR_ASSIGN_OR_RETURN(filter.sql_, SqlFilter::Compile(expression));
    return filter;
  }
  if (expression.size() > kMaxExpressionBytes)
    return errors::IllegalFilterExpression(absl::StrCat("tag expression has ", expression.size(), " bytes, at most ", kMaxExpressionBytes, " are allowed"));

  const std::string_view trimmed = absl::StripAsciiWhitespace(expression);
  if (trimmed.empty() || trimmed == "*") return filter;
  for (const std::string_view part : absl::StrSplit(trimmed, "||")) {
    const std::string_view tag = absl::StripAsciiWhitespace(part);
    if (tag.empty()) continue;
    if (tag == "*") return Filter();
    FULMAR_RETURN_IF_ERROR(CheckTag(tag, expression));
    filter.tags_.emplace_back(tag);
    filter.tag_hashes_.push_back(TagHash(tag));
  }
  if (filter.tags_.empty()) return errors::IllegalFilterExpression("tag expression has only separators and no tag");
  SortUnique(filter.tags_);
  SortUnique(filter.tag_hashes_);
  return filter;
}

bool Filter::MayMatch(uint32_t tag_hash) const {
  if (sql_ != nullptr) return sql_->MayMatch(tag_hash);
  return takes_all() || std::binary_search(tag_hashes_.begin(), tag_hashes_.end(), tag_hash);
}

bool Filter::Matches(const MessageView& message) const {
  if (sql_ != nullptr) return sql_->Evaluate(message.tag, message.user) == sql::Truth::kTrue;
  return takes_all() || (!message.tag.empty() && std::binary_search(tags_.begin(), tags_.end(), message.tag));
}

bool operator==(const Filter& a, const Filter& b) {
  if (a.sql_ == nullptr || b.sql_ == nullptr) return a.sql_ == b.sql_ && a.tags_ == b.tags_;
  return a.sql_->expression() == b.sql_->expression();
}

}  // namespace fulmar::broker
