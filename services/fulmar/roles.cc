#include "services/fulmar/roles.h"

#include <grpcpp/grpcpp.h>

#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "fulmar/version.h"
#include "services/broker/admin_service_handler.h"
#include "services/broker/messaging_handler.h"
#include "services/common/grpc/grpc_server.h"
#include "services/common/grpc/tls_certificate.h"
#include "services/common/host_port.h"
#include "services/common/log.h"
#include "services/common/metrics_server.h"
#include "services/common/process_metrics.h"
#include "services/common/status.h"
#include "services/fulmar/nodes.h"
#include "services/offset/ledger_handler.h"
#include "services/offset/offset_client.h"
#include "services/offset/offset_handler.h"
#include "services/registry/admin_handler.h"
#include "services/registry/admin_local_handler.h"
#include "services/registry/admin_remote_client.h"
#include "services/registry/announce_client.h"
#include "services/registry/announcer.h"
#include "services/registry/front_door.h"
#include "services/registry/registry_handler.h"
#include "services/registry/route_service.h"
#include "services/registry/route_table.h"

namespace fulmar {
namespace {

constexpr absl::Duration kStatusPeriod = absl::Milliseconds(200);
constexpr int kStatusesPerMetrics = 5;  // gauges are renewed once a second

std::string RevisionText() { return absl::StrCat(Version(), " (", Revision(), ")"); }

std::shared_ptr<grpc::Channel> ChannelTo(const std::string& endpoint) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  // A peer that restarts is found again within a second, whatever the back-off would have grown to.
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000);
  return grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments);
}

absl::StatusOr<std::string> SetLevelByName(std::string_view name) {
  FULMAR_ASSIGN_OR_RETURN(const common::LogLevel level, common::ParseLogLevel(name));
  const std::string previous(common::LogLevelName(common::GetLogLevel()));
  common::SetLogLevel(level);
  FULMAR_LOG(kInfo, "log_level_changed", {{"from", previous}, {"to", name}});
  return previous;
}

registry::RouteServiceOptions RouteOptionsOf(const ProcessOptions& options, bool standalone) {
  registry::RouteServiceOptions out;
  out.mode = standalone || options.registry.route_mode == "gateway" ? registry::RouteMode::kGateway : registry::RouteMode::kDirect;
  out.auto_create_topics = options.definitions.auto_create_topics;
  out.auto_create_groups = options.definitions.auto_create_groups;
  out.auto_create_queues = options.definitions.auto_create_queues;
  return out;
}

// The part that every role has: port, health, metrics page, the thread for slow periodic things, signals.
class Process {
 public:
  Process(Role role, Config& config)
      : role_(role), config_(config), options_(config.options()), control_("control"), process_metrics_(common::AddProcessMetrics(machine_.metrics)) {}

  Machine& machine() { return machine_; }
  const ProcessOptions& options() const { return options_; }
  common::ThreadExecutor& control() { return control_; }
  common::GrpcServer& server() { return *server_; }
  v2edge::RpcMetrics& rpc_metrics() { return rpc_metrics_; }
  const std::string& advertised() const { return advertised_; }

  // Binds the port and finds out what others may call us.
  absl::Status Bind() {
    common::GrpcServerOptions server;
    server.listen = options_.server.listen;
    server.max_connections = options_.server.max_connections;
    FULMAR_RETURN_IF_ERROR(SetUpTls(server));
    absl::StatusOr<std::unique_ptr<common::GrpcServer>> created = common::GrpcServer::Create(std::move(server), machine_.metrics);
    if (!created.ok()) return Annotate(created.status(), absl::StrCat("cannot listen on ", options_.server.listen, " (server.listen, --listen)"));
    server_ = *std::move(created);
    reference_admin_ = std::make_unique<broker::AdminServiceHandler>([](const std::string& level) { return SetLevelByName(level).status(); }, *server_);
    FULMAR_ASSIGN_OR_RETURN(common::HostPort listen, common::ParseHostPort(options_.server.listen));
    listen.port = server_->port();
    listening_ = common::FormatHostPort(listen);
    advertised_ = options_.server.advertise.empty() ? listening_ : options_.server.advertise;
    if (options_.server.advertise.empty() && (listen.host == "0.0.0.0" || listen.host == "::") && role_ != Role::kStandalone) {
      FULMAR_LOG(kWarn, "advertised_address_is_no_address",
                 {{"advertised", advertised_}, {"remedy", "set server.advertise (--advertise) to what clients reach this process at"}});
    }
    return absl::OkStatus();
  }

