// The ledger over a real connection: what is translated, and every error as a client meets it.
#include "services/offset/ledger_handler.h"

#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"
#include "fulmar/ledger/v1/ledger.grpc.pb.h"
#include "services/common/errors.h"
#include "services/common/grpc/grpc_server.h"

namespace fulmar::offset {
namespace {

namespace pb = ledger::v1;

// Remembers what it was asked, answers what it was told.
class FakeLedger final : public LedgerStore {
 public:
  void LedgerBegin(offset::LedgerBegin begin, index::Done<LedgerBegun> done) override {
    begun = std::move(begin);
    if (!error.ok()) return std::move(done)(error);
    std::move(done)(LedgerBegun{outcome, entry});
  }
  void LedgerComplete(offset::LedgerComplete complete, index::Done<LedgerEntry> done) override {
    completed = std::move(complete);
    if (!error.ok()) return std::move(done)(error);
    std::move(done)(entry);
  }
  void LedgerAbandon(std::string group, std::string key, uint64_t token, index::DoneStatus done) override {
    abandoned = absl::StrCat(group, "/", key, "/", token);
    std::move(done)(error);
  }
  void LedgerGet(std::string group, std::string key, index::Done<LedgerEntry> done) override {
    asked = absl::StrCat(group, "/", key);
    if (!error.ok()) return std::move(done)(error);
    std::move(done)(entry);
  }

  absl::Status error;
  LedgerBegun::Outcome outcome = LedgerBegun::Outcome::kStarted;
  LedgerEntry entry{.group = "g", .key = "k", .token = 7, .lease_until_ms = 1'500, .expires_ms = 2'001, .holder = "h"};
  offset::LedgerBegin begun;
  offset::LedgerComplete completed;
  std::string abandoned, asked;
};

class LedgerHandlerTest : public testing::Test {
 protected:
  void SetUp() override {
    server_ = common::GrpcServer::Create({.listen = "127.0.0.1:0"}, metrics_).value();
    server_->AddService(handler_);
    ASSERT_TRUE(server_->Start().ok());
    stub_ = pb::LedgerService::NewStub(grpc::CreateChannel(absl::StrCat("127.0.0.1:", server_->port()), grpc::InsecureChannelCredentials()));
  }

  template <class Request, class Response>
  grpc::Status Call(grpc::Status (pb::LedgerService::Stub::*method)(grpc::ClientContext*, const Request&, Response*), const Request& request, Response& response,
                    std::string* v2_code = nullptr) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    const grpc::Status status = ((*stub_).*method)(&context, request, &response);
    const auto& trailer = context.GetServerTrailingMetadata();
    if (const auto found = trailer.find("fulmar-v2-code"); v2_code != nullptr && found != trailer.end()) v2_code->assign(found->second.data(), found->second.size());
    return status;
  }

