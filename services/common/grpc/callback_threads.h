#ifndef FULMAR_COMMON_GRPC_CALLBACK_THREADS_H_
#define FULMAR_COMMON_GRPC_CALLBACK_THREADS_H_

namespace fulmar::common {

// gRPC shares one queue with its threads among all callback servers and channels of a process and takes it down with the last of them.
// In 1.51 that teardown sometimes frees memory twice, which would turn a clean exit into an abort. This keeps the queue until the process
// ends. Once per process has an effect; any thread. No connection is made.
void KeepCallbackThreads();

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_GRPC_CALLBACK_THREADS_H_
