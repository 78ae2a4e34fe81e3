// Goal: SqlFilter agrees with a naive evaluator on random expressions and random messages, also after printing and parsing again.
// Method: a random tree is written down as text (random spaces, letters' case and parentheses) and evaluated here by walking it, over a plain
// map of strings, with rules written a second time. Replay: FULMAR_SEED=<seed>; FULMAR_SQL_ROUNDS=<n> makes it longer.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"
#include "services/broker/message_record.h"
#include "services/broker/sql_filter.h"
#include "services/broker/sql_filter_testing.h"
#include "services/common/sim/seeded_random.h"
#include "services/common/sim/test_seed.h"

namespace fulmar::broker {
namespace {

using Message = std::map<std::string, std::string>;  // TAGS is the tag
using Tri = std::optional<bool>;                     // nullopt: unknown
using Any = std::variant<std::monostate, bool, double, std::string>;

// ---- the naive evaluator

struct Naive {
  virtual ~Naive() = default;
  virtual std::string Text() const = 0;
};
struct NaiveValue : Naive {
  virtual Any Get(const Message& message) const = 0;
};
struct NaiveCondition : Naive {
  virtual Tri Get(const Message& message) const = 0;
};
using ValuePtr = std::unique_ptr<NaiveValue>;
using ConditionPtr = std::unique_ptr<NaiveCondition>;

std::optional<double> Number(const Any& any) {
  if (const double* number = std::get_if<double>(&any)) return *number;
  const std::string* text = std::get_if<std::string>(&any);
  if (text == nullptr || text->empty() || text->find_first_not_of("+-.0123456789eE") != text->npos) return std::nullopt;
  double number = 0;
  if (!absl::SimpleAtod(*text, &number)) return std::nullopt;
  return number;
}
Tri Boolean(const Any& any) {
  if (const bool* value = std::get_if<bool>(&any)) return *value;
  if (const std::string* text = std::get_if<std::string>(&any)) return absl::AsciiStrToLower(*text) == "true";
  return std::nullopt;
}
Tri Invert(Tri tri) { return tri.has_value() ? Tri(!*tri) : tri; }

struct Property final : NaiveValue {
  explicit Property(std::string its_name) : name(std::move(its_name)) {}
  std::string Text() const override { return name; }
  Any Get(const Message& message) const override {
    const auto found = message.find(name);
    return found == message.end() ? Any() : Any(found->second);
  }
  std::string name;
};
struct Literal final : NaiveValue {
  Literal(std::string its_text, Any its_value) : text(std::move(its_text)), value(std::move(its_value)) {}
  std::string Text() const override { return text; }
  Any Get(const Message&) const override { return value; }
  std::string text;
  Any value;
};
struct Minus final : NaiveValue {
  explicit Minus(ValuePtr of) : inner(std::move(of)) {}
  std::string Text() const override { return absl::StrCat("- (", inner->Text(), ")"); }
  Any Get(const Message& message) const override {
    const std::optional<double> number = Number(inner->Get(message));
    return number.has_value() ? Any(-*number) : Any();
  }
  ValuePtr inner;
};

struct Compare final : NaiveCondition {
  std::string Text() const override { return absl::StrCat(left->Text(), " ", op, " ", right->Text()); }
  Tri Get(const Message& message) const override {
    const Any a = left->Get(message), b = right->Get(message);
    if (a.index() == 0 || b.index() == 0) return std::nullopt;
    if (op == "=") return Same(a, b);
    if (op == "<>") return Invert(Same(a, b));
    const auto x = Number(a), y = Number(b);
    if (!x.has_value() || !y.has_value()) return std::nullopt;
    if (op == "<") return *x < *y;
    if (op == "<=") return *x <= *y;
    return op == ">" ? *x > *y : *x >= *y;
  }
  static Tri Same(const Any& a, const Any& b) {
    if (std::holds_alternative<std::string>(a) && std::holds_alternative<std::string>(b)) return std::get<std::string>(a) == std::get<std::string>(b);
    if (std::holds_alternative<bool>(a) || std::holds_alternative<bool>(b)) {
      const Tri x = Boolean(a), y = Boolean(b);
      return x.has_value() && y.has_value() ? Tri(*x == *y) : std::nullopt;
    }
    const auto x = Number(a), y = Number(b);
    return x.has_value() && y.has_value() ? Tri(*x == *y) : std::nullopt;
  }
  std::string op;
  ValuePtr left, right;
};
struct BetweenIs final : NaiveCondition {
  std::string Text() const override { return absl::StrCat(value->Text(), no ? " NOT BETWEEN " : " BETWEEN ", low->Text(), " AND ", high->Text()); }
  Tri Get(const Message& message) const override {
    const auto x = Number(value->Get(message)), a = Number(low->Get(message)), b = Number(high->Get(message));
    if (!x.has_value()) return std::nullopt;
    if ((a.has_value() && *x < *a) || (b.has_value() && *x > *b)) return no;
    return a.has_value() && b.has_value() ? Tri(!no) : std::nullopt;
  }
  ValuePtr value, low, high;
  bool no = false;
};
struct InIs final : NaiveCondition {
  std::string Text() const override { return absl::StrCat(value.Text(), no ? " NOT IN (" : " IN (", absl::StrJoin(texts, ", ", [](std::string* out, const std::string& text) { absl::StrAppend(out, "'", text, "'"); }), ")"); }
  Tri Get(const Message& message) const override {
    const Any any = value.Get(message);
    if (any.index() == 0) return std::nullopt;
    for (const std::string& text : texts)
      if (text == std::get<std::string>(any)) return !no;
    return no;
  }
  explicit InIs(std::string name) : value(std::move(name)) {}
  Property value;
  std::vector<std::string> texts;
  bool no = false;
};
struct TextIs final : NaiveCondition {
  explicit TextIs(std::string name) : value(std::move(name)) {}
  std::string Text() const override { return absl::StrCat(value.Text(), no ? " NOT " : " ", op, " '", text, "'"); }
  Tri Get(const Message& message) const override {
    const Any any = value.Get(message);
    if (any.index() == 0 || text.empty()) return false;
    const std::string& whole = std::get<std::string>(any);
    const bool found = op == "CONTAINS" ? whole.find(text) != whole.npos : op == "STARTSWITH" ? whole.compare(0, text.size(), text) == 0
                                                                                              : whole.size() >= text.size() && whole.substr(whole.size() - text.size()) == text;
    return found != no;
  }
  Property value;
  std::string op, text;
  bool no = false;
};
struct NullIs final : NaiveCondition {
  std::string Text() const override { return absl::StrCat(condition != nullptr ? absl::StrCat("(", condition->Text(), ")") : value->Text(), no ? " IS NOT NULL" : " IS NULL"); }
  Tri Get(const Message& message) const override {
    const bool missing = condition != nullptr ? !condition->Get(message).has_value() : value->Get(message).index() == 0;
    return missing != no;
  }
  ValuePtr value;
  ConditionPtr condition;
  bool no = false;
};
struct Constant final : NaiveCondition {
  Constant(std::string its_text, Tri its_value) : text(std::move(its_text)), value(its_value) {}
  std::string Text() const override { return text; }
  Tri Get(const Message&) const override { return value; }
  std::string text;
  Tri value;
};
struct Holds final : NaiveCondition {
  explicit Holds(std::string name) : value(std::move(name)) {}
  std::string Text() const override { return value.Text(); }
  Tri Get(const Message& message) const override { return Boolean(value.Get(message)); }
  Property value;
};
struct NotIs final : NaiveCondition {
  std::string Text() const override { return absl::StrCat("NOT ", bare ? inner->Text() : absl::StrCat("(", inner->Text(), ")")); }
  Tri Get(const Message& message) const override { return Invert(inner->Get(message)); }
  ConditionPtr inner;
  bool bare = false;  // binds weaker than any comparison
};
struct Join final : NaiveCondition {
  std::string Text() const override {
    return absl::StrJoin(parts, any ? " OR " : " AND ", [](std::string* out, const ConditionPtr& part) { absl::StrAppend(out, "(", part->Text(), ")"); });
  }
  Tri Get(const Message& message) const override {
    Tri all = !any;
    for (const ConditionPtr& part : parts) {
      const Tri tri = part->Get(message);
      if (tri == Tri(any)) return any;
      if (!tri.has_value()) all = std::nullopt;
    }
    return all;
  }
  std::vector<ConditionPtr> parts;
  bool any = false;
};

// ---- chance

class Chance {
 public:
  explicit Chance(uint64_t seed) : random_(seed) {}
  uint64_t Below(uint64_t bound) { return common::RandomBelow(random_, bound); }
  bool Is(uint64_t one_in) { return Below(one_in) == 0; }
  template <class T>
  const T& Of(const std::vector<T>& all) { return all[Below(all.size())]; }

