#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "fulmar/ledger/v1/ledger.grpc.pb.h"
#include "tools/fulmarctl/commands.h"
#include "tools/fulmarctl/output.h"

namespace fulmar::ctl {
namespace {

using ledger::v1::Entry;
using ledger::v1::LedgerService;
using nlohmann::ordered_json;

std::string StateText(const Entry& entry) {
  if (entry.state() == Entry::DONE) return "completed";
  return TimeOf(entry.lease_until()) > absl::Now() ? "begun" : "lease over";
}

ordered_json ToJson(const Entry& entry) {
  ordered_json out = {{"group", entry.group()},
                      {"key", absl::Utf8SafeCHexEscape(entry.key())},
                      {"state", StateText(entry)},
                      {"token", entry.token()},
                      {"holder", entry.holder()},
                      {"leaseUntil", nullptr},
                      {"completed", nullptr},
                      {"expires", TimeText(TimeOf(entry.expires()))},
                      {"resultBase64", absl::Base64Escape(entry.result())}};
  if (entry.has_lease_until()) out["leaseUntil"] = TimeText(TimeOf(entry.lease_until()));
  if (entry.has_completed()) out["completed"] = TimeText(TimeOf(entry.completed()));
  return out;
}

void Print(const Entry& entry) {
  std::cout << "key        " << absl::Utf8SafeCHexEscape(entry.key()) << " of group " << entry.group() << "\n"
            << "state      " << StateText(entry) << "\n"
            << "token      " << entry.token() << "\n"
            << "holder     " << entry.holder() << "\n";
  if (entry.has_lease_until()) std::cout << "lease      until " << TimeText(TimeOf(entry.lease_until())) << "\n";
  if (entry.has_completed()) std::cout << "completed  " << TimeText(TimeOf(entry.completed())) << "\n";
  std::cout << "forgotten  " << TimeText(TimeOf(entry.expires())) << "\n";
  if (!entry.result().empty()) std::cout << "result     " << absl::Utf8SafeCHexEscape(entry.result()) << "\n";
}

absl::Status Get(Session& session, const std::string& group, const std::string& key, bool json) {
  ledger::v1::GetRequest request;
  request.set_group(group);
  request.set_key(key);
  ledger::v1::GetResponse response;
  const auto context = session.NewContext();
  const grpc::Status status = LedgerService::NewStub(session.channel())->Get(context.get(), request, &response);
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
    return absl::UnimplementedError(absl::StrCat(session.options().endpoint, " has no ledger: use the endpoint of the offset service, or of a standalone server"));
  }
  if (!status.ok()) return session.ToStatus(status);
  if (json) std::cout << ToJson(response.entry()).dump() << "\n";
  else Print(response.entry());
  return absl::OkStatus();
}

}  // namespace

void AddLedgerCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* ledger = app.add_subcommand("ledger", "Look at the consumption ledger (of the offset service, or standalone)")->require_subcommand(1);
  struct Arguments {
    std::string group, key;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* get = ledger->add_subcommand("get", "Who works on a business key of a group, or when it was completed");
  get->add_option("GROUP", arguments->group, "The consumer group's name")->required();
  get->add_option("KEY", arguments->key, "The business key")->required();
  get->callback([&invocation, arguments] {
    invocation.run = [&invocation, arguments](Session& session) { return Get(session, arguments->group, arguments->key, invocation.json); };
  });
}

}  // namespace fulmar::ctl
