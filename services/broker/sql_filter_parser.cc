// Recursive descent over
//
//   condition  = conjunction { OR conjunction }
//   conjunction= negation { AND negation }
//   negation   = NOT negation | equality
//   equality   = comparison { ( "=" | "<>" ) comparison | IS [ NOT ] NULL }
//   comparison = operand { ( "<" | "<=" | ">" | ">=" ) operand | [ NOT ] BETWEEN operand AND operand | [ NOT ] IN "(" string { "," string } ")"
//                        | [ NOT ] ( CONTAINS | STARTSWITH | ENDSWITH ) string }
//   operand    = [ "+" | "-" ] operand | number | string | TRUE | FALSE | NULL | property | "(" condition ")"
//
// CONTAINS, STARTSWITH and ENDSWITH are words only where an operator may stand: properties may have these names.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "services/broker/sql_filter_lexer.h"
#include "services/broker/sql_filter_tree.h"
#include "services/broker/sql_filter_values.h"
#include "services/common/status.h"

namespace fulmar::broker::sql {
namespace {

// Of parentheses, NOT and signs: bounds the stack. More than kMaxDepth, so that what PrintSql() writes can be read again.
constexpr int kMaxNesting = 3 * kMaxDepth;
constexpr uint64_t kIntegerLimit = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());

bool IsCondition(const Node& node) {
  if (node.op == Op::kConstant) return node.constant.kind == ValueKind::kBoolean || node.constant.kind == ValueKind::kNull;
  return node.op != Op::kProperty && node.op != Op::kNegate;
}
bool IsNull(const Node& node) { return node.op == Op::kConstant && node.constant.kind == ValueKind::kNull; }
bool IsString(const Node& node) { return node.op == Op::kConstant && node.constant.kind == ValueKind::kString; }
bool IsNumber(const Node& node) {
  return node.op == Op::kConstant && (node.constant.kind == ValueKind::kInteger || node.constant.kind == ValueKind::kFloat);
}
bool IsNumeric(const Node& node) { return IsNumber(node) || node.op == Op::kNegate; }

std::string_view NameOf(const Node& node) {
  if (IsNull(node)) return "NULL";
  if (IsString(node)) return "a string";
  if (IsNumeric(node)) return "a number";
  return IsCondition(node) ? "a condition" : "a property";
}

std::optional<Op> TextOperator(const Token& token) {
  if (token.kind != TokenKind::kName) return std::nullopt;
  if (absl::EqualsIgnoreCase(token.text, "CONTAINS")) return Op::kContains;
  if (absl::EqualsIgnoreCase(token.text, "STARTSWITH")) return Op::kStartsWith;
  if (absl::EqualsIgnoreCase(token.text, "ENDSWITH")) return Op::kEndsWith;
  return std::nullopt;
}

std::optional<Op> OrderOperator(TokenKind kind) {
  switch (kind) {
    case TokenKind::kLess: return Op::kLess;
    case TokenKind::kLessEqual: return Op::kLessEqual;
    case TokenKind::kGreater: return Op::kGreater;
    case TokenKind::kGreaterEqual: return Op::kGreaterEqual;
    default: return std::nullopt;
  }
}

class Parser {
 public:
  explicit Parser(std::string_view expression) : expression_(expression), lexer_(expression) {}

  absl::StatusOr<Tree> Parse() {
    FULMAR_RETURN_IF_ERROR(Advance());
    FULMAR_ASSIGN_OR_RETURN(const size_t all, Condition());
    if (token_.kind != TokenKind::kEnd) return Expected("an operator or the end");
    FULMAR_ASSIGN_OR_RETURN(tree_.root, AsCondition(all));
    return std::move(tree_);
  }

 private:
  using Index = absl::StatusOr<size_t>;  // of a node

  struct Nesting {
    explicit Nesting(int& level) : level(++level) {}
    ~Nesting() { --level; }
    int& level;
  };

  absl::Status Expected(std::string_view what) const { return ErrorAt(expression_, token_.at, absl::StrCat("expected ", what, ", found ", Shown(token_))); }
  absl::Status Expected(std::string_view what, size_t node) const {
    return ErrorAt(expression_, At(node).at, absl::StrCat("expected ", what, ", found ", NameOf(At(node))));
  }
  const Node& At(size_t node) const { return tree_.nodes[node]; }

