#ifndef FULMAR_BROKER_SQL_FILTER_TREE_H_
#define FULMAR_BROKER_SQL_FILTER_TREE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace fulmar::broker::sql {

// What a condition can say of a message. Only kTrue delivers it.
enum class Truth : uint8_t { kFalse, kTrue, kUnknown };

enum class ValueKind : uint8_t { kNull, kBoolean, kInteger, kFloat, kString };

// A constant of the expression, or what a property of a message holds.
struct Value {
  ValueKind kind = ValueKind::kNull;
  bool boolean = false;
  int64_t integer = 0;
  double real = 0;
  std::string_view text;  // borrowed
};

enum class Op : uint8_t {
  // Values.
  kConstant,  // of any kind; a boolean or NULL one is a condition as well
  kProperty,
  kNegate,    // -child
  // Conditions.
  kHolds,     // a property by itself: is it "true"?
  kNot, kAnd, kOr,                 // the last two with two children or more
  kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual,
  kBetween,                        // value, low, high
  kIn,                             // child; strings
  kContains, kStartsWith, kEndsWith,  // child; strings[0]
  kIsNull,
};

struct Node {
  Op op = Op::kConstant;
  bool negated = false;        // of kBetween, kIn, kContains, kStartsWith, kEndsWith, kIsNull
  size_t at = 0;               // where it begins in the expression
  Value constant;              // kConstant; its text points into strings[0]
  size_t property = 0;         // kProperty: index into Tree::properties
  std::vector<size_t> children;
  std::vector<std::string> strings;  // of kIn sorted
  int depth = 1;
};

// A checked expression. Nodes come before the nodes that use them.
struct Tree {
  std::vector<Node> nodes;
  size_t root = 0;
  std::vector<std::string> properties;  // each once
};

// Bounds of one expression: every receive may carry one.
inline constexpr size_t kMaxExpressionBytes = 16 * 1024;
inline constexpr int kMaxDepth = 64;           // of operators within operators
inline constexpr size_t kMaxProperties = 64;   // different ones

// Errors: IllegalFilterExpression, which says the column and what was expected there.
absl::StatusOr<Tree> ParseSql(std::string_view expression);

// The tree in words again, every operand in parentheses: parsing it gives the same tree.
std::string PrintSql(const Tree& tree);

}  // namespace fulmar::broker::sql

#endif  // FULMAR_BROKER_SQL_FILTER_TREE_H_
