// Package sailhand builds commands for sailhand, which operates Istio. Packages http and nats send them.
package sailhand

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

const typePrefix = "io.meshery.istio"

// Params are the parameters of a verb, such as ConfigApplyParams.
type Params interface {
	// Verb such as `config.apply`.
	Verb() string
}

// Command is a command that has not been sent. Source and ID identify it: sending it again is the same command.
type Command struct {
	Target string
	// Source is a URI reference that identifies the sender.
	Source string
	// ID is random by default, see NewCommand.
	ID     string
	Params Params
	// Expires: the command is not started after this time. Zero for none.
	Expires time.Time
	// Generation: later generations of an installation supersede earlier ones. Zero for none.
	Generation uint64
	// CorrelationID groups commands. The ID by default.
	CorrelationID string
	// Traceparent is a W3C trace context.
	Traceparent string
}

// NewCommand returns a command with a random ID.
func NewCommand(target, source string, params Params) Command {
	return Command{Target: target, Source: source, ID: rand.Text(), Params: params}
}

// Key is the first 32 hex digits of SHA-256 of source, line feed and id.
func (c Command) Key() string {
	digest := sha256.Sum256([]byte(c.Source + "\n" + c.ID))
	return hex.EncodeToString(digest[:])[:32]
}

// Event is the CloudEvent in structured mode.
func (c Command) Event() ([]byte, error) {
	event := struct {
		SpecVersion     string     `json:"specversion"`
		ID              string     `json:"id"`
		Source          string     `json:"source"`
		Type            string     `json:"type"`
		Subject         string     `json:"subject"`
		DataContentType string     `json:"datacontenttype"`
		ExpiryTime      *time.Time `json:"expirytime,omitempty"`
		Generation      uint64     `json:"generation,omitempty"`
		CorrelationID   string     `json:"correlationid,omitempty"`
		Traceparent     string     `json:"traceparent,omitempty"`
		Data            Params     `json:"data"`
	}{
		SpecVersion: "1.0", ID: c.ID, Source: c.Source, Type: typePrefix + ".command." + c.Params.Verb() + ".v1",
		Subject: c.Target, DataContentType: "application/json", Generation: c.Generation,
		CorrelationID: c.CorrelationID, Traceparent: c.Traceparent, Data: c.Params,
	}
	if !c.Expires.IsZero() {
		expires := c.Expires.UTC()
		event.ExpiryTime = &expires
	}
	return json.Marshal(event)
}

// Sent is a command that the bus has stored.
type Sent struct {
	Target string `json:"target"`
	Key    string `json:"key"`
	ID     string `json:"id"`
	// Duplicate: the queue had the same command already.
	Duplicate bool `json:"duplicate"`
}

// Event is an event or the result of a command, as a CloudEvent.
type Event struct {
	ID            string          `json:"id"`
	Source        string          `json:"source"`
	Type          string          `json:"type"`
	Subject       string          `json:"subject"`
	Time          time.Time       `json:"time"`
	CommandID     string          `json:"commandid"`
	CommandKey    string          `json:"commandkey"`
	CommandSource string          `json:"commandsource"`
	CorrelationID string          `json:"correlationid"`
	Data          json.RawMessage `json:"data"`
}

// Result is the end of a command. Report has the type <Verb>Report, such as ConfigApplyReport.
type Result struct {
	ResultData
	Report json.RawMessage `json:"report"`
}

// Ptr returns a pointer to a value, for optional parameters.
func Ptr[T any](value T) *T { return &value }
