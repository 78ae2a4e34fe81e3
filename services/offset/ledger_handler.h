#ifndef FULMAR_OFFSET_LEDGER_HANDLER_H_
#define FULMAR_OFFSET_LEDGER_HANDLER_H_

#include "fulmar/ledger/v1/ledger.pb.h"
#include "services/common/grpc/rpc_service.h"
#include "services/offset/ledger.h"

namespace fulmar::offset {

// fulmar.ledger.v1.LedgerService over the ledger: translates, calls, translates.
// Borrows: the ledger, which outlives the server that this is added to. Threads: the server's data-plane thread; answers from any.
class LedgerHandler final : public common::RpcService {
 public:
  explicit LedgerHandler(LedgerStore& ledger);

 private:
  void Begin(common::UnaryCall* call, const ledger::v1::BeginRequest* request, ledger::v1::BeginResponse* response);
  void Complete(common::UnaryCall* call, const ledger::v1::CompleteRequest* request, ledger::v1::CompleteResponse* response);
  void Abandon(common::UnaryCall* call, const ledger::v1::AbandonRequest* request, ledger::v1::AbandonResponse* response);
  void Get(common::UnaryCall* call, const ledger::v1::GetRequest* request, ledger::v1::GetResponse* response);

  LedgerStore& ledger_;
};

}  // namespace fulmar::offset

#endif  // FULMAR_OFFSET_LEDGER_HANDLER_H_