  std::string Name() { return Of<std::string>({"a", "b", "c", "missing", "TAGS", "contains"}); }
  // Small worlds meet often.
  std::string Word() { return Of<std::string>({"", "1", "2", "-1", "2.0", "1.5", "+2", "true", "FALSE", "x", "xy", "x y", "1x", "é"}); }

  Message ARandomMessage() {
    Message message;
    for (const char* name : {"a", "b", "c", "contains"})
      if (!Is(5)) message[name] = Word();
    if (!Is(3)) message["TAGS"] = Of<std::string>({"x", "1", "true"});
    return message;
  }

  ValuePtr Numeric() {
    if (Is(12)) return std::make_unique<Minus>(std::make_unique<Property>(Name()));
    if (Is(2)) return std::make_unique<Property>(Name());
    const int number = static_cast<int>(Below(6)) - 2;
    const std::string_view shape = Of<std::string_view>({"", ".0", ".5", "L", "e0"});
    const double value = std::abs(number) + (shape == ".5" ? 0.5 : 0);
    return std::make_unique<Literal>(absl::StrCat(number < 0 ? "-" : "", std::abs(number), shape), Any(number < 0 ? -value : value));
  }
  ValuePtr Comparable() {
    switch (Below(5)) {
      case 0: {
        const std::string word = Word();
        return std::make_unique<Literal>(absl::StrCat("'", word, "'"), Any(word));
      }
      case 1: return Numeric();
      default: return std::make_unique<Property>(Name());
    }
  }

