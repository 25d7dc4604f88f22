// flux-ssa applies the manifest on its standard input with Flux's own module for server-side apply, with the options of
// kustomize-controller, and prints a JSON object: what it did to each object, or the error, and the milliseconds between
// the first request and the last answer. The tests compare what we do with it. With -bare it only writes each object once,
// many at a time, which is the least time that an apply of a change can take.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/utils"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Outcome is what the program prints.
type Outcome struct {
	Actions map[string]string `json:"actions"`
	Error   string            `json:"error,omitempty"`
	Millis  int64             `json:"millis"`
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "an administrator's kubeconfig")
	concurrency := flag.Int("concurrency", 4, "dry runs at once; kustomize-controller has 4")
	bare := flag.Bool("bare", false, "only write each object once; -concurrency is the number of writes at once")
	flag.Parse()
	outcome, err := apply(*kubeconfig, *concurrency, *bare)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(outcome)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func apply(kubeconfig string, concurrency int, bare bool) (*Outcome, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = -1, -1 // as kustomize-controller: the API server limits
	kube, err := client.New(config, client.Options{})
	if err != nil {
		return nil, err
	}
	objects, err := utils.ReadObjects(os.Stdin)
	if err != nil {
		return nil, err
	}
	if bare {
		return write(kube, objects, concurrency)
	}
	poller := polling.NewStatusPoller(kube, kube.RESTMapper(), polling.Options{})
	owner := ssa.Owner{Field: "kustomize-controller", Group: "kustomize.toolkit.fluxcd.io"}
	manager := ssa.NewResourceManager(kube, poller, owner)
	manager.SetConcurrency(concurrency)
	manager.SetOwnerLabels(objects, "web", "flux-system")
	options := ssa.DefaultApplyOptions()
	options.MigrateAPIVersion = true
	options.Cleanup = ssa.ApplyCleanupOptions{
		Annotations: []string{"kubectl.kubernetes.io/last-applied-configuration"},
		FieldManagers: []ssa.FieldManager{
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationApply},
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: "before-first-apply", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: "kustomize-controller", OperationType: metav1.ManagedFieldsOperationUpdate},
		},
	}
	begun := time.Now()
	changes, err := manager.ApplyAllStaged(context.Background(), objects, options)
	outcome := &Outcome{Actions: map[string]string{}, Millis: time.Since(begun).Milliseconds()}
	if err != nil {
		outcome.Error = err.Error()
	}
	if changes != nil {
		for _, entry := range changes.Entries {
			outcome.Actions[entry.Subject] = entry.Action.String()
		}
	}
	return outcome, nil
}

// write applies each object once, in the manifest's order of kinds, so many at a time.
func write(kube client.Client, objects []*unstructured.Unstructured, concurrency int) (*Outcome, error) {
	sort.Sort(ssa.SortableUnstructureds(objects))
	for _, object := range objects { // discovery is not a write
		if _, err := kube.RESTMapper().RESTMapping(object.GroupVersionKind().GroupKind()); err != nil {
			return nil, err
		}
	}
	begun := time.Now()
	for _, isFirst := range []bool{true, false} { // objects need their namespaces
		group, ctx := errgroup.WithContext(context.Background())
		group.SetLimit(concurrency)
		for _, object := range objects {
			if utils.IsClusterDefinition(object) == isFirst {
				group.Go(func() error {
					//nolint:staticcheck // as kustomize-controller does
					return kube.Patch(ctx, object, client.Apply, client.FieldOwner("bare"), client.ForceOwnership)
				})
			}
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
	}
	return &Outcome{Actions: map[string]string{}, Millis: time.Since(begun).Milliseconds()}, nil
}
