#ifndef FULMAR_FULMAR_CONFIG_H_
#define FULMAR_FULMAR_CONFIG_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "services/fulmar/process_options.h"

namespace fulmar {

// The configuration of this process: defaults < file < environment < flags. Keeps where it came from, to read it again.
class Config {
 public:
  // `file` may be empty; `flags` are "--key=value" or "--key", "value".
  Config(std::string file, std::vector<std::string> flags) : file_(std::move(file)), flags_(std::move(flags)) { options_.Join(set_); }
  Config(const Config&) = delete;
  Config& operator=(const Config&) = delete;

  // Errors name everything that is wrong at once: InvalidArgument, or NotFound for the file.
  absl::Status Load();
  // Reads the sources again and takes over what may change at run time. On an error all stays as it was.
  absl::Status Reload();

  const ProcessOptions& options() const { return options_; }
  ProcessOptions& options() { return options_; }
  const common::OptionSet& set() const { return set_; }
  const std::string& file() const { return file_; }

 private:
  const std::string file_;
  const std::vector<std::string> flags_;
  ProcessOptions options_;
  common::OptionSet set_;
};

}  // namespace fulmar

#endif  // FULMAR_FULMAR_CONFIG_H_
