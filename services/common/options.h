#ifndef FULMAR_COMMON_OPTIONS_H_
#define FULMAR_COMMON_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/common/option_checks.h"
#include "services/common/option_values.h"
#include "services/common/units.h"

// The options framework. One row of an X macro is the whole option:
//
//   #define BROKER_OPTIONS(OPTION)  type, name, default, check, when it applies, what it does (a backslash ends each line)
//     OPTION(int64_t, log_segment_bytes, 256_MiB, Between(1_MiB, 2048_MiB), kRestart,
//            "Size in bytes at which the commit log starts a new segment file.")
//     OPTION(absl::Duration, progress_flush_interval, absl::Milliseconds(100), ...)
//   FULMAR_OPTIONS(BrokerOptions, "broker", "log progress", BROKER_OPTIONS);
//
// gives struct BrokerOptions { int64_t log_segment_bytes = 256_MiB; ... void Join(OptionSet&); }.
//
// Key: the section, then the name. If the name begins with one of the groups in the third argument, that word becomes
// a level of its own: name log_segment_bytes of section "broker" with group "log" has the key broker.log.segment_bytes;
// without that group it would be broker.log_segment_bytes. From the key come
//   the flag         --broker.log.segment_bytes=256MiB (or two words; a bool may stand alone)
//   the environment  FULMAR_BROKER_LOG_SEGMENT_BYTES=256MiB
//   YAML             broker: {log: {segment_bytes: 256MiB}}, or flat: "broker.log.segment_bytes: 256MiB"
//
// Types: bool; int32_t, int64_t (names that end in _bytes take 4096, 64KiB, 256MiB, 1GiB, 2TiB); double;
// absl::Duration ("100ms", "72h", "1h30m"); std::string (with OneOf("a", "b") an enum by name);
// std::vector<std::string> (a YAML list, or "a,b" elsewhere). More checks: option_checks.h. A default with a comma in
// it goes into parentheses or a function call, for the preprocessor's sake.

namespace fulmar::common {

enum class ApplyWhen { kRestart, kLive };

// One option, bound to the field that it sets.
struct Option {
  std::string key;
  std::string type;           // "bytes", "duration", ... for the docs
  std::string default_value;  // as text
  std::string allowed;        // the check in words, may be empty
  std::string help;
  ApplyWhen when = ApplyWhen::kRestart;
  bool is_bool = false;
  bool is_list = false;
  std::function<absl::Status(const std::string& text)> set;  // checks first; on an error the field stays
  std::function<std::string()> get;

  std::string Flag() const;         // "--broker.log.segment_bytes"
  std::string Environment() const;  // "FULMAR_BROKER_LOG_SEGMENT_BYTES"
};

// Where values come from, weakest first. Nothing here reads the system: main() brings file, environment and flags.
struct OptionSources {
  std::string yaml;       // content of the file, may be empty
  std::string yaml_name;  // for messages
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<std::string> flags;  // the arguments that no other parser has taken
};

// All options of a process: sections join, then sources are loaded into the fields of the sections' structs.
// Borrows: those structs, which outlive it. Threads: one.
class OptionSet {
 public:
  // Stops the process if the key, or its environment name, exists already.
  void Add(Option option);

  // Default < file < environment < flag. InvalidArgument names every unknown key (with the nearest known one) and
  // every bad value of all sources, one per line; fields of bad values keep what they had.
  //
  // Environment: names that begin with FULMAR_<section>_ must be known, others are not ours. What Kubernetes sets for
  // its own services (FULMAR_BROKER_SERVICE_HOST, FULMAR_BROKER_PORT=tcp://...) is passed over.
  absl::Status Load(const OptionSources& sources);

  const Option* Find(std::string_view key) const;  // nullptr: unknown
  const std::vector<Option>& options() const { return options_; }

  // `fulmar config --describe`: a table per section, and a YAML file of all defaults with comments.
  std::string DescribeMarkdown() const;
  std::string DescribeYaml() const;
  // `fulmar config --check`: the values in force, as YAML.
  std::string EffectiveYaml() const;

 private:
  class Problems;
  void LoadYaml(const OptionSources& sources, Problems& problems);
  void LoadEnvironment(const OptionSources& sources, Problems& problems);
  void LoadFlags(const OptionSources& sources, Problems& problems);
  void Set(const std::string& where, const std::string& key, const std::string& value, Problems& problems);
  std::string YamlOf(bool with_comments, const std::function<std::string(const Option&)>& value) const;

  std::vector<Option> options_;  // in the order of the rows
};

// The environment of this process, for OptionSources.
std::vector<std::pair<std::string, std::string>> SystemEnvironment();

// The key of a row, see above.
std::string OptionKey(std::string_view section, std::string_view groups, std::string_view name);

// The one of `known` with the smallest edit distance to `text`, empty if none is near.
std::string NearestName(std::string_view text, const std::vector<std::string>& known);

template <class T, class Check>
Option MakeOption(std::string key, T& field, Check check, ApplyWhen when, std::string help) {
  using Value = OptionValue<T>;
  Option option;
  const OptionFormat format = FormatOfKey(key);
  option.type = Value::TypeName(format);
  option.default_value = Value::ToText(field, format);
  option.allowed = check.Describe(format);
  option.help = std::move(help);
  option.when = when;
  option.is_bool = std::is_same_v<T, bool>;
  option.is_list = std::is_same_v<T, std::vector<std::string>>;
  option.set = [&field, check, format](const std::string& text) {
    absl::StatusOr<T> value = Value::Parse(text, format);
    if (!value.ok()) return value.status();
    if (!check.Holds(*value)) return absl::InvalidArgumentError("must be " + check.Describe(format));
    field = *std::move(value);
    return absl::OkStatus();
  };
  option.get = [&field, format] { return Value::ToText(field, format); };
  option.key = std::move(key);
  return option;
}

}  // namespace fulmar::common

#define FULMAR_OPTION_FIELD_(type, name, default_value, check, when, help) type name = default_value;
#define FULMAR_OPTION_JOIN_(type, name, default_value, check, when, help)                                   \
  set.Add(::fulmar::common::MakeOption(::fulmar::common::OptionKey(kSection, kGroups, #name), this->name,   \
                                       check, ::fulmar::common::ApplyWhen::when, help));

// Defines the struct `Name` of the rows `ROWS`, see the top.
#define FULMAR_OPTIONS(Name, section, groups, ROWS)            \
  struct Name {                                                \
    static constexpr const char* kSection = section;           \
    static constexpr const char* kGroups = groups;             \
    ROWS(FULMAR_OPTION_FIELD_)                                 \
    void Join(::fulmar::common::OptionSet& set) {              \
      using namespace ::fulmar::common::option_checks; /* NOLINT */ \
      ROWS(FULMAR_OPTION_JOIN_)                                \
    }                                                          \
  }

#endif  // FULMAR_COMMON_OPTIONS_H_
