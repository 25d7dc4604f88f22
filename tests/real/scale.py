#!/usr/bin/env python3
"""Memory and resync of the SMI controller with 1,000 TrafficTargets and 1,000 TrafficSplits, on the API server of KUBECONFIG.

    scale.py [COUNT]

Creates the objects in a namespace of its own, starts the program of SAILHAND_BIN twice as a controller outside the
cluster, and prints what it used. No other controller may run. Exits with status 1 when a second start writes.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

from stage import SAILHAND, equal, kubectl, until

NAMESPACE = "smi-scale"
CHUNK = 500


def meta(name, **more):
    return {"name": name, "namespace": NAMESPACE, **more}


def objects(count):
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    yield {"apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup", "metadata": meta("routes"),
           "spec": {"matches": [{"name": "api", "pathRegex": "/api/.*", "methods": ["GET"]}]}}
    for index in range(count):
        account, labels = f"account-{index}", {"app": f"app-{index}"}
        pod = {"serviceAccountName": account, "containers": [{"name": "app", "image": "localhost/echo:1"}]}
        yield {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(f"app-{index}"),
               "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}}
        yield {"apiVersion": "access.smi-spec.io/v1alpha3", "kind": "TrafficTarget", "metadata": meta(f"target-{index}"),
               "spec": {"destination": {"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE},
                        "sources": [{"kind": "ServiceAccount", "name": "client", "namespace": NAMESPACE}],
                        "rules": [{"kind": "HTTPRouteGroup", "name": "routes"}]}}
        for suffix in ("", "-v1", "-v2"):
            # 3,000 addresses are more than the range of the Services has.
            yield {"apiVersion": "v1", "kind": "Service", "metadata": meta(f"web-{index}{suffix}"),
                   "spec": {"clusterIP": "None", "selector": labels, "ports": [{"name": "http", "port": 80}]}}
        yield {"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit", "metadata": meta(f"split-{index}"),
               "spec": {"service": f"web-{index}",
                        "backends": [{"service": f"web-{index}-v1", "weight": 3}, {"service": f"web-{index}-v2", "weight": 1}]}}


class Controller:
    def __init__(self):
        self.log = tempfile.NamedTemporaryFile(suffix=".log")
        command = [SAILHAND, "smi-controller", "--namespace", "default", "--log-format", "json", "--kubeconfig", os.environ["KUBECONFIG"]]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log)

    def passes(self):
        lines = [json.loads(line) for line in open(self.log.name) if line.startswith("{")]
        return [line for line in lines if line.get("message") == "reconciled"]

    def memory(self):
        """MiB of resident memory: all of it, anonymous, and mapped from the program's file. The peak is of all of it."""
        status = dict(line.split(":", 1) for line in open(f"/proc/{self.process.pid}/status"))
        return {name: round(int(status[name].split()[0]) / 1024, 1) for name in ("VmRSS", "RssAnon", "RssFile", "VmHWM")}

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)


def versions():
    kinds = "traffictargets,trafficsplits,authorizationpolicies,virtualservices"
    found = json.loads(kubectl("get", kinds, "--all-namespaces", "-o", "json"))["items"]
    return {(one["kind"], one["metadata"]["name"]): one["metadata"]["resourceVersion"] for one in found}


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    everything = list(objects(count))
    try:
        for start in range(0, len(everything), CHUNK):
            items = everything[start:start + CHUNK]
            kubectl("apply", "--server-side", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        first = Controller()
        until("everything is translated", lambda: any(one["objects"] == 2 * count and not one["failed"] for one in first.passes()), within=600)
        print(f"{SAILHAND}: {os.path.getsize(SAILHAND) >> 20} MiB, {count} TrafficTargets and {count} TrafficSplits, MiB:")
        print(f"  after writing {2 * count} objects: {first.memory()}", flush=True)
        first.stop()
        before, started = versions(), time.monotonic()
        second = Controller()
        until("a pass", second.passes, within=60)
        took = time.monotonic() - started
        done = second.passes()[0]
        time.sleep(5)  # what a late pass would write shows until then
        print(f"  after a restart: {second.memory()}, ready after {took:.1f} s, pass of {done['took_ms']} ms", flush=True)
        second.stop()
        equal({name: done[name] for name in ("applied", "deleted", "reported", "failed")},
              {"applied": 0, "deleted": 0, "reported": 0, "failed": 0}, "writes of a resync")
        equal(versions(), before, "objects after the resync")
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")


main()
