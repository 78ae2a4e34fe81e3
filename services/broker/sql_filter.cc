#include "services/broker/sql_filter.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "services/broker/message_record.h"
#include "services/broker/sql_filter_values.h"
#include "services/broker/wire_reader.h"
#include "services/common/status.h"

namespace fulmar::broker {
namespace {

using sql::Node;
using sql::Op;
using sql::Truth;
using sql::Value;
using sql::ValueKind;

constexpr std::string_view kTags = "TAGS";

Value ToValue(Truth truth) {
  if (truth == Truth::kUnknown) return {};
  return {.kind = ValueKind::kBoolean, .boolean = truth == Truth::kTrue};
}

Value Negated(const Value& value) {
  Value number = sql::ToNumber(value);
  if (number.kind == ValueKind::kInteger && number.integer == INT64_MIN) number = {.kind = ValueKind::kFloat, .real = static_cast<double>(INT64_MIN)};
  if (number.kind == ValueKind::kInteger) number.integer = -number.integer;
  if (number.kind == ValueKind::kFloat) number.real = -number.real;
  return number;
}

}  // namespace

// Of one message, in the order of Tree::properties.
struct SqlFilter::Properties {
  uint64_t present = 0;  // bit i: values[i] is set
  std::string_view values[sql::kMaxProperties];