  absl::Status Advance() {
    FULMAR_ASSIGN_OR_RETURN(token_, lexer_.Next());
    return absl::OkStatus();
  }
  absl::Status Skip(TokenKind kind, std::string_view what) {
    if (token_.kind != kind) return Expected(what);
    return Advance();
  }
  absl::Status CheckNesting() const {
    if (nesting_ <= kMaxNesting) return absl::OkStatus();
    return ErrorAt(expression_, token_.at, absl::StrCat("expected at most ", kMaxNesting, " levels of parentheses, NOT and signs"));
  }

  Index Add(Node node) {
    for (const size_t child : node.children) node.depth = std::max(node.depth, At(child).depth + 1);
    if (node.depth > kMaxDepth) return ErrorAt(expression_, node.at, absl::StrCat("expected at most ", kMaxDepth, " operators within each other"));
    tree_.nodes.push_back(std::move(node));
    return tree_.nodes.size() - 1;
  }
  Index Add(Op op, std::vector<size_t> children, bool negated = false) {
    Node node{.op = op, .negated = negated, .at = At(children.front()).at, .constant = {}, .children = std::move(children), .strings = {}};
    return Add(std::move(node));
  }

  Index AsCondition(size_t node) {
    if (IsCondition(At(node))) return node;
    if (At(node).op == Op::kProperty) return Add(Op::kHolds, {node});
    return Expected("a condition", node);
  }

  Index Condition() { return Joined(TokenKind::kOr, Op::kOr, [this] { return Conjunction(); }); }
  Index Conjunction() { return Joined(TokenKind::kAnd, Op::kAnd, [this] { return Negation(); }); }

  template <class Part>
  Index Joined(TokenKind word, Op op, Part part) {
    FULMAR_ASSIGN_OR_RETURN(const size_t first, part());
    if (token_.kind != word) return first;
    std::vector<size_t> parts(1);
    FULMAR_ASSIGN_OR_RETURN(parts[0], AsCondition(first));
    while (token_.kind == word) {
      FULMAR_RETURN_IF_ERROR(Advance());
      FULMAR_ASSIGN_OR_RETURN(const size_t next, part());
      FULMAR_ASSIGN_OR_RETURN(parts.emplace_back(), AsCondition(next));
    }
    return Add(op, std::move(parts));
  }

  Index Negation() {
    if (token_.kind != TokenKind::kNot) return Equality();
    const Nesting nesting(nesting_);
    FULMAR_RETURN_IF_ERROR(CheckNesting());
    const size_t at = token_.at;
    FULMAR_RETURN_IF_ERROR(Advance());
    FULMAR_ASSIGN_OR_RETURN(const size_t inner, Negation());
    FULMAR_ASSIGN_OR_RETURN(const size_t condition, AsCondition(inner));
    return Add(Node{.op = Op::kNot, .at = at, .constant = {}, .children = {condition}, .strings = {}});
  }

  Index Equality() {
    FULMAR_ASSIGN_OR_RETURN(size_t left, Comparison());
    for (;;) {
      if (token_.kind == TokenKind::kEqual || token_.kind == TokenKind::kNotEqual) {
        const Op op = token_.kind == TokenKind::kEqual ? Op::kEqual : Op::kNotEqual;
        FULMAR_RETURN_IF_ERROR(Advance());
        FULMAR_ASSIGN_OR_RETURN(const size_t right, Comparison());
        FULMAR_RETURN_IF_ERROR(CheckEqual(left, right));
        FULMAR_ASSIGN_OR_RETURN(left, Add(op, {left, right}));
      } else if (token_.kind == TokenKind::kIs) {
        FULMAR_RETURN_IF_ERROR(Advance());
        const bool negated = token_.kind == TokenKind::kNot;
        if (negated) FULMAR_RETURN_IF_ERROR(Advance());
        FULMAR_RETURN_IF_ERROR(Skip(TokenKind::kNull, negated ? "NULL" : "NULL or NOT NULL"));
        FULMAR_ASSIGN_OR_RETURN(left, Add(Op::kIsNull, {left}, negated));
      } else {
        return left;
      }
    }
  }