  // Begins to serve; health says NOT_SERVING until `SetHealth(OK)`.
  absl::Status Serve() {
    FULMAR_RETURN_IF_ERROR(server_->Start());
    if (!options_.server.metrics.empty()) {
      absl::StatusOr<std::unique_ptr<common::MetricsServer>> started =
          common::MetricsServer::Start(options_.server.metrics, machine_.metrics, [this] { return health(); });
      if (!started.ok()) return Annotate(started.status(), "metrics page (server.metrics, --metrics; empty: none)");
      metrics_server_ = *std::move(started);
    }
    FULMAR_LOG(kInfo, "listening",
               {{"role", RoleName()}, {"address", listening_}, {"advertised", advertised_}, {"metrics_port", metrics_server_ ? metrics_server_->port() : 0},
                {"tls", tls_text_}, {"data", options_.server.data}, {"version", RevisionText()}});
    return absl::OkStatus();
  }

  void SetHealth(const absl::Status& health) {
    bool changed = false;
    {
      absl::MutexLock lock(&mutex_);
      changed = !told_health_ || health.ok() != health_.ok() || health.message() != health_.message();
      told_health_ = true;
      health_ = health;
    }
    if (!changed) return;
    server_->SetAllServing(health.ok());
    if (health.ok()) {
      FULMAR_LOG(kInfo, "serving", {{"role", RoleName()}, {"address", listening_}});
    } else {
      FULMAR_LOG(kWarn, "not_serving", {{"role", RoleName()}, {"why", health}});
    }
  }

  absl::Status health() const {
    absl::MutexLock lock(&mutex_);
    return health_;
  }

  // Until SIGTERM or SIGINT. SIGHUP reads the configuration again.
  void WaitForEnd() {
    sigset_t signals;
    sigemptyset(&signals);
    for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
    for (;;) {
      int signal = 0;
      if (sigwait(&signals, &signal) != 0) continue;
      if (signal != SIGHUP) {
        FULMAR_LOG(kInfo, "stopping", {{"signal", signal == SIGTERM ? "SIGTERM" : "SIGINT"}});
        return;
      }
      const absl::Status reloaded = config_.Reload();
      if (reloaded.ok()) {
        FULMAR_LOG(kInfo, "configuration_read_again", {{"file", config_.file()}});
      } else {
        FULMAR_LOG(kError, "configuration_kept", {{"file", config_.file()}, {"why", reloaded}});
      }
    }
  }

  // Takes nothing new; calls under way get the grace.
  void StopServing() {
    server_->SetAllServing(false);
  }
  void Shutdown() {
    server_->Shutdown(options_.server.shutdown_grace);
    metrics_server_.reset();
    control_.Stop();
    FULMAR_LOG(kInfo, "stopped", {{"role", RoleName()}});
  }

  const char* RoleName() const {
    switch (role_) {
      case Role::kStandalone: return "standalone";
      case Role::kRegistry: return "registry";
      case Role::kBroker: return "broker";
      case Role::kOffset: return "offset";
    }
    return "";
  }

 private:
  absl::Status SetUpTls(common::GrpcServerOptions& server) {
    const ServerOptions& in = options_.server;
    const bool given = !in.tls_certificate.empty() || !in.tls_key.empty();
    if (given && (in.tls_certificate.empty() || in.tls_key.empty())) {
      return absl::InvalidArgumentError("server.tls.certificate and server.tls.key belong together: set both or none");
    }
    const std::string mode = in.tls_mode != "auto" ? in.tls_mode : given || role_ == Role::kStandalone ? "both" : "off";
    tls_text_ = mode;
    if (mode == "off") return absl::OkStatus();
    server.tls = mode == "only" ? common::TlsMode::kTlsOnly : common::TlsMode::kBoth;
    absl::StatusOr<common::TlsIdentity> identity;
    if (given) {
      identity = common::LoadTlsIdentity(in.tls_certificate, in.tls_key);
    } else {
      const std::string dir = DataDirs(in.data).tls;
      FULMAR_RETURN_IF_ERROR(machine_.files.MakeDirs(dir));
      identity = common::SelfSignedIdentity(dir, common::LocalNames());
      tls_text_ += ", self-signed";
    }
    if (!identity.ok()) return identity.status();
    server.identity = *std::move(identity);
    return absl::OkStatus();
  }

