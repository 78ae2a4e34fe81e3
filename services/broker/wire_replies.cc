#include "services/broker/wire_replies.h"

#include "services/broker/wire_writer.h"
#include "services/common/errors.h"

namespace fulmar::broker::wire {
namespace {

void WriteStatus(Writer& write, uint32_t field, int code, std::string_view text) {
  write.Message(field, [&] {
    write.Number(1, code);
    write.BytesIfSet(2, text);
  });
}
void WriteStatus(Writer& write, uint32_t field, const absl::Status& status) {
  if (status.ok()) WriteStatus(write, field, kV2Ok, "OK");
  else WriteStatus(write, field, V2CodeOf(status), std::string_view(status.message()));
}
void WriteCommon(Writer& write, const std::vector<absl::Status>& statuses) {
  const int code = CommonCode(statuses);
  if (code == kV2MultipleResults) WriteStatus(write, 1, code, "the entries have different results");
  else WriteStatus(write, 1, statuses.empty() ? absl::OkStatus() : statuses.front());
}

}  // namespace

int CommonCode(const std::vector<absl::Status>& statuses) {
  if (statuses.empty()) return kV2Ok;
  const int first = V2CodeOf(statuses.front());
  for (const absl::Status& status : statuses)
    if (V2CodeOf(status) != first) return kV2MultipleResults;
  return first;
}

std::string EncodeStatus(const absl::Status& status, uint32_t field) {
  std::string out;
  Writer write(out);
  WriteStatus(write, field, status);
  return out;
}

std::string EncodeSendResponse(const absl::StatusOr<std::vector<SendOutcome>>& outcome) {
  if (!outcome.ok()) return EncodeStatus(outcome.status());
  std::string out;
  Writer write(out);
  std::vector<absl::Status> statuses;
  statuses.reserve(outcome->size());
  for (const SendOutcome& sent : *outcome) statuses.push_back(sent.status);
  WriteCommon(write, statuses);
  for (const SendOutcome& sent : *outcome) {
    write.Message(2, [&] {
      WriteStatus(write, 1, sent.status);
      write.BytesIfSet(2, sent.message_id);
      write.BytesIfSet(3, sent.transaction_id);
      if (sent.status.ok()) write.NumberIfSet(4, sent.offset);
      write.BytesIfSet(5, sent.recall_handle);
    });
  }
  return out;
}

std::string EncodeAckResponse(const std::vector<AckEntry>& entries, const absl::StatusOr<std::vector<absl::Status>>& outcome) {
  // Some clients look at the first entry whatever the status, so there is one for each, always.
  const std::vector<absl::Status> statuses = outcome.ok() ? *outcome : std::vector<absl::Status>(entries.size(), outcome.status());
  std::string out;
  Writer write(out);
  if (outcome.ok()) WriteCommon(write, statuses);
  else WriteStatus(write, 1, outcome.status());
  for (size_t i = 0; i < entries.size() && i < statuses.size(); ++i) {
    write.Message(2, [&] {
      write.BytesIfSet(1, entries[i].message_id);
      write.BytesIfSet(2, entries[i].receipt_handle);
      WriteStatus(write, 3, statuses[i]);
    });
  }
  return out;
}

std::string EncodeDeliveryTime(absl::Time time) {
  std::string out;
  Writer(out).TimeMs(3, absl::ToUnixMillis(time));
  return out;
}

}  // namespace fulmar::broker::wire
