#include "services/common/crc32c.h"

#include <string>

#include <gtest/gtest.h>

namespace fulmar::common {
namespace {

// RFC 3720, B.4.
TEST(Crc32cTest, GivesTheValuesOfTheStandard) {
  std::string ascending;
  for (int i = 0; i < 32; ++i) ascending.push_back(static_cast<char>(i));

  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(Crc32c(ascending), 0x46dd794eu);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(Crc32cTest, InPiecesIsTheSameAsInOne) {
  const std::string text = "a fulmar is a seabird that lives in storms";
  for (size_t cut = 0; cut <= text.size(); ++cut)
    EXPECT_EQ(Crc32cExtend(Crc32c(text.substr(0, cut)), text.substr(cut)), Crc32c(text)) << cut;
}

TEST(Crc32cTest, SeesEveryFlippedBit) {
  std::string text = "a fulmar is a seabird";
  const uint32_t crc = Crc32c(text);
  for (size_t i = 0; i < text.size() * 8; ++i) {
    text[i / 8] ^= static_cast<char>(1 << i % 8);
    EXPECT_NE(Crc32c(text), crc);
    text[i / 8] ^= static_cast<char>(1 << i % 8);
  }
}

}  // namespace
}  // namespace fulmar::common
