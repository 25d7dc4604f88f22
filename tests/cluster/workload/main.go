// A workload with the contract of Meshery's learn-layer5, for the port-forward driver of the conformance suites. Written
// after the description of the contract; the original is github.com/layer5io/learn-layer5, service.
package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
)

// response is one that the workload got for a request of its own.
type response struct {
	URL     string
	Method  string
	Headers map[string]string
}

// counts is what GET /metrics answers with.
type counts struct {
	ReqReceived   []string
	RespSucceeded []response
	RespFailed    []response
}

type workload struct {
	name string
	lock sync.Mutex
	counts
}

type call struct {
	URL     string            `json:"url"`
	Method  string            `json:"method"`
	Body    string            `json:"body"`
	Headers map[string]string `json:"headers"`
}

// received counts a request by the name of its sender.
func (w *workload) received(next http.HandlerFunc) http.HandlerFunc {
	return func(out http.ResponseWriter, request *http.Request) {
		sender := request.Header.Get("ServiceName")
		if sender == "" {
			sender = "Unidentified"
		}
		w.lock.Lock()
		w.ReqReceived = append(w.ReqReceived, sender)
		w.lock.Unlock()
		next(out, request)
	}
}

// call sends a request. The answer is 200 with the body of the response, whatever its status; 500 without a response.
func (w *workload) call(out http.ResponseWriter, in *http.Request) {
	var wanted call
	if err := json.NewDecoder(io.LimitReader(in.Body, 1<<20)).Decode(&wanted); err != nil || in.Method != http.MethodPost {
		http.Error(out, "Error parsing body", http.StatusBadRequest)
		return
	}
	request, err := http.NewRequest(wanted.Method, wanted.URL, strings.NewReader(wanted.Body))
	if err != nil {
		http.Error(out, "Error creating request", http.StatusBadRequest)
		return
	}
	for name, value := range wanted.Headers {
		request.Header.Add(name, value)
	}
	request.Header.Add("ServiceName", w.name)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		http.Error(out, "Error completing the request", http.StatusInternalServerError)
		return
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	got := response{wanted.URL, wanted.Method, wanted.Headers}
	w.lock.Lock()
	if answer.StatusCode >= 200 && answer.StatusCode < 400 {
		w.RespSucceeded = append(w.RespSucceeded, got)
	} else {
		w.RespFailed = append(w.RespFailed, got)
	}
	w.lock.Unlock()
	out.Write(body)
}

// metrics answers with the counts, or resets them. It is not counted itself.
func (w *workload) metrics(out http.ResponseWriter, request *http.Request) {
	w.lock.Lock()
	defer w.lock.Unlock()
	switch request.Method {
	case http.MethodGet:
		out.Header().Set("Content-Type", "application/json")
		json.NewEncoder(out).Encode(w.counts)
	case http.MethodDelete:
		w.reset()
	default:
		http.Error(out, "Method not defined", http.StatusBadRequest)
	}
}

func (w *workload) reset() {
	w.counts = counts{[]string{}, []response{}, []response{}}
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func main() {
	w := &workload{name: setting("SERVICE_NAME", "Default")}
	w.reset()
	http.HandleFunc("/call", w.received(w.call))
	http.HandleFunc("/metrics", w.metrics)
	http.HandleFunc("/echo", w.received(func(out http.ResponseWriter, request *http.Request) { request.Write(out) }))
	log.Fatal(http.ListenAndServe(":"+setting("PORT", "9091"), nil))
}
