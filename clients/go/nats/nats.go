// Package nats sends commands over NATS JetStream.
package nats

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	sailhand "sailhand.dev/client"
)

// Client is a client of the bus.
type Client struct {
	js     jetstream.JetStream
	prefix string
}

// New returns a client on a connection. The prefix is that of the subjects, `istio` by default.
func New(connection *nats.Conn, prefix string) (*Client, error) {
	if prefix == "" {
		prefix = "istio"
	}
	js, err := jetstream.New(connection)
	return &Client{js: js, prefix: prefix}, err
}

// Send sends a command. Sending it again is the same command.
func (c *Client) Send(ctx context.Context, command sailhand.Command) (sailhand.Sent, error) {
	sent := sailhand.Sent{Target: command.Target, Key: command.Key(), ID: command.ID}
	event, err := command.Event()
	if err != nil {
		return sent, err
	}
	message := &nats.Msg{
		Subject: c.prefix + ".cmd." + command.Target + "." + command.Params.Verb(),
		Header:  nats.Header{"Content-Type": {"application/cloudevents+json"}},
		Data:    event,
	}
	ack, err := c.js.PublishMsg(ctx, message, jetstream.WithMsgID(sent.Target+"."+sent.Key))
	if err != nil {
		return sent, err
	}
	sent.Duplicate = ack.Duplicate
	return sent, nil
}

// Wait returns the result of a command, whatever its outcome. It waits until the context ends.
func (c *Client) Wait(ctx context.Context, sent sailhand.Sent) (*sailhand.Result, error) {
	event, err := c.result(ctx, sent)
	if err != nil {
		return nil, err
	}
	result := new(sailhand.Result)
	return result, json.Unmarshal(event.Data, result)
}

// Events iterates over the events of a command from its start, then its result.
func (c *Client) Events(ctx context.Context, sent sailhand.Sent) iter.Seq2[*sailhand.Event, error] {
	return func(yield func(*sailhand.Event, error) bool) {
		if err := c.events(ctx, sent, func(event *sailhand.Event) bool { return yield(event, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

func (c *Client) events(ctx context.Context, sent sailhand.Sent, yield func(*sailhand.Event) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type ended struct {
		event *sailhand.Event
		err   error
	}
	result := make(chan ended, 1)
	go func() {
		event, err := c.result(ctx, sent)
		result <- ended{event, err}
	}()
	subject := c.prefix + ".evt." + sent.Target + "." + sent.Key + ".>"
	consumer, err := c.follow(ctx, "EVT", subject)
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	next := make(chan jetstream.Msg)
	go func() {
		defer close(next)
		for {
			message, err := messages.Next()
			if err != nil {
				return
			}
			select {
			case next <- message:
			case <-ctx.Done():
				return
			}
		}
	}()
	var end *sailhand.Event
	var seen, last uint64
	for end == nil || seen < last {
		ends := result
		if end != nil {
			ends = nil
		}
		select {
		case message, open := <-next:
			if !open {
				return errors.Join(ctx.Err(), errors.New("the events of the command cannot be read"))
			}
			metadata, err := message.Metadata()
			if err != nil {
				return err
			}
			seen = metadata.Sequence.Stream
			event, err := read(message)
			if err != nil {
				return err
			}
			if !yield(event) {
				return nil
			}
		case ended := <-ends:
			if ended.err != nil {
				return ended.err
			}
			// A worker publishes no event after the result.
			end = ended.event
			if last, err = c.last(ctx, subject); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	yield(end)
	return nil
}

func (c *Client) result(ctx context.Context, sent sailhand.Sent) (*sailhand.Event, error) {
	consumer, err := c.follow(ctx, "RES", c.prefix+".res."+sent.Target+"."+sent.Key)
	if err != nil {
		return nil, err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, messages.Stop)
	defer func() { stop(); messages.Stop() }()
	message, err := messages.Next()
	if err != nil {
		return nil, errors.Join(ctx.Err(), err)
	}
	return read(message)
}

func (c *Client) follow(ctx context.Context, stream, subject string) (jetstream.Consumer, error) {
	return c.js.OrderedConsumer(ctx, c.stream(stream), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject},
		DeliverPolicy:  jetstream.DeliverAllPolicy,
	})
}

// last is the sequence of the last message of a subject, 0 if there is none.
func (c *Client) last(ctx context.Context, subject string) (uint64, error) {
	stream, err := c.js.Stream(ctx, c.stream("EVT"))
	if err != nil {
		return 0, err
	}
	message, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return message.Sequence, nil
}

func (c *Client) stream(name string) string { return strings.ToUpper(c.prefix) + "_" + name }

func read(message jetstream.Msg) (*sailhand.Event, error) {
	event := new(sailhand.Event)
	return event, json.Unmarshal(message.Data(), event)
}