  FakeLedger ledger_;
  common::Metrics metrics_;
  LedgerHandler handler_{ledger_};
  std::unique_ptr<common::GrpcServer> server_;
  std::unique_ptr<pb::LedgerService::Stub> stub_;
};

TEST_F(LedgerHandlerTest, BeginCarriesEverythingBothWays) {
  pb::BeginRequest request;
  request.set_group("g");
  request.set_key("k");
  request.set_holder("h");
  request.mutable_lease()->set_seconds(5);
  request.mutable_ttl()->set_nanos(7);
  pb::BeginResponse response;

  ASSERT_TRUE(Call(&pb::LedgerService::Stub::Begin, request, response).ok());

  EXPECT_EQ(ledger_.begun.group, "g");
  EXPECT_EQ(ledger_.begun.key, "k");
  EXPECT_EQ(ledger_.begun.holder, "h");
  EXPECT_EQ(ledger_.begun.lease, absl::Seconds(5));
  EXPECT_EQ(ledger_.begun.ttl, absl::Nanoseconds(7));
  EXPECT_EQ(response.outcome(), pb::BeginResponse::STARTED);
  EXPECT_EQ(response.entry().token(), 7u);
  EXPECT_EQ(response.entry().state(), pb::Entry::BEGUN);
  EXPECT_EQ(response.entry().lease_until().seconds(), 1);
  EXPECT_EQ(response.entry().lease_until().nanos(), 500'000'000);
  EXPECT_EQ(response.entry().expires().nanos(), 1'000'000);
  EXPECT_FALSE(response.entry().has_completed());
}

TEST_F(LedgerHandlerTest, AMissingTimeIsTheDefaultAndAZeroOneIsNot) {
  pb::BeginRequest request;
  pb::BeginResponse response;
  request.mutable_ttl();
  ASSERT_TRUE(Call(&pb::LedgerService::Stub::Begin, request, response).ok());
  EXPECT_EQ(ledger_.begun.lease, absl::ZeroDuration());
  EXPECT_NE(ledger_.begun.ttl, absl::ZeroDuration());
}

TEST_F(LedgerHandlerTest, EveryOutcomeHasItsNumber) {
  using Outcome = LedgerBegun::Outcome;
  for (const auto& [outcome, number] :
       {std::pair(Outcome::kStarted, pb::BeginResponse::STARTED), std::pair(Outcome::kHeld, pb::BeginResponse::HELD), std::pair(Outcome::kCompleted, pb::BeginResponse::COMPLETED)}) {
    ledger_.outcome = outcome;
    pb::BeginResponse response;
    ASSERT_TRUE(Call(&pb::LedgerService::Stub::Begin, pb::BeginRequest(), response).ok());
    EXPECT_EQ(response.outcome(), number);
  }
}

TEST_F(LedgerHandlerTest, CompleteAbandonAndGet) {
  ledger_.entry.state = LedgerEntry::State::kCompleted;
  ledger_.entry.completed_ms = 9'000;
  ledger_.entry.result = std::string("r\0", 2);
  pb::CompleteRequest complete;
  complete.set_group("g");
  complete.set_key("k");
  complete.set_token(UINT64_MAX);
  complete.set_result(std::string("x\0", 2));
  pb::CompleteResponse completed;
  ASSERT_TRUE(Call(&pb::LedgerService::Stub::Complete, complete, completed).ok());
  EXPECT_EQ(ledger_.completed.token, UINT64_MAX);
  EXPECT_EQ(ledger_.completed.result, std::string("x\0", 2));
  EXPECT_EQ(completed.entry().state(), pb::Entry::DONE);
  EXPECT_EQ(completed.entry().completed().seconds(), 9);
  EXPECT_EQ(completed.entry().result(), std::string("r\0", 2));

  pb::AbandonRequest abandon;
  abandon.set_group("g");
  abandon.set_key("k");
  abandon.set_token(5);
  pb::AbandonResponse abandoned;
  ASSERT_TRUE(Call(&pb::LedgerService::Stub::Abandon, abandon, abandoned).ok());
  EXPECT_EQ(ledger_.abandoned, "g/k/5");

  pb::GetRequest get;
  get.set_group("g");
  get.set_key("k2");
  pb::GetResponse got;
  ASSERT_TRUE(Call(&pb::LedgerService::Stub::Get, get, got).ok());
  EXPECT_EQ(ledger_.asked, "g/k2");
  EXPECT_EQ(got.entry().holder(), "h");
}

TEST_F(LedgerHandlerTest, ErrorsAreStatusesWithTheCodeOfTheProtocol) {
  ledger_.error = errors::PreconditionFailed("not yours");
  pb::CompleteResponse completed;
  EXPECT_EQ(Call(&pb::LedgerService::Stub::Complete, pb::CompleteRequest(), completed).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  ledger_.error = errors::IllegalConsumerGroup("bad name");
  std::string code;
  pb::BeginResponse begun;
  EXPECT_EQ(Call(&pb::LedgerService::Stub::Begin, pb::BeginRequest(), begun, &code).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code, "40003");
  ledger_.error = errors::NotFound("nothing");
  pb::GetResponse got;
  const grpc::Status status = Call(&pb::LedgerService::Stub::Get, pb::GetRequest(), got);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "nothing");
  ledger_.error = absl::UnavailableError("no leader");
  pb::AbandonResponse abandoned;
  EXPECT_EQ(Call(&pb::LedgerService::Stub::Abandon, pb::AbandonRequest(), abandoned).error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace fulmar::offset
