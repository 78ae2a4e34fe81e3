#include "services/common/host_port.h"

#include <gtest/gtest.h>

namespace fulmar::common {
namespace {

TEST(ParseHostPortTest, TakesNamesAndBothKindsOfAddresses) {
  EXPECT_EQ(ParseHostPort("127.0.0.1:8081").value(), (HostPort{"127.0.0.1", 8081}));
  EXPECT_EQ(ParseHostPort("broker-0.example.org:0").value(), (HostPort{"broker-0.example.org", 0}));
  EXPECT_EQ(ParseHostPort("[::1]:65535").value(), (HostPort{"::1", 65535}));
}

TEST(ParseHostPortTest, RefusesEverythingElseAndSaysWhy) {
  for (const char* text : {"", "8081", "localhost", "localhost:", ":8081", "::1:8081", "a b:1", "a:65536", "a:-1",
                           "a:+1", "a: 1", "a:1x", "a/b:1", "[]:1", "[::1:1", "a:99999999999"}) {
    const absl::Status status = ParseHostPort(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_TRUE(std::string(status.message()).find("is not HOST:PORT: ") != std::string::npos) << status;
  }
}

TEST(FormatHostPortTest, IsTheInverse) {
  for (const char* text : {"127.0.0.1:8081", "[::1]:1", "host:0"})
    EXPECT_EQ(FormatHostPort(ParseHostPort(text).value()), text);
}

}  // namespace
}  // namespace fulmar::common
