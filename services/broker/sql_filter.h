#ifndef FULMAR_BROKER_SQL_FILTER_H_
#define FULMAR_BROKER_SQL_FILTER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "services/broker/sql_filter_tree.h"

namespace fulmar::broker {

// One SQL92 expression of RocketMQ's dialect (docs/sql-filters.md), ready to be asked about messages.
// Threads: any; nothing changes after Compile().
class SqlFilter {
 public:
  // Errors: IllegalFilterExpression, which says the column and what was expected there.
  static absl::StatusOr<std::shared_ptr<const SqlFilter>> Compile(std::string_view expression);

  // `user`: wire bytes of the entries of Message.user_properties, as MessageView has them. Allocates nothing. The property TAGS is `tag`;
  // a message without a tag does not have it. What is damaged in `user` counts as missing.
  sql::Truth Evaluate(std::string_view tag, std::string_view user) const;
  // False: no message with this hash of its tag (0: without one) can match. What an index entry can tell before its body is read.
  bool MayMatch(uint32_t tag_hash) const;

  const std::string& expression() const { return expression_; }

 private:
  // The tags that a matching message can have; nullopt: any, or none.
  using Tags = std::optional<std::vector<std::string_view>>;
  struct Properties;

  SqlFilter(std::string_view expression, sql::Tree tree);
  Tags PossibleTags(const sql::Node& node) const;
  Properties Read(std::string_view tag, std::string_view user) const;
  sql::Value ValueOf(const sql::Node& node, const Properties& properties) const;
  sql::Truth Ask(const sql::Node& node, const Properties& properties) const;
  sql::Truth AskAll(const sql::Node& node, const Properties& properties) const;
  sql::Truth AskBetween(const sql::Node& node, const Properties& properties) const;
  sql::Truth AskText(const sql::Node& node, const Properties& properties) const;
  const sql::Node& Child(const sql::Node& node, size_t i) const { return tree_.nodes[node.children[i]]; }

  const std::string expression_;
  const sql::Tree tree_;
  std::optional<std::vector<uint32_t>> tag_hashes_;  // sorted; nullopt: any
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_SQL_FILTER_H_