  const Role role_;
  Config& config_;
  const ProcessOptions& options_;
  Machine machine_;
  v2edge::RpcMetrics rpc_metrics_{machine_.metrics};
  common::ThreadExecutor control_;
  std::vector<common::Metrics::Callback> process_metrics_;
  std::string listening_, advertised_, tls_text_;
  mutable absl::Mutex mutex_;
  bool told_health_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status health_ ABSL_GUARDED_BY(mutex_) = absl::UnavailableError("starting");
  std::unique_ptr<broker::AdminServiceHandler> reference_admin_;  // the server uses it
  std::unique_ptr<common::GrpcServer> server_;
  std::unique_ptr<common::MetricsServer> metrics_server_;
};

broker::MessagingOptions MessagingOptionsOf(const ProcessOptions& options, const std::string& advertised, bool repeat_requested) {
  broker::MessagingOptions out;
  out.data_plane.store_host = advertised;
  out.data_plane.max_open_receives = static_cast<size_t>(options.broker.receive_max_parked);
  out.settings.receive_batch_size = options.broker.receive_max_batch;
  out.routes.shard_name = options.broker.shard;
  if (absl::StatusOr<registry::Endpoint> endpoint = registry::ParseEndpoint(advertised); endpoint.ok()) out.routes.advertised = *endpoint;
  out.routes.repeat_requested = repeat_requested;
  out.max_invisible = options.broker.receive_max_invisible_duration;
  return out;
}

// Looks at the shard a few times a second: health, gauges.
class ShardWatch : public std::enable_shared_from_this<ShardWatch> {
 public:
  ShardWatch(Process& process, BrokerNode& node) : process_(process), node_(node) {}
  void Start() { Look(); }
  // On any thread; nothing is looked at after it returns to the control thread.
  void Stop() {
    absl::Notification stopped;
    process_.control().Post([this, &stopped] {
      stopped_ = true;
      stopped.Notify();
    });
    stopped.WaitForNotification();
  }

 private:
  void Look() {
    node_.shard().Status([self = shared_from_this()](absl::StatusOr<broker::ShardStatus> status) {
      self->process_.control().Post([self, status = std::move(status)]() mutable { self->Seen(std::move(status)); });
    });
  }
  void Seen(absl::StatusOr<broker::ShardStatus> status) {
    if (stopped_) return;
    if (!status.ok()) {
      process_.SetHealth(status.status());
    } else {
      process_.SetHealth(status->serving ? absl::OkStatus() : !status->health.ok() ? status->health : absl::UnavailableError("the shard is not serving yet"));
      if (++looks_ % kStatusesPerMetrics == 1) ShowMetrics(*std::move(status));
    }
    process_.control().After(kStatusPeriod, [self = shared_from_this()] {
      if (!self->stopped_) self->Look();
    });
  }
  void ShowMetrics(broker::ShardStatus status) {
    node_.log_metrics().Show(status.log);
    node_.shard().CollectLag([self = shared_from_this(), status = std::move(status)](absl::StatusOr<std::vector<broker::GroupLag>> lags) mutable {
      self->process_.control().Post([self, status = std::move(status), lags = std::move(lags)] {
        if (!self->stopped_ && lags.ok()) self->node_.metrics().Show(status, *lags);
      });
    });
  }

  Process& process_;
  BrokerNode& node_;
  int looks_ = 0;         // on the control thread
  bool stopped_ = false;  // on the control thread
};

registry::Announcer::AskState AskShard(broker::Shard& shard) {
  return [&shard](absl::AnyInvocable<void(registry::Announcer::State) &&> answer) {
    shard.Status([answer = std::move(answer)](absl::StatusOr<broker::ShardStatus> status) mutable {
      registry::Announcer::State state;
      if (status.ok()) {
        state.term = static_cast<uint64_t>(status->term.value);
        state.leader = status->log.leader;
        state.serving = status->serving;
      }
      std::move(answer)(state);
    });
  };
}

absl::StatusOr<registry::Announcer::Options> AnnouncerOptionsOf(const ProcessOptions& options, const std::string& advertised) {
  registry::Announcer::Options out;
  out.shard = options.broker.shard;
  FULMAR_ASSIGN_OR_RETURN(out.endpoint, registry::ParseEndpoint(advertised));
  out.version = Version();
  return out;
}

