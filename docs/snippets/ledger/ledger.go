// go install google.golang.org/protobuf/cmd/protoc-gen-go@latest google.golang.org/grpc/cmd/protoc-gen-go-grpc@latest
// protoc -I protos --go_out=. --go-grpc_out=. --go_opt=Mfulmar/ledger/v1/ledger.proto=example/ledgerpb \
//   --go-grpc_opt=Mfulmar/ledger/v1/ledger.proto=example/ledgerpb --go_opt=module=example --go-grpc_opt=module=example fulmar/ledger/v1/ledger.proto
// then, in the module "example": go run ledger.go
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"example/ledgerpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	connection, err := grpc.NewClient("127.0.0.1:8081", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	ledger := ledgerpb.NewLedgerServiceClient(connection)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	begin := func(attempt int) *ledgerpb.BeginResponse {
		holder := fmt.Sprintf("%d-%d-%d", os.Getpid(), time.Now().UnixNano(), attempt)
		begun, err := ledger.Begin(ctx, &ledgerpb.BeginRequest{Group: "booking", Key: "order-1-go", Holder: holder})
		if err != nil {
			log.Fatal(err)
		}
		return begun
	}

	begun := begin(1)
	if begun.Outcome == ledgerpb.BeginResponse_STARTED {
		fmt.Println("started with token", begun.Entry.Token)
		// Here: one transaction with the effect, the key and the token.
		_, err := ledger.Complete(ctx, &ledgerpb.CompleteRequest{Group: "booking", Key: "order-1-go", Token: begun.Entry.Token, Result: []byte("booked")})
		if err != nil {
			log.Fatal(err)
		}
	}

	again := begin(2)
	fmt.Println(again.Outcome, string(again.Entry.Result))
}
