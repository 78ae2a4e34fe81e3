#include "services/common/options.h"

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fulmar::sample {

#define SAMPLE_OPTIONS(OPTION) /* type, name, default, check, when it applies, what it does */                       \
  OPTION(int64_t, log_segment_bytes, 256_MiB, Between(1_MiB, 2048_MiB), kRestart,                                    \
         "Size in bytes at which the commit log starts a new segment file.")                                         \
  OPTION(absl::Duration, progress_flush_interval, absl::Milliseconds(100),                                           \
         ZeroOrBetween(absl::Milliseconds(1), absl::Seconds(10)), kRestart, "How often progress is flushed.")        \
  OPTION(bool, auto_create_topics, true, Any(), kLive, "Make a topic when it is first used.")                        \
  OPTION(int32_t, auto_create_queues, 4, Between(1, 1024), kLive, "Queues of such a topic.")                         \
  OPTION(std::string, durability, "sync", OneOf("sync", "async"), kRestart, "Default of topics; a | in the text.")   \
  OPTION(std::string, advertise, "", HostPortOrEmpty(), kRestart, "Address for clients.")                            \
  OPTION(std::vector<std::string>, registries, (std::vector<std::string>{"127.0.0.1:8080", "127.0.0.1:8081"}),       \
         IsHostPort(), kRestart, "Where to announce.")                                                               \
  OPTION(double, jitter, 0.25, Between(0.0, 1.0), kRestart, "Spread of retries.")
FULMAR_OPTIONS(BrokerOptions, "broker", "log progress", SAMPLE_OPTIONS);

#define OTHER_OPTIONS(OPTION) OPTION(std::string, dir, "data", NotEmpty(), kRestart, "Where data is.")
FULMAR_OPTIONS(StorageOptions, "storage", "", OTHER_OPTIONS);

}  // namespace fulmar::sample

namespace fulmar::common {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class OptionsTest : public ::testing::Test {
 protected:
  OptionsTest() {
    broker_.Join(set_);
    storage_.Join(set_);
  }

  std::vector<std::string> Errors(const OptionSources& sources) {
    const absl::Status status = set_.Load(sources);
    std::vector<std::string> lines;
    if (!status.ok()) lines = absl::StrSplit(status.message(), "\n  ");
    if (!lines.empty()) lines.erase(lines.begin());
    return lines;
  }

  sample::BrokerOptions broker_;
  sample::StorageOptions storage_;
  OptionSet set_;
};

TEST_F(OptionsTest, WithoutSourcesEveryFieldHasItsDefault) {
  ASSERT_TRUE(set_.Load({}).ok());

  EXPECT_EQ(broker_.log_segment_bytes, 256 << 20);
  EXPECT_EQ(broker_.durability, "sync");
  EXPECT_THAT(broker_.registries, ElementsAre("127.0.0.1:8080", "127.0.0.1:8081"));
}

TEST_F(OptionsTest, EveryTypeIsReadFromYaml) {
  ASSERT_THAT(Errors({.yaml = R"(
broker:
  log: {segment_bytes: 64MiB}
  progress:
    flush_interval: 1m30s
  auto_create_topics: false
  auto_create_queues: 8
  durability: "async"
  advertise: "[::1]:8081"
  registries: [a:1, b:2]
  jitter: 0.5
storage.dir: /data
)",
                      .yaml_name = "f.yaml"}),
              ElementsAre("f.yaml:5: 'broker.progress.flush_interval' = '1m30s' must be 0 or between 1ms and 10s"));

  // The bad value leaves its field alone, and only that.
  EXPECT_EQ(broker_.log_segment_bytes, 64 << 20);
  EXPECT_EQ(broker_.progress_flush_interval, absl::Milliseconds(100));
  EXPECT_FALSE(broker_.auto_create_topics);
  EXPECT_EQ(broker_.auto_create_queues, 8);
  EXPECT_EQ(broker_.durability, "async");
  EXPECT_EQ(broker_.advertise, "[::1]:8081");
  EXPECT_THAT(broker_.registries, ElementsAre("a:1", "b:2"));
  EXPECT_EQ(broker_.jitter, 0.5);
  EXPECT_EQ(storage_.dir, "/data");
}

TEST_F(OptionsTest, DefaultIsWeakerThanFileThanEnvironmentThanFlag) {
  OptionSources sources{.yaml = "broker: {auto_create_queues: 5}", .yaml_name = "f.yaml"};
  ASSERT_TRUE(set_.Load(sources).ok());
  EXPECT_EQ(broker_.auto_create_queues, 5);

  sources.environment = {{"FULMAR_BROKER_AUTO_CREATE_QUEUES", "6"}};
  ASSERT_TRUE(set_.Load(sources).ok());
  EXPECT_EQ(broker_.auto_create_queues, 6);

  sources.flags = {"--broker.auto_create_queues", "7"};
  ASSERT_TRUE(set_.Load(sources).ok());
  EXPECT_EQ(broker_.auto_create_queues, 7);
}

