// Command meshery plays Meshery's server against a bridge, with grpc-go, the library that Meshery dials with: a new plaintext
// connection for each request of a user, without a deadline, metadata or credentials, in the documented order of calls. The
// messages are built from the descriptors that the bridge serves by reflection. It runs each of the 19 operations and its
// reverse, and reads their ends from the event stream and from the double of Meshery's HTTP endpoints (../double).
//
// It prints one line per step, `ok NAME` or `FAILED NAME: reason`; exit status 1 when one failed.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

const patience = 3 * time.Minute // for one operation

// meshery is one bridge, as Meshery's server knows it.
type meshery struct {
	address string
	file    protoreflect.FileDescriptor
}

func main() {
	address, kubeconfig := os.Getenv("SAILHAND_BRIDGE"), os.Getenv("SAILHAND_BRIDGE_KUBECONFIG")
	text, err := os.ReadFile(kubeconfig)
	if err != nil {
		fmt.Println("FAILED meshery:", err)
		os.Exit(1)
	}
	failed := false
	report := func(name string, err error) {
		if err != nil {
			failed = true
			fmt.Printf("FAILED meshery: %s: %v\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
			return
		}
		fmt.Println("ok meshery:", name)
	}
	server := &meshery{address: address}
	report("reflection", server.reflect())
	if failed {
		os.Exit(1)
	}
	report("health", server.health())
	keys, versions, err := server.connect("MeshService")
	report("connect", err)
	ended, err := server.user(keys, string(text), report)
	report("event stream", err)
	report("results and versions over HTTP", pushed(os.Getenv("SAILHAND_MESHERY"), versions, ended))
	report("refusals", server.refusals("MeshService", string(text)))
	_, _, err = server.connect("AdapterService")
	report("AdapterService: connect", err)
	report("AdapterService: operation", server.operate("AdapterService", string(text)))
	report("AdapterService: refusals", server.refusals("AdapterService", string(text)))
	if failed {
		os.Exit(1)
	}
}

// dial opens a connection as Meshery does, lazily and for one request.
func (m *meshery) dial() (*grpc.ClientConn, error) {
	return grpc.NewClient(m.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// reflect reads the descriptors of the contract from the bridge.
func (m *meshery) reflect() error {
	connection, err := m.dial()
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := reflection.NewServerReflectionClient(connection).ServerReflectionInfo(ctx)
	if err != nil {
		return err
	}
	ask := func(request *reflection.ServerReflectionRequest) (*reflection.ServerReflectionResponse, error) {
		if err := stream.Send(request); err != nil {
			return nil, err
		}
		return stream.Recv()
	}
	listed, err := ask(&reflection.ServerReflectionRequest{
		MessageRequest: &reflection.ServerReflectionRequest_ListServices{ListServices: "*"},
	})
	if err != nil {
		return err
	}
	services := map[string]bool{}
	for _, service := range listed.GetListServicesResponse().GetService() {
		services[service.GetName()] = true
	}
	for _, name := range []string{"meshes.MeshService", "meshes.AdapterService", "grpc.health.v1.Health"} {
		if !services[name] {
			return fmt.Errorf("%s is not listed: %v", name, services)
		}
	}
	found, err := ask(&reflection.ServerReflectionRequest{
		MessageRequest: &reflection.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "meshes.MeshService"},
	})
	if err != nil {
		return err
	}
	files := found.GetFileDescriptorResponse().GetFileDescriptorProto()
	if len(files) != 1 {
		return fmt.Errorf("%d files, not one: %v", len(files), found.GetErrorResponse())
	}
	var file descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal(files[0], &file); err != nil {
		return err
	}
	m.file, err = protodesc.NewFile(&file, nil)
	return err
}

func (m *meshery) health() error {
	connection, err := m.dial()
	if err != nil {
		return err
	}
	defer connection.Close()
	for _, service := range []string{"", "meshes.MeshService", "meshes.AdapterService"} {
		answer, err := health.NewHealthClient(connection).Check(context.Background(), &health.HealthCheckRequest{Service: service})
		if err != nil {
			return err
		}
		if answer.GetStatus() != health.HealthCheckResponse_SERVING {
			return fmt.Errorf("%q is %s", service, answer.GetStatus())
		}
	}
	return nil
}

// call is one rpc on a connection of its own. Request and response are JSON.
func (m *meshery) call(service, method, request string) (string, error) {
	connection, err := m.dial()
	if err != nil {
		return "", err
	}
	defer connection.Close()
	descriptor := m.file.Services().ByName(protoreflect.Name(service)).Methods().ByName(protoreflect.Name(method))
	if descriptor == nil {
		return "", fmt.Errorf("%s has no %s", service, method)
	}
	input, output := dynamicpb.NewMessage(descriptor.Input()), dynamicpb.NewMessage(descriptor.Output())
	if err := protojson.Unmarshal([]byte(request), input); err != nil {
		return "", err
	}
	if err := connection.Invoke(context.Background(), "/meshes."+service+"/"+method, input, output); err != nil {
		return "", err
	}
	text, err := protojson.Marshal(output)
	return strings.ReplaceAll(string(text), " ", ""), err
}

// connect is what Meshery's server calls when a user adds the adapter, and every five seconds. It returns the keys of the
// operations that the menu lists, and the versions.
func (m *meshery) connect(service string) (keys, versions []string, err error) {
	name, versionsOf := "MeshName", "MeshVersions"
	if service == "AdapterService" {
		name, versionsOf = "AdapterName", "AdapterVersions"
	}
	for _, step := range []struct{ method, contains string }{
		{name, `"name":"ISTIO"`},
		{versionsOf, `"version":["1.30.3"]`},
		{"SupportedOperations", `"key":"label-namespace"`},
		{"ComponentInfo", `"type":"adapter"`},
	} {
		answer, err := m.call(service, step.method, "{}")
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", step.method, err)
		}
		if !strings.Contains(answer, step.contains) {
			return nil, nil, fmt.Errorf("%s answers %s", step.method, answer)
		}
		var fields struct {
			Ops     []struct{ Key string }
			Version []string
		}
		if err := json.Unmarshal([]byte(answer), &fields); err != nil {
			continue // ComponentInfo has another type of version
		}
		for _, operation := range fields.Ops {
			keys = append(keys, operation.Key)
		}
		versions = append(versions, fields.Version...)
	}
	return keys, versions, nil
}

// operation is one of the 19 of Meshery's former adapter, with texts of its last event. An operation without a text is not
// listed.
type operation struct {
	key, applied, removed string
}

var operations = []operation{
	{"istio", "Istio service mesh 1.30.3 installed on dev", "Istio Service Mesh removed on dev"},
	{"label-namespace", "Label updated on meshery-client namespace on dev", "Label updated on meshery-client namespace on dev"},
	{"prometheus-addon", "Addon Prometheus installed in istio-system on dev", "Add-on: Prometheus removed on dev"},
	{"grafana-addon", "Addon Grafana installed in istio-system on dev", "Add-on: Grafana removed on dev"},
	{"kiali-addon", "Addon Kiali installed in istio-system on dev", "Add-on: Kiali removed on dev"},
	{"jaeger-addon", "Addon Jaeger installed in istio-system on dev", "Add-on: Jaeger removed on dev"},
	{"zipkin-addon", "Addon Zipkin installed in istio-system on dev", "Add-on: Zipkin removed on dev"},
	{"istio-vet", "Configuration analyzed on dev: ", "Configuration analyzed on dev: "},
	{"deny-all-policy-operation", "Policy applied in meshery-apps on dev: Deny-All", "Policy: Deny-All removed on dev"},
	{"strict-mtls-policy-operation", "Policy applied in meshery-apps on dev: Strict MTLS", "Policy: Strict MTLS removed on dev"},
	{"mutual-mtls-policy-operation", "Policy applied in meshery-apps on dev: Mutual MTLS", "Policy: Mutual MTLS removed on dev"},
	{"disable-mtls-policy-operation", "Policy applied in meshery-apps on dev: Disable MTLS", "Policy: Disable MTLS removed on dev"},
	{"bookinfo", "Istio Book Info Application deployed in meshery-apps on dev", "Istio Book Info Application removed on dev"},
	{"httpbin", "HTTPBin Application deployed in meshery-apps on dev", "HTTPBin Application removed on dev"},
	{"emojivoto", "", ""},
	{"imagehub", "", ""},
	{"envoy-filter-operation", "", ""},
	{"custom", "Manifest applied on dev: 1 object", "Custom YAML removed on dev"},
	{"smi_conformance", "Smi conformance test completed successfully", "Smi conformance test completed successfully"},
}

const manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-meshery}\ndata: {color: blue}\n"