void StopAnnouncer(registry::Announcer& announcer) {
  absl::Notification left;
  announcer.Stop([&left] { left.Notify(); });
  left.WaitForNotificationWithTimeout(absl::Seconds(1));
}

admin::v1::ServiceStatus ServiceRow(const char* role, const std::string& endpoint, const absl::Status& health) {
  admin::v1::ServiceStatus row;
  row.set_role(role);
  row.set_endpoint(endpoint);
  row.set_serving(health.ok());
  if (!health.ok()) row.set_problem(std::string(health.message()));
  row.set_version(Version());
  return row;
}

absl::Status RunStandalone(Config& config) {
  Process process(Role::kStandalone, config);
  const ProcessOptions& options = process.options();
  FULMAR_RETURN_IF_ERROR(process.machine().files.MakeDirs(options.server.data));
  FULMAR_RETURN_IF_ERROR(process.Bind());
  FULMAR_ASSIGN_OR_RETURN(std::unique_ptr<OffsetNode> offset, OffsetNode::Open(options, process.machine()));
  FULMAR_ASSIGN_OR_RETURN(std::unique_ptr<BrokerNode> broker, BrokerNode::Open(options, process.machine(), offset->core(), offset->core()));

  registry::RouteTable table(process.machine().clock);
  registry::RouteService routes(RouteOptionsOf(options, /*standalone=*/true), table, offset->core());
  FULMAR_ASSIGN_OR_RETURN(registry::Announcer::Options announcer_options, AnnouncerOptionsOf(options, process.advertised()));
  announcer_options.period = absl::Milliseconds(200);  // a call within the process
  std::vector<std::unique_ptr<registry::AnnounceSink>> sinks;
  sinks.push_back(std::make_unique<registry::LocalAnnounceSink>(table));
  registry::Announcer announcer(announcer_options, process.control(), AskShard(broker->shard()), offset->core(), std::move(sinks));

  broker::MessagingHandler messaging(MessagingOptionsOf(options, process.advertised(), /*repeat_requested=*/true), broker->shard(), &routes,
                                     process.server(), process.machine().clock, process.rpc_metrics());
  registry::LocalAdminView view(options.broker.shard, broker->shard(), {process.advertised(), Version()}, [&process] {
    return std::vector<admin::v1::ServiceStatus>{ServiceRow("registry", process.advertised(), absl::OkStatus()),
                                                 ServiceRow("offset", process.advertised(), absl::OkStatus())};
  });
  registry::AdminHandler admin(offset->core(), view, SetLevelByName);
  registry::RegistryHandler registry(table);
  offset::OffsetHandler offset_service(offset->core());
  offset::LedgerHandler ledger_service(offset->core());
  process.server().AddService(admin);
  process.server().AddService(registry);
  process.server().AddService(offset_service);
  process.server().AddService(ledger_service);

  FULMAR_RETURN_IF_ERROR(process.Serve());
  messaging.Start();
  offset->Start();
  broker->Start();
  broker->ShareShard(process.server().data_plane());
  announcer.Start();
  auto watch = std::make_shared<ShardWatch>(process, *broker);
  watch->Start();

  process.WaitForEnd();
  process.StopServing();
  watch->Stop();
  StopAnnouncer(announcer);
  messaging.Stop();
  registry.Stop();
  offset_service.Stop();
  broker->Stop();
  process.Shutdown();
  offset->Stop();
  return absl::OkStatus();
}

absl::Status RunOffset(Config& config) {
  Process process(Role::kOffset, config);
  FULMAR_RETURN_IF_ERROR(process.machine().files.MakeDirs(process.options().server.data));
  FULMAR_RETURN_IF_ERROR(process.Bind());
  FULMAR_ASSIGN_OR_RETURN(std::unique_ptr<OffsetNode> offset, OffsetNode::Open(process.options(), process.machine()));
  offset::OffsetHandler service(offset->core());
  offset::LedgerHandler ledger_service(offset->core());
  process.server().AddService(service);
  process.server().AddService(ledger_service);
  FULMAR_RETURN_IF_ERROR(process.Serve());
  offset->Start();
  process.SetHealth(absl::OkStatus());
  process.WaitForEnd();
  process.StopServing();
  service.Stop();
  offset->Stop();
  process.Shutdown();
  return absl::OkStatus();
}