  void Set(size_t i, std::string_view value) {
    present |= uint64_t{1} << i;
    values[i] = value;
  }
  Value Get(size_t i) const {
    if ((present >> i & 1) == 0) return {};
    return {.kind = ValueKind::kString, .text = values[i]};
  }
};
static_assert(sql::kMaxProperties <= 64, "one bit for each");

absl::StatusOr<std::shared_ptr<const SqlFilter>> SqlFilter::Compile(std::string_view expression) {
  FULMAR_ASSIGN_OR_RETURN(sql::Tree tree, sql::ParseSql(expression));
  return std::shared_ptr<const SqlFilter>(new SqlFilter(expression, std::move(tree)));
}

SqlFilter::SqlFilter(std::string_view expression, sql::Tree tree) : expression_(expression), tree_(std::move(tree)) {
  const Tags tags = PossibleTags(tree_.nodes[tree_.root]);
  if (!tags.has_value()) return;
  tag_hashes_.emplace();
  for (const std::string_view tag : *tags) tag_hashes_->push_back(TagHash(tag));
  std::sort(tag_hashes_->begin(), tag_hashes_->end());
}

// ---- what the tag alone can rule out

SqlFilter::Tags SqlFilter::PossibleTags(const Node& node) const {
  const auto is_tags = [this](const Node& child) { return child.op == Op::kProperty && tree_.properties[child.property] == kTags; };
  switch (node.op) {
    case Op::kEqual:
      for (const size_t side : {0, 1}) {
        const Node& other = Child(node, 1 - side);
        if (is_tags(Child(node, side)) && other.op == Op::kConstant && other.constant.kind == ValueKind::kString) return {{other.strings.front()}};
      }
      return std::nullopt;
    case Op::kIn:
      if (node.negated || !is_tags(Child(node, 0))) return std::nullopt;
      return Tags(std::in_place, node.strings.begin(), node.strings.end());
    case Op::kAnd:  // any part that is choosy will do
      for (size_t i = 0; i < node.children.size(); ++i)
        if (Tags tags = PossibleTags(Child(node, i)); tags.has_value()) return tags;
      return std::nullopt;
    case Op::kOr: {
      Tags all(std::in_place);
      for (size_t i = 0; i < node.children.size(); ++i) {
        const Tags tags = PossibleTags(Child(node, i));
        if (!tags.has_value()) return std::nullopt;
        all->insert(all->end(), tags->begin(), tags->end());
      }
      return all;
    }
    default: return std::nullopt;
  }
}

bool SqlFilter::MayMatch(uint32_t tag_hash) const {
  return !tag_hashes_.has_value() || std::binary_search(tag_hashes_->begin(), tag_hashes_->end(), tag_hash);
}

// ---- the message

SqlFilter::Properties SqlFilter::Read(std::string_view tag, std::string_view user) const {
  Properties properties;
  for (wire::Reader entries(user); entries.Next();) {
    if (!entries.Is(wire::WireType::kBytes)) continue;
    std::string_view key, value;
    wire::Reader entry(entries.bytes());
    while (entry.Next()) {
      if (!entry.Is(wire::WireType::kBytes)) continue;
      if (entry.field() == 1) key = entry.bytes();
      if (entry.field() == 2) value = entry.bytes();
    }
    if (!entry.ok()) continue;
    for (size_t i = 0; i < tree_.properties.size(); ++i)
      if (tree_.properties[i] == key) properties.Set(i, value);  // of a key that comes twice the last one counts, as in any map of protobuf
  }
  for (size_t i = 0; i < tree_.properties.size(); ++i) {
    if (tree_.properties[i] != kTags) continue;
    properties.present &= ~(uint64_t{1} << i);
    if (!tag.empty()) properties.Set(i, tag);
  }
  return properties;
}

Truth SqlFilter::Evaluate(std::string_view tag, std::string_view user) const { return Ask(tree_.nodes[tree_.root], Read(tag, user)); }

// ---- the expression

Value SqlFilter::ValueOf(const Node& node, const Properties& properties) const {
  switch (node.op) {
    case Op::kConstant: {
      Value value = node.constant;
      if (value.kind == ValueKind::kString) value.text = node.strings.front();
      return value;
    }
    case Op::kProperty: return properties.Get(node.property);
    case Op::kNegate: return Negated(ValueOf(Child(node, 0), properties));
    default: return ToValue(Ask(node, properties));
  }
}

Truth SqlFilter::Ask(const Node& node, const Properties& properties) const {
  const auto value = [&](size_t child) { return ValueOf(Child(node, child), properties); };
  switch (node.op) {
    case Op::kConstant: return node.constant.kind == ValueKind::kBoolean ? sql::ToTruth(node.constant.boolean) : Truth::kUnknown;
    case Op::kHolds: return sql::ToTruth(value(0));
    case Op::kNot: return sql::Not(Ask(Child(node, 0), properties));
    case Op::kAnd:
    case Op::kOr: return AskAll(node, properties);
    case Op::kEqual: return sql::Equal(value(0), value(1));
    case Op::kNotEqual: return sql::Not(sql::Equal(value(0), value(1)));
    case Op::kLess: return sql::Ordered(value(0), value(1), [](int order) { return order < 0; });
    case Op::kLessEqual: return sql::Ordered(value(0), value(1), [](int order) { return order <= 0; });
    case Op::kGreater: return sql::Ordered(value(0), value(1), [](int order) { return order > 0; });
    case Op::kGreaterEqual: return sql::Ordered(value(0), value(1), [](int order) { return order >= 0; });
    case Op::kBetween: return AskBetween(node, properties);
    case Op::kIn: {
      const Value asked = value(0);
      if (asked.kind == ValueKind::kNull) return Truth::kUnknown;
      return sql::ToTruth(std::binary_search(node.strings.begin(), node.strings.end(), asked.text) != node.negated);
    }
    case Op::kContains:
    case Op::kStartsWith:
    case Op::kEndsWith: return AskText(node, properties);
    case Op::kIsNull: return sql::ToTruth((value(0).kind == ValueKind::kNull) != node.negated);
    case Op::kProperty:
    case Op::kNegate: break;  // the parser puts no value where a condition has to be
  }
  return Truth::kUnknown;
}

// AND ends at the first FALSE, OR at the first TRUE; else one unknown part makes all of it unknown.
Truth SqlFilter::AskAll(const Node& node, const Properties& properties) const {
  const Truth decides = sql::ToTruth(node.op == Op::kOr);
  Truth all = sql::Not(decides);
  for (size_t i = 0; i < node.children.size(); ++i) {
    const Truth part = Ask(Child(node, i), properties);
    if (part == decides) return part;
    if (part == Truth::kUnknown) all = part;
  }
  return all;
}

Truth SqlFilter::AskBetween(const Node& node, const Properties& properties) const {
  const Value value = sql::ToNumber(ValueOf(Child(node, 0), properties));
  const Truth low = sql::Ordered(value, ValueOf(Child(node, 1), properties), [](int order) { return order >= 0; });
  const Truth high = sql::Ordered(value, ValueOf(Child(node, 2), properties), [](int order) { return order <= 0; });
  Truth inside = Truth::kTrue;
  if (low == Truth::kFalse || high == Truth::kFalse) inside = Truth::kFalse;
  else if (low == Truth::kUnknown || high == Truth::kUnknown) inside = Truth::kUnknown;
  return node.negated ? sql::Not(inside) : inside;
}

// RocketMQ's own operators know no third value: FALSE, negated or not, for a missing property and for an empty text.
Truth SqlFilter::AskText(const Node& node, const Properties& properties) const {
  const Value value = ValueOf(Child(node, 0), properties);
  const std::string_view text = node.strings.front();
  if (value.kind != ValueKind::kString || text.empty()) return Truth::kFalse;
  bool found = false;
  if (node.op == Op::kContains) found = absl::StrContains(value.text, text);
  if (node.op == Op::kStartsWith) found = absl::StartsWith(value.text, text);
  if (node.op == Op::kEndsWith) found = absl::EndsWith(value.text, text);
  return sql::ToTruth(found != node.negated);
}

}  // namespace fulmar::broker
