// Interop agent for the official Go client: executes the line protocol of
// tests/interop/README.md on stdin and stdout.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
	"github.com/apache/rocketmq-clients/golang/v5/credentials"
	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"
)

const clientModule = "github.com/apache/rocketmq-clients/golang/v5"

type request struct {
	ID               int64             `json:"id"`
	Op               string            `json:"op"`
	Client           string            `json:"client"`
	Kind             string            `json:"kind"`
	Endpoint         string            `json:"endpoint"`
	Topics           []string          `json:"topics"`
	Group            string            `json:"group"`
	Subscriptions    map[string]string `json:"subscriptions"`
	SQL              bool              `json:"sql"`
	AwaitMs          int64             `json:"await_ms"`
	RequestTimeoutMs int64             `json:"request_timeout_ms"`
	FailAttempts     int32             `json:"fail_attempts"`
	Hold             bool              `json:"hold"`
	Topic            string            `json:"topic"`
	Body             []byte            `json:"body"`
	Tag              *string           `json:"tag"`
	Keys             []string          `json:"keys"`
	Properties       map[string]string `json:"properties"`
	Max              int32             `json:"max"`
	InvisibleMs      int64             `json:"invisible_ms"`
	Handle           int64             `json:"handle"`
}

type message struct {
	Handle     int64             `json:"handle,omitempty"`
	MessageID  string            `json:"message_id"`
	Topic      string            `json:"topic"`
	Body       []byte            `json:"body"`
	Tag        *string           `json:"tag"`
	Keys       []string          `json:"keys"`
	Properties map[string]string `json:"properties"`
	Attempt    int32             `json:"attempt"`
}

type stopper interface{ GracefulStop() error }

// agent owns the started clients and the message views that the driver may still acknowledge.
type agent struct {
	out   sync.Mutex
	state sync.Mutex
	// All below is guarded by state.
	producers map[string]rmq.Producer
	simples   map[string]rmq.SimpleConsumer
	stoppers  map[string]stopper
	views     map[int64]*rmq.MessageView
	next      int64
	released  map[string]chan struct{}
}

