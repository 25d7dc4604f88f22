package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-openapi/strfmt"
	"github.com/grafana/grafana-openapi-client-go/models"
)

// Largest request body, bytes.
const maxBody = 8 << 20

const page = "<!doctype html><html><head><title>Grafana</title></head></html>"

type server struct {
	mutex sync.Mutex
	state *state
}

func newServer() *server {
	return &server{state: newState()}
}

type answer struct {
	status int
	body   any
}

func ok(body any) answer {
	return answer{http.StatusOK, body}
}

// An error as /api has it.
func refusal(status int, message string) answer {
	return answer{status, &models.ErrorResponseBody{Message: pointer(message)}}
}

type request struct {
	method string
	// Segments below `/api` or `/apis`.
	path  []string
	query url.Values
	body  []byte
	role  string
	user  string
}

func (r *request) is(method string, path ...string) bool {
	if r.method != method || len(r.path) != len(path) {
		return false
	}
	for i, part := range path {
		if part != "*" && part != r.path[i] {
			return false
		}
	}
	return true
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	s.mutex.Lock()
	if rest, found := strings.CutPrefix(r.URL.Path, "/control/"); found {
		result := s.state.control(r.Method, rest, body)
		s.mutex.Unlock()
		write(w, result)
		return
	}
	delay := time.Duration(s.state.settings.SlowMs) * time.Millisecond
	result, isLost := s.state.handle(r, body)
	s.mutex.Unlock()
	time.Sleep(delay)
	if isLost {
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	write(w, result)
}

func write(w http.ResponseWriter, result answer) {
	if text, is := result.body.(string); is {
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
		w.WriteHeader(result.status)
		_, _ = io.WriteString(w, text)
		return
	}
	// The answers are models too, so that a field of the double that Grafana does not have is an error here.
	if model, is := result.body.(interface{ Validate(strfmt.Registry) error }); is {
		if err := model.Validate(strfmt.Default); err != nil {
			http.Error(w, "the double's own answer is invalid: "+err.Error(), http.StatusNotImplemented)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(result.status)
	_ = json.NewEncoder(w).Encode(result.body)
}

// The answer, and whether it is lost.
func (s *state) handle(r *http.Request, body []byte) (answer, bool) {
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if s.settings.HTML {
		return ok(page), false
	}
	if r.URL.Path == "/api/health" { // without authentication
		return ok(&models.HealthResponse{Database: "ok", Version: grafanaVersion, Commit: "0"}), false
	}
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	if text := r.Header.Get("Authorization"); text != "" {
		s.authorizations = append(s.authorizations, text)
	}
	if s.settings.Fail > 0 {
		s.settings.Fail--
		return refusal(s.settings.FailStatus, http.StatusText(s.settings.FailStatus)), false
	}
	role, user := s.authenticate(r)
	if role == "" || role == "None" {
		return refusal(http.StatusUnauthorized, "Unauthorized"), false
	}
	isWrite := r.Method != http.MethodGet
	if isWrite && len(body) > 0 && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return refusal(http.StatusUnsupportedMediaType, "Content-Type is not application/json"), false
	}
	asked := &request{method: r.Method, path: path[1:], query: r.URL.Query(), body: body, role: role, user: user}
	var result answer
	switch {
	case path[0] == "api":
		result = s.legacy(asked)
	case path[0] == "apis" && len(s.settings.Apis) > 0:
		result = s.resources(asked)
	default:
		result = refusal(http.StatusNotFound, "Not found")
	}
	if result.status == http.StatusNotFound && s.settings.HTMLForUnknown && (path[0] == "apis" || len(path) < 2) {
		return ok(page), false
	}
	if isWrite && result.status < 300 && s.settings.LoseAnswers > 0 {
		s.settings.LoseAnswers--
		return result, true
	}
	return result, false
}

// Role and name of the sender; no role for a wrong credential.
func (s *state) authenticate(r *http.Request) (string, string) {
	credential := r.Header.Get("Authorization")
	if credential == "" || len(s.settings.Accounts) == 0 {
		if s.settings.Anonymous == "" {
			return "Admin", "sailhand"
		}
		return s.settings.Anonymous, "anonymous"
	}
	user, password, isBasic := r.BasicAuth()
	for _, one := range s.settings.Accounts {
		if isBasic && one.User != "" && one.User == user && one.Password == password {
			return one.Role, one.User
		}
		if !isBasic && one.Token != "" && credential == "Bearer "+one.Token {
			return one.Role, "sa-sailhand"
		}
	}
	return "", ""
}

// The lowest role of an action, as Grafana's basic roles have it.
func roleOf(action string) string {
	switch {
	case strings.HasPrefix(action, "datasources:"):
		return "Admin"
	case strings.HasSuffix(action, ":read"):
		return "Viewer"
	default:
		return "Editor"
	}
}

func (r *request) may(action string) bool {
	ranks := map[string]int{"Viewer": 1, "Editor": 2, "Admin": 3}
	return ranks[r.role] >= ranks[roleOf(action)]
}

// Decodes a body into a model; unknown fields, other types and violated constraints are errors.
func decode(body []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("bad request data: %w", err)
	}
	if decoder.More() {
		return fmt.Errorf("bad request data: more than one JSON value")
	}
	if model, is := into.(interface{ Validate(strfmt.Registry) error }); is {
		return model.Validate(strfmt.Default)
	}
	return nil
}
