#include "services/broker/sql_filter_lexer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "services/common/errors.h"
#include "services/common/status.h"

namespace fulmar::broker::sql {
namespace {

constexpr size_t kShownBytes = 32;  // of a token in an error

struct Keyword {
  std::string_view word;
  TokenKind kind;
};
constexpr Keyword kKeywords[] = {
    {"AND", TokenKind::kAnd}, {"OR", TokenKind::kOr},     {"NOT", TokenKind::kNot},   {"BETWEEN", TokenKind::kBetween}, {"IN", TokenKind::kIn},
    {"IS", TokenKind::kIs},   {"NULL", TokenKind::kNull}, {"TRUE", TokenKind::kTrue}, {"FALSE", TokenKind::kFalse},
};

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool StartsName(char c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '$'; }
bool InName(char c) { return StartsName(c) || IsDigit(c); }
bool StartsCharacter(char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }  // of UTF-8

}  // namespace

absl::Status ErrorAt(std::string_view expression, size_t at, std::string_view what) {
  const auto column = std::count_if(expression.begin(), expression.begin() + static_cast<ptrdiff_t>(at), StartsCharacter) + 1;
  return errors::IllegalFilterExpression(absl::StrCat("SQL expression, column ", column, ": ", what));
}

std::string Shown(const Token& token) {
  if (token.kind == TokenKind::kEnd) return "the end";
  size_t bytes = std::min(token.text.size(), kShownBytes);
  while (bytes > 0 && bytes < token.text.size() && !StartsCharacter(token.text[bytes])) --bytes;
  const std::string text = absl::Utf8SafeCHexEscape(std::string(token.text.substr(0, bytes)));
  const std::string_view cut = bytes < token.text.size() ? "..." : "";
  return token.kind == TokenKind::kString ? absl::StrCat(text, cut) : absl::StrCat("\"", text, cut, "\"");
}

absl::Status Lexer::SkipSpace() {
  for (;;) {
    while (at_ < expression_.size() && IsSpace(expression_[at_])) ++at_;
    const std::string_view rest = expression_.substr(at_);
    if (absl::StartsWith(rest, "--")) {
      at_ += std::min(rest.find_first_of("\r\n"), rest.size());
    } else if (absl::StartsWith(rest, "/*")) {
      const size_t end = rest.find("*/", 2);
      if (end == rest.npos) return ErrorAt(expression_, at_, "expected \"*/\" behind this comment, found the end");
      at_ += end + 2;
    } else {
      return absl::OkStatus();
    }
  }
}

Token Lexer::Take(TokenKind kind, size_t bytes) {
  const Token token{.kind = kind, .at = at_, .text = expression_.substr(at_, bytes)};
  at_ += bytes;
  return token;
}

absl::StatusOr<Token> Lexer::Next() {
  FULMAR_RETURN_IF_ERROR(SkipSpace());
  if (at_ == expression_.size()) return Take(TokenKind::kEnd, 0);
  const char c = Peek();
  if (StartsName(c)) return Word();
  if (IsDigit(c) || (c == '.' && IsDigit(Peek(1)))) return Number();
  switch (c) {
    case '\'': return String();
    case '(': return Take(TokenKind::kOpen, 1);
    case ')': return Take(TokenKind::kClose, 1);
    case ',': return Take(TokenKind::kComma, 1);
    case '+': return Take(TokenKind::kPlus, 1);
    case '-': return Take(TokenKind::kMinus, 1);
    case '=': return Take(TokenKind::kEqual, 1);
    case '<':
      if (Peek(1) == '>') return Take(TokenKind::kNotEqual, 2);
      return Peek(1) == '=' ? Take(TokenKind::kLessEqual, 2) : Take(TokenKind::kLess, 1);
    case '>': return Peek(1) == '=' ? Take(TokenKind::kGreaterEqual, 2) : Take(TokenKind::kGreater, 1);
    case '!':
      if (Peek(1) == '=') return ErrorAt(expression_, at_, "expected \"<>\", found \"!=\"");
      break;
    case '"': return ErrorAt(expression_, at_, "expected a string in single quotes, found \"");
    default: break;
  }
  size_t bytes = 1;
  while (at_ + bytes < expression_.size() && !StartsCharacter(expression_[at_ + bytes])) ++bytes;
  return ErrorAt(expression_, at_, absl::StrCat("expected an operator, a value or a property, found ",
                                                Shown({.kind = TokenKind::kName, .at = at_, .text = expression_.substr(at_, bytes)})));
}

Token Lexer::Word() {
  size_t bytes = 1;
  while (at_ + bytes < expression_.size() && InName(expression_[at_ + bytes])) ++bytes;
  const std::string_view word = expression_.substr(at_, bytes);
  for (const Keyword& keyword : kKeywords) {
    if (absl::EqualsIgnoreCase(word, keyword.word)) return Take(keyword.kind, bytes);
  }
  return Take(TokenKind::kName, bytes);
}

absl::StatusOr<Token> Lexer::String() {
  for (size_t bytes = 1; at_ + bytes < expression_.size(); ++bytes) {
    if (Peek(bytes) != '\'') continue;
    if (Peek(bytes + 1) != '\'') return Take(TokenKind::kString, bytes + 1);
    ++bytes;  // '' is one quote inside
  }
  return ErrorAt(expression_, at_, "expected a closing ' for this string, found the end");
}

void Lexer::Digits() {
  while (IsDigit(Peek())) ++at_;
}

// Integers: 0, or digits without a leading zero, with or without the suffix L. Floats: 5.5 5. .5 5E3 5.5e-3
absl::StatusOr<Token> Lexer::Number() {
  const size_t begin = at_;
  TokenKind kind = TokenKind::kInteger;
  Digits();
  const size_t whole = at_ - begin;
  if (Peek() == '.') {
    kind = TokenKind::kFloat;
    ++at_;
    Digits();
  }
  if (const size_t sign = Peek(1) == '+' || Peek(1) == '-' ? 1 : 0; (Peek() == 'e' || Peek() == 'E') && IsDigit(Peek(1 + sign))) {
    kind = TokenKind::kFloat;
    at_ += 1 + sign;
    Digits();
  }
  if (kind == TokenKind::kInteger) {
    if (whole > 1 && expression_[begin] == '0') return ErrorAt(expression_, begin, "expected a number without leading zeros");
    if (Peek() == 'l' || Peek() == 'L') ++at_;
  }
  if (InName(Peek()) || Peek() == '.') return ErrorAt(expression_, at_, "expected a space or an operator behind the number");
  return Token{.kind = kind, .at = begin, .text = expression_.substr(begin, at_ - begin)};
}

}  // namespace fulmar::broker::sql