TEST_F(OptionsTest, FlagsComeInBothForms) {
  ASSERT_TRUE(set_.Load({.flags = {"--broker.log.segment_bytes=2MiB", "--broker.auto_create_topics=false",
                                   "--storage.dir", "/a=b", "--broker.registries=a:1,b:2"}})
                  .ok());
  EXPECT_EQ(broker_.log_segment_bytes, 2 << 20);
  EXPECT_FALSE(broker_.auto_create_topics);
  EXPECT_EQ(storage_.dir, "/a=b");
  EXPECT_THAT(broker_.registries, ElementsAre("a:1", "b:2"));

  ASSERT_TRUE(set_.Load({.flags = {"--broker.auto_create_topics"}}).ok());
  EXPECT_TRUE(broker_.auto_create_topics);
}

TEST_F(OptionsTest, AllErrorsOfAllSourcesAreNamedAtOnceWithTheNearestName) {
  const std::vector<std::string> errors =
      Errors({.yaml = "broker:\n  log:\n    segment_byte: 1\n  durability: never\nstorage:\n  dir: [a, b]\n",
              .yaml_name = "f.yaml",
              .environment = {{"FULMAR_BROKER_REGISTRYS", "a:1"}, {"FULMAR_BROKER_JITTER", "much"}},
              .flags = {"--broker.advertize=x", "--broker.log.segment_bytes", "5", "loose", "--storage.dir"}});

  EXPECT_THAT(
      errors,
      ElementsAre("f.yaml:3: unknown key 'broker.log.segment_byte', did you mean 'broker.log.segment_bytes'?",
                  "f.yaml:4: 'broker.durability' = 'never' must be one of sync, async",
                  "f.yaml:6: 'storage.dir' is a list or a map, not one value",
                  "environment FULMAR_BROKER_REGISTRYS: unknown variable, did you mean 'FULMAR_BROKER_REGISTRIES'?",
                  "environment FULMAR_BROKER_JITTER: 'broker.jitter' = 'much' is not a number, such as 0.5",
                  "--broker.advertize: unknown flag, did you mean '--broker.advertise'?",
                  "--broker.log.segment_bytes: 'broker.log.segment_bytes' = '5' must be between 1MiB and 2GiB",
                  "loose: unexpected argument", "--storage.dir: the value is missing"));
}

TEST_F(OptionsTest, AFileThatIsNotYamlIsNamedWithItsLine) {
  EXPECT_THAT(Errors({.yaml = "broker:\n  log: [1, 2\nx: }", .yaml_name = "f.yaml"}),
              ElementsAre(HasSubstr("is not YAML")));
  EXPECT_THAT(Errors({.yaml = "- a\n- b\n", .yaml_name = "f.yaml"}),
              ElementsAre("f.yaml: is not a map of sections and keys"));
}

TEST_F(OptionsTest, AnEmptyFileAndEmptySectionsAreFine) {
  EXPECT_THAT(Errors({.yaml = "", .yaml_name = "f.yaml"}), ElementsAre());
  EXPECT_THAT(Errors({.yaml = "# nothing\n", .yaml_name = "f.yaml"}), ElementsAre());
  EXPECT_THAT(Errors({.yaml = "broker:\n  log:\nstorage:\n  dir:\n", .yaml_name = "f.yaml"}), ElementsAre());
  EXPECT_EQ(storage_.dir, "data");
}

TEST_F(OptionsTest, AKeyThatIsThereTwiceIsAnError) {
  EXPECT_THAT(Errors({.yaml = "broker: {log: {segment_bytes: 1MiB}}\nbroker.log.segment_bytes: 2MiB\n",
                      .yaml_name = "f.yaml"}),
              ElementsAre("f.yaml:2: 'broker.log.segment_bytes' is there twice"));
}

TEST_F(OptionsTest, VariablesOfKubernetesAndOfOthersArePassedOver) {
  EXPECT_THAT(Errors({.environment = {{"FULMAR_BROKER_SERVICE_HOST", "10.0.0.1"},
                                      {"FULMAR_BROKER_SERVICE_PORT_GRPC", "8081"},
                                      {"FULMAR_BROKER_PORT", "tcp://10.0.0.1:8081"},
                                      {"FULMAR_BROKER_PORT_8081_TCP_ADDR", "10.0.0.1"},
                                      {"FULMAR_SEED", "5"},
                                      {"PATH", "/bin"}}}),
              ElementsAre());
}

