// The real parts that the pages show: nats-server, worker, dashboard, Prometheus. Each is a process of this test.

import { execFile, spawn, spawnSync } from "node:child_process";
import { createServer } from "node:http";
import { mkdtempSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { connect } from "@nats-io/transport-node";

const root = new URL("../..", import.meta.url).pathname;
const cache = process.env.SAILHAND_CACHE ?? join(root, ".cache");
const program = (name) => join(cache, "bin", name);
const sailhand = process.env.SAILHAND_BIN ?? join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "debug/sailhand");

const execute = promisify(execFile);
export const pictures = join(cache, "browser-pictures");

/** Calls `check` until it returns something, at most `seconds`. */
export async function eventually(what, check, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

export class Stage {
  processes = new Map();
  folder = mkdtempSync(join(tmpdir(), "sailhand-browser-"));

  /** All parts; with `isBusOnly` the bus and the dashboard, and the pictures stay. */
  static async start({ isBusOnly = false } = {}) {
    const stage = new Stage();
    await stage.startNats(-1);
    if (isBusOnly) {
      await stage.sailhand("topology", "apply");
      await stage.startDashboard("127.0.0.1:0");
      return stage;
    }
    rmSync(pictures, { recursive: true, force: true });
    mkdirSync(pictures, { recursive: true });
    stage.kubeconfig = process.env.SAILHAND_TEST_KUBECONFIG ?? stage.startControlPlane();
    const prometheus = await stage.startPrometheus();
    const config = `[nats]
url = ["nats://127.0.0.1:${stage.port}"]
[health]
listen = "127.0.0.1:0"
[worker]
id = "worker-1"
[targets.staging]
kubeconfig = "${stage.kubeconfig}"
[targets.staging.connections.mesh]
kind = "prometheus"
url = "http://${prometheus}"
`;
    writeFileSync(join(stage.folder, "config.toml"), config);
    await stage.sailhand("topology", "apply");
    stage.spawn("worker", sailhand, ["worker", "--config", join(stage.folder, "config.toml")]);
    await stage.startDashboard("127.0.0.1:0");
    return stage;
  }

  /** Starts a process; its output goes to a file. */
  spawn(name, file, args) {
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"], env: this.environment() });
    const output = { text: "" };
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => { output.text += data; });
    this.processes.set(name, { child, output });
    return output;
  }

  environment() {
    const own = Object.entries(process.env).filter(([name]) => !name.startsWith("SAILHAND__"));
    return { ...Object.fromEntries(own), XDG_CONFIG_HOME: this.folder };
  }

  async stop(name, signal = "SIGTERM") {
    const { child } = this.processes.get(name);
    this.processes.delete(name);
    if (child.exitCode !== null) return;
    const ended = new Promise((done) => child.once("exit", done));
    child.kill(signal);
    await ended;
  }

  async startNats(port) {
    const store = join(this.folder, "store");
    const files = join(this.folder, "ports");
    rmSync(files, { recursive: true, force: true });
    mkdirSync(files);
    // The streams reserve more than a small disk has.
    const config = join(this.folder, "nats.conf");
    writeFileSync(config, `jetstream { store_dir: "${store}", max_file_store: 100GB }\n`);
    this.spawn("nats", program("nats-server"),
      ["--config", config, "--addr", "127.0.0.1", "--port", String(port), "--ports_file_dir", files]);
    const found = await eventually("nats-server listens", () => {
      const file = readdirSync(files).find((name) => name.endsWith(".ports"));
      return file && readFileSync(join(files, file), "utf8").match(/nats:\/\/[0-9.]+:(\d+)/);
    });
    this.port = Number(found[1]);
  }

  /** Keeps port and streams. */
  async restartNats(whileStopped) {
    await this.stop("nats", "SIGKILL");
    await whileStopped();
    await this.startNats(this.port);
  }

  startControlPlane() {
    const folder = join(this.folder, "control-plane");
    const script = join(root, "tests/support/control-plane.sh");
    const made = spawnSync(script, ["up", folder, "--guard", String(process.pid)], { encoding: "utf8" });
    if (made.status !== 0) throw new Error(`control plane: ${made.stdout}${made.stderr}`);
    this.controlPlane = () => spawnSync(script, ["down", folder]);
    return made.stdout.trim().split("\n").at(-1);
  }

  /** A real Prometheus that scrapes counters as Istio's proxies export them. */
  async startPrometheus() {
    const started = Date.now();
    const exporter = createServer((_, response) => {
      response.setHeader("Content-Type", "text/plain; version=0.0.4");
      response.end(istioMetrics((Date.now() - started) / 1000 + 100));
    });
    await new Promise((done) => exporter.listen(0, "127.0.0.1", done));
    this.exporter = exporter;
    const file = join(this.folder, "prometheus.yml");
    writeFileSync(file, `global: { scrape_interval: 1s }
scrape_configs:
- job_name: proxies
  static_configs: [{ targets: ["127.0.0.1:${exporter.address().port}"] }]
`);
    const output = this.spawn("prometheus", program("prometheus"),
      [`--config.file=${file}`, `--storage.tsdb.path=${join(this.folder, "tsdb")}`, "--web.listen-address=127.0.0.1:0"]);
    return (await eventually("Prometheus listens", () => output.text.match(/Listening on.*address=(\S+)/)))[1];
  }

  async startDashboard(listen) {
    const output = this.spawn("dashboard", sailhand, ["dashboard", "--allow-actions", "--listen", listen, ...this.bus()]);
    this.base = (await eventually("the dashboard listens", () => output.text.match(/http:\/\/[0-9.]+:\d+/)))[0];
  }

  bus() {
    return ["--nats-url", `nats://127.0.0.1:${this.port}`];
  }

  /** Runs the command line and returns what it prints. */
  async sailhand(...args) {
    try {
      const { stdout } = await execute(sailhand, [...args, ...this.bus()], { env: this.environment() });
      return stdout.trim();
    } catch (error) {
      throw new Error(`sailhand ${args.join(" ")}: ${error.stdout}${error.stderr}`);
    }
  }

  /** The number of commands in the queue that a worker has checked more than once. */
  async redelivered() {
    const nats = await connect({ servers: `127.0.0.1:${this.port}` });
    const answer = await nats.request("$JS.API.CONSUMER.INFO.ISTIO_CMD.worker");
    await nats.close();
    return answer.json().num_redelivered;
  }

  submit(verb, ...params) {
    return this.sailhand("submit", verb, "--target", "staging", ...params.flatMap((param) => ["-p", param]));
  }

  wait(key) {
    return this.sailhand("watch", key, "--timeout", "60s");
  }

  async end() {
    for (const name of [...this.processes.keys()].reverse()) await this.stop(name);
    this.exporter?.close();
    this.controlPlane?.();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const services = [
  { name: "productpage", version: "v1", rate: 24, errors: 0.002, ms: 38 },
  { name: "details", version: "v1", rate: 24, errors: 0, ms: 4 },
  { name: "reviews", version: "v1", rate: 16, errors: 0.01, ms: 21 },
  { name: "reviews", version: "v2", rate: 4, errors: 0.12, ms: 64 },
  { name: "ratings", version: "v1", rate: 7, errors: 0.001, ms: 6 },
];

function istioMetrics(seconds) {
  // Rates that change over time.
  const elapsed = seconds + 5 * Math.sin(seconds / 5);
  const lines = ['istio_build{component="pilot",tag="1.30.3"} 1', 'istio_build{component="proxy",tag="1.30.3"} 1'];
  for (const { name, version, rate, errors, ms } of services) {
    const labels = `reporter="destination",destination_service_namespace="bookinfo",destination_service_name="${name}",` +
      `destination_service="${name}.bookinfo.svc.cluster.local",destination_version="${version}",` +
      `destination_workload="${name}-${version}",destination_workload_namespace="bookinfo",request_protocol="http",` +
      'response_flags="-",grpc_response_status=""';
    const count = rate * elapsed;
    lines.push(`istio_requests_total{${labels},response_code="200"} ${count * (1 - errors)}`);
    lines.push(`istio_requests_total{${labels},response_code="503"} ${count * errors}`);
    for (const le of [1, 5, 10, 25, 50, 100, 250, 500, 1000, "+Inf"]) {
      const share = le === "+Inf" ? 1 : 1 - Math.exp(-le / ms);
      lines.push(`istio_request_duration_milliseconds_bucket{${labels},response_code="200",le="${le}"} ${count * share}`);
    }
  }
  return `${lines.join("\n")}\n`;
}
