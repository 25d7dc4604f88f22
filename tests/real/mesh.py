#!/usr/bin/env python3
"""On a real cluster with real Istio: what the verbs write is what requests meet. KUBECONFIG names the cluster.

Prints `ok NAME` and `FAILED NAME: reason`; ends with status 1 when a check failed.
"""

import json
import os
import sys
import threading
import time
from collections import Counter

from addons import Addons
from conformance import Conformance
import latency
from life import Life
from stage import BIN, CHARTS, Checks, Client, Sailhand, equal, kubectl, run, until

SHOP, OUTSIDE = "shop", "outside"
VERSION = "1.30.3"
MESH = {
    "version": VERSION,
    "profile": "minimal",
    "hub": "localhost/istio",
    "values": {
        "telemetry": {"enabled": False},  # upstream's Envoy has no istio.stats
        "meshConfig": {"accessLogFile": "/dev/stdout", "defaultConfig": {"terminationDrainDuration": "1s"}},
    },
    "component_values": {"istiod": {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}}},
}
CLIENT = """
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {account}, namespace: {namespace}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: {pod}, namespace: {namespace}, labels: {{app: {pod}}}}}
spec:
  serviceAccountName: {account}
  terminationGracePeriodSeconds: 1
  containers: [{{name: app, image: "localhost/echo:1", command: [sleep, "1000000"]}}]
"""


