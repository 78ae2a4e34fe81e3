// What SQL expressions say of messages: a table of expressions over messages with typed and missing properties. Every row is checked twice,
// as it stands and as printed from its parsed form, and its negation must give the negated truth.
#include "services/broker/sql_filter.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "services/broker/filter.h"
#include "services/broker/message_record.h"
#include "services/broker/sql_filter_testing.h"
#include "services/common/errors.h"

namespace fulmar::broker {
namespace {

using sql::Truth;

constexpr Truth T = Truth::kTrue, F = Truth::kFalse, U = Truth::kUnknown;

// The message of the table. `no` and whatever else is not here is missing.
std::string Properties() {
  return WireProperties({{"int", "42"},
                         {"neg", "-7"},
                         {"plus", "+7"},
                         {"zero", "0"},
                         {"one", "1"},
                         {"float", "3.5"},
                         {"exp", "1.5e3"},
                         {"whole", "42.0"},
                         {"dot", "5."},
                         {"max", "9223372036854775807"},
                         {"min", "-9223372036854775808"},
                         {"over", "9223372036854775808"},
                         {"huge", "1e400"},
                         {"two53", "9007199254740993"},
                         {"text", "hello"},
                         {"quote", "it's"},
                         {"empty", ""},
                         {"space", " 42"},
                         {"nan", "NaN"},
                         {"inf", "Infinity"},
                         {"hex", "0x10"},
                         {"sign", "-"},
                         {"twosigns", "+-5"},
                         {"yes", "true"},
                         {"Yes", "TRUE"},
                         {"nope", "false"},
                         {"region", "eu-west"},
                         {"city", "Zürich"},
                         {"contains", "word"},
                         {"$a_1", "dollar"}});
}
constexpr std::string_view kTag = "TagA";

struct Row {
  std::string_view expression;
  Truth expected;
};

constexpr Row kRows[] = {
    // Constants.
    {"TRUE", T}, {"FALSE", F}, {"NULL", U}, {"true", T}, {"False", F}, {"NULL IS NULL", T}, {"TRUE IS NULL", F}, {"TRUE IS NOT NULL", T},
    {"TRUE = TRUE", T}, {"TRUE = FALSE", F}, {"TRUE <> FALSE", T}, {"1 = 1", T}, {"1 = 1.0", T}, {"1 < 2", T}, {"'a' = 'a'", T}, {"'a' = 'A'", F}, {"'5' = 5", T},
    {"5 = '5.0'", T}, {"'a' = 5", U}, {"3 BETWEEN 1 AND 5", T},
    // Integers: the property is text that says a number.
    {"int = 42", T}, {"int = 41", F}, {"int <> 42", F}, {"int <> 41", T}, {"int < 43", T}, {"int < 42", F}, {"int <= 42", T}, {"int > 41", T}, {"int > 42", F},
    {"int >= 42", T}, {"int >= 43", F}, {"42 = int", T}, {"41 < int", T}, {"42 > int", F}, {"int = 42L", T}, {"int = 42l", T}, {"int = +42", T},
    {"neg = -7", T}, {"neg < 0", T}, {"neg > -8", T}, {"-neg = 7", T}, {"- int = -42", T}, {"+int = 42", T}, {"plus = 7", T}, {"zero = -0", T}, {"zero = 0.0", T},
    {"-(5) = -5", T}, {"- -5 = 5", T}, {"int = - - 42", T},
    // Floats, and integers against floats.
    {"float = 3.5", T}, {"float > 3", T}, {"float < 4", T}, {"float = 35e-1", T}, {"float >= 3.5000001", F}, {"float = .35E+1", T}, {"exp = 1500", T}, {"exp > 1499.9", T},
    {"whole = 42", T}, {"int = 42.0", T}, {"int < 42.5", T}, {"dot = 5", T}, {"dot = 5.", T}, {"int = 4.2E1", T}, {"float <> 3.5", F},
    // The ends of the integers; larger ones are floats, and nothing is rounded on the way.
    {"max = 9223372036854775807", T}, {"max > 9223372036854775806", T}, {"min = -9223372036854775808", T}, {"min < -9223372036854775807", T}, {"over > 9223372036854775807", T},
    {"over = 9223372036854775808.0", T}, {"max = 9223372036854775808.0", F}, {"max < 9223372036854775808.0", T}, {"two53 = 9007199254740992.0", F}, {"two53 > 9007199254740992.0", T},
    {"-min > max", T}, {"max < 1e300", T}, {"min > -1e300", T}, {"huge > 1", U},
    // Text that is no number.
    {"text > 5", U}, {"text = 5", U}, {"text <> 5", U}, {"empty = 0", U}, {"space = 42", U}, {"nan = nan", T}, {"nan = 0", U}, {"nan > 0", U}, {"inf > 0", U}, {"hex = 16", U},
    {"sign < 0", U}, {"twosigns = -5", U}, {"-text = 5", U}, {"-text IS NULL", T}, {"-int IS NULL", F}, {"yes > 0", U},
    // Strings.
    {"text = 'hello'", T}, {"text = 'Hello'", F}, {"text <> 'hello'", F}, {"text <> 'x'", T}, {"'hello' = text", T}, {"quote = 'it''s'", T}, {"quote = 'its'", F}, {"empty = ''", T},
    {"empty <> ''", F}, {"city = 'Zürich'", T}, {"int = '42'", T}, {"whole = '42'", F}, {"int = '42.0'", F}, {"text = 'a''''b'", F}, {"text = '-- no comment'", F},
    // Two properties: equal as text, ordered as numbers.
    {"int = whole", F}, {"int >= whole", T}, {"int <= whole", T}, {"int > float", T}, {"float < int", T}, {"int = int", T}, {"text < int", U}, {"text = region", F},
    {"text <> region", T}, {"text < region", U},
    // Booleans.
    {"yes = TRUE", T}, {"Yes = TRUE", T}, {"yes = FALSE", F}, {"nope = FALSE", T}, {"nope = TRUE", F}, {"yes <> TRUE", F}, {"text = TRUE", F}, {"text = FALSE", T}, {"TRUE = yes", T},
    {"yes", T}, {"Yes", T}, {"nope", F}, {"text", F}, {"int", F}, {"no", U}, {"yes AND NOT nope", T}, {"(int = 42) = TRUE", T}, {"(int = 42) = yes", T}, {"(int = 1) = (int = 2)", T},
    {"(no = 1) = (int = 2)", U}, {"no = TRUE", U}, {"no = FALSE", U}, {"one = TRUE", F},
    // What is missing.
    {"no = 1", U}, {"no <> 1", U}, {"1 = no", U}, {"1 <> no", U}, {"no > 1", U}, {"1 < no", U}, {"no = 'x'", U}, {"no <> 'x'", U}, {"no = no", U}, {"no <> no", U}, {"no = int", U},
    {"no IS NULL", T}, {"no IS NOT NULL", F}, {"int IS NULL", F}, {"int IS NOT NULL", T}, {"empty IS NULL", F}, {"INT IS NULL", T}, {"-no IS NULL", T},
    {"(no = 1) IS NULL", T}, {"(int = 1) IS NULL", F}, {"(int = 1) IS NOT NULL", T}, {"no IS NULL IS NULL", F}, {"int = 42 IS NOT NULL", T},
    // BETWEEN.
    {"int BETWEEN 42 AND 42", T}, {"int BETWEEN 1 AND 41", F}, {"int BETWEEN 43 AND 50", F}, {"int between 41.5 and 42.5", T}, {"int NOT BETWEEN 1 AND 41", T}, {"int NOT BETWEEN 1 AND 42", F},
    {"no BETWEEN 1 AND 2", U}, {"no NOT BETWEEN 1 AND 2", U}, {"text BETWEEN 1 AND 2", U}, {"text NOT BETWEEN 1 AND 2", U}, {"int BETWEEN no AND 41", F}, {"int BETWEEN no AND 43", U},
    {"int BETWEEN 43 AND no", F}, {"int BETWEEN 1 AND no", U}, {"int NOT BETWEEN 43 AND no", T}, {"neg BETWEEN -10 AND -5", T}, {"int BETWEEN float AND max", T},
    {"int NOT BETWEEN 50 AND 1", T}, {"int BETWEEN 1 AND 50 AND float > 3", T}, {"int BETWEEN zero AND -neg", F},
    // IN: texts, exactly.
    {"text IN ('hello')", T}, {"text IN ('a', 'hello', 'b')", T}, {"text IN ('a', 'b')", F}, {"text in ('HELLO')", F}, {"text NOT IN ('a', 'b')", T}, {"text NOT IN ('hello')", F},
    {"no IN ('a')", U}, {"no NOT IN ('a')", U}, {"int IN ('42')", T}, {"int IN ('42.0')", F}, {"empty IN ('')", T}, {"quote IN ('it''s')", T}, {"(text) IN ('hello')", T},
    {"text IN ('hello', 'hello')", T},
    // RocketMQ's own operators: a missing property and an empty text are FALSE, negated or not.
    {"region CONTAINS '-'", T}, {"region CONTAINS 'us'", F}, {"region NOT CONTAINS 'us'", T}, {"region NOT CONTAINS 'eu'", F}, {"region STARTSWITH 'eu'", T}, {"region STARTSWITH 'west'", F},
    {"region NOT STARTSWITH 'us'", T}, {"region ENDSWITH 'west'", T}, {"region ENDSWITH 'eu'", F}, {"region NOT ENDSWITH 'st'", F}, {"no CONTAINS 'a'", F}, {"no NOT CONTAINS 'a'", F},
    {"no STARTSWITH 'a'", F}, {"no NOT ENDSWITH 'a'", F}, {"text CONTAINS ''", F}, {"text NOT CONTAINS ''", F}, {"region StartsWith 'eu-west-longer'", F}, {"'abc' CONTAINS 'b'", T},
    {"contains = 'word'", T}, {"contains CONTAINS 'or'", T}, {"startswith IS NULL", T},
    // Three values.
    {"TRUE AND TRUE", T}, {"TRUE AND FALSE", F}, {"TRUE AND NULL", U}, {"FALSE AND NULL", F}, {"NULL AND FALSE", F}, {"NULL AND NULL", U}, {"TRUE OR NULL", T}, {"NULL OR TRUE", T},
    {"FALSE OR NULL", U}, {"NULL OR NULL", U}, {"FALSE OR FALSE", F}, {"NOT TRUE", F}, {"NOT FALSE", T}, {"NOT NULL", U}, {"NOT NOT TRUE", T}, {"no = 1 OR int = 42", T}, {"no = 1 AND int = 42", U},
    {"no = 1 AND int = 41", F}, {"NOT (no = 1)", U}, {"NOT no IS NULL", F}, {"text > 5 OR int = 42", T}, {"NOT (text > 5)", U}, {"TRUE AND TRUE AND FALSE AND NULL", F},
    {"FALSE OR NULL OR TRUE", T},
    // Precedence: comparison before NOT before AND before OR.
    {"FALSE AND FALSE OR TRUE", T}, {"TRUE OR FALSE AND FALSE", T}, {"(TRUE OR FALSE) AND FALSE", F}, {"NOT int = 41", T}, {"NOT int = 42 OR TRUE", T}, {"NOT FALSE AND FALSE", F},
    {"NOT (FALSE AND FALSE)", T}, {"int = 42 AND (text = 'x' OR text = 'hello')", T}, {"TRUE = int > 41", T}, {"yes = text IN ('hello')", T},
    // TAGS.
    {"TAGS = 'TagA'", T}, {"TAGS = 'TagB'", F}, {"TAGS <> 'TagB'", T}, {"TAGS IN ('TagA', 'TagB')", T}, {"TAGS IS NOT NULL", T}, {"TAGS IS NULL", F}, {"TAGS CONTAINS 'ag'", T},
    {"tags = 'TagA'", U}, {"TAGS IS NOT NULL AND TAGS IN ('TagB') OR int BETWEEN 0 AND 100", T}, {"TAGS > 5", U},
    // Names, spaces, comments.
    {"$a_1 = 'dollar'", T}, {"int=42", T}, {" \t\n int\r=\f42 ", T}, {"int = /* a * comment */ 42", T}, {"int = 42 -- the rest is ignored", T}, {"-- first\nint = 42", T}, {"int/**/=/***/42", T},
    {"((((int = 42))))", T}, {"((int)) = ((42))", T}, {"int>=42 AND(float<4)", T},
};

struct ErrorRow {
  std::string_view expression;
  int column;
  std::string_view expected;
};

constexpr ErrorRow kErrors[] = {
    {"", 1, "a value, a property or \"(\", found the end"},
    {"   ", 4, "a value"},
    {"*", 1, "an operator, a value or a property, found \"*\""},
    {"a >", 4, "a value, a property or \"(\", found the end"},
    {"a > AND b = 1", 5, "found \"AND\""},
    {"a and between 2 and 10", 7, "found \"between\""},
    {"a = 1 b = 2", 7, "an operator or the end, found \"b\""},
    {"a = 1)", 6, "an operator or the end, found \")\""},
    {"(a = 1", 7, "an operator or \")\", found the end"},
    {"(a = 1 b", 8, "an operator or \")\", found \"b\""},
    {"()", 2, "found \")\""},
    {"a = 'open", 5, "a closing '"},
    {"a = 'open''", 5, "a closing '"},
    {"a = \"double\"", 5, "single quotes"},
    {"a != 1", 3, "\"<>\", found \"!=\""},
    {"a ! 1", 3, "found \"!\""},
    {"a == 1", 4, "a value"},
    {"a => 1", 4, "a value"},
    {"a < > 1", 5, "a value"},
    {"a && b", 3, "found \"&\""},
    {"a = 1; b = 2", 6, "found \";\""},
    {"ä = 1", 1, "found \"ä\""},
    {"'ü' = a 5", 9, "found \"5\""},  // columns count characters, not bytes
    {"a = 5x", 6, "behind the number"},
    {"a = 5.5.5", 8, "behind the number"},
    {"a = 007", 5, "without leading zeros"},
    {"a = 5e", 6, "behind the number"},
    {"int>=42AND(float<4)", 8, "behind the number"},
    {"a = 9223372036854775808", 5, "an integer from -9223372036854775808"},
    {"a = 100000000000000000000000", 5, "an integer"},
    {"a = -9223372036854775809", 6, "an integer"},
    {"a > 1e309", 5, "a double"},
    {"a > 1e-400", 5, "a double"},
    {"a BETWEEN 1", 12, "AND and the high bound, found the end"},
    {"a BETWEEN 1 OR 2", 13, "AND and the high bound, found \"OR\""},
    {"a BETWEEN 10 AND 0", 11, "not above the high bound"},
    {"a BETWEEN 'a' AND 'b'", 11, "a number or a property, found a string"},
    {"a BETWEEN NULL AND 5", 11, "found NULL"},
    {"'a' BETWEEN 1 AND 5", 1, "found a string"},
    {"a > 'text'", 5, "a number or a property, found a string"},
    {"'text' < a", 1, "found a string"},
    {"a > TRUE", 5, "found a condition"},
    {"a > NULL", 5, "found NULL"},
    {"a > 5 > 3", 1, "found a condition"},
    {"a < (b = 1)", 6, "found a condition"},
    {"a = NULL", 5, "IS NULL"},
    {"NULL <> a", 1, "IS NULL"},
    {"TRUE = 5", 8, "TRUE, FALSE, a property or a condition, found a number"},
    {"5 = TRUE", 1, "found a number"},
    {"-int = TRUE", 1, "found a number"},
    {"'x' = FALSE", 1, "found a string"},
    {"a = b = 5", 9, "found a number"},
    {"5", 1, "a condition, found a number"},
    {"'text'", 1, "a condition, found a string"},
    {"-a", 1, "a condition, found a number"},
    {"a = 1 AND 5", 11, "a condition, found a number"},
    {"NOT 5", 5, "a condition, found a number"},
    {"NOT", 4, "found the end"},
    {"a NOT 5", 7, "BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH"},
    {"a NOT = 5", 7, "BETWEEN, IN"},
    {"a NOT NULL", 7, "BETWEEN, IN"},
    {"a = NOT b", 5, "found \"NOT\""},
    {"a IS", 5, "NULL or NOT NULL"},
    {"a IS NOT 5", 10, "NULL, found \"5\""},
    {"a IS 5", 6, "NULL or NOT NULL, found \"5\""},
    {"a IN", 5, "\"(\" and a list of strings"},
    {"a IN ()", 7, "a string in single quotes"},
    {"a IN (1, 2)", 7, "a string in single quotes, found \"1\""},
    {"a IN ('x' 'y')", 11, "\",\" or \")\""},
    {"a IN ('x',)", 11, "a string in single quotes"},
    {"a IN ('x'", 10, "\",\" or \")\""},
    {"5 IN ('5')", 1, "a property before IN, found a number"},
    {"a CONTAINS b", 12, "a string in single quotes"},
    {"a CONTAINS 5", 12, "a string in single quotes"},
    {"5 CONTAINS '5'", 1, "a property before CONTAINS"},
    {"(a = 1) STARTSWITH 'x'", 2, "a property before STARTSWITH"},
    {"-'x' = 1", 2, "a number or a property behind \"-\""},
    {"+TRUE = 1", 2, "a number or a property behind \"+\""},
    {"a = - NULL", 7, "a number or a property behind \"-\""},
    {"a = 1 /* open", 7, "\"*/\""},
    {"a LIKE 'x%'", 3, "an operator or the end, found \"LIKE\""},
    {"a = 1 OR", 9, "found the end"},
    {"AND", 1, "found \"AND\""},
    {"a = 1\nAND\nb >", 14, "found the end"},
    {"a = ,", 5, "found \",\""},
    {"a = \x01", 5, "found \"\\x01\""},
};

Truth Ask(std::string_view expression) {
  const auto filter = SqlFilter::Compile(expression);
  if (!filter.ok()) {
    ADD_FAILURE() << expression << ": " << filter.status();
    return U;
  }
  return (*filter)->Evaluate(kTag, Properties());
}

std::string Printed(std::string_view expression) {
  const auto tree = sql::ParseSql(expression);
  return tree.ok() ? sql::PrintSql(*tree) : tree.status().ToString();
}

TEST(SqlFilterTest, TheTableHoldsEnoughRows) { EXPECT_GE(std::size(kRows) + std::size(kErrors), 150u); }

TEST(SqlFilterTest, EveryExpressionSaysWhatTheTableSays) {
  for (const Row& row : kRows) {
    EXPECT_EQ(Ask(row.expression), row.expected) << row.expression;
    EXPECT_EQ(Ask(Printed(row.expression)), row.expected) << row.expression << " printed as " << Printed(row.expression);
    const Truth negated = row.expected == U ? U : row.expected == T ? F : T;
    EXPECT_EQ(Ask(absl::StrCat("NOT (", row.expression, "\n)")), negated) << "NOT of " << row.expression;
  }
}

TEST(SqlFilterTest, EveryErrorSaysItsColumnAndWhatWasExpected) {
  for (const ErrorRow& row : kErrors) {
    const absl::Status status = SqlFilter::Compile(row.expression).status();
    EXPECT_EQ(V2CodeOf(status), 40010) << row.expression << ": " << status;
    EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat("column ", row.column, ": expected "))) << row.expression << ": " << status;
    EXPECT_TRUE(absl::StrContains(status.message(), row.expected)) << row.expression << ": " << status;
  }
}

