// Figures of the dashboard with 50,000 runs: first paint, time from an event to the page, memory, weight. Prints a table;
// checks nothing. `tests/browser/run.sh figures`; RUNS=1000 makes fewer runs.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { get } from "node:http";
import { connect, headers } from "@nats-io/transport-node";
import { chromium } from "playwright-core";
import { Stage, eventually } from "./stage.js";

const runs = Number(process.env.RUNS ?? 50_000);
const rate = 100; // events a second
const seconds = 10;
const openPages = 50;

const structured = headers();
structured.set("content-type", "application/cloudevents+json");

function publish(nats, key, kind, data) {
  const isResult = kind === "result";
  const event = {
    specversion: "1.0", id: randomBytes(8).toString("hex"), source: "/figures", subject: "staging",
    type: isResult ? "io.meshery.istio.result.config.apply.v1" : `io.meshery.istio.event.${kind}.v1`,
    time: new Date().toISOString(), datacontenttype: "application/json", commandkey: key, commandid: key,
    commandsource: "/figures", correlationid: key, attempt: 1, data,
  };
  const subject = isResult ? `istio.res.staging.${key}` : `istio.evt.staging.${key}.${kind}`;
  nats.publish(subject, JSON.stringify(event), { headers: structured });
}
const started = { verb: "config.apply", attempt: 1, worker: "w", deadline: "2030-01-01T00:00:00Z" };
const result = { outcome: "succeeded", changed: true, attempts: 1, fence: 1, worker: "w", ended: "2030-01-01T00:00:00Z" };
const newKey = () => randomBytes(16).toString("hex");
const percentile = (values, share) => values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))];

const stage = await Stage.start({ isBusOnly: true });
try {
  const nats = await connect({ servers: `127.0.0.1:${stage.port}` });
  for (let n = 0; n < runs; n += 1) {
    const key = newKey();
    publish(nats, key, "started", started);
    publish(nats, key, "result", result);
    if (n % 500 === 0) await nats.flush();
  }
  await nats.flush();
  const begun = Date.now();
  await stage.stop("dashboard");
  await stage.startDashboard(new URL(stage.base).host);
  const text = async () => (await fetch(`${stage.base}/runs`)).text();
  await eventually("all runs are read", async () => {
    const shown = (await text()).match(/data-count="succeeded">(\d+)</);
    return Number(shown?.[1]) >= runs && !(await text()).includes("Reading stored events");
  }, 300);
  console.log(`runs                       ${runs}, read in ${((Date.now() - begun) / 1000).toFixed(1)} s`);

  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
  const page = await browser.newPage();
  const paints = [];
  let weight = 0;
  for (let n = 0; n < 10; n += 1) {
    await page.goto(`${stage.base}/runs`);
    await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length);
    paints.push(await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
    const sizes = () => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
      .map((one) => one.decodedBodySize);
    weight = Math.max(weight, (await page.evaluate(sizes)).reduce((sum, size) => sum + size, 0));
  }
  console.log(`first contentful paint     median ${percentile(paints, 0.5).toFixed(0)} ms, slowest of 10 ${Math.max(...paints).toFixed(0)} ms`);
  console.log(`weight of the list         ${(weight / 1000).toFixed(0)} KB, not compressed`);

  await page.locator("#connection", { hasText: "Live" }).waitFor();
  await page.evaluate(() => {
    window.delays = [];
    const seen = new Set();
    new MutationObserver(() => {
      for (const [text, sent] of document.querySelector("tbody").innerText.matchAll(/sent-(\d+)-\d+/g)) {
        if (!seen.has(text)) window.delays.push(Date.now() - Number(sent));
        seen.add(text);
      }
    }).observe(document.querySelector("tbody"), { childList: true, subtree: true });
  });
  const keys = Array.from({ length: 20 }, newKey);
  for (const key of keys) publish(nats, key, "started", started);
  const start = Date.now();
  for (let n = 0; n < rate * seconds; n += 1) {
    const due = start + (n * 1000) / rate;
    if (due > Date.now()) await new Promise((done) => setTimeout(done, due - Date.now()));
    const step = { phase: "apply", message: `sent-${Date.now()}-${n}`, done: n % 10, total: 10 };
    publish(nats, keys[n % keys.length], "progress", step);
  }
  await nats.flush();
  await new Promise((done) => setTimeout(done, 1000));
  const delays = await page.evaluate(() => window.delays);
  console.log(`event to DOM at ${rate}/s      median ${percentile(delays, 0.5)} ms, p99 ${percentile(delays, 0.99)} ms, ${delays.length} of ${rate * seconds} seen`);

  const position = (await text()).match(/data-live="([^"]*)"/)[1].replaceAll("&amp;", "&");
  const open = [];
  for (let n = 0; n < openPages; n += 1) open.push(get(stage.base + position, (response) => response.resume()));
  for (const key of keys) publish(nats, key, "result", result);
  await nats.flush();
  await new Promise((done) => setTimeout(done, 2000));
  const status = readFileSync(`/proc/${stage.processes.get("dashboard").child.pid}/status`, "utf8");
  const memory = (name) => Math.round(Number(status.match(new RegExp(`${name}:\\s+(\\d+)`))[1]) / 1024);
  console.log(`memory with ${openPages} open pages  ${memory("VmRSS")} MiB resident, ${memory("RssAnon")} MiB of it anonymous`);
  for (const one of open) one.destroy();
  await browser.close();
  await nats.close();
} finally {
  await stage.end();
}
