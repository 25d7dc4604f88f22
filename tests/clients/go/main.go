// Command client sends the commands of ../commands.json over NATS and over HTTP, with the module of clients/go and with
// cloudevents/sdk-go, and checks what comes back. It prints one line per command, `ok NAME` or `FAILED NAME: reason`; exit
// status 1 when one failed.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"reflect"
	"regexp"
	"strings"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	sailhand "sailhand.dev/client"
	gateway "sailhand.dev/client/http"
	bus "sailhand.dev/client/nats"
)

const (
	client   = "go"
	patience = 2 * time.Minute // until the result has to be there
)

type command struct {
	Name, Mode, Verb, Outcome string
	Params                    map[string]any
	Cancel                    bool
	Changed                   *bool
	Report                    any
	Events                    map[string]int // number of events of each kind
}

// params are parameters that are not typed, because some are wrong on purpose.
type params struct {
	verb string
	data map[string]any
}

func (p params) Verb() string                 { return p.verb }
func (p params) MarshalJSON() ([]byte, error) { return json.Marshal(p.data) }

var code = regexp.MustCompile(`^SH\d{4}$`)

func main() {
	if err := sendAll(os.Getenv("SAILHAND_NATS_URL"), os.Getenv("SAILHAND_TARGET")); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func sendAll(url, target string) error {
	text, err := os.ReadFile("../commands.json")
	if err != nil {
		return err
	}
	var commands []command
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), "@client@", client)), &commands); err != nil {
		return err
	}
	connection, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer connection.Close()
	failed := 0
	report := func(name string, err error) {
		if err != nil {
			failed++
			fmt.Printf("FAILED %s: %s: %v\n", client, name, err)
		} else {
			fmt.Printf("ok %s: %s\n", client, name)
		}
	}
	for _, command := range commands {
		report(command.Name, run(connection, target, command))
	}
	for _, how := range []string{"client", "structured", "binary"} {
		report("HTTP, "+how, runHTTP(target, how))
	}
	report("HTTP, refusals", runRefusals(target))
	if failed > 0 {
		return fmt.Errorf("%d commands failed", failed)
	}
	return nil
}

func newCommand(target, source string, parameters sailhand.Params) sailhand.Command {
	command := sailhand.NewCommand(target, source, parameters)
	// A space, a percent sign and a letter outside ASCII: what percent-encoding of headers is for.
	command.ID = rand.Text() + " 100% ü"
	command.CorrelationID = client + " clients"
	return command
}

func run(connection *nats.Conn, target string, wanted command) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	js, err := jetstream.New(connection)
	if err != nil {
		return err
	}
	typed, err := bus.New(connection, "")
	if err != nil {
		return err
	}
	command := newCommand(target, "urn:example:"+client, params{wanted.Verb, wanted.Params})
	sent, err := send(ctx, typed, js, command, wanted.Mode)
	if err != nil {
		return err
	}
	started := func() error {
		if !wanted.Cancel {
			return nil
		}
		_, err := js.Publish(ctx, "$KV.istio_control.cancel."+command.Key(), []byte("{}"))
		return err
	}
	if err := check(command, wanted, typed.Events(ctx, sent), started); err != nil {
		return err
	}
	result, err := typed.Wait(ctx, sent)
	if err == nil && string(result.Outcome) != wanted.Outcome {
		err = fmt.Errorf("the outcome is %s", result.Outcome)
	}
	return err
}

// send sends a command twice: with the typed client in structured mode, with the SDK in other modes.
func send(ctx context.Context, typed *bus.Client, js jetstream.JetStream, command sailhand.Command, mode string) (sailhand.Sent, error) {
	sent := sailhand.Sent{Target: command.Target, Key: command.Key(), ID: command.ID}
	duplicate := false
	for range 2 {
		if mode == "structured" {
			again, err := typed.Send(ctx, command)
			if err != nil {
				return sent, err
			}
			duplicate = again.Duplicate
			continue
		}
		message := &nats.Msg{Subject: "istio.cmd." + command.Target + "." + command.Params.Verb(), Header: nats.Header{}}
		encoded, err := sdkEvent(command)
		if err != nil {
			return sent, err
		}
		if err := write(ctx, encoded, mode, message); err != nil {
			return sent, err
		}
		ack, err := js.PublishMsg(ctx, message, jetstream.WithMsgID(command.Target+"."+command.Key()))
		if err != nil {
			return sent, err
		}
		duplicate = ack.Duplicate
	}
	if !duplicate {
		return sent, errors.New("the same command was taken twice")
	}
	return sent, nil
}

// sdkEvent is the command as an event of the SDK.
func sdkEvent(command sailhand.Command) (*event.Event, error) {
	text, err := command.Event()
	if err != nil {
		return nil, err
	}
	event := event.New()
	return &event, json.Unmarshal(text, &event)
}

