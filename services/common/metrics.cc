#include "services/common/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <limits>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "services/common/status.h"

namespace fulmar::common {

struct Metrics::Series {
  std::unique_ptr<Counter> counter;
  std::unique_ptr<Gauge> gauge;
  std::unique_ptr<Histogram> histogram;
  std::function<double()> read;

  prometheus::ClientMetric Collect(const MetricLabels& labels, int kind) const;
};

struct Metrics::Family {
  int kind = 0;
  std::string help;
  std::map<MetricLabels, Series> series;
};

namespace {

constexpr int kCounter = static_cast<int>(prometheus::MetricType::Counter);
constexpr int kGauge = static_cast<int>(prometheus::MetricType::Gauge);
constexpr int kHistogram = static_cast<int>(prometheus::MetricType::Histogram);

void CheckName(std::string_view name, int kind) {
  const auto fits = [](char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '_'; };
  FULMAR_CHECK(std::all_of(name.begin(), name.end(), fits), name);
  FULMAR_CHECK(absl::StartsWith(name, "fulmar_") || absl::StartsWith(name, "process_"), name);
  FULMAR_CHECK((kind == kCounter) == absl::EndsWith(name, "_total"), name);
}

prometheus::ClientMetric::Histogram CollectHistogram(const Histogram& histogram) {
  const Histogram::Snapshot snapshot = histogram.Read();
  prometheus::ClientMetric::Histogram out;
  for (size_t i = 0; i < snapshot.counts.size(); ++i) {
    out.sample_count += snapshot.counts[i];
    const double bound = i < histogram.upper_bounds().size() ? histogram.upper_bounds()[i]
                                                             : std::numeric_limits<double>::infinity();
    out.bucket.push_back({out.sample_count, bound});
  }
  out.sample_sum = snapshot.sum;
  return out;
}

}  // namespace

Histogram::Histogram(std::vector<double> upper_bounds)
    : upper_bounds_(std::move(upper_bounds)), counts_(new std::atomic<uint64_t>[upper_bounds_.size() + 1]()) {
  FULMAR_CHECK(std::is_sorted(upper_bounds_.begin(), upper_bounds_.end()));
}

void Histogram::Observe(double value) {
  const auto bucket = std::lower_bound(upper_bounds_.begin(), upper_bounds_.end(), value) - upper_bounds_.begin();
  counts_[static_cast<size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

Histogram::Snapshot Histogram::Read() const {
  Snapshot snapshot;
  for (size_t i = 0; i <= upper_bounds_.size(); ++i)
    snapshot.counts.push_back(counts_[i].load(std::memory_order_relaxed));
  snapshot.sum = sum_.load(std::memory_order_relaxed);
  return snapshot;
}

std::vector<double> LatencyBuckets() {
  return {0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30};
}

std::vector<double> SizeBuckets(double max) {
  std::vector<double> bounds;
  for (double bound = 1; bound < max; bound *= 4) bounds.push_back(bound);
  bounds.push_back(max);
  return bounds;
}

prometheus::ClientMetric Metrics::Series::Collect(const MetricLabels& labels, int kind) const {
  prometheus::ClientMetric out;
  for (const auto& [name, value] : labels) out.label.push_back({name, value});
  if (kind == kHistogram) {
    out.histogram = CollectHistogram(*histogram);
  } else if (kind == kCounter) {
    out.counter.value = read ? read() : static_cast<double>(counter->value());
  } else {
    out.gauge.value = read ? read() : gauge->value();
  }
  return out;
}

Metrics::Metrics() = default;
Metrics::~Metrics() = default;

Metrics::Family& Metrics::FamilyOf(std::string_view name, std::string_view help, int kind) {
  auto found = families_.find(name);
  if (found == families_.end()) {
    CheckName(name, kind);
    found = families_.emplace(std::string(name), std::make_unique<Family>()).first;
    found->second->kind = kind;
    found->second->help = std::string(help);
  }
  FULMAR_CHECK(found->second->kind == kind, name);
  return *found->second;
}

Counter& Metrics::AddCounter(std::string_view name, std::string_view help, const MetricLabels& labels) {
  absl::MutexLock lock(&mutex_);
  Series& series = FamilyOf(name, help, kCounter).series[labels];
  FULMAR_CHECK(!series.read, name);
  if (series.counter == nullptr) series.counter = std::make_unique<Counter>();
  return *series.counter;
}

Gauge& Metrics::AddGauge(std::string_view name, std::string_view help, const MetricLabels& labels) {
  absl::MutexLock lock(&mutex_);
  Series& series = FamilyOf(name, help, kGauge).series[labels];
  FULMAR_CHECK(!series.read, name);
  if (series.gauge == nullptr) series.gauge = std::make_unique<Gauge>();
  return *series.gauge;
}

Histogram& Metrics::AddHistogram(std::string_view name, std::string_view help, std::vector<double> upper_bounds,
                                 const MetricLabels& labels) {
  absl::MutexLock lock(&mutex_);
  Series& series = FamilyOf(name, help, kHistogram).series[labels];
  if (series.histogram == nullptr) series.histogram = std::make_unique<Histogram>(std::move(upper_bounds));
  return *series.histogram;
}

void Metrics::Remove(std::string_view name, const MetricLabels& labels) {
  absl::MutexLock lock(&mutex_);
  const auto found = families_.find(name);
  if (found == families_.end()) return;
  found->second->series.erase(labels);
}

Metrics::Callback Metrics::AddGaugeCallback(std::string_view name, std::string_view help, const MetricLabels& labels,
                                            std::function<double()> read) {
  return AddCallback(name, help, kGauge, labels, std::move(read));
}

Metrics::Callback Metrics::AddCounterCallback(std::string_view name, std::string_view help,
                                              const MetricLabels& labels, std::function<double()> read) {
  return AddCallback(name, help, kCounter, labels, std::move(read));
}

Metrics::Callback Metrics::AddCallback(std::string_view name, std::string_view help, int kind,
                                       const MetricLabels& labels, std::function<double()> read) {
  absl::MutexLock lock(&mutex_);
  const bool fresh = FamilyOf(name, help, kind).series.emplace(labels, Series{.read = std::move(read)}).second;
  FULMAR_CHECK(fresh, name);
  return Callback([this, name = std::string(name), labels] { Remove(name, labels); });
}

std::string Metrics::Render() const {
  std::vector<prometheus::MetricFamily> families;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [name, family] : families_) {
      if (family->series.empty()) continue;
      prometheus::MetricFamily& out = families.emplace_back();
      out.name = name;
      out.help = family->help;
      out.type = static_cast<prometheus::MetricType>(family->kind);
      for (const auto& [labels, series] : family->series) out.metric.push_back(series.Collect(labels, family->kind));
    }
  }
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, families);
  return std::move(text).str();
}

MetricLabels SeriesCap::Labels(const std::vector<std::string>& values) {
  FULMAR_CHECK(values.size() == label_names_.size());
  bool own;
  {
    absl::MutexLock lock(&mutex_);
    own = known_.contains(values);
    if (!own && known_.size() < max_series_) own = known_.insert(values).second;
  }
  MetricLabels labels;
  for (size_t i = 0; i < values.size(); ++i) labels[label_names_[i]] = own ? values[i] : "other";
  return labels;
}

bool SeriesCap::Forget(const std::vector<std::string>& values) {
  absl::MutexLock lock(&mutex_);
  return known_.erase(values) > 0;
}

}  // namespace fulmar::common
