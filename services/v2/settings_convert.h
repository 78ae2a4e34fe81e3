#ifndef FULMAR_V2_SETTINGS_CONVERT_H_
#define FULMAR_V2_SETTINGS_CONVERT_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "apache/rocketmq/v2/definition.pb.h"
#include "services/index/definitions.h"
#include "services/v2/call_info.h"
#include "services/v2/status_convert.h"

namespace fulmar::v2edge {

// What clients are told in their settings.
struct SettingsOptions {
  int32_t max_body_bytes = 4 * 1024 * 1024;
  bool validate_message_type = true;
  int32_t producer_max_attempts = 3;
  absl::Duration producer_backoff = absl::Milliseconds(10), producer_max_backoff = absl::Seconds(1);
  int32_t receive_batch_size = 32;
  absl::Duration long_polling_timeout = absl::Seconds(20);  // more makes the shutdown of Go clients slow
};

// Judges a filter expression (v2 FilterType number, text).
using CheckFilter = std::function<absl::Status(int32_t type, std::string_view expression)>;

// Is this a client that we serve, with names, filters and client properties within the rules? The error is the v2 one.
absl::Status CheckSettings(const pb::Settings& settings, const CallInfo& call, const CheckFilter& check_filter);

// Whole name of the group that the settings speak of; empty for a producer.
std::string GroupOf(const pb::Settings& settings, const CallInfo& call);

// Whole names of the topics that a consumer subscribes to.
std::vector<std::string> TopicsOf(const pb::Settings& settings, const CallInfo& call);

// The client's own settings with what is the server's to say put in; `group` is set for consumers. Namespaces stay as they came.
// The form of the backoff suits the client: producers and Node.js understand only the exponential one, Python only the list.
pb::Settings AnswerSettings(pb::Settings settings, const index::GroupDefinition* group, const SettingsOptions& options);

}  // namespace fulmar::v2edge

#endif  // FULMAR_V2_SETTINGS_CONVERT_H_
