#ifndef FULMAR_TOOLS_FULMARCTL_COMMANDS_H_
#define FULMAR_TOOLS_FULMARCTL_COMMANDS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "tools/fulmarctl/session.h"

namespace fulmar::ctl {

// What every command gets. `run` is set by the command that was chosen while the command line is parsed; main() then runs it.
struct Invocation {
  SessionOptions session;
  std::string timeout = "5s";
  bool json = false;
  std::function<absl::Status(Session&)> run;
};

// Each adds its commands to `app`.
void AddTopicCommands(CLI::App& app, Invocation& invocation);
void AddGroupCommands(CLI::App& app, Invocation& invocation);
void AddMessageCommands(CLI::App& app, Invocation& invocation);
void AddLedgerCommands(CLI::App& app, Invocation& invocation);
void AddDeadLetterCommands(CLI::App& app, Invocation& invocation);
void AddClusterCommands(CLI::App& app, Invocation& invocation);
void AddCompletionCommand(CLI::App& app, Invocation& invocation);

// A validator for options like "30s", "1h30m".
CLI::Validator DurationText();
// Of a text that it let pass.
google::protobuf::Duration DurationProto(const std::string& text);

// --quota-messages and --quota-bytes of topics and groups; not given: unchanged.
struct QuotaArguments {
  std::optional<uint64_t> messages, bytes;
};
void AddQuotaOptions(CLI::App& command, QuotaArguments& arguments, const std::string& what /* "stored", "delivered" */);
void FillQuota(const QuotaArguments& arguments, admin::v1::RateQuota& out);
std::string QuotaText(const admin::v1::RateQuota& quota);

}  // namespace fulmar::ctl

#endif  // FULMAR_TOOLS_FULMARCTL_COMMANDS_H_
