#include "services/common/bytes.h"

#include <memory>
#include <string>

#include <gtest/gtest.h>

namespace fulmar::common {
namespace {

TEST(SharedBytesTest, APartKeepsTheWholeAlive) {
  SharedBytes part;
  {
    const SharedBytes whole(std::string(1000, 'x') + "tail");
    part = whole.Sub(1000, 4);
  }

  EXPECT_EQ(part.view(), "tail");
  EXPECT_EQ(part.size(), 4u);
}

TEST(SharedBytesTest, LetsGoOfForeignMemoryWithTheLastCopy) {
  const auto owner = std::make_shared<const std::string>("abc");
  {
    const SharedBytes bytes(owner, std::string_view(*owner).substr(1));
    const SharedBytes copy = bytes;
    EXPECT_EQ(copy.view(), "bc");
    EXPECT_EQ(owner.use_count(), 3);
  }
  EXPECT_EQ(owner.use_count(), 1);
}

TEST(SharedBytesTest, IsEmptyAtFirst) {
  EXPECT_TRUE(SharedBytes().empty());
  EXPECT_EQ(SharedBytes().view(), "");
}

}  // namespace
}  // namespace fulmar::common
