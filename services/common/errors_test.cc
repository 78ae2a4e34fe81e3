#include "services/common/errors.h"

#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace fulmar {
namespace {

struct Row {
  absl::Status status;
  absl::StatusCode absl_code;
  std::string v2_name;
  int v2_number;
  Retry retry;
};

std::vector<Row> AllRows() {
  return {
#define ROW(name, absl_code, v2_name, v2_number, retry) \
  Row{errors::name("why"), absl::StatusCode::k##absl_code, #v2_name, v2_number, Retry::retry},
      FULMAR_ERRORS(ROW)
#undef ROW
  };
}

TEST(ErrorTableTest, EveryRowComesBackFromItsStatus) {
  for (const Row& row : AllRows()) {
    SCOPED_TRACE(row.v2_name);
    EXPECT_EQ(row.status.code(), row.absl_code);
    EXPECT_EQ(row.status.message(), "why");
    EXPECT_EQ(V2CodeOf(row.status), row.v2_number);
    EXPECT_EQ(V2CodeName(row.v2_number), row.v2_name);
    EXPECT_EQ(RetryOf(row.status), row.retry);
  }
}

TEST(ErrorTableTest, NumbersAndNamesAreThereOnce) {
  std::set<int> numbers;
  std::set<std::string> names;
  for (const Row& row : AllRows()) {
    EXPECT_TRUE(numbers.insert(row.v2_number).second) << row.v2_name;
    EXPECT_TRUE(names.insert(row.v2_name).second) << row.v2_name;
  }
}

// Clients decide by the first digits whose fault it was.
TEST(ErrorTableTest, OnlyWhatIsNotTheClientsFaultMayBeRetried) {
  for (const Row& row : AllRows()) {
    SCOPED_TRACE(row.v2_name);
    const bool clients_fault = row.v2_number < 50000 && row.v2_number / 100 != 429;
    const bool never_there = row.absl_code == absl::StatusCode::kUnimplemented;
    EXPECT_EQ(row.retry == Retry::kNo, clients_fault || never_there);
    EXPECT_TRUE(clients_fault || row.absl_code != absl::StatusCode::kInvalidArgument);
  }
}

TEST(V2CodeOfTest, FallsBackToTheAbslCodeOfStatusesFromElsewhere) {
  EXPECT_EQ(V2CodeOf(absl::OkStatus()), 20000);
  EXPECT_EQ(V2CodeOf(absl::ResourceExhaustedError("")), 42900);
  EXPECT_EQ(V2CodeOf(absl::NotFoundError("")), 40400);
  EXPECT_EQ(V2CodeOf(absl::UnavailableError("")), 50002);
  EXPECT_EQ(V2CodeOf(absl::UnimplementedError("")), 50100);
  EXPECT_EQ(V2CodeOf(absl::InvalidArgumentError("")), 40000);
  EXPECT_EQ(V2CodeOf(absl::DataLossError("")), 50001);
  EXPECT_EQ(V2CodeOf(absl::InternalError("")), 50001);
}

TEST(V2CodeNameTest, KnowsTheCodesThatAreNoErrors) {
  EXPECT_EQ(V2CodeName(20000), "OK");
  EXPECT_EQ(V2CodeName(30000), "MULTIPLE_RESULTS");
  EXPECT_EQ(V2CodeName(12345), "CODE_UNSPECIFIED");
}

}  // namespace
}  // namespace fulmar
