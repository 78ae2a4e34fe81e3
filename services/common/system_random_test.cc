#include "services/common/system_random.h"

#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace fulmar::common {
namespace {

TEST(SystemRandomTest, NumbersDoNotRepeat) {
  SystemRandom random;
  std::set<uint64_t> seen;

  for (int i = 0; i < 1000; ++i) seen.insert(random.Next());

  EXPECT_EQ(seen.size(), 1000u);
}

TEST(SystemRandomTest, FillWritesEveryByteAndNoMore) {
  SystemRandom random;
  std::set<char> first;
  std::set<char> last;
  for (int i = 0; i < 200; ++i) {
    std::string bytes(34, '\0');
    random.Fill(bytes.data() + 1, 32);
    EXPECT_EQ(bytes.front(), '\0');
    EXPECT_EQ(bytes.back(), '\0');
    first.insert(bytes[1]);
    last.insert(bytes[32]);
  }

  EXPECT_GT(first.size(), 20u);
  EXPECT_GT(last.size(), 20u);
}

TEST(SystemRandomTest, ThreadsMayShareIt) {
  SystemRandom random;
  std::vector<std::vector<uint64_t>> numbers(4);
  std::vector<std::thread> threads;
  for (auto& mine : numbers)
    threads.emplace_back([&random, &mine] {
      for (int i = 0; i < 1000; ++i) mine.push_back(random.Next());
    });
  for (std::thread& thread : threads) thread.join();

  std::set<uint64_t> all;
  for (const auto& mine : numbers) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), 4000u);
}

TEST(RandomBelowTest, ReachesEveryNumberBelowTheBoundAndNoOther) {
  SystemRandom random;
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(RandomBelow(random, 4));

  EXPECT_EQ(seen, (std::set<uint64_t>{0, 1, 2, 3}));
}

}  // namespace
}  // namespace fulmar::common
