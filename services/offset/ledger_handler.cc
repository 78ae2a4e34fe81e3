#include "services/offset/ledger_handler.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "services/offset/offset_convert.h"

namespace fulmar::offset {
namespace {

namespace pb = ledger::v1;

// Absurd ones become far ones, which the limits refuse; one that is there and zero must not mean "missing".
absl::Duration ToDuration(bool has, const google::protobuf::Duration& duration) {
  if (!has) return absl::ZeroDuration();
  const absl::Duration time = absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
  return time == absl::ZeroDuration() ? absl::Nanoseconds(1) : time;
}

void SetTime(int64_t unix_ms, google::protobuf::Timestamp* out) {
  out->set_seconds(unix_ms / 1000);
  out->set_nanos(static_cast<int32_t>(unix_ms % 1000) * 1'000'000);
}

void Fill(const LedgerEntry& entry, pb::Entry* out) {
  const bool done = entry.state == LedgerEntry::State::kCompleted;
  out->set_group(entry.group);
  out->set_key(entry.key);
  out->set_state(done ? pb::Entry::DONE : pb::Entry::BEGUN);
  out->set_token(entry.token);
  out->set_holder(entry.holder);
  if (done) SetTime(entry.completed_ms, out->mutable_completed());
  else SetTime(entry.lease_until_ms, out->mutable_lease_until());
  SetTime(entry.expires_ms, out->mutable_expires());
  out->set_result(entry.result);
}

pb::BeginResponse::Outcome ToProto(LedgerBegun::Outcome outcome) {
  switch (outcome) {
    case LedgerBegun::Outcome::kStarted: return pb::BeginResponse::STARTED;
    case LedgerBegun::Outcome::kHeld: return pb::BeginResponse::HELD;
    case LedgerBegun::Outcome::kCompleted: return pb::BeginResponse::COMPLETED;
  }
  return pb::BeginResponse::OUTCOME_UNSPECIFIED;
}

void Finish(common::UnaryCall* call, const absl::Status& status) { call->Finish(ToGrpc(status, call->context())); }

}  // namespace

LedgerHandler::LedgerHandler(LedgerStore& ledger) : RpcService("fulmar.ledger.v1.LedgerService"), ledger_(ledger) {
  AddUnary("Begin", &LedgerHandler::Begin);
  AddUnary("Complete", &LedgerHandler::Complete);
  AddUnary("Abandon", &LedgerHandler::Abandon);
  AddUnary("Get", &LedgerHandler::Get);
}

void LedgerHandler::Begin(common::UnaryCall* call, const pb::BeginRequest* request, pb::BeginResponse* response) {
  ledger_.LedgerBegin({.group = request->group(),
                       .key = request->key(),
                       .holder = request->holder(),
                       .lease = ToDuration(request->has_lease(), request->lease()),
                       .ttl = ToDuration(request->has_ttl(), request->ttl())},
                      [call, response](absl::StatusOr<LedgerBegun> begun) {
                        if (begun.ok()) {
                          response->set_outcome(ToProto(begun->outcome));
                          Fill(begun->entry, response->mutable_entry());
                        }
                        Finish(call, begun.status());
                      });
}

void LedgerHandler::Complete(common::UnaryCall* call, const pb::CompleteRequest* request, pb::CompleteResponse* response) {
  ledger_.LedgerComplete({.group = request->group(),
                          .key = request->key(),
                          .token = request->token(),
                          .result = request->result(),
                          .ttl = ToDuration(request->has_ttl(), request->ttl())},
                         [call, response](absl::StatusOr<LedgerEntry> entry) {
                           if (entry.ok()) Fill(*entry, response->mutable_entry());
                           Finish(call, entry.status());
                         });
}

void LedgerHandler::Abandon(common::UnaryCall* call, const pb::AbandonRequest* request, pb::AbandonResponse*) {
  ledger_.LedgerAbandon(request->group(), request->key(), request->token(), [call](absl::Status status) { Finish(call, status); });
}

void LedgerHandler::Get(common::UnaryCall* call, const pb::GetRequest* request, pb::GetResponse* response) {
  ledger_.LedgerGet(request->group(), request->key(), [call, response](absl::StatusOr<LedgerEntry> entry) {
    if (entry.ok()) Fill(*entry, response->mutable_entry());
    Finish(call, entry.status());
  });
}

}  // namespace fulmar::offset
