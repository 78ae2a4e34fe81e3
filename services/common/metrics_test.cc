#include "services/common/metrics.h"

#include <algorithm>
#include <ctime>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "services/common/process_metrics.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fulmar::common {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(MetricsTest, RendersEveryKindInPrometheusTextFormat) {
  Metrics metrics;
  metrics.AddCounter("fulmar_log_appended_bytes_total", "Bytes.", {{"role", "leader"}}).Add(5);
  metrics.AddGauge("fulmar_broker_parked_receives", "Parked.").Set(2.5);
  Histogram& histogram = metrics.AddHistogram("fulmar_log_sync_duration_seconds", "Sync.", {0.1, 1});
  histogram.Observe(0.1);
  histogram.Observe(absl::Milliseconds(500));
  histogram.Observe(7);

  EXPECT_EQ(metrics.Render(),
            "# HELP fulmar_broker_parked_receives Parked.\n"
            "# TYPE fulmar_broker_parked_receives gauge\n"
            "fulmar_broker_parked_receives 2.5\n"
            "# HELP fulmar_log_appended_bytes_total Bytes.\n"
            "# TYPE fulmar_log_appended_bytes_total counter\n"
            "fulmar_log_appended_bytes_total{role=\"leader\"} 5\n"
            "# HELP fulmar_log_sync_duration_seconds Sync.\n"
            "# TYPE fulmar_log_sync_duration_seconds histogram\n"
            "fulmar_log_sync_duration_seconds_count 3\n"
            "fulmar_log_sync_duration_seconds_sum 7.6\n"
            "fulmar_log_sync_duration_seconds_bucket{le=\"0.1\"} 1\n"
            "fulmar_log_sync_duration_seconds_bucket{le=\"1\"} 2\n"
            "fulmar_log_sync_duration_seconds_bucket{le=\"+Inf\"} 3\n");
}

TEST(MetricsTest, TheSameNameAndLabelsAreTheSameObject) {
  Metrics metrics;
  Counter& first = metrics.AddCounter("fulmar_x_total", "", {{"code", "OK"}});

  EXPECT_EQ(&first, &metrics.AddCounter("fulmar_x_total", "", {{"code", "OK"}}));
  EXPECT_NE(&first, &metrics.AddCounter("fulmar_x_total", "", {{"code", "NOT_FOUND"}}));
}

TEST(MetricsTest, ARemovedSeriesIsNotShown) {
  Metrics metrics;
  metrics.AddGauge("fulmar_lag", "", {{"group", "a"}});
  metrics.AddGauge("fulmar_lag", "", {{"group", "b"}});

  metrics.Remove("fulmar_lag", {{"group", "a"}});
  metrics.Remove("fulmar_lag", {{"group", "none"}});
  metrics.Remove("fulmar_none", {});

  EXPECT_THAT(metrics.Render(), Not(HasSubstr("\"a\"")));
  EXPECT_THAT(metrics.Render(), HasSubstr("\"b\""));
}

TEST(MetricsTest, ACallbackIsAskedAtEachCollectionWhileItsHandleLives) {
  Metrics metrics;
  double value = 1;
  Metrics::Callback gauge = metrics.AddGaugeCallback("fulmar_free_bytes", "", {}, [&value] { return value; });
  Metrics::Callback counter = metrics.AddCounterCallback("fulmar_cpu_total", "", {}, [&value] { return value * 10; });

  EXPECT_THAT(metrics.Render(), HasSubstr("fulmar_free_bytes 1\n"));
  value = 2;
  EXPECT_THAT(metrics.Render(), HasSubstr("fulmar_free_bytes 2\n"));
  EXPECT_THAT(metrics.Render(), HasSubstr("fulmar_cpu_total 20\n"));

  Metrics::Callback moved = std::move(gauge);
  EXPECT_THAT(metrics.Render(), HasSubstr("fulmar_free_bytes"));
  moved.Reset();
  moved.Reset();
  EXPECT_THAT(metrics.Render(), Not(HasSubstr("fulmar_free_bytes")));
}

