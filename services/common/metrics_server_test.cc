#include "services/common/metrics_server.h"

#include <httplib.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fulmar::common {
namespace {

using ::testing::HasSubstr;

class MetricsServerTest : public ::testing::Test {
 protected:
  MetricsServerTest() {
    auto started = MetricsServer::Start("127.0.0.1:0", metrics_, [this] {
      return healthy_ ? absl::OkStatus() : absl::DataLossError("sync of the log failed");
    });
    EXPECT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
  }

  httplib::Result Get(const std::string& path) { return httplib::Client("127.0.0.1", server_->port()).Get(path); }

  Metrics metrics_;
  std::atomic<bool> healthy_{true};
  std::unique_ptr<MetricsServer> server_;
};

TEST_F(MetricsServerTest, ShowsMetricsAsTheyAreNow) {
  Counter& counter = metrics_.AddCounter("fulmar_sent_total", "Sent.");
  EXPECT_THAT(Get("/metrics")->body, HasSubstr("fulmar_sent_total 0\n"));

  counter.Add(3);

  const httplib::Result result = Get("/metrics");
  EXPECT_EQ(result->status, 200);
  EXPECT_THAT(result->get_header_value("Content-Type"), HasSubstr("text/plain; version=0.0.4"));
  EXPECT_THAT(result->body, HasSubstr("fulmar_sent_total 3\n"));
}

TEST_F(MetricsServerTest, HealthIs503WithTheReasonWhenItIsNot) {
  EXPECT_EQ(Get("/healthz")->status, 200);
  EXPECT_EQ(Get("/healthz")->body, "ok\n");

  healthy_ = false;

  EXPECT_EQ(Get("/healthz")->status, 503);
  EXPECT_EQ(Get("/healthz")->body, "sync of the log failed\n");
}

TEST_F(MetricsServerTest, OtherPathsAreNotFound) { EXPECT_EQ(Get("/other")->status, 404); }

TEST_F(MetricsServerTest, APortThatIsTakenIsAnErrorWithAReason) {
  const absl::Status status =
      MetricsServer::Start(absl::StrCat("127.0.0.1:", server_->port()), metrics_, [] { return absl::OkStatus(); })
          .status();

  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("Address already in use"));
}

TEST_F(MetricsServerTest, AnAddressThatIsNoneIsRefused) {
  EXPECT_EQ(MetricsServer::Start("9464", metrics_, [] { return absl::OkStatus(); }).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MetricsServer::Start("host.invalid:0", metrics_, [] { return absl::OkStatus(); }).status().code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace fulmar::common
