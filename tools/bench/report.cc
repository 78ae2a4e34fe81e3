#include "tools/bench/report.h"

#include <algorithm>
#include <cmath>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace fulmar::bench {
namespace {

double Rounded(double value, int digits) {
  const double scale = std::pow(10, digits);
  return std::round(value * scale) / scale;
}

// 1234567.8 as "1,234,568".
std::string Grouped(double value, int digits) {
  std::string text = absl::StrFormat("%.*f", digits, value);
  size_t end = text.find('.');
  if (end == std::string::npos) end = text.size();
  const size_t begin = text.front() == '-' ? 1 : 0;
  for (size_t i = end; i > begin + 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

// Characters, not bytes: labels have arrows.
size_t WidthOf(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

double Milliseconds(absl::Duration value) { return Rounded(absl::ToDoubleMilliseconds(value), 4); }

}  // namespace

void Report::Number(const std::string& key, const std::string& label, double value, int digits, std::string_view unit) {
  rows_.emplace_back(label, absl::StrCat(Grouped(value, digits), unit.empty() ? "" : " ", unit));
  json_[key] = Rounded(value, digits);
}

void Report::Text(const std::string& key, const std::string& label, const std::string& value) {
  rows_.emplace_back(label, value);
  json_[key] = value;
}

void Report::Time(const std::string& key, const std::string& label, absl::Duration value) {
  rows_.emplace_back(label, absl::StrFormat("%.2f ms", absl::ToDoubleMilliseconds(value)));
  json_[key] = Milliseconds(value);
}

void Report::Bytes(const std::string& key, const std::string& label, double bytes) {
  const bool small = std::abs(bytes) < 1 << 20;
  rows_.emplace_back(label, absl::StrFormat("%.1f %s", bytes / (small ? 1 << 10 : 1 << 20), small ? "KiB" : "MiB"));
  json_[key] = std::llround(bytes);
}

void Report::Latency(const std::string& key, const std::string& label, const Histogram& histogram) {
  nlohmann::ordered_json values = nlohmann::ordered_json::object();
  const auto row = [&](const std::string& name, const std::string& shown, absl::Duration value) {
    rows_.emplace_back(absl::StrCat(label, " ", shown), absl::StrFormat("%.3f ms", absl::ToDoubleMilliseconds(value)));
    values[name] = Milliseconds(value);
  };
  row("p50", "p50", histogram.Percentile(50));
  row("p90", "p90", histogram.Percentile(90));
  row("p99", "p99", histogram.Percentile(99));
  row("p999", "p99.9", histogram.Percentile(99.9));
  row("max", "max", histogram.max());
  row("mean", "mean", histogram.Mean());
  values["count"] = histogram.count();
  json_[key] = values;
}

void Report::Counts(const std::string& key, const std::string& label, const std::map<std::string, uint64_t>& counts) {
  if (counts.empty()) return;
  json_[key] = counts;
  for (const auto& [name, count] : counts) rows_.emplace_back(label, absl::StrCat(Grouped(static_cast<double>(count), 0), " × ", name));
}

void Report::Print(bool json) const {
  if (json) {
    std::cout << json_.dump(2) << "\n";
    return;
  }
  size_t width = 0;
  for (const auto& [label, value] : rows_) width = std::max(width, WidthOf(label));
  for (const auto& [label, value] : rows_) std::cout << label << std::string(width + 2 - WidthOf(label), ' ') << value << "\n";
}

}  // namespace fulmar::bench
