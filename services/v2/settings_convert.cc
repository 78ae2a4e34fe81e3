#include "services/v2/settings_convert.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "services/common/errors.h"
#include "services/common/status.h"

namespace fulmar::v2edge {
namespace {

constexpr int kMaxClientProperties = 32;
constexpr size_t kMaxClientPropertyKey = 64, kMaxClientPropertyValue = 256, kMaxClientPropertyBytes = 4096;

std::string WholeNameOf(const pb::Resource& resource, const CallInfo& call) {
  return WholeName(EffectiveNamespace(resource.resource_namespace(), call.name_space), resource.name());
}

bool IsPropertyKey(std::string_view key) {
  if (key.empty() || key.size() > kMaxClientPropertyKey || !absl::ascii_isalpha(static_cast<unsigned char>(key[0]))) return false;
  return std::all_of(key.begin(), key.end(), [](unsigned char c) { return absl::ascii_isalnum(c) || c == '_' || c == '.' || c == '-'; });
}

absl::Status CheckClientProperties(const pb::Settings& settings) {
  if (settings.client_properties_size() > kMaxClientProperties)
    return errors::InvalidClientProperties(absl::StrCat(settings.client_properties_size(), " client properties, at most ", kMaxClientProperties, " are allowed"));
  size_t bytes = 0;
  for (const auto& [key, value] : settings.client_properties()) {
    if (!IsPropertyKey(key)) return errors::InvalidClientProperties("a client property has an illegal key");
    if (absl::string_view(key).substr(0, 9) == "rocketmq.") return errors::InvalidClientProperties(absl::StrCat("the client property key '", key, "' is reserved"));
    if (value.size() > kMaxClientPropertyValue) return errors::InvalidClientProperties(absl::StrCat("the client property '", key, "' is too long"));
    bytes += key.size() + value.size();
  }
  if (bytes > kMaxClientPropertyBytes) return errors::InvalidClientProperties(absl::StrCat("client properties have ", bytes, " bytes, at most ", kMaxClientPropertyBytes, " are allowed"));
  return absl::OkStatus();
}

absl::Status CheckSubscription(const pb::Subscription& subscription, const CallInfo& call, const CheckFilter& check_filter) {
  FULMAR_RETURN_IF_ERROR(index::CheckGroupName(WholeNameOf(subscription.group(), call)));
  for (const pb::SubscriptionEntry& entry : subscription.subscriptions()) {
    FULMAR_RETURN_IF_ERROR(index::CheckTopicName(WholeNameOf(entry.topic(), call)));
    FULMAR_RETURN_IF_ERROR(check_filter(entry.expression().type(), entry.expression().expression()));
  }
  return absl::OkStatus();
}

void SetExponential(absl::Duration initial, absl::Duration max, pb::RetryPolicy* policy) {
  pb::ExponentialBackoff* backoff = policy->mutable_exponential_backoff();
  *backoff->mutable_initial() = ToProto(initial);
  *backoff->mutable_max() = ToProto(max);
  backoff->set_multiplier(2);
}

void FillProducer(const SettingsOptions& options, pb::Settings* settings) {
  pb::RetryPolicy* policy = settings->mutable_backoff_policy();
  policy->Clear();
  policy->set_max_attempts(options.producer_max_attempts);
  SetExponential(options.producer_backoff, options.producer_max_backoff, policy);
  settings->mutable_publishing()->set_max_body_size(options.max_body_bytes);
  settings->mutable_publishing()->set_validate_message_type(options.validate_message_type);
}

void FillConsumer(const index::GroupDefinition& group, const SettingsOptions& options, pb::Settings* settings) {
  const std::vector<absl::Duration>& delays = group.retry.delays.empty() ? index::DefaultRetryDelays() : group.retry.delays;
  pb::RetryPolicy* policy = settings->mutable_backoff_policy();
  policy->Clear();
  policy->set_max_attempts(group.retry.max_attempts);
  if (settings->user_agent().language() == pb::NODE_JS) {
    SetExponential(delays.front(), delays.back(), policy);
  } else {
    for (const absl::Duration delay : delays) *policy->mutable_customized_backoff()->add_next() = ToProto(delay);
  }
  pb::Subscription* subscription = settings->mutable_subscription();
  subscription->set_fifo(group.order == index::DeliveryOrder::kFifo);
  subscription->set_receive_batch_size(options.receive_batch_size);
  *subscription->mutable_long_polling_timeout() = ToProto(options.long_polling_timeout);
}

}  // namespace

absl::Status CheckSettings(const pb::Settings& settings, const CallInfo& call, const CheckFilter& check_filter) {
  if (settings.client_type() == pb::LITE_PUSH_CONSUMER || settings.client_type() == pb::LITE_SIMPLE_CONSUMER)
    return errors::UnrecognizedClientType("lite consumers are not served");
  FULMAR_RETURN_IF_ERROR(CheckClientProperties(settings));
  if (settings.has_subscription()) return CheckSubscription(settings.subscription(), call, check_filter);
  if (!settings.has_publishing()) return errors::BadRequest("the settings are neither a producer's nor a consumer's");
  for (const pb::Resource& topic : settings.publishing().topics()) FULMAR_RETURN_IF_ERROR(index::CheckTopicName(WholeNameOf(topic, call)));
  return absl::OkStatus();
}

std::string GroupOf(const pb::Settings& settings, const CallInfo& call) {
  return settings.has_subscription() ? WholeNameOf(settings.subscription().group(), call) : std::string();
}

std::vector<std::string> TopicsOf(const pb::Settings& settings, const CallInfo& call) {
  std::vector<std::string> topics;
  for (const pb::SubscriptionEntry& entry : settings.subscription().subscriptions()) topics.push_back(WholeNameOf(entry.topic(), call));
  return topics;
}

pb::Settings AnswerSettings(pb::Settings settings, const index::GroupDefinition* group, const SettingsOptions& options) {
  if (group != nullptr) FillConsumer(*group, options, &settings);
  else FillProducer(options, &settings);
  settings.mutable_metric()->Clear();  // off: there is no collector to report to
  return settings;
}

}  // namespace fulmar::v2edge
