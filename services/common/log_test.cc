#include "services/common/log.h"

#include <unistd.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/strings/str_split.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fulmar::common {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

std::vector<nlohmann::json> Lines(const LogCapture& capture) {
  std::vector<nlohmann::json> lines;
  for (const absl::string_view line : absl::StrSplit(capture.Text(), '\n', absl::SkipEmpty()))
    lines.push_back(nlohmann::json::parse(std::string(line)));
  return lines;
}

// Puts the level back.
class LogTest : public ::testing::Test {
 protected:
  ~LogTest() override { SetLogLevel(LogLevel::kInfo); }
};

TEST_F(LogTest, ALineIsOneJsonObjectWithItsFieldsInOrder) {
  const absl::Time now = absl::FromUnixMillis(1'767'225'600'123);

  EXPECT_EQ(FormatLogLine(true, now, LogLevel::kInfo, "segment_rolled", 0,
                          {{"shard", 3}, {"bytes", uint64_t{1} << 63}, {"ratio", 0.5}, {"full", true}, {"name", "a\"b"}}),
            R"({"time":"2026-01-01T00:00:00.123Z","level":"info","event":"segment_rolled","shard":3,)"
            R"("bytes":9223372036854775808,"ratio":0.5,"full":true,"name":"a\"b"})");
}

TEST_F(LogTest, TextIsForPeople) {
  const absl::Time now = absl::FromUnixMillis(1'767'225'600'123);

  EXPECT_EQ(FormatLogLine(false, now, LogLevel::kWarn, "send_refused", 7,
                          {{"shard", -3}, {"reason", "disk is full"}, {"empty", ""}, {"ok", false}}),
            "2026-01-01T00:00:00.123Z warn send_refused shard=-3 reason=\"disk is full\" empty=\"\" ok=false suppressed=7");
}

TEST_F(LogTest, EveryKindOfTextFits) {
  LogCapture capture;
  const std::string text = "s";
  const std::string_view view = "v";

  FULMAR_LOG(kInfo, "texts", {{"a", text}, {"b", view}, {"c", absl::string_view("absl")},
                              {"d", absl::NotFoundError("gone")}, {"e", absl::Milliseconds(1500)}});

  const nlohmann::json line = Lines(capture).at(0);
  EXPECT_EQ(line["a"], "s");
  EXPECT_EQ(line["b"], "v");
  EXPECT_EQ(line["c"], "absl");
  EXPECT_EQ(line["d"], "NOT_FOUND: gone");
  EXPECT_EQ(line["e"], "1.5s");
}

TEST_F(LogTest, BytesThatAreNotUtf8DoNotBreakTheLine) {
  const std::string line = FormatLogLine(true, absl::UnixEpoch(), LogLevel::kInfo, "x", 0, {{"name", "\xff\n\x01"}});

  EXPECT_TRUE(nlohmann::json::accept(line)) << line;
  EXPECT_THAT(line, Not(HasSubstr("\n")));
}

TEST_F(LogTest, TheLevelDecidesAtRunTime) {
  LogCapture capture;

  FULMAR_LOG(kDebug, "off");
  SetLogLevel(LogLevel::kDebug);
  FULMAR_LOG(kDebug, "on");
  SetLogLevel(LogLevel::kError);
  FULMAR_LOG(kWarn, "off_again");
  FULMAR_LOG(kError, "error_is_always_on");

  EXPECT_THAT(capture.Text(), HasSubstr("\"on\""));
  EXPECT_THAT(capture.Text(), HasSubstr("error_is_always_on"));
  EXPECT_THAT(capture.Text(), Not(HasSubstr("off")));
  EXPECT_EQ(GetLogLevel(), LogLevel::kError);
}

TEST_F(LogTest, FieldsAreNotLookedAtWhenTheLevelIsOff) {
  int calls = 0;
  const auto expensive = [&calls] { return ++calls; };

  FULMAR_LOG(kDebug, "off", {{"value", expensive()}});

  EXPECT_EQ(calls, 0);
}

TEST_F(LogTest, LevelsHaveNames) {
  EXPECT_EQ(ParseLogLevel("WARN").value(), LogLevel::kWarn);
  EXPECT_EQ(ParseLogLevel("debug").value(), LogLevel::kDebug);
  EXPECT_EQ(ParseLogLevel("loud").status().message(), "log level 'loud' is not one of debug, info, warn, error");
}

