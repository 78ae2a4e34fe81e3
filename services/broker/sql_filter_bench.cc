// What one message costs a consumer with an SQL filter, per expression and number of properties; and one compilation.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "services/broker/filter.h"
#include "services/broker/filter_cache.h"
#include "services/broker/sql_filter_testing.h"

namespace fulmar::broker {
namespace {

constexpr const char* kExpressions[] = {
    "amount > 100",
    "region = 'eu-west' AND amount BETWEEN 100 AND 500 AND vip = TRUE",
    "TAGS IS NOT NULL AND TAGS IN ('TagA', 'TagB') AND (amount >= 99.5 OR region IN ('eu-west', 'eu-north', 'us-east')) AND missing IS NULL",
};

// The three that are asked for come last, behind `others` that are not.
std::string MessageProperties(int64_t others) {
  std::vector<std::pair<std::string, std::string>> properties;
  for (int64_t i = 0; i < others; ++i) properties.emplace_back(absl::StrCat("property-", i), absl::StrCat("value-", i));
  properties.insert(properties.end(), {{"amount", "250"}, {"region", "eu-west"}, {"vip", "true"}});
  return WireProperties(properties);
}

void BM_Matches(benchmark::State& state) {
  const char* expression = kExpressions[state.range(0)];
  const Filter filter = Filter::Parse(FilterKind::kSql, expression).value();
  const std::string user = MessageProperties(state.range(1));
  const MessageView message{.tag = "TagA", .user = user};
  if (!filter.Matches(message)) return state.SkipWithError("it has to match");
  for (auto _ : state) benchmark::DoNotOptimize(filter.Matches(message));
  state.SetLabel(expression);
}
BENCHMARK(BM_Matches)->ArgNames({"expression", "others"})->ArgsProduct({{0, 1, 2}, {0, 5, 50}});

void BM_Compile(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(Filter::Parse(FilterKind::kSql, kExpressions[state.range(0)]));
  state.SetLabel(kExpressions[state.range(0)]);
}
BENCHMARK(BM_Compile)->DenseRange(0, 2);

void BM_Cached(benchmark::State& state) {
  FilterCache cache;
  for (auto _ : state) benchmark::DoNotOptimize(cache.Get(FilterKind::kSql, kExpressions[state.range(0)]));
}
BENCHMARK(BM_Cached)->DenseRange(0, 2);

}  // namespace
}  // namespace fulmar::broker
