#include "services/common/sim/seeded_random.h"

#include <string>

#include <gtest/gtest.h>

namespace fulmar::sim {
namespace {

// The first numbers are fixed by the standard, so an old seed replays on a new machine.
TEST(SeededRandomTest, GivesTheStandardsNumbers) {
  SeededRandom random(5489);  // the default seed of std::mt19937_64, whose 10,000th number the standard names
  for (int i = 1; i < 10'000; ++i) random.Next();

  EXPECT_EQ(random.Next(), 9981545732273789042u);
}

TEST(SeededRandomTest, FillIsRepeatableAndStaysInside) {
  std::string a(13, '\0');
  std::string b(13, '\0');

  SeededRandom(1).Fill(a.data() + 1, 11);
  SeededRandom(1).Fill(b.data() + 1, 11);

  EXPECT_EQ(a, b);
  EXPECT_EQ(a.front(), '\0');
  EXPECT_EQ(a.back(), '\0');
  EXPECT_NE(a.substr(1, 11), std::string(11, '\0'));
  SeededRandom(2).Fill(b.data() + 1, 11);
  EXPECT_NE(a, b);
}

}  // namespace
}  // namespace fulmar::sim
