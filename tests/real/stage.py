"""What the checks on a real cluster stand on: sailhand as a person uses it, kubectl, and clients inside the mesh."""

import atexit
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.environ.get("SAILHAND_CACHE", os.path.join(ROOT, ".cache"))
BIN = os.path.join(CACHE, "bin")
CHARTS = os.path.join(os.environ.get("SAILHAND_SHARED", os.path.join(ROOT, "../shared")), "charts")
SAILHAND = os.environ.get("SAILHAND_BIN", os.path.join(ROOT, "target/debug/sailhand"))


class Checks:
    """Says `ok NAME` or `FAILED NAME: reason`, which tests/run.sh counts. Words of the command line choose checks; without
    any, all run but those that are `on_request`."""

    def __init__(self):
        self.failed = 0

    def __call__(self, name, check, on_request=False):
        words = sys.argv[1:]
        if not any(word in name for word in words) if words else on_request:
            return
        started = time.monotonic()
        try:
            check()
        except Exception as error:  # whatever it is, the other checks go on
            self.failed += 1
            print(f"FAILED {name}: {type(error).__name__}: {error}", flush=True)
        else:
            print(f"ok {name} ({time.monotonic() - started:.1f} s)", flush=True)


def run(*command, check=True, text=None, timeout=300, cwd=None):
    done = subprocess.run(command, input=text, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:6])}: status {done.returncode}: {done.stderr[-2000:]}{done.stdout[-500:]}")
    return done


def kubectl(*arguments, **options):
    return run(os.path.join(BIN, "kubectl"), *arguments, **options).stdout


def until(what, ask, within=60, row=1):
    """Asks until the answer is yes `row` times in a row: two pods may learn of a rule at different moments."""
    end, seen = time.monotonic() + within, 0
    while seen < row:
        answer = ask()
        seen = seen + 1 if answer else 0
        if seen < row and time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {what}")
        if not answer:
            time.sleep(0.1)


def equal(found, wanted, what=""):
    assert found == wanted, f"{what} {found!r} is not {wanted!r}"


class Sailhand:
    """`sailhand dev`: a bus of its own and a worker on the cluster."""

    def __init__(self, kubeconfig, charts):
        self.log = tempfile.NamedTemporaryFile(prefix="sailhand-real-", suffix=".log")
        with subprocess.Popen(["true"]) as taken:  # a port that depends on the process, below the ephemeral ones
            self.port = 11000 + taken.pid % 20000
        server = os.path.join(BIN, "nats-server")
        command = [SAILHAND, "dev", "--port", str(self.port), "--kubeconfig", kubeconfig, "--nats-server", server]
        settings = {"SAILHAND__CHARTS__SOURCE": charts, "SAILHAND__CHARTS__HELM": os.path.join(BIN, "helm")}
        streams = {"stdin": subprocess.DEVNULL, "stdout": self.log, "stderr": self.log}
        self.process = subprocess.Popen(command, env=os.environ | settings, **streams)
        atexit.register(self.process.terminate)
        self.url = f"nats://127.0.0.1:{self.port}"
        until("the worker answers", lambda: self._submit("ping", {}).returncode == 0, within=60)

    def _submit(self, verb, params):
        if self.process.poll() is not None:
            sys.exit(f"sailhand dev has ended: {open(self.log.name).read()}")
        command = [SAILHAND, "--nats-url", self.url, "submit", verb, "--target", "dev", "--wait", "--yes", "--output", "json"]
        return run(*command, "--file", "-", text=json.dumps(params), check=False)

    def submit(self, verb, **params):
        """Sends a command and gives its result, whatever that is."""
        done = self._submit(verb, params)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        results = [line for line in lines if "outcome" in json.dumps(line)]
        if not results:
            raise AssertionError(f"{verb} has no result: {done.stderr[-2000:]}")
        result = results[-1]
        return result.get("data", result)

    def done(self, verb, **params):
        """Sends a command that has to succeed, and gives its result."""
        result = self.submit(verb, **params)
        if result["outcome"] != "succeeded":
            raise AssertionError(f"{verb}: {json.dumps(result)[:3000]}")
        return result

    def verbs(self):
        return run(SAILHAND, "verbs").stdout

    def end(self):
        self.process.terminate()
        self.process.wait(timeout=60)


class Client:
    """A pod with Istio's echo client."""

    def __init__(self, namespace, pod="client"):
        self.command = [os.path.join(BIN, "kubectl"), "-n", namespace, "exec", pod, "-c", "app", "--", "client"]

    def raw(self, url, count=1, headers=(), timeout="20s", **options):
        more = [word for header in headers for word in ("-H", header)]
        more += [word for name, value in options.items() for word in (f"--{name}", str(value))]
        done = run(*self.command, "--timeout", timeout, "--count", str(count), *more, url, check=False)
        return done.stdout + done.stderr

    def codes(self, url, count=1, **options):
        """How often each status was answered; what got no answer is counted as `none`."""
        found = Counter(re.findall(r"StatusCode=(\d+)", self.raw(url, count, **options)))
        missing = count - sum(found.values())
        return dict(found) | ({"none": missing} if missing else {})

    def versions(self, url, count=1, **options):
        return dict(Counter(re.findall(r"ServiceVersion=(\w+)", self.raw(url, count, **options))))