// user applies and removes each operation of the menu, as a user of Meshery's UI does: Istio first, and removed last. It
// returns the summaries of the last events by operation id. report is called once for each operation.
func (m *meshery) user(keys []string, kubeconfig string, report func(string, error)) (map[string]string, error) {
	connection, err := m.dial()
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := m.events(ctx, connection, "MeshService")
	if err != nil {
		return nil, err
	}
	ended := map[string]string{}
	do := func(operation operation, remove bool) error {
		summary := operation.applied
		if remove {
			summary = operation.removed
		}
		if summary == "" {
			if slices.Contains(keys, operation.key) {
				return errors.New("it is listed")
			}
			_, _, err := m.apply("MeshService", operation.key, kubeconfig, remove)
			if status.Code(err) != codes.Unimplemented {
				return fmt.Errorf("%v, not %s", err, codes.Unimplemented)
			}
			return nil
		}
		if !slices.Contains(keys, operation.key) {
			return errors.New("it is not listed")
		}
		defer time.AfterFunc(patience, cancel).Stop()
		id, answer, err := m.apply("MeshService", operation.key, kubeconfig, remove)
		if err != nil {
			return err
		}
		if !strings.Contains(answer, id) {
			return fmt.Errorf("ApplyOperation answers %s", answer)
		}
		event, err := stream.end(id)
		if err != nil {
			return err
		}
		if err := judge(event, summary, operation.key == "istio" && !remove, remove); err != nil {
			return err
		}
		ended[id] = event["summary"]
		return nil
	}
	for _, operation := range operations {
		report(operation.key, do(operation, false))
		if operation.key != "istio" {
			report(operation.key+", reverse", do(operation, true))
		}
	}
	report("istio, reverse", do(operations[0], true))
	return ended, nil
}

