#include "services/common/status.h"

#include <gtest/gtest.h>

#include "services/common/errors.h"

namespace fulmar {
namespace {

TEST(AnnotateTest, PutsContextBeforeTheMessageAndKeepsTheV2Code) {
  const absl::Status annotated = Annotate(errors::TopicNotFound("topic 'a' does not exist"), "send");

  EXPECT_EQ(annotated.message(), "send: topic 'a' does not exist");
  EXPECT_EQ(annotated.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(V2CodeOf(annotated), 40402);
}

TEST(AnnotateTest, LeavesOkAlone) { EXPECT_EQ(Annotate(absl::OkStatus(), "send"), absl::OkStatus()); }

TEST(StatusMacrosTest, PassErrorsOnAndUnpackValues) {
  const auto half = [](absl::StatusOr<int> in) -> absl::StatusOr<int> {
    FULMAR_ASSIGN_OR_RETURN(const int value, in);
    FULMAR_RETURN_IF_ERROR(value % 2 == 0 ? absl::OkStatus() : absl::InvalidArgumentError("odd"));
    return value / 2;
  };

  EXPECT_EQ(half(8).value(), 4);
  EXPECT_EQ(half(7).status(), absl::InvalidArgumentError("odd"));
  EXPECT_EQ(half(absl::AbortedError("gone")).status(), absl::AbortedError("gone"));
}

TEST(CheckDeathTest, SaysWhatFailedAndWhere) {
  FULMAR_CHECK(true, "never shown");
  EXPECT_DEATH(FULMAR_CHECK(1 == 2, "arithmetic"), "status_test.cc:.* check failed: 1 == 2: arithmetic");
}

}  // namespace
}  // namespace fulmar
