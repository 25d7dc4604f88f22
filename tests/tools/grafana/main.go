// A double of Grafana's HTTP API for tests, in memory and on loopback. Grafana itself is under the AGPL, which the tests
// avoid. It decodes every request body into the models of grafana-openapi-client-go and of the foundation SDK, refuses
// unknown fields, and answers with these models. It cannot show how Grafana draws a dashboard.
//
//	grafana-double serve           serves, and prints `listening ADDRESS`; ends when its standard input is closed
//	grafana-double check FILE...   checks dashboards, prints `ok` or `FAILED` for each; exit status 1 for a failed one
//
// Source of paths, fields and status codes: the models, Grafana documentation, "HTTP API", and grafana/grafana,
// `pkg/registry/apis/{dashboard,folders}` and `pkg/storage/unified/apistore`.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
)

func main() {
	// Panels of all kinds: without them the SDK does not look into a panel's options.
	plugins.RegisterDefaultPlugins()
	if len(os.Args) > 2 && os.Args[1] == "check" {
		os.Exit(check(os.Args[2:]))
	}
	if len(os.Args) != 2 || os.Args[1] != "serve" {
		fmt.Fprintln(os.Stderr, "usage: grafana-double serve | grafana-double check FILE...")
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("listening %s\n", listener.Addr())
	go func() {
		// Also a test that is killed closes the pipe.
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Fprintln(os.Stderr, http.Serve(listener, newServer()))
	os.Exit(1)
}