  ConditionPtr Condition(int depth) {
    if (depth > 0 && !Is(4)) {
      if (Is(4)) {
        auto no = std::make_unique<NotIs>();
        no->bare = Is(2);
        no->inner = no->bare ? Simple() : Condition(depth - 1);
        return no;
      }
      auto join = std::make_unique<Join>();
      join->any = Is(2);
      for (uint64_t i = 0, parts = 2 + Below(3); i < parts; ++i) join->parts.push_back(Condition(depth - 1));
      return join;
    }
    return Simple();
  }

  // Text of the same meaning: letters' case of the words, other spaces, comments, parentheses around all of it.
  std::string Disguised(std::string_view text) {
    std::string out;
    bool quoted = false;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\'') quoted = !quoted;
      if (quoted || text[i] != ' ') {
        out += text[i];
        continue;
      }
      out += Of<std::string>({" ", "  ", "\n", "\t", " /* and */ ", " -- or\n"});
    }
    for (const std::string_view word : {"AND", "NOT", "BETWEEN", "IS"})
      if (Is(2)) out = absl::StrReplaceAll(out, {{absl::StrCat(word, " "), absl::StrCat(absl::AsciiStrToLower(word), " ")}});
    return Is(3) ? absl::StrCat("(", out, "\n)") : out;
  }

 private:
  ConditionPtr Simple() {
    switch (Below(8)) {
      case 0: {
        auto in = std::make_unique<InIs>(Name());
        for (uint64_t i = 0, texts = 1 + Below(4); i < texts; ++i) in->texts.push_back(Word());
        in->no = Is(2);
        return in;
      }
      case 1: {
        auto text = std::make_unique<TextIs>(Name());
        text->op = Of<std::string>({"CONTAINS", "STARTSWITH", "ENDSWITH"});
        text->text = Word();
        text->no = Is(2);
        return text;
      }
      case 2: {
        auto null = std::make_unique<NullIs>();
        if (Is(3)) null->condition = Simple();
        else null->value = Numeric();
        null->no = Is(2);
        return null;
      }
      case 3: {
        auto between = std::make_unique<BetweenIs>();
        between->value = Numeric();
        between->low = Numeric();
        between->high = std::make_unique<Property>(Name());  // two numbers in the wrong order would be refused
        between->no = Is(2);
        return between;
      }
      case 4: {
        if (Is(2)) return std::make_unique<Holds>(Name());
        const int which = static_cast<int>(Below(3));
        return std::make_unique<Constant>(which == 0 ? "TRUE" : which == 1 ? "FALSE" : "NULL", which == 2 ? std::nullopt : Tri(which == 0));
      }
      case 5: {
        auto compare = std::make_unique<Compare>();
        compare->op = Of<std::string>({"<", "<=", ">", ">="});
        compare->left = Numeric();
        compare->right = Numeric();
        return compare;
      }
      default: {
        auto compare = std::make_unique<Compare>();
        compare->op = Of<std::string>({"=", "<>"});
        compare->left = Comparable();
        compare->right = Comparable();
        if (Is(6)) {
          compare->left = std::make_unique<Property>(Name());
          const bool value = Is(2);
          compare->right = std::make_unique<Literal>(value ? "TRUE" : "FALSE", Any(value));
        }
        return compare;
      }
    }
  }

