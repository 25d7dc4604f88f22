// Command client sends the commands of ../commands.json with cloudevents/sdk-go and nats.go, and checks what comes
// back on the bus. It prints one line per command, `ok NAME` or `FAILED NAME: reason`; exit status 1 when one failed.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
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

type result struct {
	Outcome string
	Changed bool
	Report  any
	Error   struct{ Code string }
}

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
	js, err := jetstream.New(connection)
	if err != nil {
		return err
	}
	failed := 0
	for _, command := range commands {
		if err := send(js, target, command); err != nil {
			failed++
			fmt.Printf("FAILED %s: %s: %v\n", client, command.Name, err)
		} else {
			fmt.Printf("ok %s: %s\n", client, command.Name)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d commands failed", failed, len(commands))
	}
	return nil
}

func send(js jetstream.JetStream, target string, command command) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sent := event.New()
	sent.SetSource("urn:example:" + client)
	// A space, a percent sign and a letter outside ASCII: what percent-encoding of headers is for.
	sent.SetID(rand.Text() + " 100% ü")
	sent.SetType("io.meshery.istio.command." + command.Verb + ".v1")
	sent.SetSubject(target)
	sent.SetExtension("correlationid", client+" clients")
	if err := sent.SetData(event.ApplicationJSON, command.Params); err != nil {
		return err
	}
	digest := sha256.Sum256([]byte(sent.Source() + "\n" + sent.ID()))
	key := hex.EncodeToString(digest[:])[:32]

	message := &nats.Msg{Subject: "istio.cmd." + target + "." + command.Verb, Header: nats.Header{}}
	if err := write(ctx, &sent, command.Mode, message); err != nil {
		return err
	}
	if _, err := js.PublishMsg(ctx, message, jetstream.WithMsgID(target+"."+key)); err != nil {
		return err
	}
	again, err := js.PublishMsg(ctx, message, jetstream.WithMsgID(target+"."+key))
	if err != nil {
		return err
	}
	if !again.Duplicate {
		return fmt.Errorf("the same command was taken twice")
	}
	if command.Cancel {
		if _, err := first(ctx, js, "ISTIO_EVT", "istio.evt."+target+"."+key+".started"); err != nil {
			return err
		}
		if _, err := js.Publish(ctx, "$KV.istio_control.cancel."+key, []byte("{}")); err != nil {
			return err
		}
	}

	answer, err := first(ctx, js, "ISTIO_RES", "istio.res."+target+"."+key)
	if err != nil {
		return err
	}
	if wanted := "io.meshery.istio.result." + command.Verb + ".v1"; answer.Type() != wanted {
		return fmt.Errorf("the result's type is %s, not %s", answer.Type(), wanted)
	}
	for name, wanted := range map[string]string{"commandid": sent.ID(), "commandkey": key, "correlationid": client + " clients"} {
		if found := answer.Extensions()[name]; found != wanted {
			return fmt.Errorf("%s of the result is %v, not %s", name, found, wanted)
		}
	}
	var data result
	if err := answer.DataAs(&data); err != nil {
		return err
	}
	if data.Outcome != command.Outcome ||
		command.Changed != nil && data.Changed != *command.Changed ||
		command.Report != nil && !reflect.DeepEqual(data.Report, command.Report) {
		return fmt.Errorf("the result is %s", answer.Data())
	}
	if command.Outcome != "succeeded" && command.Outcome != "cancelled" {
		if !code.MatchString(data.Error.Code) {
			return fmt.Errorf("the error has no code: %s", answer.Data())
		}
		return nil
	}
	started, err := first(ctx, js, "ISTIO_EVT", "istio.evt."+target+"."+key+".>")
	if err != nil {
		return err
	}
	if started.Type() != "io.meshery.istio.event.started.v1" || started.Extensions()["commandid"] != sent.ID() {
		return fmt.Errorf("the first event is %s", started)
	}
	for kind, count := range command.Events {
		events, err := firsts(ctx, js, "ISTIO_EVT", "istio.evt."+target+"."+key+"."+kind, count)
		if err != nil {
			return err
		}
		for _, one := range events {
			if one.Type() != "io.meshery.istio.event."+kind+".v1" || one.Extensions()["commandid"] != sent.ID() {
				return fmt.Errorf("an event is %s", one)
			}
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

// first is the first event of the subject, whether it is there already or comes later.
func first(ctx context.Context, js jetstream.JetStream, stream, subject string) (*event.Event, error) {
	events, err := firsts(ctx, js, stream, subject, 1)
	if err != nil {
		return nil, err
	}
	return events[0], nil
}

// firsts is the first events of the subject, whether they are there already or come later.
func firsts(ctx context.Context, js jetstream.JetStream, stream, subject string, count int) ([]*event.Event, error) {
	consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject},
		DeliverPolicy:  jetstream.DeliverAllPolicy,
	})
	if err != nil {
		return nil, err
	}
	var events []*event.Event
	for len(events) < count {
		message, err := consumer.Next(jetstream.FetchMaxWait(patience))
		if err != nil {
			return nil, fmt.Errorf("%d of %d came on %s: %w", len(events), count, subject, err)
		}
		if found := message.Headers().Get("Content-Type"); found != event.ApplicationCloudEventsJSON {
			return nil, fmt.Errorf("Content-Type is %q", found)
		}
		read := event.New()
		if err := json.Unmarshal(message.Data(), &read); err != nil {
			return nil, err
		}
		if err := read.Validate(); err != nil {
			return nil, err
		}
		events = append(events, &read)
	}
	return events, nil
}
