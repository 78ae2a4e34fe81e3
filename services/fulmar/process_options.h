#ifndef FULMAR_FULMAR_PROCESS_OPTIONS_H_
#define FULMAR_FULMAR_PROCESS_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "services/common/options.h"

// Every key of the configuration, each declared once. One file may serve all roles: a process reads what concerns it.
namespace fulmar {

#define SERVER_OPTIONS(OPTION)                                                                                                    \
  OPTION(std::string, listen, "127.0.0.1:8081", IsHostPort(), kRestart,                                                           \
         "Address of the gRPC port: clients, fulmarctl, other services, health, reflection. Port 0 takes a free one.")            \
  OPTION(std::string, metrics, "127.0.0.1:9464", HostPortOrEmpty(), kRestart,                                                     \
         "Address of the HTTP port for Prometheus (/metrics) and simple health checks (/healthz); empty: none.")                  \
  OPTION(std::string, advertise, "", HostPortOrEmpty(), kRestart,                                                                 \
         "Address that clients and other services reach this process at. Empty: the listen address.")                             \
  OPTION(std::string, data, "fulmar-data", NotEmpty(), kRestart, "Folder of everything that is kept; made when missing.")         \
  OPTION(std::string, tls_mode, "auto", OneOf("auto", "both", "only", "off"), kRestart,                                           \
         "both: plaintext and TLS on the one port; only: TLS, plaintext is refused; off: plaintext. auto: both when a "           \
         "certificate is given or in standalone (which makes a self-signed one), else off.")                                      \
  OPTION(std::string, tls_certificate, "", Any(), kRestart, "PEM file with the certificate chain.")                               \
  OPTION(std::string, tls_key, "", Any(), kRestart, "PEM file with the private key of the certificate.")                          \
  OPTION(int32_t, max_connections, 20000, Between(1, 1000000), kRestart, "Connections at once; further ones are closed at once.") \
  OPTION(absl::Duration, shutdown_grace, absl::Seconds(10), Between(absl::ZeroDuration(), absl::Minutes(10)), kRestart,           \
         "How long calls under way may take after SIGTERM or SIGINT.")
FULMAR_OPTIONS(ServerOptions, "server", "tls", SERVER_OPTIONS);

#define LOGGING_OPTIONS(OPTION)                                                                                  \
  OPTION(std::string, level, "info", OneOf("debug", "info", "warn", "error"), kLive,                             \
         "Least important lines that are written. At run time: fulmarctl log-level, or SIGHUP to read the file again.") \
  OPTION(std::string, format, "json", OneOf("json", "text"), kRestart, "json for machines, text for people; both on stderr.")
FULMAR_OPTIONS(LoggingOptions, "logging", "", LOGGING_OPTIONS);

#define METRICS_OPTIONS(OPTION)                                                                                     \
  OPTION(int32_t, max_series, 1000, Between(0, 1000000), kRestart,                                                  \
         "Most pairs of group and topic that get a series of their own; further ones are counted as \"other\".")
FULMAR_OPTIONS(MetricsOptions, "metrics", "", METRICS_OPTIONS);

#define DEFINITIONS_OPTIONS(OPTION)                                                                                              \
  OPTION(bool, auto_create_topics, true, Any(), kRestart, "A topic that a client names is made when it does not exist.")         \
  OPTION(bool, auto_create_groups, true, Any(), kRestart, "A consumer group that a client names is made when it does not exist.") \
  OPTION(int32_t, auto_create_queues, 4, Between(1, 1024), kRestart, "Queues per shard of a topic made that way.")
FULMAR_OPTIONS(DefinitionsOptions, "definitions", "", DEFINITIONS_OPTIONS);

#define REGISTRY_OPTIONS(OPTION)                                                                                        \
  OPTION(std::string, offset_endpoint, "127.0.0.1:8083", IsHostPort(), kRestart, "The offset service, HOST:PORT.")      \
  OPTION(std::string, route_mode, "direct", OneOf("direct", "gateway"), kRestart,                                       \
         "direct: routes carry the brokers' advertised addresses; gateway: the address that the client asked with. "    \
         "Standalone always answers as gateway.")
FULMAR_OPTIONS(RegistryOptions, "registry", "", REGISTRY_OPTIONS);

#define BROKER_OPTIONS(OPTION)                                                                                                      \
  OPTION(std::string, shard, "shard-0", NotEmpty(), kRestart, "Name of the shard; the broker name in routes. Never change it.")     \
  OPTION(std::vector<std::string>, registries, {"127.0.0.1:8081"}, IsHostPort(), kRestart, "Every registry, HOST:PORT.")            \
  OPTION(std::string, offset_endpoint, "127.0.0.1:8083", IsHostPort(), kRestart, "The offset service, HOST:PORT.")                  \
  OPTION(int64_t, log_segment_bytes, 256_MiB, Between(1_MiB, 2048_MiB), kRestart,                                                   \
         "Size in bytes at which the commit log starts a new segment file.")                                                        \
  OPTION(int64_t, log_cache_bytes, 64_MiB, Between(1_MiB, 65536_MiB), kRestart, "Recent records kept in memory for readers.")       \
  OPTION(int64_t, log_max_pending_bytes, 64_MiB, Between(1_MiB, 4096_MiB), kRestart,                                                \
         "Records waiting for the disk; above it sends are answered TOO_MANY_REQUESTS.")                                            \
  OPTION(absl::Duration, log_async_flush_interval, absl::Milliseconds(20), Between(absl::Milliseconds(1), absl::Seconds(10)),       \
         kRestart, "How long records of topics with async durability may wait for the disk (power loss may take them until then).") \
  OPTION(int32_t, receive_max_batch, 32, Between(1, 1024), kRestart, "Most messages in one answer to a receive.")                   \
  OPTION(absl::Duration, receive_min_invisible_duration, absl::Seconds(10), Between(absl::Milliseconds(1), absl::Hours(12)),        \
         kRestart, "Shortest invisible time that a receive may ask for.")                                                           \
  OPTION(absl::Duration, receive_max_invisible_duration, absl::Hours(12), Between(absl::Seconds(1), absl::Hours(24 * 30)),          \
         kRestart, "Longest invisible time that a receive or a change may ask for.")                                                \
  OPTION(absl::Duration, receive_auto_renew_duration, absl::Seconds(60), Between(absl::Seconds(1), absl::Hours(12)), kRestart,      \
         "Invisible time of a push consumer's message between two renewals by the server.")                                         \
  OPTION(absl::Duration, receive_auto_renew_limit, absl::Hours(3), Between(absl::Seconds(1), absl::Hours(24 * 30)), kRestart,       \
         "After this a push consumer's message is delivered again though its client lives.")                                        \
  OPTION(absl::Duration, receive_min_retry_delay, absl::Seconds(1), Between(absl::ZeroDuration(), absl::Minutes(10)), kRestart,     \
         "A delay of a negative acknowledgement below it counts as it.")                                                            \
  OPTION(int64_t, receive_max_parked, 20000, Between(1, 1000000), kRestart, "Receives that may wait for messages at once.")         \
  OPTION(int64_t, receive_max_in_flight_per_group, 100000, Between(1, 10000000), kRestart,                                          \
         "Messages of one group that may be out unacknowledged; then it gets only retries until some are acknowledged.")            \
  OPTION(absl::Duration, receive_priority_age_step, absl::Minutes(1), Between(absl::ZeroDuration(), absl::Hours(24 * 30)), kRestart, \
         "In a topic of type priority, waiting for so long counts as one level more; 0: strict order, low ones may starve.")        \
  OPTION(int64_t, quota_topic_messages, 0, Between(int64_t{0}, int64_t{1} << 53), kRestart,                                         \
         "Messages a second that may be sent to one topic, unless its definition says another number; 0: no bound.")                \
  OPTION(int64_t, quota_topic_bytes, 0, Between(int64_t{0}, int64_t{1} << 53), kRestart, "The same in bytes.")                      \
  OPTION(int64_t, quota_group_messages, 0, Between(int64_t{0}, int64_t{1} << 53), kRestart,                                         \
         "Messages a second that may be delivered to one group, unless its definition says another number; 0: no bound.")           \
  OPTION(int64_t, quota_group_bytes, 0, Between(int64_t{0}, int64_t{1} << 53), kRestart, "The same in bytes.")                      \
  OPTION(int64_t, quota_client_messages, 0, Between(int64_t{0}, int64_t{1} << 53), kRestart,                                        \
         "Messages a second that one client id may send, and as many that it may receive; 0: no bound.")                            \
  OPTION(int64_t, quota_client_bytes, 0, Between(int64_t{0}, int64_t{1} << 53), kRestart, "The same in bytes.")                     \
  OPTION(absl::Duration, client_silence, absl::Seconds(25), Between(absl::Seconds(1), absl::Hours(1)), kRestart,                    \
         "A client without open streams is gone after this long without a call.")                                                   \
  OPTION(absl::Duration, client_slow_silence, absl::Seconds(90), Between(absl::Seconds(1), absl::Hours(1)), kRestart,               \
         "The same for clients that beat slowly (Rust), and for open streams without any call.")                                    \
  OPTION(absl::Duration, progress_flush_interval, absl::Milliseconds(100), Between(absl::ZeroDuration(), absl::Seconds(60)),        \
         kRestart,                                                                                                                  \
         "How often acknowledgements are made durable: those of the last interval may be delivered again after a crash. "           \
         "0: an acknowledgement is answered only when it is durable.")                                                              \
  OPTION(absl::Duration, retention_time, absl::Hours(72), AtLeast(absl::Seconds(1)), kRestart, "Messages older than this go.")      \
  OPTION(int64_t, retention_bytes, 0, AtLeast(int64_t{0}), kRestart, "The oldest segments go above this size of the log; 0: no bound.") \
  OPTION(absl::Duration, retention_check_interval, absl::Seconds(30), Between(absl::Milliseconds(10), absl::Hours(1)), kRestart,    \
         "How often retention looks.")                                                                                              \
  OPTION(int64_t, trace_bytes, 128_MiB, Between(int64_t{0}, 1048576_MiB), kRestart,                                                 \
         "Disk space for what became of each message, about 40 bytes for a message that is sent, delivered and acknowledged; the oldest go. 0: none.") \
  OPTION(int64_t, index_memtable_bytes, 32_MiB, Between(1_MiB, 1024_MiB), kRestart, "Write buffer of the index (RocksDB).")         \
  OPTION(int64_t, index_block_cache_bytes, 32_MiB, Between(1_MiB, 65536_MiB), kRestart, "Read cache of the index.")
FULMAR_OPTIONS(BrokerOptions, "broker", "log receive quota client progress retention trace index", BROKER_OPTIONS);

#define OFFSET_OPTIONS(OPTION)                                                                                                  \
  OPTION(int64_t, log_segment_bytes, 64_MiB, Between(1_MiB, 2048_MiB), kRestart,                                                \
         "Size in bytes at which the log of the offset service starts a new segment file.")                                     \
  OPTION(int64_t, index_memtable_bytes, 8_MiB, Between(1_MiB, 1024_MiB), kRestart, "Write buffer of its index (RocksDB).")      \
  OPTION(int64_t, index_block_cache_bytes, 8_MiB, Between(1_MiB, 65536_MiB), kRestart, "Read cache of its index.")
FULMAR_OPTIONS(OffsetOptions, "offset", "log index", OFFSET_OPTIONS);

// All sections together.
struct ProcessOptions {
  ServerOptions server;
  LoggingOptions logging;
  MetricsOptions metrics;
  DefinitionsOptions definitions;
  RegistryOptions registry;
  BrokerOptions broker;
  OffsetOptions offset;

  void Join(common::OptionSet& set) {
    server.Join(set);
    logging.Join(set);
    metrics.Join(set);
    definitions.Join(set);
    registry.Join(set);
    broker.Join(set);
    offset.Join(set);
  }
};

}  // namespace fulmar

#endif  // FULMAR_FULMAR_PROCESS_OPTIONS_H_
