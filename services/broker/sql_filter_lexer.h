#ifndef FULMAR_BROKER_SQL_FILTER_LEXER_H_
#define FULMAR_BROKER_SQL_FILTER_LEXER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fulmar::broker::sql {

enum class TokenKind : uint8_t {
  kEnd, kName, kString, kInteger, kFloat,
  kOpen, kClose, kComma, kPlus, kMinus,
  kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual,
  kAnd, kOr, kNot, kBetween, kIn, kIs, kNull, kTrue, kFalse,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  size_t at = 0;          // first byte in the expression
  std::string_view text;  // as written, quotes included
};

// ILLEGAL_FILTER_EXPRESSION with the column (in characters, from 1) of byte `at`.
absl::Status ErrorAt(std::string_view expression, size_t at, std::string_view what);
// As an error shows a token: its text, cut and without control characters.
std::string Shown(const Token& token);

// Splits an expression into tokens. Words are read in any case; "-- to the end of the line" and "/* */" are comments.
class Lexer {
 public:
  explicit Lexer(std::string_view expression) : expression_(expression) {}
  // kEnd again and again at the end. Errors: IllegalFilterExpression (unknown character, open string or comment, broken number).
  absl::StatusOr<Token> Next();

 private:
  absl::Status SkipSpace();
  char Peek(size_t ahead = 0) const { return at_ + ahead < expression_.size() ? expression_[at_ + ahead] : '\0'; }
  Token Take(TokenKind kind, size_t bytes);
  Token Word();
  absl::StatusOr<Token> String();
  absl::StatusOr<Token> Number();
  void Digits();

  std::string_view expression_;
  size_t at_ = 0;
};

}  // namespace fulmar::broker::sql

#endif  // FULMAR_BROKER_SQL_FILTER_LEXER_H_