  absl::Status CheckEqual(size_t left, size_t right) const {
    for (const size_t side : {left, right})
      if (IsNull(At(side))) return ErrorAt(expression_, At(side).at, "expected a value, found NULL (IS NULL asks for a missing property)");
    for (const auto& [side, other] : {std::pair(left, right), std::pair(right, left)})
      if (IsCondition(At(other)) && (IsString(At(side)) || IsNumeric(At(side)))) return Expected("TRUE, FALSE, a property or a condition", side);
    return absl::OkStatus();
  }

  absl::Status CheckOrdered(size_t node) const {
    if (At(node).op == Op::kProperty || IsNumeric(At(node))) return absl::OkStatus();
    return Expected("a number or a property", node);
  }

  Index Comparison() {
    FULMAR_ASSIGN_OR_RETURN(size_t left, Operand());
    for (;;) {
      const bool negated = token_.kind == TokenKind::kNot;
      if (negated) FULMAR_RETURN_IF_ERROR(Advance());
      if (const std::optional<Op> order = OrderOperator(token_.kind); order.has_value() && !negated) {
        FULMAR_RETURN_IF_ERROR(Advance());
        FULMAR_RETURN_IF_ERROR(CheckOrdered(left));
        FULMAR_ASSIGN_OR_RETURN(const size_t right, Operand());
        FULMAR_RETURN_IF_ERROR(CheckOrdered(right));
        FULMAR_ASSIGN_OR_RETURN(left, Add(*order, {left, right}));
      } else if (token_.kind == TokenKind::kBetween) {
        FULMAR_ASSIGN_OR_RETURN(left, Between(left, negated));
      } else if (token_.kind == TokenKind::kIn) {
        FULMAR_ASSIGN_OR_RETURN(left, In(left, negated));
      } else if (const std::optional<Op> text = TextOperator(token_); text.has_value()) {
        FULMAR_ASSIGN_OR_RETURN(left, Text(*text, left, negated));
      } else if (negated) {
        return Expected("BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH");
      } else {
        return left;
      }
    }
  }

  Index Between(size_t value, bool negated) {
    FULMAR_RETURN_IF_ERROR(Advance());
    FULMAR_RETURN_IF_ERROR(CheckOrdered(value));
    FULMAR_ASSIGN_OR_RETURN(const size_t low, Operand());
    FULMAR_RETURN_IF_ERROR(CheckOrdered(low));
    FULMAR_RETURN_IF_ERROR(Skip(TokenKind::kAnd, "AND and the high bound"));
    FULMAR_ASSIGN_OR_RETURN(const size_t high, Operand());
    FULMAR_RETURN_IF_ERROR(CheckOrdered(high));
    if (!negated && IsNumber(At(low)) && IsNumber(At(high)) && CompareNumbers(At(low).constant, At(high).constant) > 0)
      return ErrorAt(expression_, At(low).at, "expected a low bound that is not above the high bound");
    return Add(Op::kBetween, {value, low, high}, negated);
  }

  Index In(size_t value, bool negated) {
    if (At(value).op != Op::kProperty) return Expected("a property before IN", value);
    Node node{.op = Op::kIn, .negated = negated, .at = At(value).at, .constant = {}, .children = {value}, .strings = {}};
    FULMAR_RETURN_IF_ERROR(Advance());
    FULMAR_RETURN_IF_ERROR(Skip(TokenKind::kOpen, "\"(\" and a list of strings"));
    for (;;) {
      FULMAR_ASSIGN_OR_RETURN(node.strings.emplace_back(), TakeString());
      if (token_.kind != TokenKind::kComma) break;
      FULMAR_RETURN_IF_ERROR(Advance());
    }
    FULMAR_RETURN_IF_ERROR(Skip(TokenKind::kClose, "\",\" or \")\""));
    std::sort(node.strings.begin(), node.strings.end());
    node.strings.erase(std::unique(node.strings.begin(), node.strings.end()), node.strings.end());
    return Add(std::move(node));
  }

  Index Text(Op op, size_t value, bool negated) {
    if (At(value).op != Op::kProperty && !IsString(At(value))) return Expected(absl::StrCat("a property before ", token_.text), value);
    FULMAR_RETURN_IF_ERROR(Advance());
    Node node{.op = op, .negated = negated, .at = At(value).at, .constant = {}, .children = {value}, .strings = {}};
    FULMAR_ASSIGN_OR_RETURN(node.strings.emplace_back(), TakeString());
    return Add(std::move(node));
  }