TEST(MetricsTest, ThreadsCountTogetherWhileAnotherCollects) {
  Metrics metrics;
  Counter& counter = metrics.AddCounter("fulmar_sent_total", "");
  Gauge& gauge = metrics.AddGauge("fulmar_open", "");
  Histogram& histogram = metrics.AddHistogram("fulmar_time_seconds", "", LatencyBuckets());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        counter.Add();
        gauge.Add(1);
        histogram.Observe(1);
      }
    });
  for (int i = 0; i < 20; ++i) metrics.Render();
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(counter.value(), 20'000u);
  EXPECT_EQ(gauge.value(), 20'000);
  EXPECT_EQ(histogram.Read().sum, 20'000);
}

TEST(MetricsDeathTest, NamesThatAreNotOursStopTheProcess) {
  Metrics metrics;
  metrics.AddGauge("fulmar_x", "");
  EXPECT_DEATH(metrics.AddGauge("other_x", ""), "other_x");
  EXPECT_DEATH(metrics.AddGauge("fulmar_X", ""), "fulmar_X");
  EXPECT_DEATH(metrics.AddCounter("fulmar_sent", ""), "fulmar_sent");
  EXPECT_DEATH(metrics.AddGauge("fulmar_sent_total", ""), "fulmar_sent_total");
  EXPECT_DEATH(metrics.AddHistogram("fulmar_x", "", {1}), "fulmar_x");
}

TEST(BucketsTest, AreAscendingAndCoverTheirRange) {
  EXPECT_EQ(LatencyBuckets().front(), 0.0001);
  EXPECT_EQ(LatencyBuckets().back(), 30);
  const std::vector<double> latency = LatencyBuckets();
  EXPECT_TRUE(std::is_sorted(latency.begin(), latency.end()));
  EXPECT_EQ(SizeBuckets(100), (std::vector<double>{1, 4, 16, 64, 100}));
}

TEST(SeriesCapTest, ValuesBeyondTheCapBecomeOtherAndForgettingMakesRoom) {
  SeriesCap cap({"group", "topic"}, 2);

  EXPECT_EQ(cap.Labels({"g1", "t"}), (MetricLabels{{"group", "g1"}, {"topic", "t"}}));
  EXPECT_EQ(cap.Labels({"g2", "t"}), (MetricLabels{{"group", "g2"}, {"topic", "t"}}));
  EXPECT_EQ(cap.Labels({"g3", "t"}), (MetricLabels{{"group", "other"}, {"topic", "other"}}));
  EXPECT_EQ(cap.Labels({"g1", "t"}).at("group"), "g1");

  EXPECT_FALSE(cap.Forget({"g3", "t"}));
  EXPECT_TRUE(cap.Forget({"g1", "t"}));
  EXPECT_EQ(cap.Labels({"g3", "t"}).at("group"), "g3");
  EXPECT_EQ(cap.Labels({"g1", "t"}).at("group"), "other");
}

TEST(ProcessMetricsTest, ShowTheProcess) {
  Metrics metrics;
  const auto process = AddProcessMetrics(metrics);

  std::map<std::string, double> values;
  std::istringstream text(metrics.Render());
  for (std::string line; std::getline(text, line);)
    if (line[0] != '#') values[line.substr(0, line.find(' '))] = std::stod(line.substr(line.find(' ') + 1));

  EXPECT_GT(values["process_cpu_seconds_total"], 0);
  EXPECT_GT(values["process_resident_memory_bytes"], 1e6);
  EXPECT_GT(values["process_virtual_memory_bytes"], values["process_resident_memory_bytes"]);
  EXPECT_GE(values["process_threads"], 1);
  EXPECT_GE(values["process_open_fds"], 3);
  EXPECT_GE(values["process_max_fds"], values["process_open_fds"]);
  const double age = static_cast<double>(time(nullptr)) - values["process_start_time_seconds"];
  EXPECT_GE(age, -2);
  EXPECT_LT(age, 3600);
}

}  // namespace
}  // namespace fulmar::common
