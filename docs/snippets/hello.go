// go mod init hello && go get github.com/apache/rocketmq-clients/golang/v5@v5.1.4; then: go run hello.go
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
	"github.com/apache/rocketmq-clients/golang/v5/credentials"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	rmq.EnableSsl = false // its default, TLS, works too
	config := func(group string) *rmq.Config {
		return &rmq.Config{Endpoint: "127.0.0.1:8081", ConsumerGroup: group, Credentials: &credentials.SessionCredentials{}}
	}
	ctx := context.Background()

	producer, err := rmq.NewProducer(config(""), rmq.WithTopics("quickstart"))
	must(err)
	must(producer.Start())
	receipts, err := producer.Send(ctx, &rmq.Message{Topic: "quickstart", Body: []byte("hello from Go")})
	must(err)
	fmt.Println("sent", receipts[0].MessageID)

	consumer, err := rmq.NewSimpleConsumer(config("quickstart-go"), rmq.WithSimpleAwaitDuration(5*time.Second),
		rmq.WithSimpleSubscriptionExpressions(map[string]*rmq.FilterExpression{"quickstart": rmq.SUB_ALL}))
	must(err)
	must(consumer.Start())
	messages, err := consumer.Receive(ctx, 8, 30*time.Second) // at most 8, each ours for 30 s
	must(err)
	for _, message := range messages {
		fmt.Println("received", string(message.GetBody()))
		must(consumer.Ack(ctx, message))
	}
	must(consumer.GracefulStop())
	must(producer.GracefulStop())
}