// judge reads the last event of an operation with the rules of Meshery's command line and server.
func judge(event map[string]string, summary string, installs, remove bool) error {
	text := strings.ToLower(event["summary"] + " " + event["details"])
	switch {
	case event["eventType"] == "ERROR" || strings.Contains(text, "error"):
		return fmt.Errorf("it failed: %v", event)
	case !strings.HasPrefix(event["summary"], summary):
		return fmt.Errorf("the event is %v", event)
	case installs != strings.Contains(text, "mesh is now installed"):
		return fmt.Errorf("the end of an installation: %v", event)
	case !remove && strings.Contains(text, "removed"):
		return fmt.Errorf("Meshery takes it for an undeployment: %v", event)
	}
	return nil
}

// apply sends an operation on a connection of its own, with the text of the UI's editor, as Meshery always does.
func (m *meshery) apply(service, key, kubeconfig string, remove bool) (id, answer string, err error) {
	id = rand.Text()
	namespace := "meshery-apps"
	if key == "label-namespace" {
		namespace = "meshery-client"
	}
	answer, err = m.call(service, "ApplyOperation", fmt.Sprintf(`{"opName": %q, "namespace": %q, "username": "jane",
		"operation_id": %q, "delete_op": %t, "custom_body": %s, "version": "v1.30.3", "kube_configs": [%s]}`,
		key, namespace, id, remove, quote(manifest), quote(kubeconfig)))
	return id, answer, err
}

