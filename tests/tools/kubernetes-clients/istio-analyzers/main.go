// istio-analyzers runs all of Istio's analyzers over the objects in files, and prints what they report as a JSON list.
// `istioctl analyze --use-kube=false` drops the kinds that a cluster makes at run time (Pod, Service, Namespace, ...), so
// that most of its analyzers never run on files; here every kind is kept.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"istio.io/istio/pkg/config/analysis/analyzers"
	"istio.io/istio/pkg/config/analysis/local"
	"istio.io/istio/pkg/config/resource"
	"istio.io/istio/pkg/log"
)

// Finding is one message, by what an other program's findings can be compared with.
type Finding struct {
	Code     string `json:"code"`
	Resource string `json:"resource"` // Kind namespace/name
	Message  string `json:"message"`
}

func main() {
	for _, scope := range log.Scopes() {
		scope.SetOutputLevel(log.NoneLevel)
	}
	findings, err := analyze(os.Args[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(findings)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func analyze(paths []string) ([]Finding, error) {
	root := resource.Namespace("istio-system")
	analyzer := local.NewSourceAnalyzer(analyzers.AllCombined(), resource.Namespace(""), root, nil)
	var sources []local.ReaderSource
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		sources = append(sources, local.ReaderSource{Name: path, Reader: file})
	}
	// One that cannot be read does not stop the others, as with istioctl.
	if err := analyzer.AddTestReaderKubeSource(sources); err != nil {
		fmt.Fprintln(os.Stderr, "not read:", err)
	}
	cancel := make(chan struct{})
	if err := analyzer.Init(cancel); err != nil {
		return nil, err
	}
	result, err := analyzer.ReAnalyze(cancel)
	if err != nil {
		return nil, err
	}
	findings := make([]Finding, 0, len(result.Messages))
	for _, message := range result.Messages {
		finding := Finding{Code: message.Type.Code(), Message: fmt.Sprintf(message.Type.Template(), message.Parameters...)}
		if message.Resource != nil {
			finding.Resource = message.Resource.Origin.FriendlyName()
		}
		findings = append(findings, finding)
	}
	return findings, nil
}
