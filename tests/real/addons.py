"""Prometheus as addon.apply makes it, beside real Istio: what its role and its configuration let it find and read."""

import json
import urllib.parse

from stage import equal, kubectl, until

ELSEWHERE = "monitoring"

# What Grafana puts in the place of a variable.
VARIABLES = {"$__rate_interval": "2m", "$namespace": "shop", "$service": "reviews", "$workload": "reviews-v1"}


class Addons:
    def __init__(self, sailhand, shop, outside):
        self.sailhand, self.shop, self.outside = sailhand, shop, outside

    def apply(self, **params):
        return self.sailhand.done("addon.apply", registry="localhost", **params)

    def ask(self, path, **query):
        query = f"?{urllib.parse.urlencode(query)}" if query else ""
        service = f"/api/v1/namespaces/{ELSEWHERE}/services/http:prometheus:9090/proxy"
        answer = json.loads(kubectl("get", "--raw", f"{service}/api/v1/{path}{query}"))
        equal(answer["status"], "success", path)
        return answer["data"]

    def series(self, query):
        return self.ask("query", query=query)["result"]

    def targets(self):
        """The targets, as (namespace, pod) and how each is."""
        found = {}
        for one in self.ask("targets", state="active")["activeTargets"]:
            pod = one["labels"]["namespace"], one["labels"]["pod"]
            assert pod not in found, f"{pod} is read twice: {one['scrapeUrl']} and {found[pod]['scrapeUrl']}"
            found[pod] = one
        return found

    def prometheus(self):
        asked = {"addon": "prometheus", "namespace": ELSEWHERE, "create_namespace": True, "expose": "node-port", "wait": "2m"}
        first = self.apply(**asked)
        equal((first["changed"], first["report"]["healthy"]), (True, True))
        again = self.apply(**asked)
        equal((again["changed"], again["report"]["healthy"]), (False, True))
        node = kubectl("get", "nodes", "-o", 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}')
        url = f"http://{node}:{first['report']['node_port']}/-/ready"
        until("it answers at the node's port", lambda: self.outside.codes(url) == {"200": 1})

    def finds(self):
        """Whoever has the annotation is found, once, and answers; strict mTLS does not shut Prometheus out. What stands
        in for productpage asks for it too and has no metrics, which Prometheus says."""
        pods = json.loads(kubectl("get", "pods", "-A", "-o", "json"))["items"]
        asking = [pod["metadata"] for pod in pods if pod["metadata"].get("annotations", {}).get("prometheus.io/scrape") == "true"]
        wanted = {(pod["namespace"], pod["name"]) for pod in asking}
        spaces = {namespace for namespace, _ in wanted}
        assert {"istio-system", self.shop, ELSEWHERE} <= spaces, spaces
        scope = {"of": "namespace", "namespace": self.shop}
        self.sailhand.done("policy.apply", scope=scope, mtls={"mode": "strict"})

        def trouble():
            found = self.targets()
            lacking = {str(pod): "not found" for pod in wanted - set(found)}
            errors = {str(pod): one["lastError"] or one["health"] for pod, one in found.items() if one["health"] != "up"}
            return lacking | {pod: error for pod, error in errors.items() if "ServiceVersion=v1" not in error}

        try:
            until("all targets are up", lambda: not trouble(), within=60)
        except AssertionError as error:
            raise AssertionError(f"{error}: {trouble()}") from None
        finally:
            self.sailhand.done("policy.remove", scope=scope, kind="mtls")
        found = self.targets()
        equal(set(found), wanted)
        equal({pod[1].split("-")[0] for pod, one in found.items() if one["health"] != "up"}, {"productpage"})

    def reads(self):
        """istiod's own metrics and those of a proxy, by the labels that one asks with."""
        proxies = int(kubectl("-n", self.shop, "get", "pods", "-o", "name").count("pod/"))
        until("istiod tells its proxies", lambda: sum(float(one["value"][1]) for one in self.series("pilot_xds")) == proxies)
        equal({one["metric"]["namespace"] for one in self.series("pilot_xds")}, {"istio-system"})
        envoys = f'envoy_server_live{{namespace="{self.shop}",app="reviews",version=~"v.+"}} == 1'
        until("Bookinfo's proxies tell", lambda: len(self.series(envoys)) == 3)
        until("Prometheus tells of itself", lambda: len(self.series(f'prometheus_build_info{{namespace="{ELSEWHERE}"}}')) == 1)

    def dashboard(self):
        """The real Prometheus accepts each query of Grafana's panels, and those about istiod have data."""
        self.apply(addon="grafana", namespace=ELSEWHERE, wait="0s")
        files = json.loads(kubectl("-n", ELSEWHERE, "get", "configmap", "grafana", "-o", "json"))["data"]
        boards = [json.loads(text) for name, text in files.items() if name.endswith(".json")]
        equal(len(boards), 5, "dashboards")
        filled = set()
        for panel in (panel for board in boards for panel in board["panels"]):
            for target in panel["targets"]:
                query = target["expr"]
                for name, value in VARIABLES.items():
                    query = query.replace(name, value)
                if self.series(query):
                    filled.add(panel["title"])
        # Upstream's Envoy has no istio.stats, so panels about requests are empty.
        about_istiod = {"Proxies connected to istiod", "Versions in use"}
        equal(about_istiod - filled, set(), "panels without data")

    def remove(self):
        for addon in ("grafana", "prometheus"):
            equal(self.sailhand.done("addon.remove", addon=addon, namespace=ELSEWHERE)["changed"], True)
        roles = kubectl("get", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/part-of=istio-addons", "-o", "name")
        equal(roles, "")
        kubectl("delete", "namespace", ELSEWHERE)
