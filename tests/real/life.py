"""A mesh's life on a real cluster: out, in, moved to another version by revision, and out again. The two versions are
those of the charts; the images behind both tags have the same binaries (tests/README.md)."""

import json
import os
import threading
from collections import Counter

from stage import BIN, Client, equal, kubectl, run, until

NEW, REVISION = "1.30.3", "1-30-3"
# They come and go by themselves; an APIService with its CRD.
RESTLESS = {"APIService", "Pod", "ReplicaSet", "Event", "Endpoints", "EndpointSlice", "Lease", "ControllerRevision", "ComponentStatus"}
# What istiod puts into every namespace, and its elections.
ELECTIONS = ("istio-leader", "istio-gateway-deployment-leader", "istio-gateway-status-leader", "istio-namespace-controller-election",
             "istio-validation-leader", "istio-ip-autoallocate")


def everything():
    """All objects of the cluster, as (kind, namespace, name)."""
    kinds = [kind for kind in kubectl("api-resources", "--verbs=list", "-o", "name").split() if ".metrics." not in kind]
    columns = "custom-columns=K:.kind,S:.metadata.namespace,N:.metadata.name"
    listed = kubectl("get", ",".join(kinds), "-A", "--no-headers", "--ignore-not-found", "-o", columns)
    return {tuple(words) for line in listed.splitlines() if (words := line.split()) and words[0] not in RESTLESS}


class Life:
    def __init__(self, sailhand, mesh, namespace, outside):
        self.sailhand, self.mesh, self.namespace, self.outside = sailhand, mesh, namespace, outside
        self.client, self.steady = Client(namespace, "deployment/client"), Client(outside, "steady")
        self.callers = CALLERS.format(namespace=namespace, outside=outside)
        self.url = f"http://reviews.{namespace}:9080/"
        self.before = set()

    def purge(self):
        report = self.sailhand.done("mesh.uninstall", purge=True, confirm="dev", force=True, wait="2m")["report"]
        left = [line for line in report.get("leftovers", []) if "with a proxy" not in line]
        equal(left, [], "leftovers")
        for namespace in (self.namespace, self.outside):
            kubectl("create", "namespace", namespace, check=False)  # it is there unless this check runs alone
        self.before = everything()
        equal([one for one in self.before if one[0] == "CustomResourceDefinition" and one[2].endswith("istio.io")], [])

    def begin(self):
        self.sailhand.done("mesh.install", **self.mesh)
        self.sailhand.done("namespace.label", namespace=self.namespace, mode="enabled")
        deploy = {"application": "bookinfo", "namespace": self.namespace, "registry": "localhost", "entry": "none", "wait": "3m"}
        self.sailhand.done("sample.deploy", **deploy)
        self.sailhand.done("config.apply", name="callers", manifest=self.callers, create_namespace=True, wait="2m")
        until("Bookinfo answers", lambda: self.client.codes(self.url, 10) == {"200": 10}, row=2)
        equal(self.revisions(), {"default": 7})

    def revisions(self):
        """Of the proxies that run."""
        pods = json.loads(kubectl("-n", self.namespace, "get", "pods", "-o", "json"))["items"]
        alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return dict(Counter(pod["metadata"].get("annotations", {}).get("istio.io/rev", "none") for pod in alive))

    def upgrade(self, **more):
        return self.sailhand.done("mesh.upgrade", version=NEW, strategy="canary", wait="4m", **more)

    def planes(self):
        status = self.sailhand.done("mesh.status")["report"]
        return {one["revision"]: one["version"] for one in status["control_planes"] if one["ready"]}

    def beside(self):
        equal(self.upgrade(until="control-plane")["changed"], True)
        equal(self.planes(), {"default": self.mesh["version"], REVISION: NEW})
        equal(self.revisions(), {"default": 7}, "nothing has moved")
        equal(self.upgrade(until="control-plane")["changed"], False)

    def move(self):
        over, answers = threading.Event(), Counter()

        def ask():
            while not over.is_set():
                answers.update(self.steady.codes(self.url, 20, qps=20))

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            self.upgrade(until="verify")
        finally:
            over.set()
            asking.join()
        equal(self.revisions(), {REVISION: 7})
        # One replica each, and a pod that ends may cut what it is answering.
        lost = sum(answers.values()) - answers["200"]
        assert answers["200"] >= 100 and lost * 50 <= answers["200"], dict(answers)

    def finish(self):
        equal(self.upgrade()["changed"], True)
        equal(self.planes(), {REVISION: NEW})
        equal(self.upgrade()["changed"], False)
        until("Bookinfo answers", lambda: self.client.codes(self.url, 10) == {"200": 10}, row=2)
        self.sailhand.done("traffic.apply", namespace=self.namespace, scenario="reviews-v3")
        until("routes reach the moved proxies", lambda: self.client.versions(self.url, 10) == {"v3": 10}, row=2)
        self.sailhand.done("traffic.clear", namespace=self.namespace)

    def istioctl(self):
        istioctl = os.path.join(BIN, "istioctl")
        status = run(istioctl, "proxy-status", "--revision", REVISION).stdout
        equal(sum(f".{self.namespace}" in line for line in status.splitlines()), 7, status)
        analysis = json.loads(run(istioctl, "analyze", "--revision", REVISION, "-n", self.namespace, "-o", "json", check=False).stdout or "[]")
        equal([one for one in analysis if one["level"] in ("Error", "Warning")], [])
        run(istioctl, "x", "precheck", "--revision", REVISION)
        tags = run(istioctl, "tag", "list").stdout
        assert REVISION in tags or "No Istio revision tag" in tags, tags

    def end(self):
        self.sailhand.done("config.delete", name="callers", wait="60s")
        self.sailhand.done("sample.remove", application="bookinfo", namespace=self.namespace, wait="2m")
        self.sailhand.done("namespace.label", namespace=self.namespace, mode="none", force=True)
        leftovers = self.sailhand.done("mesh.uninstall", all=True, wait="2m")["report"]["leftovers"]

        def documented(one):
            kind, _, name = one
            if kind == "ConfigMap":
                return name in ("istio-ca-root-cert", "istio-ca-crl", *ELECTIONS)
            return (kind, name) == ("Secret", "istio-ca-secret") or kind == "CustomResourceDefinition" and name.endswith(".istio.io")

        # Namespaces stay, with what every namespace has.
        homes = {one for one in everything() if "istio-system" in one or "sailhand-system" in one}
        homes = {one for one in homes if one[0] in ("Namespace", "ServiceAccount") or one[2] == "kube-root-ca.crt"}
        self.before |= homes
        left = everything() - self.before
        equal([one for one in left if not documented(one)], [], "left and not said")
        for kind, _, name in left:
            assert any(line.startswith(f"{kind}: ") and name in line or line.startswith(f"{kind} {name}: ") for line in leftovers), (kind, name, leftovers)
        report = self.sailhand.done("mesh.uninstall", purge=True, confirm="dev", wait="2m")["report"]
        equal(report.get("leftovers", []), [], "leftovers after the purge")
        until("nothing is left", lambda: everything() - self.before == set())


# One that moves with the mesh, and one that nothing restarts.
CALLERS = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: client, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: client}}}}
  template:
    metadata: {{labels: {{app: client}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{{name: app, image: "localhost/echo:1", command: [sleep, "1000000"]}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: steady, namespace: {outside}, labels: {{app: steady}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{{name: app, image: "localhost/echo:1", command: [sleep, "1000000"]}}]
"""