// pushed checks the double of Meshery's HTTP endpoints: servers since July 2026 open no event stream, so each result must
// be there too. Each version of the menu is registered, by the schemas of @meshery/schemas.
func pushed(double string, versions []string, ended map[string]string) error {
	var report struct {
		Events []struct {
			Description, Severity string
			Metadata              struct{ OperationID string }
		}
		Versions, Invalid []string
	}
	var missing []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		answer, err := http.Get(double + "/report")
		if err != nil {
			return err
		}
		err = json.NewDecoder(answer.Body).Decode(&report)
		answer.Body.Close()
		if err != nil {
			return err
		}
		if len(report.Invalid) > 0 {
			return fmt.Errorf("not valid: %v", report.Invalid)
		}
		got := map[string]string{}
		for _, event := range report.Events {
			if event.Severity == "success" {
				got[event.Metadata.OperationID] = event.Description
			}
		}
		missing = nil
		for id, summary := range ended {
			if got[id] != summary {
				missing = append(missing, summary)
			}
		}
		if len(missing) == 0 && slices.Equal(report.Versions, versions) {
			return nil
		}
	}
	return fmt.Errorf("versions %v; events that are missing: %v", report.Versions, missing)
}

// operate runs one operation of the second service and reads its end.
func (m *meshery) operate(service, kubeconfig string) error {
	connection, err := m.dial()
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := m.events(ctx, connection, service)
	if err != nil {
		return err
	}
	for _, remove := range []bool{false, true} {
		id, _, err := m.apply(service, "label-namespace", kubeconfig, remove)
		if err != nil {
			return err
		}
		event, err := stream.end(id)
		if err != nil {
			return err
		}
		if err := judge(event, "Label updated on", false, remove); err != nil {
			return err
		}
	}
	return nil
}

type events struct {
	stream grpc.ClientStream
	output protoreflect.MessageDescriptor
}

func (m *meshery) events(ctx context.Context, connection *grpc.ClientConn, service string) (*events, error) {
	method := m.file.Services().ByName(protoreflect.Name(service)).Methods().ByName("StreamEvents")
	stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/meshes."+service+"/StreamEvents")
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(dynamicpb.NewMessage(method.Input())); err != nil {
		return nil, err
	}
	// The headers come when the stream is open, so that no event is missed.
	if _, err := stream.Header(); err != nil {
		return nil, err
	}
	return &events{stream, method.Output()}, stream.CloseSend()
}

// end is the last event of an operation: warnings come before it.
func (e *events) end(id string) (map[string]string, error) {
	for {
		event, err := e.next()
		if err != nil {
			return nil, err
		}
		// The findings of an analysis come before its sum; protojson leaves the first value of an enumeration out.
		isFinding := strings.HasPrefix(event["summary"], "SH") || strings.HasPrefix(event["summary"], "IST0")
		if event["operationId"] == id && event["eventType"] != "WARN" && !isFinding {
			return event, nil
		}
	}
}

func (e *events) next() (map[string]string, error) {
	message := dynamicpb.NewMessage(e.output)
	if err := e.stream.RecvMsg(message); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the stream has ended")
		}
		return nil, err
	}
	fields := map[string]string{}
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		text := value.String()
		if field.Kind() == protoreflect.EnumKind {
			text = string(field.Enum().Values().ByNumber(value.Enum()).Name())
		}
		fields[field.JSONName()] = text
		return true
	})
	return fields, nil
}

// refusals are the statuses whose text Meshery's UI shows.
func (m *meshery) refusals(service, kubeconfig string) error {
	for _, step := range []struct {
		request string
		code    codes.Code
	}{
		{`{"opName": "no-such-operation"}`, codes.Unimplemented},
		{`{"opName": "label-namespace"}`, codes.FailedPrecondition},
		{`{"opName": "label-namespace", "namespace": "../etc", "kube_configs": [` + quote(kubeconfig) + `]}`, codes.InvalidArgument},
		{`{"opName": "label-namespace", "kube_configs": ["` + strings.Repeat("[", 100_000) + `"]}`, codes.InvalidArgument},
	} {
		_, err := m.call(service, "ApplyOperation", step.request)
		if status.Code(err) != step.code {
			return fmt.Errorf("%.80s: %v, not %s", step.request, err, step.code)
		}
	}
	return nil
}

func quote(text string) string {
	encoded, err := json.Marshal(text)
	if err != nil {
		return `""`
	}
	return string(encoded)
}
