#ifndef FULMAR_BROKER_SHARD_CONTEXT_H_
#define FULMAR_BROKER_SHARD_CONTEXT_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/broker/quotas.h"
#include "services/broker/shard.h"
#include "services/broker/shard_metrics.h"
#include "services/broker/shard_options.h"
#include "services/broker/shard_state.h"
#include "services/broker/trace.h"
#include "services/common/executor.h"

namespace fulmar::broker {

// What the rule classes of one shard share. Everything here lives as long as the shard and is used on its executor only.
struct ShardContext {
  ShardContext(const ShardOptions& shard_options, Shard::Env shard_env)
      : options(shard_options),
        env(shard_env),
        state(shard_env.kv),
        trace(shard_options.log.dir + "/trace", shard_options.trace_bytes, {shard_env.files, shard_env.clock, shard_env.shard, shard_env.reader}) {
    if (env.observer == nullptr) env.observer = &no_observer;
  }
  ShardContext(const ShardContext&) = delete;
  ShardContext& operator=(const ShardContext&) = delete;

  const ShardOptions options;
  Shard::Env env;
  ShardState state;
  Trace trace;
  log::ReplicatedLog* log = nullptr;  // set right after it is opened
  Term term;                          // that this replica leads
  uint32_t last_serial = 0;           // of deliveries in this term
  Quotas quotas{options};
  int64_t last_store_ms = 0;          // store times never go back, also when the clock does

  // Milliseconds of the steady clock: all times that stay inside this process.
  int64_t NowMs() const { return absl::ToInt64Milliseconds(env.clock.Steady()); }
  absl::Duration WallMinusSteady() const { return env.clock.Now() - absl::UnixEpoch() - env.clock.Steady(); }
  uint32_t NextSerial() {
    if (++last_serial == 0) ++last_serial;
    return last_serial;
  }
  ShardObserver& observer() { return *env.observer; }

  // Makes a callback that a port may run on any thread: `f` runs on the shard executor, if the shard is still there.
  template <class T, class F>
  absl::AnyInvocable<void(T) &&> OnShard(F f) {
    return [&executor = env.shard, alive = std::weak_ptr<bool>(alive_), f = std::move(f)](T result) mutable {
      executor.Post([alive = std::move(alive), f = std::move(f), result = std::move(result)]() mutable {
        if (!alive.expired()) std::move(f)(std::move(result));
      });
    };
  }
  // The same for what runs many times; `f` is copied.
  template <class T, class F>
  absl::AnyInvocable<void(T)> OnShardRepeatedly(F f) {
    return [&executor = env.shard, alive = std::weak_ptr<bool>(alive_), f = std::move(f)](T event) {
      executor.Post([alive, f, event = std::move(event)]() mutable {
        if (!alive.expired()) f(std::move(event));
      });
    };
  }
  template <class F>
  void Post(F f) {
    env.shard.Post([alive = std::weak_ptr<bool>(alive_), f = std::move(f)]() mutable {
      if (!alive.expired()) std::move(f)();
    });
  }
  template <class F>
  common::Executor::TimerId After(absl::Duration delay, F f) {
    return env.shard.After(delay, [alive = std::weak_ptr<bool>(alive_), f = std::move(f)]() mutable {
      if (!alive.expired()) std::move(f)();
    });
  }

 private:
  ShardObserver no_observer;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_SHARD_CONTEXT_H_
