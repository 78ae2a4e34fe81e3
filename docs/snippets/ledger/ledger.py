# pip install grpcio-tools
# python -m grpc_tools.protoc -I protos --python_out=. --grpc_python_out=. fulmar/ledger/v1/ledger.proto; then: python ledger.py
import uuid

import grpc
from fulmar.ledger.v1 import ledger_pb2 as pb, ledger_pb2_grpc

ledger = ledger_pb2_grpc.LedgerServiceStub(grpc.insecure_channel("127.0.0.1:8081"))

begun = ledger.Begin(pb.BeginRequest(group="booking", key="order-1-python", holder=str(uuid.uuid4())))
if begun.outcome == pb.BeginResponse.STARTED:
    print("started with token", begun.entry.token)
    # Here: one transaction with the effect, the key and the token.
    ledger.Complete(pb.CompleteRequest(group="booking", key="order-1-python", token=begun.entry.token, result=b"booked"))

again = ledger.Begin(pb.BeginRequest(group="booking", key="order-1-python", holder=str(uuid.uuid4())))
print(pb.BeginResponse.Outcome.Name(again.outcome), again.entry.result.decode())
