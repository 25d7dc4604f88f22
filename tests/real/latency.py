"""Time from the change of an object to its enforcement in a real sidecar: of a TrafficTarget, which the controller
translates, and of the same AuthorizationPolicy written directly."""

import datetime
import http.client
import json
import os
import re
import subprocess
import threading
import time

from stage import BIN, kubectl

NAMESPACE, ROUNDS = "smi-latency", 50
ACCESS, ISTIO = "access.smi-spec.io/v1alpha3", "security.istio.io/v1"
# A request each 20 ms. The server's proxy logs each with its time; the log is written once a second.
ASK = ("client", "--qps=50", "--count=20000", "--timeout=400s", "http://server:8080/")
LINE = re.compile(r'\[(\S+)Z\] "GET / HTTP/1.1" (\d+) ')
WORKLOADS = """
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}, labels: {{istio-injection: enabled}}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: server, namespace: {namespace}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: client, namespace: {namespace}}}
---
apiVersion: v1
kind: Service
metadata: {{name: server, namespace: {namespace}}}
spec: {{selector: {{app: server}}, ports: [{{name: http, port: 8080}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: server, namespace: {namespace}, labels: {{app: server}}}}
spec:
  serviceAccountName: server
  terminationGracePeriodSeconds: 1
  containers: [{{name: app, image: "localhost/echo:1", args: ["--port=8080"]}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: client, namespace: {namespace}, labels: {{app: client}}}}
spec:
  serviceAccountName: client
  terminationGracePeriodSeconds: 1
  containers: [{{name: app, image: "localhost/echo:1", command: [sleep, "1000000"]}}]
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {{name: any, namespace: {namespace}}}
spec: {{matches: {{ports: []}}}}
"""


def account(name):
    return {"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}


SMI = ("traffictargets", ACCESS, "TrafficTarget",
       {"destination": account("server"), "sources": [account("client")], "rules": [{"kind": "TCPRoute", "name": "any"}]})
DIRECT = ("authorizationpolicies", ISTIO, "AuthorizationPolicy",
          {"selector": {"matchLabels": {"app": "server"}},
           "rules": [{"from": [{"source": {"principals": [f"cluster.local/ns/{NAMESPACE}/sa/client"]}}]}]})


class Answers:
    """The answers of the server's proxy, as (seconds since 1970, status)."""

    def __init__(self):
        kubectl_in = (os.path.join(BIN, "kubectl"), "-n", NAMESPACE)
        asking = (*kubectl_in, "exec", "client", "-c", "app", "--", *ASK)
        reading = (*kubectl_in, "logs", "--follow", "--since=1s", "server", "-c", "istio-proxy")
        self.asking = subprocess.Popen(asking, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.reading = subprocess.Popen(reading, stdout=subprocess.PIPE, text=True)
        self.found = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.reading.stdout:
            if found := LINE.match(line):
                at = datetime.datetime.fromisoformat(found[1] + "+00:00").timestamp()
                self.found.append((at, found[2]))

    def become(self, wanted, since):
        """Seconds from `since` to the first answer with this status."""
        end, place = time.monotonic() + 30, 0
        while time.monotonic() < end:
            for place in range(place, len(self.found)):
                at, status = self.found[place]
                if at >= since and status == wanted:
                    return at - since
            time.sleep(0.02)
        raise AssertionError(f"no answer {wanted} within 30 s; the last one is {self.found[-1:]}")

    def end(self):
        self.asking.kill()
        self.reading.kill()


class Api:
    """The API server without the start of a kubectl for each request."""

    def __init__(self):
        command = [os.path.join(BIN, "kubectl"), "proxy", "--port=0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.connection = http.client.HTTPConnection(self.process.stdout.readline().rsplit(" ", 1)[1].strip())

    def send(self, method, path, body=None):
        self.connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status < 300, text


def measure(api, answers, plural, version, kind, spec):
    """Seconds of each change: allowed, denied, allowed, …"""
    path, found = f"/apis/{version}/namespaces/{NAMESPACE}/{plural}", []
    body = {"apiVersion": version, "kind": kind, "metadata": {"name": "latency"}, "spec": spec}
    for _ in range(ROUNDS):
        for method, place, content, status in (("POST", path, body, "200"), ("DELETE", f"{path}/latency", None, "403")):
            changed = time.time()
            api.send(method, place, content)
            found.append(answers.become(status, changed))
    return sorted(found)


def figures(seconds):
    """Median and 99th percentile (nearest rank), milliseconds."""
    rank = lambda share: seconds[max(0, -(-len(seconds) * share // 100) - 1)]
    return f"p50 {rank(50) * 1000:.0f} ms, p99 {rank(99) * 1000:.0f} ms of {len(seconds)}"


def run():
    kubectl("apply", "-f", "-", text=WORKLOADS.format(namespace=NAMESPACE))
    kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=90s")
    answers, api = Answers(), Api()
    try:
        answers.become("200", time.time())
        started = time.time()
        kubectl("label", "namespace", NAMESPACE, "smi.sailhand.dev/default-deny=true")
        answers.become("403", started)
        print(f"  TrafficTarget: {figures(measure(api, answers, *SMI))}", flush=True)
        print(f"  AuthorizationPolicy: {figures(measure(api, answers, *DIRECT))}", flush=True)
    finally:
        answers.end()
        api.process.kill()
        kubectl("delete", "namespace", NAMESPACE)