  sim::SeededRandom random_;
};

std::string Shown(const Message& message) {
  return absl::StrJoin(message, ", ", [](std::string* out, const auto& entry) { absl::StrAppend(out, entry.first, "='", entry.second, "'"); });
}
Tri AskReal(const SqlFilter& filter, const Message& message) {
  std::string tag;
  std::vector<std::pair<std::string, std::string>> properties;
  for (const auto& [key, value] : message) {
    if (key == "TAGS") tag = value;
    else properties.emplace_back(key, value);
  }
  const sql::Truth truth = filter.Evaluate(tag, WireProperties(properties));
  return truth == sql::Truth::kUnknown ? std::nullopt : Tri(truth == sql::Truth::kTrue);
}

int Rounds() {
  const char* asked = std::getenv("FULMAR_SQL_ROUNDS");
  return asked != nullptr ? std::atoi(asked) : 3000;
}

TEST(SqlFilterRandomTest, AgreesWithANaiveEvaluatorAlsoAfterPrinting) {
  SCOPED_TRACE(absl::StrCat("FULMAR_SEED=", sim::TestSeed()));
  Chance chance(sim::TestSeed());
  int said[3] = {0, 0, 0};

  for (int round = 0; round < Rounds() && !testing::Test::HasFailure(); ++round) {
    const ConditionPtr naive = chance.Condition(static_cast<int>(chance.Below(4)));
    const std::string text = chance.Disguised(naive->Text());
    const auto filter = SqlFilter::Compile(text);
    ASSERT_TRUE(filter.ok()) << text << ": " << filter.status();
    const std::string printed = sql::PrintSql(*sql::ParseSql(text));
    const auto again = SqlFilter::Compile(printed);
    ASSERT_TRUE(again.ok()) << text << " printed as " << printed << ": " << again.status();
    EXPECT_EQ(sql::PrintSql(*sql::ParseSql(printed)), printed);

    for (int i = 0; i < 20; ++i) {
      const Message message = chance.ARandomMessage();
      const Tri expected = naive->Get(message);
      EXPECT_EQ(AskReal(**filter, message), expected) << text << "\n  on " << Shown(message);
      EXPECT_EQ(AskReal(**again, message), expected) << printed << "\n  on " << Shown(message);
      const auto tag = message.find("TAGS");
      const uint32_t hash = tag == message.end() ? 0 : TagHash(tag->second);
      EXPECT_TRUE(expected != Tri(true) || (*filter)->MayMatch(hash)) << text << "\n  on " << Shown(message);
      ++said[expected.has_value() ? (*expected ? 1 : 0) : 2];
    }
  }

  // A generator that only ever says one thing would test nothing.
  const int all = said[0] + said[1] + said[2];
  for (const int count : said) EXPECT_GT(count, all / 20);
}

// Goal: whatever the bytes, an answer comes, and an accepted expression can be printed and read again.
TEST(SqlFilterRandomTest, AnyMixtureOfTokensIsAcceptedOrRefusedWithAColumn) {
  SCOPED_TRACE(absl::StrCat("FULMAR_SEED=", sim::TestSeed()));
  Chance chance(sim::TestSeed());
  const std::vector<std::string> tokens = {"a", "b", "TAGS", "1", "2.5", "9223372036854775808", "'x'", "''''", "'", "(", ")", ",", "=", "<>", "<", ">=", "AND", "or", "Not", "BETWEEN",
                                           "in", "is", "NULL", "TRUE", "+", "-", "--", "/*", "*/", "CONTAINS", "ü", "\x01", "!", "\n"};
  int accepted = 0;

  for (int round = 0; round < Rounds() * 10; ++round) {
    std::string text;
    for (uint64_t i = 0, count = chance.Below(9); i < count; ++i) absl::StrAppend(&text, chance.Of(tokens), chance.Is(4) ? "" : " ");
    const auto tree = sql::ParseSql(text);
    if (!tree.ok()) {
      EXPECT_TRUE(absl::StrContains(tree.status().message(), "column ")) << text << ": " << tree.status();
      continue;
    }
    ++accepted;
    const std::string printed = sql::PrintSql(*tree);
    const auto again = sql::ParseSql(printed);
    ASSERT_TRUE(again.ok()) << text << " printed as " << printed << ": " << again.status();
    EXPECT_EQ(sql::PrintSql(*again), printed);
  }

  EXPECT_GT(accepted, 10);
}

}  // namespace
}  // namespace fulmar::broker