absl::Status RunBroker(Config& config) {
  Process process(Role::kBroker, config);
  const ProcessOptions& options = process.options();
  FULMAR_RETURN_IF_ERROR(process.machine().files.MakeDirs(options.server.data));
  FULMAR_RETURN_IF_ERROR(process.Bind());
  offset::OffsetClient stores(process.server().clients(), ChannelTo(options.broker.offset_endpoint), process.control());
  FULMAR_ASSIGN_OR_RETURN(std::unique_ptr<BrokerNode> broker, BrokerNode::Open(options, process.machine(), stores, stores));

  FULMAR_ASSIGN_OR_RETURN(registry::Announcer::Options announcer_options, AnnouncerOptionsOf(options, process.advertised()));
  std::vector<std::unique_ptr<common::RpcClient>> registries;
  std::vector<std::unique_ptr<registry::AnnounceSink>> sinks;
  for (const std::string& address : options.broker.registries) {
    registries.push_back(std::make_unique<common::RpcClient>(process.server().clients(), ChannelTo(address), "fulmar.registry.v1.RegistryService"));
    sinks.push_back(std::make_unique<registry::RemoteAnnounceSink>(*registries.back(), [address](const std::string& problem) {
      if (problem.empty()) {
        FULMAR_LOG(kInfo, "registry_reached", {{"registry", address}});
      } else {
        FULMAR_LOG(kWarn, "registry_problem", {{"registry", address}, {"problem", problem}});
      }
    }));
  }
  registry::Announcer announcer(announcer_options, process.control(), AskShard(broker->shard()), stores, std::move(sinks));

  broker::MessagingHandler messaging(MessagingOptionsOf(options, process.advertised(), /*repeat_requested=*/false), broker->shard(), nullptr,
                                     process.server(), process.machine().clock, process.rpc_metrics());
  registry::LocalAdminView view(options.broker.shard, broker->shard(), {process.advertised(), Version()},
                                [] { return std::vector<admin::v1::ServiceStatus>(); });
  registry::AdminHandler admin(stores, view, SetLevelByName);
  process.server().AddService(admin);
  FULMAR_RETURN_IF_ERROR(process.Serve());
  messaging.Start();
  broker->Start();
  broker->ShareShard(process.server().data_plane());
  announcer.Start();
  auto watch = std::make_shared<ShardWatch>(process, *broker);
  watch->Start();

  process.WaitForEnd();
  process.StopServing();
  watch->Stop();
  StopAnnouncer(announcer);
  messaging.Stop();
  broker->Stop();
  process.Shutdown();
  return absl::OkStatus();
}

absl::Status RunRegistry(Config& config) {
  Process process(Role::kRegistry, config);
  const ProcessOptions& options = process.options();
  FULMAR_RETURN_IF_ERROR(process.Bind());
  offset::OffsetClient stores(process.server().clients(), ChannelTo(options.registry.offset_endpoint), process.control());
  registry::RouteTable table(process.machine().clock);
  const registry::RouteServiceOptions route_options = RouteOptionsOf(options, /*standalone=*/false);
  registry::RouteService routes(route_options, table, stores);
  registry::FrontDoor front_door(route_options, stores);
  broker::MessagingHandler messaging(MessagingOptionsOf(options, process.advertised(), route_options.mode == registry::RouteMode::kGateway), front_door,
                                     &routes, process.server(), process.machine().clock, process.rpc_metrics());
  registry::RemoteAdminView view(process.server().clients(), table, ChannelTo, [&process] {
    return std::vector<admin::v1::ServiceStatus>{ServiceRow("registry", process.advertised(), absl::OkStatus())};
  });
  registry::AdminHandler admin(stores, view, SetLevelByName);
  registry::RegistryHandler registry(table);
  process.server().AddService(admin);
  process.server().AddService(registry);
  FULMAR_RETURN_IF_ERROR(process.Serve());
  messaging.Start();
  process.SetHealth(absl::OkStatus());
  process.WaitForEnd();
  process.StopServing();
  messaging.Stop();
  registry.Stop();
  process.Shutdown();
  return absl::OkStatus();
}

}  // namespace

absl::Status RunRole(Role role, Config& config) {
  switch (role) {
    case Role::kStandalone: return RunStandalone(config);
    case Role::kRegistry: return RunRegistry(config);
    case Role::kBroker: return RunBroker(config);
    case Role::kOffset: return RunOffset(config);
  }
  return absl::InternalError("unknown role");
}

}  // namespace fulmar