TEST_F(OptionsTest, NothingNearIsSuggestedForNonsense) {
  EXPECT_THAT(Errors({.flags = {"--zzz=1"}}), ElementsAre("--zzz: unknown flag"));
}

TEST_F(OptionsTest, TheYamlOfDefaultsLoadsWithoutChangingAnything) {
  const std::string defaults = set_.DescribeYaml();
  EXPECT_THAT(defaults, HasSubstr("broker:\n  log:\n    # Size in bytes"));

  ASSERT_THAT(Errors({.yaml = defaults, .yaml_name = "f.yaml"}), ElementsAre());

  EXPECT_EQ(set_.DescribeYaml(), defaults);
  for (const Option& option : set_.options()) EXPECT_EQ(option.get(), option.default_value) << option.key;
}

TEST_F(OptionsTest, TheEffectiveYamlGivesTheSameValuesAgain) {
  ASSERT_TRUE(set_.Load({.flags = {"--broker.registries=a:1", "--broker.progress.flush_interval=0",
                                   "--storage.dir=with: colon # and hash"}})
                  .ok());
  sample::BrokerOptions broker;
  sample::StorageOptions storage;
  OptionSet other;
  broker.Join(other);
  storage.Join(other);

  ASSERT_TRUE(other.Load({.yaml = set_.EffectiveYaml(), .yaml_name = "f.yaml"}).ok());

  EXPECT_THAT(broker.registries, ElementsAre("a:1"));
  EXPECT_EQ(broker.progress_flush_interval, absl::ZeroDuration());
  EXPECT_EQ(storage.dir, "with: colon # and hash");
}

TEST_F(OptionsTest, TheTableHasARowPerOption) {
  const std::string table = set_.DescribeMarkdown();

  EXPECT_THAT(table, HasSubstr("## broker\n"));
  EXPECT_THAT(table, HasSubstr("| `broker.log.segment_bytes` | bytes | `256MiB` | between 1MiB and 2GiB | after a "
                               "restart | Size in bytes at which the commit log starts a new segment file. |\n"));
  EXPECT_THAT(table, HasSubstr("| Default of topics; a \\| in the text. |\n"));
  EXPECT_THAT(table, HasSubstr("\n## storage\n"));
}

TEST_F(OptionsTest, AKeyGivesFlagAndEnvironment) {
  const Option* option = set_.Find("broker.log.segment_bytes");

  ASSERT_NE(option, nullptr);
  EXPECT_EQ(option->Flag(), "--broker.log.segment_bytes");
  EXPECT_EQ(option->Environment(), "FULMAR_BROKER_LOG_SEGMENT_BYTES");
  EXPECT_EQ(set_.Find("broker.log"), nullptr);
}

TEST(OptionKeyTest, OnlyNamedGroupsBecomeLevels) {
  EXPECT_EQ(OptionKey("broker", "log progress", "log_segment_bytes"), "broker.log.segment_bytes");
  EXPECT_EQ(OptionKey("broker", "log progress", "logs_kept"), "broker.logs_kept");
  EXPECT_EQ(OptionKey("broker", "", "log_segment_bytes"), "broker.log_segment_bytes");
}

TEST(NearestNameTest, FindsTheSmallestEditDistance) {
  EXPECT_EQ(NearestName("kitten", {"sitting", "kitchen", "mitten"}), "mitten");
  EXPECT_EQ(NearestName("", {"abcdef"}), "");
}

TEST(OptionSetDeathTest, TwoOptionsThatCannotBeToldApartStopTheProcess) {
  OptionSet set;
  int32_t value = 0;
  set.Add(MakeOption("a.b_c", value, option_checks::Any(), ApplyWhen::kRestart, ""));

  EXPECT_DEATH(set.Add(MakeOption("a.b_c", value, option_checks::Any(), ApplyWhen::kRestart, "")), "a.b_c");
  EXPECT_DEATH(set.Add(MakeOption("a.b.c", value, option_checks::Any(), ApplyWhen::kRestart, "")), "a.b.c");
}

TEST(SystemEnvironmentTest, HoldsWhatIsSet) {
  setenv("FULMAR_OPTIONS_TEST", "a=b", 1);
  EXPECT_THAT(SystemEnvironment(), ::testing::Contains(std::make_pair("FULMAR_OPTIONS_TEST", "a=b")));
}

}  // namespace
}  // namespace fulmar::common
