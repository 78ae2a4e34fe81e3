#include "tools/fulmarctl/output.h"

#include <gtest/gtest.h>

namespace fulmar::ctl {
namespace {

TEST(TableTest, ColumnsAreAsWideAsTheirWidestCellAndLinesEndWithoutSpaces) {
  EXPECT_EQ(Table({"A", "NAME"}, {{"100", "x"}, {"1", "longer"}}),
            "A    NAME\n"
            "100  x\n"
            "1    longer\n");
}

TEST(TableTest, CountsCharactersNotBytes) { EXPECT_EQ(Table({"A", "B"}, {{"äö", "x"}}), "A   B\näö  x\n"); }

TEST(TextTest, BytesAndAgesReadLikeAPersonWouldSayThem) {
  EXPECT_EQ(BytesText(1023), "1023 B");
  EXPECT_EQ(BytesText(1536), "1.5 KiB");
  EXPECT_EQ(AgeText(absl::Milliseconds(20)), "20ms");
  EXPECT_EQ(AgeText(absl::Seconds(192)), "3m 12s");
  EXPECT_EQ(AgeText(absl::Hours(50)), "2d 2h");
}

TEST(PlainTextTest, TellsTextFromBinary) {
  EXPECT_TRUE(IsPlainText("hello\n\tgrüße €"));
  EXPECT_TRUE(IsPlainText(""));
  EXPECT_FALSE(IsPlainText(std::string_view("a\0b", 3)));
  EXPECT_FALSE(IsPlainText("\xff\xfe"));
  EXPECT_FALSE(IsPlainText("\xe2\x82"));
  EXPECT_FALSE(IsPlainText("\x1b[31m"));
}

TEST(ExitCodeTest, ScriptsCanTellWhatWentWrong) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCodeOf(absl::InvalidArgumentError("")), 2);
  EXPECT_EQ(ExitCodeOf(absl::NotFoundError("")), 3);
  EXPECT_EQ(ExitCodeOf(absl::AlreadyExistsError("")), 4);
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("")), 5);
  EXPECT_EQ(ExitCodeOf(absl::PermissionDeniedError("")), 6);
  EXPECT_EQ(ExitCodeOf(absl::InternalError("")), 1);
}

}  // namespace
}  // namespace fulmar::ctl
