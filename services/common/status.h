#ifndef FULMAR_COMMON_STATUS_H_
#define FULMAR_COMMON_STATUS_H_

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fulmar {

// Puts `context` before the message of an error, keeps code and payloads; OK stays OK.
absl::Status Annotate(const absl::Status& status, std::string_view context);

namespace internal {
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition, std::string_view detail);
}  // namespace internal

}  // namespace fulmar

// Our own bugs only; on in release too. FULMAR_CHECK(cond) or FULMAR_CHECK(cond, absl::StrCat(...)).
#define FULMAR_CHECK(condition, ...)                                                                     \
  do {                                                                                                   \
    if (!(condition)) [[unlikely]]                                                                       \
      ::fulmar::internal::CheckFailed(__FILE__, __LINE__, #condition, ::std::string_view{__VA_ARGS__}); \
  } while (false)

#define FULMAR_RETURN_IF_ERROR(expression)                              \
  do {                                                                  \
    if (::absl::Status fulmar_status = (expression); !fulmar_status.ok()) \
      return fulmar_status;                                             \
  } while (false)

#define FULMAR_STATUS_CONCAT_(a, b) a##b
#define FULMAR_STATUS_CONCAT(a, b) FULMAR_STATUS_CONCAT_(a, b)
#define FULMAR_ASSIGN_OR_RETURN(lhs, expression) \
  FULMAR_ASSIGN_OR_RETURN_(FULMAR_STATUS_CONCAT(fulmar_status_or_, __LINE__), lhs, expression)
#define FULMAR_ASSIGN_OR_RETURN_(tmp, lhs, expression) \
  auto tmp = (expression);                             \
  if (!tmp.ok()) return std::move(tmp).status();       \
  lhs = *std::move(tmp)

#endif  // FULMAR_COMMON_STATUS_H_