func (a *agent) write(value map[string]any) {
	line, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	a.out.Lock()
	defer a.out.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

func describe(view *rmq.MessageView) message {
	keys := view.GetKeys()
	if keys == nil {
		keys = []string{}
	}
	properties := view.GetProperties()
	if properties == nil {
		properties = map[string]string{}
	}
	return message{MessageID: view.GetMessageId(), Topic: view.GetTopic(), Body: view.GetBody(), Tag: view.GetTag(),
		Keys: keys, Properties: properties, Attempt: view.GetDeliveryAttempt()}
}

func (a *agent) start(r request) error {
	config := &rmq.Config{Endpoint: r.Endpoint, ConsumerGroup: r.Group, Credentials: &credentials.SessionCredentials{}}
	subscriptions := map[string]*rmq.FilterExpression{}
	for topic, expression := range r.Subscriptions {
		subscriptions[topic] = rmq.NewFilterExpression(expression)
		if r.SQL {
			subscriptions[topic] = rmq.NewFilterExpressionWithType(expression, rmq.SQL92)
		}
	}
	timeout := time.Duration(r.RequestTimeoutMs) * time.Millisecond
	await := time.Duration(r.AwaitMs) * time.Millisecond
	switch r.Kind {
	case "producer":
		p, err := rmq.NewProducer(config, rmq.WithTopics(r.Topics...))
		if err != nil {
			return err
		}
		setTimeout(p, timeout)
		if err := p.Start(); err != nil {
			return err
		}
		a.remember(r.Client, p, func() { a.producers[r.Client] = p })
	case "simple":
		c, err := rmq.NewSimpleConsumer(config, rmq.WithSimpleAwaitDuration(await),
			rmq.WithSimpleSubscriptionExpressions(subscriptions))
		if err != nil {
			return err
		}
		setTimeout(c, timeout)
		if err := c.Start(); err != nil {
			return err
		}
		a.remember(r.Client, c, func() { a.simples[r.Client] = c })
	case "push":
		release := make(chan struct{})
		a.state.Lock()
		a.released[r.Client] = release
		a.state.Unlock()
		c, err := rmq.NewPushConsumer(config, rmq.WithPushSubscriptionExpressions(subscriptions),
			rmq.WithPushMessageListener(&rmq.FuncMessageListener{Consume: func(view *rmq.MessageView) rmq.ConsumerResult {
				a.write(map[string]any{"event": "delivery", "client": r.Client, "message": describe(view)})
				if r.Hold {
					<-release
				}
				if view.GetDeliveryAttempt() <= r.FailAttempts {
					return rmq.FAILURE
				}
				return rmq.SUCCESS
			}}))
		if err != nil {
			return err
		}
		setTimeout(c, timeout)
		if err := c.Start(); err != nil {
			return err
		}
		a.remember(r.Client, c, func() {})
	default:
		return fmt.Errorf("unknown kind %q", r.Kind)
	}
	return nil
}

func setTimeout(client any, timeout time.Duration) {
	if c, ok := client.(interface{ SetRequestTimeout(time.Duration) }); ok && timeout > 0 {
		c.SetRequestTimeout(timeout)
	}
}

func (a *agent) remember(name string, s stopper, more func()) {
	a.state.Lock()
	defer a.state.Unlock()
	a.stoppers[name] = s
	more()
}

func (a *agent) receive(r request, consumer rmq.SimpleConsumer) ([]message, error) {
	views, err := consumer.Receive(context.Background(), r.Max, time.Duration(r.InvisibleMs)*time.Millisecond)
	if status, ok := rmq.AsErrRpcStatus(err); ok && status.GetCode() == int32(v2.Code_MESSAGE_NOT_FOUND) {
		err = nil // This client reports an empty poll as an error, by design.
	}
	if err != nil {
		return nil, err
	}
	messages := []message{}
	a.state.Lock()
	defer a.state.Unlock()
	for _, view := range views {
		a.next++
		a.views[a.next] = view
		m := describe(view)
		m.Handle = a.next
		messages = append(messages, m)
	}
	return messages, nil
}

func (a *agent) execute(r request) (map[string]any, error) {
	a.state.Lock()
	producer, consumer, client := a.producers[r.Client], a.simples[r.Client], a.stoppers[r.Client]
	view, release := a.views[r.Handle], a.released[r.Client]
	a.state.Unlock()
	switch r.Op {
	case "start":
		return nil, a.start(r)
	case "send":
		m := &rmq.Message{Topic: r.Topic, Body: r.Body, Tag: r.Tag}
		m.SetKeys(r.Keys...)
		for key, value := range r.Properties {
			m.AddProperty(key, value)
		}
		receipts, err := producer.Send(context.Background(), m)
		if err != nil {
			return nil, err
		}
		return map[string]any{"message_id": receipts[0].MessageID}, nil
	case "receive":
		messages, err := a.receive(r, consumer)
		return map[string]any{"messages": messages}, err
	case "ack":
		return nil, consumer.Ack(context.Background(), view)
	case "change_invisible":
		return nil, consumer.ChangeInvisibleDuration(view, time.Duration(r.InvisibleMs)*time.Millisecond)
	case "release":
		close(release)
		return nil, nil
	case "stop":
		return nil, client.GracefulStop()
	}
	return nil, fmt.Errorf("unknown op %q", r.Op)
}

func (a *agent) answer(r request) {
	reply := map[string]any{}
	var err error
	func() {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		var values map[string]any
		if values, err = a.execute(r); values != nil {
			reply = values
		}
	}()
	reply["id"], reply["ok"] = r.ID, err == nil
	if err != nil {
		reply["error"] = err.Error()
	}
	a.write(reply)
}

func clientVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			if dependency.Path == clientModule {
				return dependency.Version
			}
		}
	}
	return "unknown"
}

func main() {
	tls := len(os.Args) > 1 && os.Args[1] == "--tls"
	if !tls {
		rmq.EnableSsl = false // One switch per process; --tls leaves the client's default, which is TLS.
	}
	a := &agent{producers: map[string]rmq.Producer{}, simples: map[string]rmq.SimpleConsumer{}, stoppers: map[string]stopper{},
		views: map[int64]*rmq.MessageView{}, released: map[string]chan struct{}{}}
	a.write(map[string]any{"event": "hello", "language": "go", "client_version": clientVersion(), "tls": tls})
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return // The driver is gone, so are we.
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			panic(err)
		}
		if r.Op == "exit" {
			return
		}
		go a.answer(r)
	}
}