  absl::StatusOr<std::string> TakeString() {
    if (token_.kind != TokenKind::kString) return Expected("a string in single quotes");
    std::string text = absl::StrReplaceAll(token_.text.substr(1, token_.text.size() - 2), {{"''", "'"}});
    FULMAR_RETURN_IF_ERROR(Advance());
    return text;
  }

  Index Operand() {
    const size_t at = token_.at;
    switch (token_.kind) {
      case TokenKind::kPlus:
      case TokenKind::kMinus: return Signed();
      case TokenKind::kInteger:
      case TokenKind::kFloat: return Number(at, /*negative=*/false);
      case TokenKind::kTrue:
      case TokenKind::kFalse: return Constant(at, {.kind = ValueKind::kBoolean, .boolean = token_.kind == TokenKind::kTrue});
      case TokenKind::kNull: return Constant(at, {});
      case TokenKind::kName: return Property();
      case TokenKind::kString: {
        FULMAR_ASSIGN_OR_RETURN(std::string text, TakeString());
        return Add(Node{.at = at, .constant = {.kind = ValueKind::kString}, .children = {}, .strings = {std::move(text)}});
      }
      case TokenKind::kOpen: return Parentheses();
      default: return Expected("a value, a property or \"(\"");
    }
  }

  Index Parentheses() {
    const Nesting nesting(nesting_);
    FULMAR_RETURN_IF_ERROR(CheckNesting());
    FULMAR_RETURN_IF_ERROR(Advance());
    FULMAR_ASSIGN_OR_RETURN(const size_t inner, Condition());
    FULMAR_RETURN_IF_ERROR(Skip(TokenKind::kClose, "an operator or \")\""));
    return inner;
  }

  Index Signed() {
    const Nesting nesting(nesting_);
    FULMAR_RETURN_IF_ERROR(CheckNesting());
    const Token sign = token_;
    const bool negative = sign.kind == TokenKind::kMinus;
    FULMAR_RETURN_IF_ERROR(Advance());
    if (token_.kind == TokenKind::kInteger || token_.kind == TokenKind::kFloat) return Number(sign.at, negative);
    FULMAR_ASSIGN_OR_RETURN(const size_t operand, Operand());
    if (At(operand).op != Op::kProperty && !IsNumeric(At(operand))) return Expected(absl::StrCat("a number or a property behind \"", sign.text, "\""), operand);
    if (!negative) return operand;
    return Add(Node{.op = Op::kNegate, .at = sign.at, .constant = {}, .children = {operand}, .strings = {}});
  }

  Index Number(size_t at, bool negative) {
    if (token_.kind == TokenKind::kFloat) {
      FULMAR_ASSIGN_OR_RETURN(const double real, FloatOf(token_));
      return Constant(at, {.kind = ValueKind::kFloat, .real = negative ? -real : real});
    }
    uint64_t magnitude = 0;
    const std::string_view digits = token_.text.substr(0, token_.text.find_first_of("lL"));
    if (!absl::SimpleAtoi(digits, &magnitude) || magnitude > kIntegerLimit + (negative ? 1 : 0))
      return Expected(absl::StrCat("an integer from ", std::numeric_limits<int64_t>::min(), " to ", std::numeric_limits<int64_t>::max()));
    return Constant(at, {.kind = ValueKind::kInteger, .integer = static_cast<int64_t>(negative ? 0 - magnitude : magnitude)});
  }

  absl::StatusOr<double> FloatOf(const Token& token) const {
    double real = 0;
    const auto [end, error] = std::from_chars(token.text.data(), token.text.data() + token.text.size(), real);
    if (error != std::errc() || end != token.text.data() + token.text.size() || !std::isfinite(real))
      return Expected("a number that a double can hold");
    return real;
  }

  Index Constant(size_t at, Value value) {
    FULMAR_RETURN_IF_ERROR(Advance());
    return Add(Node{.at = at, .constant = value, .children = {}, .strings = {}});
  }

