// Teaches the thread sanitizer what Debian's Abseil libraries synchronize.
//
// The libraries are not instrumented, so the sanitizer does not see that absl::Mutex and its relatives order anything, and would
// report a race on everything that they guard. The linker (--wrap, cmake/TsanAbsl.cmake) leads the calls of our own code through
// the functions below, which add the missing edges: released by the one thread, acquired by the other.
//
// A waiter's condition is evaluated inside these calls, by the waiter before our edge or by the thread that unlocks after it; what
// is read there is ignored.
#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
}

namespace {

using absl::CondVar;
using absl::Condition;
using absl::Duration;
using absl::Mutex;
using absl::Notification;
using absl::ReleasableMutexLock;
using absl::Time;

class IgnoreReads {
 public:
  IgnoreReads() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~IgnoreReads() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
};

// Around a call that gives up the mutex.
class GiveUp {
 public:
  explicit GiveUp(void* sync) { __tsan_release(sync); }

 private:
  IgnoreReads ignore_;
};

// Around a call that takes it.
class Take {
 public:
  explicit Take(void* sync) : sync_(sync) {}
  ~Take() { __tsan_acquire(sync_); }

 private:
  void* const sync_;
  IgnoreReads ignore_;
};

// Around a call that gives it up and takes it again: all that wait.
class GiveUpAndRetake {
 public:
  explicit GiveUpAndRetake(void* sync) : take_((__tsan_release(sync), sync)) {}

 private:
  Take take_;
};

}  // namespace

// WRAP(result, mangled name, (parameters), (arguments), guard object around the call)
#define WRAP(result, symbol, parameters, arguments, guard)  \
  extern "C" result __real_##symbol parameters;             \
  extern "C" result __wrap_##symbol parameters {            \
    guard;                                                  \
    return __real_##symbol arguments;                       \
  }

WRAP(void, _ZN4absl7debian35Mutex4LockEv, (Mutex * mu), (mu), Take g(mu))
WRAP(void, _ZN4absl7debian35Mutex6UnlockEv, (Mutex * mu), (mu), GiveUp g(mu))
WRAP(bool, _ZN4absl7debian35Mutex7TryLockEv, (Mutex * mu), (mu), Take g(mu))
WRAP(void, _ZN4absl7debian35Mutex10ReaderLockEv, (Mutex * mu), (mu), Take g(mu))
WRAP(bool, _ZN4absl7debian35Mutex13ReaderTryLockEv, (Mutex * mu), (mu), Take g(mu))
WRAP(void, _ZN4absl7debian35Mutex12ReaderUnlockEv, (Mutex * mu), (mu), GiveUp g(mu))
WRAP(void, _ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE, (Mutex * mu, const Condition& c), (mu, c), GiveUpAndRetake g(mu))
WRAP(bool, _ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE,
     (Mutex * mu, const Condition& c, Duration d), (mu, c, d), GiveUpAndRetake g(mu))
WRAP(bool, _ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE,
     (Mutex * mu, const Condition& c, Time t), (mu, c, t), GiveUpAndRetake g(mu))
WRAP(void, _ZN4absl7debian35Mutex8LockWhenERKNS0_9ConditionE, (Mutex * mu, const Condition& c), (mu, c), Take g(mu))
WRAP(bool, _ZN4absl7debian35Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE,
     (Mutex * mu, const Condition& c, Duration d), (mu, c, d), Take g(mu))
WRAP(bool, _ZN4absl7debian35Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE,
     (Mutex * mu, const Condition& c, Time t), (mu, c, t), Take g(mu))
WRAP(void, _ZN4absl7debian37CondVar4WaitEPNS0_5MutexE, (CondVar * cv, Mutex* mu), (cv, mu), GiveUpAndRetake g(mu))
WRAP(bool, _ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE, (CondVar * cv, Mutex* mu, Duration d),
     (cv, mu, d), GiveUpAndRetake g(mu))
WRAP(bool, _ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE, (CondVar * cv, Mutex* mu, Time t), (cv, mu, t),
     GiveUpAndRetake g(mu))
// The mutex is the first and only member.
WRAP(void, _ZN4absl7debian319ReleasableMutexLock7ReleaseEv, (ReleasableMutexLock * lock), (lock),
     GiveUp g(*reinterpret_cast<Mutex**>(lock)))
WRAP(void, _ZN4absl7debian312Notification6NotifyEv, (Notification * n), (n), GiveUp g(n))
WRAP(void, _ZNK4absl7debian312Notification19WaitForNotificationEv, (Notification * n), (n), Take g(n))
WRAP(bool, _ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE, (Notification * n, Duration d), (n, d),
     Take g(n))
WRAP(bool, _ZNK4absl7debian312Notification31WaitForNotificationWithDeadlineENS0_4TimeE, (Notification * n, Time t), (n, t),
     Take g(n))

// gRPC's own thread pool moves AnyInvocables with inline functions of Abseil's that our executable has instrumented, under locks of its own
// that nobody has.
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() { return "race:grpc_event_engine::*\n"; }