TEST_F(LogTest, RepeatsFromOnePlaceAreCountedInsteadOfWritten) {
  LogCapture capture;

  for (int i = 0; i < 1000; ++i) FULMAR_LOG_EVERY(absl::Hours(1), kWarn, "again", {{"i", i}, {"why", "test"}});
  for (int i = 0; i < 2; ++i) FULMAR_LOG_EVERY(absl::Hours(1), kWarn, "elsewhere");

  EXPECT_THAT(Lines(capture), SizeIs(2));
}

TEST(LogLimiterTest, LetsOnePassPerPeriodAndSaysHowManyDidNot) {
  LogLimiter limiter(absl::Seconds(1));
  constexpr int64_t kSecond = 1'000'000'000;
  uint64_t suppressed = 99;

  EXPECT_TRUE(limiter.PassAt(5 * kSecond, &suppressed));
  EXPECT_EQ(suppressed, 0u);
  EXPECT_FALSE(limiter.PassAt(5 * kSecond, &suppressed));
  EXPECT_FALSE(limiter.PassAt(6 * kSecond - 1, &suppressed));
  EXPECT_TRUE(limiter.PassAt(6 * kSecond, &suppressed));
  EXPECT_EQ(suppressed, 2u);
}

TEST(LogLimiterTest, OneOfManyThreadsPasses) {
  LogLimiter limiter(absl::Hours(1));
  std::atomic<int> passed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      uint64_t suppressed = 0;
      for (int i = 0; i < 1000; ++i) passed += limiter.Pass(&suppressed) ? 1 : 0;
    });
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(passed, 1);
}

// stderr is a pipe until Restore().
class RedirectedStderr {
 public:
  RedirectedStderr() {
    EXPECT_EQ(pipe(pipe_), 0);
    saved_ = dup(STDERR_FILENO);
    dup2(pipe_[1], STDERR_FILENO);
    close(pipe_[1]);
  }
  ~RedirectedStderr() { close(pipe_[0]); }

  void Restore() {
    dup2(saved_, STDERR_FILENO);
    close(saved_);
  }
  // Until Restore(), which may come from another thread.
  std::vector<nlohmann::json> ReadLines() {
    std::string text;
    char piece[4096];
    for (ssize_t got; (got = read(pipe_[0], piece, sizeof(piece))) > 0;) text.append(piece, static_cast<size_t>(got));
    std::vector<nlohmann::json> lines;
    for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty()))
      lines.push_back(nlohmann::json::parse(std::string(line)));
    return lines;
  }

 private:
  int pipe_[2] = {-1, -1};
  int saved_ = -1;
};

TEST(StartLoggingTest, WritesJsonFromItsOwnThreadAndEverythingBeforeItStops) {
  RedirectedStderr redirected;
  StartLogging({.json = true});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      for (int i = 0; i < 100; ++i) FULMAR_LOG(kInfo, "line", {{"thread", t}, {"i", i}});
    });
  for (std::thread& thread : threads) thread.join();
  StopLogging();
  redirected.Restore();

  std::vector<int> next(4, 0);
  for (const nlohmann::json& line : redirected.ReadLines()) EXPECT_EQ(line["i"], next.at(line["thread"])++);
  EXPECT_THAT(next, ::testing::Each(100));
}

// The pipe holds 64 KiB, and nobody reads before the loop has ended. The newest lines are the ones that are kept.
TEST(StartLoggingTest, NeverBlocksOnAStderrThatNobodyReads) {
  RedirectedStderr redirected;
  StartLogging({.json = true});
  for (int i = 0; i < 50'000; ++i) FULMAR_LOG(kInfo, "flood", {{"i", i}});

  std::vector<nlohmann::json> lines;
  std::thread reader([&] { lines = redirected.ReadLines(); });
  StopLogging();
  redirected.Restore();
  reader.join();

  ASSERT_GE(lines.size(), 8192u);
  EXPECT_LT(lines.size(), 20'000u);
  EXPECT_EQ(lines.back()["i"], 49'999);
}

}  // namespace
}  // namespace fulmar::common
