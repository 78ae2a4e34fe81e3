#ifndef FULMAR_COMMON_ERRORS_H_
#define FULMAR_COMMON_ERRORS_H_

#include <string_view>

#include "absl/status/status.h"

namespace fulmar {

enum class Retry { kNo, kLater, kAtOnce };

// Every error that a client can see: constructor name, absl code, name and number of the v2 code, may the client retry?
// `errors::TopicNotFound("topic 'a' ...")` makes an absl::Status that carries the v2 code; V2CodeOf() reads it at the edge.
#define FULMAR_ERRORS(X)                                                                        \
  X(BadRequest, InvalidArgument, BAD_REQUEST, 40000, kNo)                                       \
  X(IllegalAccessPoint, InvalidArgument, ILLEGAL_ACCESS_POINT, 40001, kNo)                      \
  X(IllegalTopic, InvalidArgument, ILLEGAL_TOPIC, 40002, kNo)                                   \
  X(IllegalConsumerGroup, InvalidArgument, ILLEGAL_CONSUMER_GROUP, 40003, kNo)                  \
  X(IllegalMessageTag, InvalidArgument, ILLEGAL_MESSAGE_TAG, 40004, kNo)                        \
  X(IllegalMessageKey, InvalidArgument, ILLEGAL_MESSAGE_KEY, 40005, kNo)                        \
  X(IllegalMessageGroup, InvalidArgument, ILLEGAL_MESSAGE_GROUP, 40006, kNo)                    \
  X(IllegalMessagePropertyKey, InvalidArgument, ILLEGAL_MESSAGE_PROPERTY_KEY, 40007, kNo)       \
  X(InvalidTransactionId, InvalidArgument, INVALID_TRANSACTION_ID, 40008, kNo)                  \
  X(IllegalMessageId, InvalidArgument, ILLEGAL_MESSAGE_ID, 40009, kNo)                          \
  X(IllegalFilterExpression, InvalidArgument, ILLEGAL_FILTER_EXPRESSION, 40010, kNo)            \
  X(IllegalInvisibleTime, InvalidArgument, ILLEGAL_INVISIBLE_TIME, 40011, kNo)                  \
  X(IllegalDeliveryTime, InvalidArgument, ILLEGAL_DELIVERY_TIME, 40012, kNo)                    \
  X(InvalidReceiptHandle, InvalidArgument, INVALID_RECEIPT_HANDLE, 40013, kNo)                  \
  X(MessagePropertyConflict, InvalidArgument, MESSAGE_PROPERTY_CONFLICT_WITH_TYPE, 40014, kNo)  \
  X(UnrecognizedClientType, InvalidArgument, UNRECOGNIZED_CLIENT_TYPE, 40015, kNo)              \
  X(MessageCorrupted, InvalidArgument, MESSAGE_CORRUPTED, 40016, kNo)                           \
  X(ClientIdRequired, InvalidArgument, CLIENT_ID_REQUIRED, 40017, kNo)                          \
  X(IllegalPollingTime, InvalidArgument, ILLEGAL_POLLING_TIME, 40018, kNo)                      \
  X(IllegalOffset, InvalidArgument, ILLEGAL_OFFSET, 40019, kNo)                                 \
  X(InvalidClientProperties, InvalidArgument, INVALID_CLIENT_PROPERTIES, 40021, kNo)            \
  X(Unauthorized, Unauthenticated, UNAUTHORIZED, 40100, kNo)                                    \
  X(Forbidden, PermissionDenied, FORBIDDEN, 40300, kNo)                                         \
  X(NotFound, NotFound, NOT_FOUND, 40400, kNo)                                                  \
  X(MessageNotFound, NotFound, MESSAGE_NOT_FOUND, 40401, kNo)                                   \
  X(TopicNotFound, NotFound, TOPIC_NOT_FOUND, 40402, kNo)                                       \
  X(ConsumerGroupNotFound, NotFound, CONSUMER_GROUP_NOT_FOUND, 40403, kNo)                      \
  X(OffsetNotFound, NotFound, OFFSET_NOT_FOUND, 40404, kNo)                                     \
  X(PayloadTooLarge, InvalidArgument, PAYLOAD_TOO_LARGE, 41300, kNo)                            \
  X(MessageBodyTooLarge, InvalidArgument, MESSAGE_BODY_TOO_LARGE, 41301, kNo)                   \
  X(MessageBodyEmpty, InvalidArgument, MESSAGE_BODY_EMPTY, 41302, kNo)                          \
  X(PreconditionFailed, FailedPrecondition, PRECONDITION_FAILED, 42800, kNo)                    \
  X(TooManyRequests, ResourceExhausted, TOO_MANY_REQUESTS, 42900, kLater)                       \
  X(MessagePropertiesTooLarge, InvalidArgument, MESSAGE_PROPERTIES_TOO_LARGE, 43101, kNo)       \
  X(InternalServerError, Internal, INTERNAL_SERVER_ERROR, 50001, kAtOnce)                       \
  X(HaNotAvailable, Unavailable, HA_NOT_AVAILABLE, 50002, kAtOnce)                              \
  X(NotImplemented, Unimplemented, NOT_IMPLEMENTED, 50100, kNo)                                 \
  X(ProxyTimeout, DeadlineExceeded, PROXY_TIMEOUT, 50400, kAtOnce)                              \
  X(MasterPersistenceTimeout, DeadlineExceeded, MASTER_PERSISTENCE_TIMEOUT, 50401, kAtOnce)     \
  X(Unsupported, Unimplemented, UNSUPPORTED, 50500, kNo)

namespace errors {
#define FULMAR_DECLARE_ERROR(name, absl_code, v2_name, v2_number, retry) absl::Status name(std::string_view message);
FULMAR_ERRORS(FULMAR_DECLARE_ERROR)
#undef FULMAR_DECLARE_ERROR
}  // namespace errors

inline constexpr int kV2Ok = 20000;
inline constexpr int kV2MultipleResults = 30000;

// The v2 code of `status`: 20000 for OK, the row's number for errors made above, else by absl code
// (ResourceExhausted 42900, NotFound 40400, Unavailable 50002, Unimplemented 50100, InvalidArgument 40000, others 50001).
int V2CodeOf(const absl::Status& status);
// The protocol's name of `v2_code`; CODE_UNSPECIFIED for a number that we never send.
std::string_view V2CodeName(int v2_code);
// May the client repeat the call that ended with `status`? By its v2 code; kNo for OK.
Retry RetryOf(const absl::Status& status);

}  // namespace fulmar

#endif  // FULMAR_COMMON_ERRORS_H_
