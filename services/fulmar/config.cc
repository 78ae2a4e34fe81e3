#include "services/fulmar/config.h"

#include "services/common/files.h"
#include "services/common/log.h"
#include "services/common/posix_files.h"
#include "services/common/status.h"

namespace fulmar {

absl::Status Config::Load() {
  common::OptionSources sources;
  if (!file_.empty()) {
    common::PosixFiles files;
    absl::StatusOr<std::string> text = common::ReadWholeFile(files, file_);
    if (!text.ok()) return Annotate(text.status(), "configuration file " + file_);
    sources.yaml = *std::move(text);
    sources.yaml_name = file_;
  }
  sources.environment = common::SystemEnvironment();
  sources.flags = flags_;
  return set_.Load(sources);
}

absl::Status Config::Reload() {
  Config fresh(file_, flags_);
  FULMAR_RETURN_IF_ERROR(fresh.Load());
  options_.logging.level = fresh.options_.logging.level;
  const absl::StatusOr<common::LogLevel> level = common::ParseLogLevel(options_.logging.level);
  if (level.ok()) common::SetLogLevel(*level);
  return absl::OkStatus();
}

}  // namespace fulmar