WRONG = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: wrong, namespace: default}
spec: {servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["a_b/*.x*.y"]}]}
"""


def url(service):
    return f"http://{service}.{SHOP}:9080/"


check = Checks()
sailhand = Sailhand(os.environ["KUBECONFIG"], CHARTS)
inside, stranger, outside = Client(SHOP), Client(SHOP, "stranger"), Client(OUTSIDE)


def install():
    equal(sailhand.done("mesh.install", **MESH)["changed"], True)
    deployment = json.loads(kubectl("-n", "istio-system", "get", "deployment", "istiod", "-o", "json"))
    assert deployment["status"]["readyReplicas"] >= 1, deployment["status"]
    again = sailhand.done("mesh.install", **MESH)
    equal(again["changed"], False, again.get("report"))


def webhooks():
    """What istiod has put into its webhooks stays, whoever installs again, with what is taken over too."""

    def live():
        names = ("mutatingwebhookconfiguration/istio-sidecar-injector", "validatingwebhookconfiguration/istio-validator-istio-system")
        return [json.loads(kubectl("get", name, "-o", "json")) for name in names]

    def filled():
        return all(hook["clientConfig"].get("caBundle") and hook["failurePolicy"] == "Fail" for one in live() for hook in one["webhooks"])

    until("istiod has made validation obligatory", filled)
    versions = [one["metadata"]["resourceVersion"] for one in live()]
    equal(sailhand.done("mesh.install", **MESH, adopt=True)["changed"], False)
    equal([one["metadata"]["resourceVersion"] for one in live()], versions)
    wrong = kubectl("create", "-f", "-", text=WRONG, check=False)
    equal(wrong, "", "istiod refuses what is wrong")


def injection():
    sailhand.done("namespace.label", namespace=SHOP, mode="enabled", create=True)
    deploy = {"application": "bookinfo", "namespace": SHOP, "registry": "localhost", "entry": "none", "wait": "3m"}
    equal(sailhand.done("sample.deploy", **deploy)["report"]["ready"], True)
    pods = json.loads(kubectl("-n", SHOP, "get", "pods", "-o", "json"))["items"]
    equal(len(pods), 6, "pods")
    for pod in pods:
        names = [one["name"] for kind in ("containers", "initContainers") for one in pod["spec"].get(kind, [])]
        assert "istio-proxy" in names, f"{pod['metadata']['name']} has {names}"


def clients():
    pods = [(SHOP, "client", "client"), (SHOP, "stranger", "stranger"), (OUTSIDE, "client", "client")]
    manifest = "---".join(CLIENT.format(namespace=space, pod=pod, account=account) for space, pod, account in pods)
    sailhand.done("config.apply", name="clients", manifest=manifest, create_namespace=True, wait="2m")
    until("Bookinfo answers", lambda: inside.codes(url("reviews"), 10) == {"200": 10}, row=2)


def traffic(**params):
    return sailhand.done("traffic.apply", namespace=SHOP, **params)


def weights():
    traffic(scenario="reviews-80-20")
    until("v3 is left out", lambda: "v3" not in inside.versions(url("reviews"), 20), row=3)
    found = inside.versions(url("reviews"), 500, qps=0)
    # 400 of 500 with a standard deviation of 9.
    equal(sum(found.values()), 500, "answers")
    assert 350 <= found["v1"] <= 450 and set(found) == {"v1", "v2"}, found


def header():
    traffic(scenario="reviews-test-v2")
    jason = ("end-user: jason",)
    until("jason sees v2", lambda: inside.versions(url("reviews"), 10, headers=jason) == {"v2": 10}, row=2)
    until("others see v1", lambda: inside.versions(url("reviews"), 10) == {"v1": 10}, row=2)


def no_request_is_lost():
    """Requests all the time while scenarios with other subsets follow each other."""
    over, answers = threading.Event(), Counter()

    def ask():
        while not over.is_set():
            answers.update(inside.codes(url("reviews"), 200, qps=100))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for scenario in ("reviews-v3", "reviews-test-v2", "reviews-v2-v3", "reviews-80-20"):
            traffic(scenario=scenario)
        sailhand.done("traffic.clear", namespace=SHOP, service="reviews")
    finally:
        over.set()
        asking.join()
    assert set(answers) == {"200"} and answers["200"] >= 1000, dict(answers)


def delay():
    traffic(scenario="ratings-test-delay")
    jason = ("end-user: jason",)

    def takes(**options):
        started = time.monotonic()
        equal(inside.codes(url("ratings"), **options), {"200": 1})
        return time.monotonic() - started

    until("jason waits", lambda: takes(headers=jason) >= 7, row=1)
    assert 7 <= takes(headers=jason) < 12
    assert takes() < 5


def abort():
    traffic(scenario="ratings-test-abort")
    jason = ("end-user: jason",)
    until("jason gets 500", lambda: inside.codes(url("ratings"), 5, headers=jason) == {"500": 5}, row=2)
    equal(inside.codes(url("ratings"), 5), {"200": 5})
    sailhand.done("traffic.clear", namespace=SHOP, scenario="ratings-test-abort")
    until("it is over", lambda: inside.codes(url("ratings"), 5, headers=jason) == {"200": 5}, row=2)


def timeout():
    traffic(service="details", rules=[{"timeout": "500ms", "retries": {"attempts": 0}}])
    until("late answers are given up", lambda: inside.codes(url("details") + "?delay=3s") == {"504": 1}, row=2)
    equal(inside.codes(url("details"), 5), {"200": 5})


def mirror():
    traffic(service="reviews", rules=[{"destinations": [{"subset": "v1"}], "mirror": {"subset": "v2"}}])
    until("only v1 answers", lambda: inside.versions(url("reviews"), 10) == {"v1": 10}, row=2)
    equal(inside.versions(url("reviews") + "mirrored", 10), {"v1": 10})

    def copies():
        return kubectl("-n", SHOP, "logs", "deployment/reviews-v2", "-c", "istio-proxy").count("/mirrored")

    until("v2 got a copy of each", lambda: copies() == 10)


def circuit_breaker():
    limits = {"max_connections": 1, "max_pending_requests": 1, "max_requests_per_connection": 1}
    traffic(service="details", circuit_breaker=limits)

    def refuses():
        found = inside.codes(url("details") + "?delay=300ms", 20, qps=0)
        return found.get("503", 0) > 0 and found.get("200", 0) > 0

    until("some of many at once are refused", refuses)
    sailhand.done("traffic.clear", namespace=SHOP)
    until("all are taken again", lambda: inside.codes(url("details"), 20, qps=0) == {"200": 20}, row=2)


def not_to_nowhere():
    result = sailhand.submit("traffic.apply", namespace=SHOP, service="reviews", rules=[{"destinations": [{"subset": "v9"}]}])
    equal((result["outcome"], result["error"]["code"]), ("failed", "SH3301"))


def policy(**params):
    return sailhand.done("policy.apply", **params)


SCOPE = {"of": "namespace", "namespace": SHOP}


def strict():
    until("plain text is taken before", lambda: outside.codes(url("reviews")) == {"200": 1})
    report = policy(scope=SCOPE, mtls={"mode": "strict"})["report"]
    equal(report.get("warnings", []), [])
    until("plain text is refused", lambda: "200" not in outside.codes(url("reviews"), 5), row=3)
    equal(inside.codes(url("reviews"), 10), {"200": 10})
    sailhand.done("policy.remove", scope=SCOPE, kind="mtls")
    until("plain text is taken after", lambda: outside.codes(url("reviews"), 5) == {"200": 5}, row=2)


def strict_warns():
    scope = {"of": "namespace", "namespace": OUTSIDE}
    report = policy(scope=scope, mtls={"mode": "strict"}, dry_run=True)["report"]
    assert any(f"{OUTSIDE}/client" in warning for warning in report["warnings"]), report


def lists():
    policy(scope=SCOPE, preset="deny-all-policy-operation")
    until("nobody gets in", lambda: inside.codes(url("reviews"), 5) == {"403": 5}, row=3)
    rule = {"principals": [f"cluster.local/ns/{SHOP}/sa/client"], "methods": ["GET"], "paths": ["/*"], "ports": [9080]}
    policy(scope=SCOPE, name="client-only", access={"action": "allow", "rules": [rule]})
    until("the client gets in", lambda: inside.codes(url("reviews"), 5) == {"200": 5}, row=3)
    equal(stranger.codes(url("reviews"), 5), {"403": 5})
    for name in ("deny-all", "client-only"):
        sailhand.done("policy.remove", scope=SCOPE, kind="access", name=name)
    until("everybody gets in", lambda: stranger.codes(url("reviews"), 5) == {"200": 5}, row=2)


def istioctl_agrees():
    istioctl = os.path.join(BIN, "istioctl")
    traffic(scenario="reviews-80-20")
    versions = json.loads(run(istioctl, "version", "-o", "json").stdout)
    assert len(versions["meshVersion"]) == 1 and len(versions["dataPlaneVersion"]) >= 8, versions
    status = run(istioctl, "proxy-status").stdout
    equal(sum(f".{SHOP}" in line for line in status.splitlines()), 8, status)
    assert "STALE" not in status, status
    analysis = json.loads(run(istioctl, "analyze", "-n", SHOP, "-o", "json", check=False).stdout or "[]")
    equal([one for one in analysis if one["level"] in ("Error", "Warning")], [])
    run(istioctl, "x", "precheck")
    tags = run(istioctl, "tag", "list").stdout.splitlines()
    equal([line.split() for line in tags[1:]], [["default"]], "tags and revisions")


def nothing_is_left():
    sailhand.done("traffic.clear", namespace=SHOP)
    sailhand.done("config.delete", name="clients", wait="60s")
    sailhand.done("sample.remove", application="bookinfo", namespace=SHOP)
    kinds = "virtualservices,destinationrules,peerauthentications,authorizationpolicies,deployments,services,serviceaccounts"
    for namespace in (SHOP, OUTSIDE):
        equal(kubectl("-n", namespace, "get", kinds, "-l", "app.kubernetes.io/managed-by=sailhand", "-o", "name"), "")
    inventories = kubectl("-n", "sailhand-system", "get", "configmaps", "-l", "app.kubernetes.io/managed-by=sailhand", "-o", "name")
    equal(inventories.split(), ["configmap/sailhand-istio-base", "configmap/sailhand-istiod-default"])


def main():
    check("Istio becomes ready, and a second install writes nothing", install)
    check("what istiod puts into its webhooks stays", webhooks)
    check("pods of Bookinfo get proxies", injection)
    check("clients inside and outside reach it", clients)
    check("weights: 80 to 20 of 500 requests", weights)
    check("a header decides on the version", header)
    check("no request is lost while routes change", no_request_is_lost)
    check("a delay of 7 s for one user", delay)
    check("an abort for one user", abort)
    check("a timeout", timeout)
    check("a mirror gets a copy of each request", mirror)
    check("a circuit breaker refuses some of many at once", circuit_breaker)
    check("no rule leads to where no pod is", not_to_nowhere)
    check("strict mTLS refuses plain text", strict)
    check("strict mTLS warns of pods without a proxy", strict_warns)
    check("deny-all and an allow list", lists)
    addons = Addons(sailhand, SHOP, outside)
    check("Prometheus answers its health call", addons.prometheus)
    check("Prometheus finds every pod that asks for it", addons.finds)
    check("Prometheus has the metrics of istiod and of proxies", addons.reads)
    check("Grafana's dashboard asks what Prometheus understands", addons.dashboard)
    check("nothing is left of addons", addons.remove)
    check("istioctl sees the same mesh", istioctl_agrees)
    check("nothing is left", nothing_is_left)
    conformance = Conformance(sailhand)
    check("conformance: a run without the CRDs of SMI ends with its code", conformance.crds_missing)
    check("conformance: the SMI controller becomes ready", conformance.controller)
    check("conformance: SMI passes", conformance.smi)
    check("conformance: SMI passes through the contract of learn-layer5", conformance.smi_by_contract)
    check("conformance: a TrafficTarget is enforced as fast as istiod does it", latency.run, on_request=True)
    check("conformance: an image that cannot be pulled ends a run with its code", conformance.no_image)
    check("conformance: a worker without the right to exec ends a run with its code", conformance.no_exec)
    check("conformance: CRDs of another version end a run with their code", conformance.other_version)
    check("conformance: unknown names end a run with their code", conformance.unknown_names)
    check("conformance: a namespace that cannot be deleted ends a run with its code", conformance.stuck_namespace, on_request=True)
    check("conformance: every wrong controller is caught", conformance.wrong_controllers, on_request=True)
    check("conformance: CRDs without the controller are no capability", conformance.without_adapter)
    check("conformance: the SMI controller and its CRDs go", conformance.removed)
    check("conformance: Gateway API mesh passes", conformance.gateway_api)
    life = Life(sailhand, {**MESH, "version": "1.28.10"}, SHOP, OUTSIDE)
    check("a purge takes the mesh out, and what it made", life.purge)
    check("conformance: a run without a mesh ends with its code", conformance.no_mesh)
    check("an older mesh with Bookinfo and its proxies", life.begin)
    check("an upgrade by revision, up to the new control plane", life.beside)
    check("the proxies follow, and requests are answered all the time", life.move)
    check("the old control plane goes when nobody needs it", life.finish)
    check("istioctl sees one revision", life.istioctl)
    check("uninstall leaves what it says, and nothing else", life.end)
    sailhand.end()
    sys.exit(1 if check.failed else 0)


main()
