"""Calls a bridge with grpcio, by the descriptors that it serves by reflection: each method, an operation with its events, and
the health service.

Prints one line per step, `ok NAME` or `FAILED NAME: reason`; exit status 1 when one failed.
"""

import os
import pathlib
import sys
import uuid

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

PATIENCE = 120  # seconds
SERVICES = ("MeshService", "AdapterService")


class Bridge:
    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        self.database = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = DescriptorPool(self.database)

    def method(self, service, name):
        return self.pool.FindServiceByName(f"meshes.{service}").methods_by_name[name]

    def call(self, service, name, **fields):
        method = self.method(service, name)
        call = self.channel.unary_unary(
            f"/meshes.{service}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        request = json_format.ParseDict(fields, GetMessageClass(method.input_type)())
        return json_format.MessageToDict(call(request, timeout=PATIENCE), preserving_proto_field_name=True)

    def events(self, service):
        method = self.method(service, "StreamEvents")
        call = self.channel.unary_stream(
            f"/meshes.{service}/StreamEvents",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )(GetMessageClass(method.input_type)(), timeout=PATIENCE)
        call.initial_metadata()  # the stream is open, so that no event is missed
        return call


def expect(condition, found):
    if not condition:
        raise AssertionError(found)


def describe(bridge):
    services = set(bridge.database.get_services())
    expect({f"meshes.{name}" for name in SERVICES} < services, services)
    names = {method.name for method in bridge.pool.FindServiceByName("meshes.MeshService").methods}
    expect({"ApplyOperation", "ProcessOAM", "Provision", "StreamEvents", "CreateMeshInstance"} < names, names)


def health(bridge):
    stub = health_pb2_grpc.HealthStub(bridge.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service="meshes.MeshService"), timeout=PATIENCE)
    expect(answer.status == health_pb2.HealthCheckResponse.SERVING, answer)


def operate(bridge, service, kubeconfig):
    for method in ("SupportedOperations", "ComponentInfo"):
        expect(bridge.call(service, method), method)
    bridge_events = bridge.events(service)
    for delete in (False, True):
        operation = str(uuid.uuid4())
        answer = bridge.call(
            service,
            "ApplyOperation",
            opName="label-namespace",
            namespace="grpcio-client",
            username="jane",
            operation_id=operation,
            delete_op=delete,
            kube_configs=[kubeconfig],
        )
        expect(answer.get("operation_id") == operation, answer)
        event = next(event for event in bridge_events if event.operation_id == operation)
        expect("Label updated on grpcio-client" in event.summary, event)
    bridge_events.cancel()


def refuse(bridge, service):
    try:
        found = bridge.call(service, "ApplyOperation", opName="no-such-operation")
    except grpc.RpcError as error:
        expect(error.code() == grpc.StatusCode.UNIMPLEMENTED and "SH3601" in error.details(), error)
    else:
        raise AssertionError(found)


def main():
    bridge = Bridge(os.environ["SAILHAND_BRIDGE"])
    kubeconfig = pathlib.Path(os.environ["SAILHAND_BRIDGE_KUBECONFIG"]).read_text("utf-8")
    steps = [("reflection", lambda: describe(bridge)), ("health", lambda: health(bridge))]
    for service in SERVICES:
        steps.append((f"{service}: operation", lambda service=service: operate(bridge, service, kubeconfig)))
        steps.append((f"{service}: refusal", lambda service=service: refuse(bridge, service)))
    failed = 0
    for name, step in steps:
        try:
            step()
            print(f"ok grpcio: {name}", flush=True)
        except Exception as error:  # whatever it is, the next step is tried
            failed += 1
            print(f"FAILED grpcio: {name}: {(str(error) or type(error).__name__).splitlines()[0]}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
