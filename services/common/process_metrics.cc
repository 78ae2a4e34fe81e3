#include "services/common/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace fulmar::common {
namespace {

// Fields of /proc/self/stat as proc(5) counts them, from 1.
enum StatField { kThreads = 20, kStartTicks = 22, kVirtualBytes = 23, kResidentPages = 24 };

double ReadStat(StatField field) {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  // The second field is the name in parentheses, which may hold spaces and parentheses itself.
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos || name_end + 2 > line.size()) return 0;
  const std::vector<std::string> fields = absl::StrSplit(std::string_view(line).substr(name_end + 2), ' ');
  double value = 0;
  const size_t index = static_cast<size_t>(field) - 3;
  return index < fields.size() && absl::SimpleAtod(fields[index], &value) ? value : 0;
}

double CpuSeconds() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

double StartTime() {
  timespec now{};
  timespec up{};
  clock_gettime(CLOCK_REALTIME, &now);
  clock_gettime(CLOCK_BOOTTIME, &up);
  return static_cast<double>(now.tv_sec - up.tv_sec) +
         ReadStat(kStartTicks) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double OpenFiles() {
  std::error_code error;
  double count = 0;
  for (auto it = std::filesystem::directory_iterator("/proc/self/fd", error); !error && it != end(it);
       it.increment(error))
    ++count;
  return count - 1;  // without the one that reads the folder
}

double MaxFiles() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<double>(limit.rlim_cur);
}

}  // namespace

std::vector<Metrics::Callback> AddProcessMetrics(Metrics& metrics) {
  std::vector<Metrics::Callback> callbacks;
  const auto gauge = [&](std::string_view name, std::string_view help, std::function<double()> read) {
    callbacks.push_back(metrics.AddGaugeCallback(name, help, {}, std::move(read)));
  };
  callbacks.push_back(
      metrics.AddCounterCallback("process_cpu_seconds_total", "User and system CPU time spent.", {}, CpuSeconds));
  gauge("process_resident_memory_bytes", "Memory in RAM.",
        [] { return ReadStat(kResidentPages) * static_cast<double>(sysconf(_SC_PAGESIZE)); });
  gauge("process_virtual_memory_bytes", "Address space.", [] { return ReadStat(kVirtualBytes); });
  gauge("process_threads", "Threads of the process.", [] { return ReadStat(kThreads); });
  gauge("process_open_fds", "Open file descriptors.", OpenFiles);
  gauge("process_max_fds", "Most file descriptors that may be open.", MaxFiles);
  gauge("process_start_time_seconds", "Start of the process since the epoch.",
        [start = StartTime()] { return start; });
  return callbacks;
}

}  // namespace fulmar::common