// check checks the events of a command, the last of which is its result.
func check(command sailhand.Command, wanted command, events iter.Seq2[*sailhand.Event, error], started func() error) error {
	kinds := map[string]int{}
	var first, last *sailhand.Event
	for event, err := range events {
		if err != nil {
			return err
		}
		if event.CommandID != command.ID || event.CommandKey != command.Key() || event.CorrelationID != client+" clients" {
			return fmt.Errorf("an event is %+v", event)
		}
		if first == nil {
			first = event
		}
		last = event
		kind := strings.TrimSuffix(strings.TrimPrefix(event.Type, "io.meshery.istio.event."), ".v1")
		kinds[kind]++
		if kind == "started" {
			if err := started(); err != nil {
				return err
			}
		}
	}
	if expected := "io.meshery.istio.result." + wanted.Verb + ".v1"; last == nil || last.Type != expected {
		return fmt.Errorf("the last event is %+v", last)
	}
	var data struct {
		Outcome string
		Changed bool
		Report  any
		Error   struct{ Code string }
	}
	if err := json.Unmarshal(last.Data, &data); err != nil {
		return err
	}
	if data.Outcome != wanted.Outcome ||
		wanted.Changed != nil && data.Changed != *wanted.Changed ||
		wanted.Report != nil && !reflect.DeepEqual(data.Report, wanted.Report) {
		return fmt.Errorf("the result is %s", last.Data)
	}
	if wanted.Outcome != "succeeded" && wanted.Outcome != "cancelled" {
		if !code.MatchString(data.Error.Code) {
			return fmt.Errorf("the error has no code: %s", last.Data)
		}
		return nil
	}
	if first.Type != "io.meshery.istio.event.started.v1" {
		return fmt.Errorf("the first event is %s", first.Type)
	}
	for kind, count := range wanted.Events {
		if kinds[kind] < count {
			return fmt.Errorf("%d events of %s, not %d", kinds[kind], kind, count)
		}
	}
	return nil
}

// runHTTP sends one command over HTTP: by the typed client, or by the SDK in one of its modes.
func runHTTP(target, how string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	url, token := os.Getenv("SAILHAND_GATEWAY_URL"), os.Getenv("SAILHAND_GATEWAY_TOKEN")
	typed := &gateway.Client{URL: url, Token: func() (string, error) { return token, nil }}
	command := newCommand(target, "/clients/"+client, sailhand.PingParams{Echo: sailhand.Ptr("over HTTP")})
	sent := sailhand.Sent{Target: target, Key: command.Key(), ID: command.ID}
	if how == "client" {
		accepted, err := typed.Send(ctx, command)
		if err != nil {
			return err
		}
		sent = accepted
	} else if err := sdkPost(ctx, url, token, command, how); err != nil {
		return err
	}
	again, err := typed.SendAll(ctx, []sailhand.Command{command})
	if err != nil {
		return err
	}
	if len(again) != 1 || again[0].Key != command.Key() || sent.Key != command.Key() {
		return fmt.Errorf("the batch is %+v", again)
	}
	report := map[string]any{"echo": "over HTTP"}
	expected := newExpected("ping", "succeeded", sailhand.Ptr(false), report)
	if err := check(command, expected, typed.Events(ctx, sent), func() error { return nil }); err != nil {
		return err
	}
	result, err := typed.Wait(ctx, sent)
	if err != nil {
		return err
	}
	var ping sailhand.PingReport
	if err := json.Unmarshal(result.Report, &ping); err != nil {
		return err
	}
	if result.Outcome != sailhand.OutcomeSucceeded || ping.Echo == nil || *ping.Echo != "over HTTP" {
		return fmt.Errorf("the result is %+v", result)
	}
	return nil
}

func newExpected(verb, outcome string, changed *bool, report any) command {
	return command{Verb: verb, Outcome: outcome, Changed: changed, Report: report}
}

// sdkPost sends a command over HTTP as the SDK encodes it.
func sdkPost(ctx context.Context, url, token string, command sailhand.Command, mode string) error {
	protocol, err := cloudevents.NewHTTP(cloudevents.WithTarget(url+"/v1/events"), cloudevents.WithHeader("Authorization", "Bearer "+token))
	if err != nil {
		return err
	}
	sender, err := cloudevents.NewClient(protocol)
	if err != nil {
		return err
	}
	encoded, err := sdkEvent(command)
	if err != nil {
		return err
	}
	if mode == "binary" {
		ctx = cloudevents.WithEncodingBinary(ctx)
	} else {
		ctx = cloudevents.WithEncodingStructured(ctx)
	}
	if result := sender.Send(ctx, *encoded); cloudevents.IsUndelivered(result) || cloudevents.IsNACK(result) {
		return fmt.Errorf("not accepted: %w", result)
	}
	return nil
}

func runRefusals(target string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for token, expected := range map[string]string{os.Getenv("SAILHAND_GATEWAY_TOKEN"): "SH1005", "0123456789abcdef-wrong": "SH3804"} {
		typed := &gateway.Client{URL: os.Getenv("SAILHAND_GATEWAY_URL"), Token: func() (string, error) { return token, nil }}
		_, err := typed.Send(ctx, newCommand(target, "/clients/"+client, params{"ping", map[string]any{"eco": 1}}))
		var refused *gateway.Error
		if !errors.As(err, &refused) || refused.Code != expected {
			return fmt.Errorf("%s was expected, not %v", expected, err)
		}
	}
	return nil
}

// write puts the event into the message in a content mode of the CloudEvents NATS binding.
func write(ctx context.Context, event *event.Event, mode string, message *nats.Msg) error {
	writer := &writer{message}
	if mode == "binary" {
		return (*binding.EventMessage)(event).ReadBinary(ctx, writer)
	}
	if err := (*binding.EventMessage)(event).ReadStructured(ctx, writer); err != nil {
		return err
	}
	if mode == "untyped" { // as the SDK's own NATS protocol writes it
		message.Header.Del("Content-Type")
	}
	return nil
}