// ---- bounds

std::string Repeated(std::string_view text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}
bool Refused(std::string_view expression, std::string_view why) {
  const absl::Status status = SqlFilter::Compile(expression).status();
  return V2CodeOf(status) == 40010 && absl::StrContains(status.message(), why);
}

TEST(SqlFilterTest, DepthIsBounded) {
  EXPECT_TRUE(SqlFilter::Compile(absl::StrCat(Repeated("(", 150), "a = 1", Repeated(")", 150))).ok());
  EXPECT_TRUE(Refused(absl::StrCat(Repeated("(", 200), "a = 1", Repeated(")", 200)), "levels of parentheses"));
  EXPECT_TRUE(Refused(Repeated("(", 16'000), "levels of parentheses"));
  EXPECT_TRUE(Refused(absl::StrCat(Repeated("NOT ", 4'000), "a"), "levels of parentheses"));
  EXPECT_TRUE(Refused(absl::StrCat("a = ", Repeated("- ", 4'000), "1"), "levels of parentheses"));
  EXPECT_TRUE(SqlFilter::Compile(absl::StrCat(Repeated("NOT ", 61), "a = 1")).ok());
  EXPECT_TRUE(Refused(absl::StrCat(Repeated("NOT ", 70), "a = 1"), "operators within each other"));
  EXPECT_TRUE(Refused(absl::StrCat("a", Repeated(" = b", 100)), "operators within each other"));
  EXPECT_TRUE(Refused(absl::StrCat("a", Repeated(" IS NULL", 100)), "operators within each other"));
}

TEST(SqlFilterTest, LengthIsBoundedAndALongLineOfTermsIsNotDeep) {
  std::string expression = "a = 0";
  while (expression.size() < 16'000) absl::StrAppend(&expression, " OR a = 1");
  EXPECT_TRUE(SqlFilter::Compile(expression).ok());
  EXPECT_TRUE(Refused(absl::StrCat("a = '", std::string(17'000, 'x'), "'"), "at most 16384 bytes"));
}

TEST(SqlFilterTest, TheNumberOfPropertiesIsBounded) {
  std::string expression = "p0 = 1";
  for (int i = 1; i < 64; ++i) absl::StrAppend(&expression, " AND p", i, " = 1");
  EXPECT_TRUE(SqlFilter::Compile(absl::StrCat(expression, " AND p5 = 1")).ok());
  EXPECT_TRUE(Refused(absl::StrCat(expression, " AND another = 1"), "64 different properties"));
}

TEST(SqlFilterTest, TheLastOfSixtyFourPropertiesIsRead) {
  std::string expression = "p0 IS NULL";
  for (int i = 1; i < 63; ++i) absl::StrAppend(&expression, " AND p", i, " IS NULL");
  const auto filter = SqlFilter::Compile(absl::StrCat(expression, " AND p63 = 'here'"));
  EXPECT_EQ((*filter)->Evaluate("", WireProperties({{"p63", "here"}})), T);
  EXPECT_EQ((*filter)->Evaluate("", WireProperties({{"p62", "x"}, {"p63", "here"}})), F);
}

// ---- messages

TEST(SqlFilterTest, AMessageWithoutTagHasNoTags) {
  const auto filter = SqlFilter::Compile("TAGS IS NULL").value();
  EXPECT_EQ(filter->Evaluate("", ""), T);
  EXPECT_EQ(filter->Evaluate("", WireProperties({{"TAGS", "a user's own"}})), T);
  EXPECT_EQ(SqlFilter::Compile("TAGS = ''").value()->Evaluate("", ""), U);
}

TEST(SqlFilterTest, OfAKeyThatComesTwiceTheLastCounts) {
  EXPECT_EQ(SqlFilter::Compile("a = 2").value()->Evaluate("", WireProperties({{"a", "1"}, {"a", "2"}})), T);
}

TEST(SqlFilterTest, DamagedPropertiesCountAsMissing) {
  const auto filter = SqlFilter::Compile("a = 1").value();
  const std::string good = WireProperties({{"a", "1"}});
  for (size_t cut = 0; cut < good.size(); ++cut) EXPECT_EQ(filter->Evaluate("", good.substr(0, cut)), U) << cut;
  EXPECT_EQ(filter->Evaluate("", good), T);
}

TEST(SqlFilterTest, AFilterDeliversOnlyWhatIsTrue) {
  const std::string user = Properties();
  const MessageView message{.tag = kTag, .user = user};
  for (const Row& row : kRows) {
    EXPECT_EQ(Filter::Parse(FilterKind::kSql, row.expression)->Matches(message), row.expected == T) << row.expression;
    EXPECT_FALSE(Filter::Parse(FilterKind::kSql, row.expression)->takes_all());
  }
}

// ---- the tag alone

TEST(SqlFilterTest, WhatTheTagRulesOutNeedsNoBody) {
  const auto may = [](std::string_view expression, std::string_view tag) { return SqlFilter::Compile(expression).value()->MayMatch(TagHash(tag)); };
  EXPECT_TRUE(may("TAGS = 'a'", "a"));
  EXPECT_FALSE(may("TAGS = 'a'", "b"));
  EXPECT_FALSE(may("TAGS = 'a'", ""));
  EXPECT_FALSE(may("'a' = TAGS", "b"));
  EXPECT_TRUE(may("TAGS IN ('a', 'b')", "b"));
  EXPECT_FALSE(may("TAGS IN ('a', 'b')", "c"));
  EXPECT_FALSE(may("x > 5 AND TAGS = 'a' AND y = 1", "b"));
  EXPECT_TRUE(may("TAGS = 'a' OR TAGS = 'b'", "b"));
  EXPECT_FALSE(may("TAGS = 'a' OR TAGS = 'b' AND x = 1", "c"));
  for (const char* any : {"x > 5", "TAGS = 'a' OR x > 5", "TAGS <> 'a'", "TAGS NOT IN ('a')", "NOT (TAGS = 'a')", "TAGS = 5", "TAGS = x", "TAGS IS NULL", "(TAGS = 'a') IS NULL",
                          "(TAGS = 'a') = FALSE"})
    for (const char* tag : {"a", "b", ""}) EXPECT_TRUE(may(any, tag)) << any << " with tag '" << tag << "'";
}

}  // namespace
}  // namespace fulmar::broker