  Index Property() {
    const auto found = std::find(tree_.properties.begin(), tree_.properties.end(), token_.text);
    Node node{.op = Op::kProperty, .at = token_.at, .constant = {}, .property = static_cast<size_t>(found - tree_.properties.begin()), .children = {}, .strings = {}};
    if (found == tree_.properties.end()) {
      if (tree_.properties.size() == kMaxProperties) return ErrorAt(expression_, token_.at, absl::StrCat("expected at most ", kMaxProperties, " different properties"));
      tree_.properties.emplace_back(token_.text);
    }
    FULMAR_RETURN_IF_ERROR(Advance());
    return Add(std::move(node));
  }

  const std::string_view expression_;
  Lexer lexer_;
  Token token_;
  Tree tree_;
  int nesting_ = 0;
};

// ---- in words again

std::string Quoted(std::string_view text) { return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "''"}}), "'"); }

std::string PrintConstant(const Node& node) {
  switch (node.constant.kind) {
    case ValueKind::kNull: return "NULL";
    case ValueKind::kBoolean: return node.constant.boolean ? "TRUE" : "FALSE";
    case ValueKind::kInteger: return absl::StrCat(node.constant.integer);
    case ValueKind::kString: return Quoted(node.strings.front());
    case ValueKind::kFloat: break;
  }
  std::string text = absl::StrFormat("%.17g", node.constant.real);
  if (text.find_first_of(".e") == text.npos) text += ".0";
  return text;
}

class Printer {
 public:
  explicit Printer(const Tree& tree) : tree_(tree) {}

  std::string Print(const Node& node) const {
    const std::string_view no = node.negated ? "NOT " : "";
    switch (node.op) {
      case Op::kConstant: return PrintConstant(node);
      case Op::kProperty: return tree_.properties[node.property];
      case Op::kNegate: return absl::StrCat("-", Inner(node, 0));
      case Op::kHolds: return Print(tree_.nodes[node.children[0]]);
      case Op::kNot: return absl::StrCat("NOT ", Inner(node, 0));
      case Op::kAnd: return Joined(node, " AND ");
      case Op::kOr: return Joined(node, " OR ");
      case Op::kEqual: return Joined(node, " = ");
      case Op::kNotEqual: return Joined(node, " <> ");
      case Op::kLess: return Joined(node, " < ");
      case Op::kLessEqual: return Joined(node, " <= ");
      case Op::kGreater: return Joined(node, " > ");
      case Op::kGreaterEqual: return Joined(node, " >= ");
      case Op::kBetween: return absl::StrCat(Inner(node, 0), " ", no, "BETWEEN ", Inner(node, 1), " AND ", Inner(node, 2));
      case Op::kIn: return absl::StrCat(Inner(node, 0), " ", no, "IN (", Strings(node), ")");
      case Op::kContains: return absl::StrCat(Inner(node, 0), " ", no, "CONTAINS ", Strings(node));
      case Op::kStartsWith: return absl::StrCat(Inner(node, 0), " ", no, "STARTSWITH ", Strings(node));
      case Op::kEndsWith: return absl::StrCat(Inner(node, 0), " ", no, "ENDSWITH ", Strings(node));
      case Op::kIsNull: return absl::StrCat(Inner(node, 0), " IS ", no, "NULL");
    }
    return "";
  }

 private:
  std::string Inner(const Node& node, size_t child) const { return absl::StrCat("(", Print(tree_.nodes[node.children[child]]), ")"); }
  std::string Joined(const Node& node, std::string_view by) const {
    return absl::StrJoin(node.children, by, [this](std::string* out, size_t child) { absl::StrAppend(out, "(", Print(tree_.nodes[child]), ")"); });
  }
  static std::string Strings(const Node& node) {
    return absl::StrJoin(node.strings, ", ", [](std::string* out, const std::string& text) { absl::StrAppend(out, Quoted(text)); });
  }

  const Tree& tree_;
};

}  // namespace

absl::StatusOr<Tree> ParseSql(std::string_view expression) {
  if (expression.size() > kMaxExpressionBytes)
    return ErrorAt(expression, kMaxExpressionBytes, absl::StrCat("expected at most ", kMaxExpressionBytes, " bytes, found ", expression.size()));
  return Parser(expression).Parse();
}

std::string PrintSql(const Tree& tree) { return Printer(tree).Print(tree.nodes[tree.root]); }

}  // namespace fulmar::broker::sql
