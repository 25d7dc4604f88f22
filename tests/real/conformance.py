"""Conformance runs on real sidecars: `sailhand conformance run` as an operator starts it, with the SMI controller in the
cluster, without it, and without a mesh."""

import json
import os
import subprocess
import tempfile
import threading
import time

from stage import BIN, CHARTS, ROOT, SAILHAND, Sailhand, equal, kubectl, run, until

CONTROLLER = "localhost/sailhand:1"
IMAGE = "image=localhost/echo:1"
# What Istio cannot express, or what nobody serves; everything else must pass.
NOT_SUPPORTED = {"TA-x.5", "TM-x.1", "TSC-x.4", "TSC-x.5"}
# Features of Istio with sidecars; MeshClusterIPMatching and MeshConsumerRoute are not among them.
FEATURES = ["Mesh", "HTTPRoute", "GRPCRoute", *("MeshHTTPRoute" + one for one in (
    "RewritePath", "SchemeRedirect", "RedirectPort", "RedirectPath", "BackendRequestHeaderModification", "QueryParamMatching", "NamedRouteRule"))]
UPSTREAM = ["-test.v", "-test.run=^TestConformance$", "-test.timeout=6m", "-mesh-name=istio", "-conformance-profiles=MESH-HTTP,MESH-GRPC",
            f"-supported-features={','.join(FEATURES)}", "-namespace-labels=istio-injection=enabled", "-organization=istio", "-project=istio",
            "-url=https://istio.io", "-version=1.30.3", "-contact=@istio/maintainers"]
NEW_NAMESPACE = "istiod-leads"
UPSTREAM_NAMESPACES = ("gateway-conformance-app-backend", "gateway-conformance-web-backend")

KINDS = ("namespaces", "serviceaccounts", "services", "deployments", "pods", "events", "customresourcedefinitions", "traffictargets",
         "httproutegroups", "tcproutes", "udproutes", "trafficsplits", "authorizationpolicies", "virtualservices")
LIMITED = json.dumps({"apiVersion": "v1", "kind": "List", "items": [
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "conformance-limited", "namespace": "default"}},
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "conformance-limited"},
     "rules": [{"apiGroups": ["*"], "resources": KINDS, "verbs": ["*"]}]},
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "conformance-limited"},
     "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "conformance-limited"},
     "subjects": [{"kind": "ServiceAccount", "name": "conformance-limited", "namespace": "default"}]},
]})


