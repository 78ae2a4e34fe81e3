#ifndef FULMAR_BROKER_SQL_FILTER_VALUES_H_
#define FULMAR_BROKER_SQL_FILTER_VALUES_H_

#include <string_view>

#include "services/broker/sql_filter_tree.h"

namespace fulmar::broker::sql {

inline Truth ToTruth(bool holds) { return holds ? Truth::kTrue : Truth::kFalse; }
inline Truth Not(Truth truth) { return truth == Truth::kUnknown ? truth : ToTruth(truth == Truth::kFalse); }

// As a number: integers and floats are what they are; a string counts when all of it is one (-12, 3.5, 1e6). Else kNull.
Value ToNumber(const Value& value);
// Below 0, 0, above 0. Both are integers or finite floats; exact, also between the two.
int CompareNumbers(const Value& left, const Value& right);
// A string says TRUE when it is "true" in any case, else FALSE. Unknown: missing, or a number.
Truth ToTruth(const Value& value);

// left = right. A missing side makes it unknown; a string that has to be a number and is none, too.
Truth Equal(const Value& left, const Value& right);
// `holds(CompareNumbers())` when both sides are numbers, else unknown.
template <class Holds>
Truth Ordered(const Value& left, const Value& right, Holds holds) {
  const Value a = ToNumber(left), b = ToNumber(right);
  if (a.kind == ValueKind::kNull || b.kind == ValueKind::kNull) return Truth::kUnknown;
  return ToTruth(holds(CompareNumbers(a, b)));
}

}  // namespace fulmar::broker::sql

#endif  // FULMAR_BROKER_SQL_FILTER_VALUES_H_
