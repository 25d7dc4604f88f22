// Package http sends commands to `sailhand gateway` (docs/http.md). It needs the standard library only.
package http

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	sailhand "sailhand.dev/client"
)

const (
	longestWait = 50 * time.Second // of one request: shorter than the idle time of usual proxies
	repeat      = time.Second      // before a repetition, if the gateway does not ask for another delay
	maxProblem  = 64 << 10
	maxLine     = 8 << 20
)

// Client is a client of one gateway.
type Client struct {
	// URL such as `https://sailhand.example.com`.
	URL string
	// Token returns a bearer token. Nil for clients with a certificate.
	Token func() (string, error)
	// HTTP is the client below; nil for one without redirects.
	HTTP *http.Client
}

// Error is a refused request, as problem details (RFC 9457).
type Error struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy"`
	// RetryAfter is the delay after which a repetition may succeed; 0 if no repetition helps.
	RetryAfter time.Duration `json:"-"`
}

func (e *Error) Error() string { return fmt.Sprintf("%s (status %d): %s", e.Code, e.Status, e.Detail) }

// State of a command: `pending`, `running` or `ended`.
type State struct {
	State  string           `json:"state"`
	Result *sailhand.Result `json:"result"`
}

// Send sends a command. It repeats while the gateway is not ready, which is safe, until the context ends.
func (c *Client) Send(ctx context.Context, command sailhand.Command) (sailhand.Sent, error) {
	event, err := command.Event()
	if err != nil {
		return sailhand.Sent{}, err
	}
	var sent sailhand.Sent
	err = c.post(ctx, "application/cloudevents+json", event, &sent)
	return sent, err
}

// SendAll sends at most 500 commands in one request: all are valid, or none is sent.
func (c *Client) SendAll(ctx context.Context, commands []sailhand.Command) ([]sailhand.Sent, error) {
	events := make([]json.RawMessage, 0, len(commands))
	for _, command := range commands {
		event, err := command.Event()
		if err != nil {
			return nil, err
		}
		events = append(events, event)
	}
	body, err := json.Marshal(events)
	if err != nil {
		return nil, err
	}
	var accepted struct{ Commands []sailhand.Sent }
	err = c.post(ctx, "application/cloudevents-batch+json", body, &accepted)
	return accepted.Commands, err
}

// State returns the state of a command. It waits at most so long for its end.
func (c *Client) State(ctx context.Context, sent sailhand.Sent, wait time.Duration) (State, error) {
	var state State
	query := ""
	if wait > 0 {
		query = fmt.Sprintf("?wait=%dms", wait.Milliseconds())
	}
	response, err := c.do(ctx, http.MethodGet, path(sent)+query, nil, nil)
	if err != nil {
		return state, err
	}
	defer response.Body.Close()
	return state, json.NewDecoder(response.Body).Decode(&state)
}

// Wait returns the result of a command, whatever its outcome. It waits until the context ends.
func (c *Client) Wait(ctx context.Context, sent sailhand.Sent) (*sailhand.Result, error) {
	for {
		state, err := c.State(ctx, sent, longestWait)
		if err == nil && state.State == "ended" {
			return state.Result, nil
		}
		if err != nil {
			if err := pause(ctx, err); err != nil {
				return nil, err
			}
		}
	}
}

// Events iterates over the events of a command from its start, then its result. It resumes a lost connection.
func (c *Client) Events(ctx context.Context, sent sailhand.Sent) iter.Seq2[*sailhand.Event, error] {
	return func(yield func(*sailhand.Event, error) bool) {
		last := ""
		for last != "end" {
			goOn, err := c.stream(ctx, sent, &last, yield)
			if !goOn {
				return
			}
			if err != nil {
				if err := pause(ctx, err); err != nil {
					yield(nil, err)
					return
				}
			}
		}
	}
}

func (c *Client) stream(ctx context.Context, sent sailhand.Sent, last *string, yield func(*sailhand.Event, error) bool) (bool, error) {
	headers := http.Header{}
	if *last != "" {
		headers.Set("Last-Event-ID", *last)
	}
	response, err := c.do(ctx, http.MethodGet, path(sent)+"/events", headers, nil)
	if err != nil {
		return true, err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxLine)
	var id string
	var data []byte
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case name == "id":
			id = value
		case name == "data":
			data = append(data, value...)
		case name == "" && value == "" && len(data) > 0:
			event := new(sailhand.Event)
			if err := json.Unmarshal(data, event); err != nil {
				return true, err
			}
			*last, data = id, nil
			if !yield(event, nil) {
				return false, nil
			}
		}
	}
	if err := lines.Err(); err != nil || *last == "end" {
		return true, err
	}
	return true, io.ErrUnexpectedEOF // resumed after a delay
}

func (c *Client) post(ctx context.Context, kind string, body []byte, into any) error {
	headers := http.Header{"Content-Type": {kind}}
	for {
		response, err := c.do(ctx, http.MethodPost, "/v1/events", headers, body)
		if err == nil {
			defer response.Body.Close()
			return json.NewDecoder(response.Body).Decode(into)
		}
		if err := pause(ctx, err); err != nil {
			return err
		}
	}
}

func (c *Client) do(ctx context.Context, method, path string, headers http.Header, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range headers {
		request.Header[name] = values
	}
	if c.Token != nil {
		token, err := c.Token()
		if err != nil {
			return nil, err
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	}
	response, err := c.client().Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer response.Body.Close()
	return nil, refusal(response)
}

var withoutRedirects = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (c *Client) client() *http.Client {
	if c.HTTP != nil {
		return c.HTTP
	}
	return withoutRedirects
}

func refusal(response *http.Response) error {
	refused := &Error{}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxProblem))
	if err != nil || json.Unmarshal(text, refused) != nil {
		refused.Detail = http.StatusText(response.StatusCode)
	}
	refused.Status = response.StatusCode
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		refused.RetryAfter = time.Duration(seconds) * time.Second
	} else if response.StatusCode == 408 || response.StatusCode == 429 || response.StatusCode > 500 {
		refused.RetryAfter = repeat
	}
	return refused
}

// pause waits before a repetition. It returns the error if no repetition changes it, or the context has ended.
func pause(ctx context.Context, err error) error {
	delay := repeat
	var refused *Error
	if errors.As(err, &refused) {
		if refused.RetryAfter == 0 {
			return err
		}
		delay = refused.RetryAfter
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), err)
	}
}

func path(sent sailhand.Sent) string { return "/v1/commands/" + sent.Target + "/" + sent.Key }
