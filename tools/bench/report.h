#ifndef FULMAR_TOOLS_BENCH_REPORT_H_
#define FULMAR_TOOLS_BENCH_REPORT_H_

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "tools/bench/histogram.h"

namespace fulmar::bench {

// What a command found out: a table for people, one JSON object for scripts. JSON has times in milliseconds, unless the key says otherwise.
class Report {
 public:
  void Number(const std::string& key, const std::string& label, double value, int digits, std::string_view unit = "");
  void Text(const std::string& key, const std::string& label, const std::string& value);
  void Time(const std::string& key, const std::string& label, absl::Duration value);  // key ends in _ms
  void Bytes(const std::string& key, const std::string& label, double bytes);
  // p50, p90, p99, p99.9, max, mean.
  void Latency(const std::string& key, const std::string& label, const Histogram& histogram);
  // Nothing for an empty map.
  void Counts(const std::string& key, const std::string& label, const std::map<std::string, uint64_t>& counts);

  void Print(bool json) const;

 private:
  std::vector<std::pair<std::string, std::string>> rows_;
  nlohmann::ordered_json json_ = nlohmann::ordered_json::object();
};

}  // namespace fulmar::bench

#endif  // FULMAR_TOOLS_BENCH_REPORT_H_