class Conformance:
    def __init__(self, sailhand):
        self.sailhand = sailhand

    def run(self, suite, *more, target="dev", timeout=300):
        """The report and the exit status of a run, with what was written to stderr and the seconds that it took."""
        command = [SAILHAND, "--nats-url", self.sailhand.url, "conformance", "run", "--suite", suite, "--target", target]
        started = time.monotonic()
        image = () if any(word.startswith("image=") for word in more) else ("-p", IMAGE)
        done = run(*command, *image, *more, "-o", "json", check=False, timeout=timeout)
        seconds = time.monotonic() - started
        report = json.loads(done.stdout) if done.stdout.strip() else {}
        return report, done.returncode, done.stderr, seconds

    def verdicts(self, report):
        return {one["spec"]: (one["capability"], one["compliance"]) for one in report["specs"]}

    def print(self, name, report, seconds):
        """Times are printed and not checked: they depend on what else the machine does."""
        counts, load = report["summary"]["counts"], os.getloadavg()[0]
        print(f"  {name}: {seconds:.1f} s at load {load:.1f}, {counts}, {self.verdicts(report)}", flush=True)

    def wrong(self, report, not_supported=()):
        return [f"{one['case_id']}: {one['status']}: {one['message']}" for one in report["cases"]
                if one["status"] != ("not-supported" if one["case_id"] in not_supported else "passed")]

    def nothing_left(self):
        left = kubectl("get", "namespaces", "-l", "conformance.sailhand.dev/run", "-o", "name")
        equal(left, "", "test namespaces after the run")

    def until_nothing_left(self):
        until("the namespaces are gone", lambda: not kubectl("get", "namespaces", "-l", "conformance.sailhand.dev/run", "-o", "name"))

    def crds_missing(self):
        report, status, errors, _ = self.run("smi")
        assert status != 0 and "SH3404" in errors, (status, errors[-2000:])
        self.nothing_left()

    def controller(self):
        if "SAILHAND_E2E_KUBECONFIG" not in os.environ:
            subprocess.run([os.path.join(ROOT, "tests/cluster/cluster"), "load", SAILHAND], check=True, timeout=120)
        equal(self.sailhand.done("smi.install", image=CONTROLLER, wait="2m")["changed"], True)
        equal(self.sailhand.done("smi.install", image=CONTROLLER, wait="2m")["changed"], False)

    def smi(self):
        report, status, errors, seconds = self.run("smi")
        assert report, errors[-3000:]
        self.print("SMI", report, seconds)
        equal(self.wrong(report, NOT_SUPPORTED), [], errors[-500:])
        equal(status, 0)
        self.nothing_left()

    def smi_by_contract(self):
        """The same verdicts through workloads with the contract of Meshery's learn-layer5, by port-forward."""
        report, status, errors, seconds = self.run("smi", "-p", "driver=port-forward", "-p", "image=localhost/learn-layer5:1")
        assert report, errors[-3000:]
        self.print("SMI by port-forward", report, seconds)
        equal(report["run"]["driver"], "port-forward")
        equal(self.wrong(report, NOT_SUPPORTED), [], errors[-500:])
        self.nothing_left()

    def no_image(self):
        report, status, errors, _ = self.run("smi", "-p", "image=localhost/none:1", "--case", "TA-1.2.3")
        assert status != 0 and "SH3406" in errors and "localhost/none:1" in errors, (status, errors[-2000:])
        self.until_nothing_left()

    def no_exec(self):
        """A worker with every right that a run needs but that to exec."""
        kubectl("apply", "-f", "-", text=LIMITED)
        with tempfile.NamedTemporaryFile("w", suffix=".kubeconfig") as file:
            config = json.loads(kubectl("config", "view", "--flatten", "--minify", "-o", "json"))
            config["users"][0]["user"] = {"token": kubectl("-n", "default", "create", "token", "conformance-limited").strip()}
            json.dump(config, file)
            file.flush()
            limited = Conformance(Sailhand(file.name, CHARTS))
            try:
                report, status, errors, _ = limited.run("smi", "--case", "TA-1.2.3")
            finally:
                limited.sailhand.end()
                kubectl("delete", "-f", "-", text=LIMITED)
        assert status != 0 and "SH3407" in errors and "pods/exec" in errors, (status, errors[-2000:])
        self.until_nothing_left()

    def stuck_namespace(self):
        """An object with a finalizer that nobody removes. The run waits two minutes for its namespaces."""
        found = []

        def pin():
            name = kubectl("get", "namespaces", "-l", "conformance.sailhand.dev/run", "-o", "jsonpath={.items[*].metadata.name}")
            if name:
                metadata = {"name": "pinned", "namespace": name.split()[0], "finalizers": ["example.com/never"]}
                kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}))
                found.append(name.split()[0])
            return found

        pinning = threading.Thread(target=until, args=("the test namespace is there", pin))
        pinning.start()
        report, status, errors, seconds = self.run("smi", "--case", "TA-1.2.3")
        pinning.join()
        assert status != 0 and "SH3408" in errors and "example.com/never" in errors, (status, errors[-2000:])
        equal([case["status"] for case in report.get("cases", [])], ["passed"], "verdicts are kept")
        kubectl("-n", found[0], "patch", "configmap", "pinned", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        self.until_nothing_left()

    def other_version(self):
        """A CRD that serves another version than the suite writes."""
        crd = "crd/trafficsplits.split.smi-spec.io"
        old = json.loads(kubectl("get", crd, "-o", "json"))["spec"]["versions"][0]
        serve = lambda served: json.dumps({"spec": {"versions": [old | {"served": served}, old | {"name": "v1alpha9", "storage": False}]}})
        kubectl("patch", crd, "--type=merge", "-p", serve(False))
        try:
            report, status, errors, _ = self.run("smi")
        finally:
            kubectl("patch", crd, "--type=merge", "-p", serve(True))
            kubectl("patch", crd, "--type=merge", "-p", json.dumps({"spec": {"versions": [old]}}))
        assert status != 0 and "SH3405" in errors and "v1alpha9" in errors, (status, errors[-2000:])
        self.nothing_left()

    def unknown_names(self):
        """The command line refuses them before it sends a command, the worker when another client sends them."""
        for arguments, near in (("smy",), "smi?"), (("smi", "--case", "TA-1.2.33"), "TA-1.2.3?"):
            _, status, errors, _ = self.run(*arguments)
            assert status == 2 and "SH5002" in errors and near in errors, (status, errors[-2000:])
        for code, params in ("SH3401", {"suite": "smy"}), ("SH3402", {"suite": "smi", "cases": ["TA-1.2.33"]}):
            result = self.sailhand.submit("conformance.run", **params)
            equal((result["outcome"], result["error"]["code"]), ("rejected", code))
        self.nothing_left()

    def wrong_controllers(self):
        """The table of docs/conformance.md. Meanwhile the right controller does not run."""
        deployment = ("-n", "istio-system", "scale", "deployment/sailhand-smi-controller")
        kubectl(*deployment, "--replicas=0")
        try:
            done = run(os.path.join(os.path.dirname(SAILHAND), "examples/smi-mutants"), "localhost/echo:1", check=False, timeout=900)
        finally:
            kubectl(*deployment, "--replicas=1")
        print(done.stdout, end="", flush=True)
        equal(done.returncode, 0, done.stderr[-3000:])
        self.nothing_left()

    def without_adapter(self):
        """CRDs alone are no capability."""
        namespace = ("-n", "istio-system")
        kubectl(*namespace, "delete", "deployment", "sailhand-smi-controller", "--wait=true")
        until("the controller has ended", lambda: not kubectl(*namespace, "get", "pods", "-l", "app.kubernetes.io/name=sailhand-smi-controller", "-o", "name"))
        report, status, errors, seconds = self.run("smi", "-p", "timeout=3s")
        assert report, errors[-3000:]
        self.print("SMI without the controller", report, seconds)
        equal({one["capability"] for one in report["specs"]}, {"none"}, [f"{one['case_id']}: {one['status']}" for one in report["cases"]])
        self.nothing_left()

    def removed(self):
        self.sailhand.done("smi.remove", remove_crds=True, wait="2m")
        self.crds_missing()

    def gateway_api(self):
        """The CRDs are those of the suite's module. An istiod that has lost watches of deleted CRDs repeats them after up
        to a minute, therefore it starts anew. Pods of a new namespace start only when an istiod that leads has written its
        CA there, up to half a minute later; neither suite's time is to contain this."""
        module = run("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api", cwd=os.path.join(ROOT, "tests/tools/kubernetes-clients"))
        crds = os.path.join(module.stdout.strip(), "config/crd/standard")
        kubectl("apply", "--server-side", "-f", crds)
        kubectl("wait", "--for=condition=Established", "crd/httproutes.gateway.networking.k8s.io", "--timeout=30s")
        istiod = ("-n", "istio-system", "rollout")
        kubectl(*istiod, "restart", "deployment/istiod")
        kubectl(*istiod, "status", "deployment/istiod", "--timeout=240s")
        kubectl("create", "namespace", NEW_NAMESPACE)
        root = ("-n", NEW_NAMESPACE, "get", "configmap", "istio-ca-root-cert", "--ignore-not-found", "-o", "name")
        until("istiod writes its CA into a new namespace", lambda: kubectl(*root))
        kubectl("delete", "namespace", NEW_NAMESPACE)
        try:
            report, status, errors, seconds = self.run("gateway-api-mesh")
            assert report, errors[-3000:]
            self.print("Gateway API mesh", report, seconds)
            equal(self.wrong(report), [], errors[-500:])
            equal(status, 0)
            self.nothing_left()
            self.official(report)
        finally:
            kubectl("delete", "-f", crds, "--ignore-not-found")

    def official(self, ours):
        """The suite of Gateway API, unmodified, has the same outcome test by test. v1.6.1 waits for pods of two namespaces
        that only its Gateway tests create, so they are created here."""
        for namespace in UPSTREAM_NAMESPACES:
            kubectl("create", "namespace", namespace)
            kubectl("-n", namespace, "run", "ready", "--image=localhost/echo:1", "--grace-period=1", "--command", "--", "sleep", "1000000")
        with tempfile.TemporaryDirectory() as folder:
            report, log, ours_file, theirs_file = (os.path.join(folder, name) for name in ("report.yaml", "log", "ours.json", "theirs.json"))
            started = time.monotonic()
            try:
                with open(log, "w") as out:
                    subprocess.run([os.path.join(BIN, "gateway-api-conformance"), *UPSTREAM, f"-report-output={report}"],
                                   stdout=out, stderr=subprocess.STDOUT, timeout=400, check=False)
            finally:
                kubectl("delete", "namespace", *UPSTREAM_NAMESPACES, "--wait=false")
            seconds = time.monotonic() - started
            assert os.path.exists(report), open(log).read()[-3000:]
            theirs = run(SAILHAND, "conformance", "import", report, "--log", log, "-o", "json", check=False)
            for path, text in ((ours_file, json.dumps(ours)), (theirs_file, theirs.stdout)):
                with open(path, "w") as file:
                    file.write(text)
            differences = run(SAILHAND, "conformance", "diff", ours_file, theirs_file, check=False).stdout
        imported = json.loads(theirs.stdout)
        self.print("the suite of Gateway API itself", imported, seconds)
        races = [one["case_id"] for one in imported["cases"] if one.get("suspected_race")]
        other = [line for line in differences.splitlines() if ": " in line and not any(race in line for race in races)]
        if races:
            print(f"  suspected races of that suite: {', '.join(races)}", flush=True)
        else:
            equal(other, [], "differences between the suites")

    def no_mesh(self):
        report, status, errors, _ = self.run("smi")
        assert status != 0 and "SH3403" in errors, (status, errors[-2000:])
        self.nothing_left()
