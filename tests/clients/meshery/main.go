// Command meshery plays Meshery's server against a bridge, with grpc-go, the library that Meshery dials with: a new plaintext
// connection for each request of a user, without a deadline, metadata or credentials, in the documented order of calls. The
// messages are built from the descriptors that the bridge serves by reflection.
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
	"os"
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

const patience = 3 * time.Minute

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
	for _, service := range []string{"MeshService", "AdapterService"} {
		report(service+": connect", server.connect(service))
		report(service+": operations and their events", server.operate(service, string(text)))
		report(service+": refusals", server.refusals(service, string(text)))
	}
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

// connect is what Meshery's server calls when a user adds the adapter, and every five seconds.
func (m *meshery) connect(service string) error {
	name, versions := "MeshName", "MeshVersions"
	if service == "AdapterService" {
		name, versions = "AdapterName", "AdapterVersions"
	}
	for _, step := range []struct{ method, contains string }{
		{name, `"name":"ISTIO"`},
		{versions, `"version":["1.30.3"]`},
		{"SupportedOperations", `"key":"label-namespace"`},
		{"ComponentInfo", `"type":"adapter"`},
	} {
		answer, err := m.call(service, step.method, "{}")
		if err != nil {
			return fmt.Errorf("%s: %w", step.method, err)
		}
		if !strings.Contains(answer, step.contains) {
			return fmt.Errorf("%s answers %s", step.method, answer)
		}
	}
	return nil
}

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
	for _, step := range []struct {
		operation string
		remove    bool
		end       string
	}{
		{"label-namespace", false, "Label updated on"},
		{"label-namespace", true, "Label updated on"},
	} {
		operation := rand.Text()
		request := fmt.Sprintf(`{"opName": %q, "namespace": "meshery-client", "username": "jane", "operation_id": %q,
			"delete_op": %t, "custom_body": "ignored: true", "kube_configs": [%s]}`,
			step.operation, operation, step.remove, quote(kubeconfig))
		answer, err := m.call(service, "ApplyOperation", request)
		if err != nil {
			return err
		}
		if !strings.Contains(answer, operation) {
			return fmt.Errorf("ApplyOperation answers %s", answer)
		}
		for {
			event, err := next(stream)
			if err != nil {
				return err
			}
			if event["operationId"] != operation {
				continue
			}
			if event["eventType"] == "ERROR" || !strings.Contains(event["summary"], step.end) {
				return fmt.Errorf("the event is %v", event)
			}
			break
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

func next(events *events) (map[string]string, error) {
	message := dynamicpb.NewMessage(events.output)
	if err := events.stream.RecvMsg(message); err != nil {
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
		{`{"opName": "istio", "delete_op": true, "kube_configs": [` + quote(kubeconfig) + `]}`, codes.PermissionDenied},
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
