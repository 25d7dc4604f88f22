// The dashboard in a real browser, with real servers: what a user sees and does, whether hostile texts run, and axe-core.
// Prints `ok NAME` or `FAILED NAME: reason` for each check. Pictures are in .cache/browser-pictures.

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { Stage, eventually, pictures } from "./stage.js";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const hostile = `<script>hacked()</script><img src=x onerror=hacked()>"'`;
const namespace = `browser-${process.pid}`;
let failed = 0;

async function check(name, body) {
  try {
    await body();
    console.log(`ok browser: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED browser: ${name}: ${String(error.stack ?? error).replaceAll("\n", " | ").slice(0, 1500)}`);
  }
}

function equal(found, wanted, what) {
  if (found !== wanted) throw new Error(`${what}: ${found}, not ${wanted}`);
}

// A Deployment whose pods never become ready, because no node fits.
const waiting = (name) => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, annotations: { note: ${JSON.stringify(hostile)} } }
spec:
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec: { nodeSelector: { no-such: node }, containers: [{ name: a, image: example.com/none }] }
`;
const settings = (name, text) => `
apiVersion: v1
kind: ConfigMap
metadata: { name: ${name} }
data: { text: ${JSON.stringify(text)} }
`;
const apply = (stage, name, manifest, ...more) =>
  stage.submit("config.apply", `name=${name}`, `namespace=${namespace}`, "create_namespace=true", `manifest=${manifest}`, ...more);

const stage = await Stage.start();
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
const problems = [];
const tab = async (options = {}) => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  await page.exposeFunction("hacked", () => problems.push("a hostile text ran as a script"));
  page.on("console", (message) => {
    // The browser reports the failed reconnections of the test that restarts the dashboard.
    if (message.type() === "error" && !message.text().includes("ERR_")) problems.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`error: ${error}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(stage.base)) problems.push(`request to ${request.url()}`);
  });
  return page;
};
const row = (page, key) => page.locator(`#run-${key}`);

try {
  const page = await tab();
  let running;

  await check("a run appears in the list and its progress is live", async () => {
    await page.goto(`${stage.base}/runs`);
    await page.getByText("No runs yet").waitFor();
    await page.evaluate(() => { window.sameDocument = true; });
    running = await apply(stage, "waits", waiting("waits"), "wait=5m");
    await row(page, running).waitFor();
    equal(await page.getByText("No runs yet").isVisible(), false, "the text of an empty list");
    await row(page, running).locator('[data-state="running"]').waitFor();
    await eventually("progress is shown", async () => /\d\/\d/.test(await row(page, running).innerText()));
    equal(await page.evaluate(() => window.sameDocument), true, "the page was not loaded again");
  });

  await check("a run is cancelled on its page", async () => {
    await row(page, running).getByRole("link").first().click();
    await page.waitForURL(`**/runs/${running}`);
    page.once("dialog", (dialog) => dialog.accept());
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.locator('.facts [data-state="cancelled"]').waitFor();
    equal(await page.getByRole("button", { name: "Cancel" }).count(), 0, "buttons for a run that has ended");
  });

  await check("hostile manifests and events are text", async () => {
    const first = await apply(stage, "hostile", settings("hostile", "before"));
    await stage.wait(first);
    const second = await apply(stage, "hostile", settings("hostile", hostile), "dry_run=true");
    await stage.wait(second);
    const echo = await stage.submit("ping", `echo=${hostile}`);
    await stage.wait(echo);
    for (const key of [second, echo]) {
      await page.goto(`${stage.base}/runs/${key}`);
      await eventually("the text is shown", async () => (await page.locator("main").innerText()).includes("<script>hacked()"));
      for (const details of await page.locator("details").all()) await details.evaluate((it) => { it.open = true; });
    }
    await page.goto(`${stage.base}/runs?q=${encodeURIComponent(hostile)}`);
    equal(await page.locator("#search").inputValue(), hostile, "the search");
    equal(await page.locator("main script, main img").count(), 0, "elements of hostile texts");
  });

  await check("filters select runs", async () => {
    await page.goto(`${stage.base}/runs`);
    await page.keyboard.press("/");
    await page.keyboard.type("ping");
    await page.keyboard.press("Enter");
    await page.waitForURL("**q=ping*");
    const verbs = await page.locator("tbody tr td:nth-child(2)").allInnerTexts();
    equal([...new Set(verbs)].join(), "ping", "verbs");
    await page.locator("select[name=state]").selectOption("cancelled");
    await page.getByLabel("Search").fill("");
    await page.getByRole("button", { name: "Filter" }).click();
    await row(page, running).waitFor();
    equal(await page.locator("tbody tr").count(), 1, "cancelled runs");
    await page.getByRole("link", { name: "Clear" }).click();
    await eventually("all runs", async () => (await page.locator("tbody tr").count()) > 2);
  });

  let waited;
  await check("the timeline states what a run waited for", async () => {
    const holder = await apply(stage, "held", waiting("held"), "wait=5m");
    await page.goto(`${stage.base}/runs`);
    await row(page, holder).waitFor();
    waited = await apply(stage, "held", settings("held", "text"));
    await page.goto(`${stage.base}/runs/${waited}?sent=true`);
    await page.locator('.facts [data-state="queued"]').waitFor();
    await eventually("the command is checked again", async () => (await stage.redelivered()) > 0);
    await stage.sailhand("cancel", holder);
    await page.locator('.facts [data-state="succeeded"]').waitFor();
    equal(await page.locator("h1").innerText(), "config.apply on staging", "the title");
    const start = await page.locator("table.rows tbody tr", { hasText: "started" }).innerText();
    if (!/waited [\d.]+ m?s for another command of the installation held/.test(start)) throw new Error(start);
  });

  await check("a dry run and its command are sent with a form", async () => {
    await page.goto(`${stage.base}/send`);
    await page.getByRole("link", { name: "config.apply" }).click();
    await page.getByLabel("name", { exact: false }).first().waitFor();
    await page.locator("#p-name").fill("by-form");
    await page.locator("#p-manifest").fill(settings("by-form", "text").trimStart());
    const optional = page.locator("details.more");
    if (!(await optional.evaluate((it) => it.open))) await optional.locator("summary").click();
    await page.locator("#p-namespace").fill(namespace);
    await page.locator("#p-create_namespace").check();
    await page.getByRole("button", { name: "Show command" }).click();
    const line = await page.locator("#line").innerText();
    if (!line.includes("sailhand submit config.apply --target staging") || !line.includes("create_namespace=true")) throw new Error(line);
    await page.screenshot({ path: join(pictures, "send-command.png"), fullPage: true });
    await page.getByRole("button", { name: "Dry run" }).click();
    await page.locator('#run .facts [data-state="succeeded"]').waitFor();
    await page.getByText("Dry run: nothing was written.").waitFor();
    await page.screenshot({ path: join(pictures, "send-dry-run.png"), fullPage: true });
    await page.getByRole("button", { name: "Send", exact: true }).click();
    await page.waitForURL("**/runs/*");
    await page.locator('.facts [data-state="succeeded"]').waitFor();
    const report = await page.locator("main").innerText();
    if (!report.includes(`ConfigMap ${namespace}/by-form`)) throw new Error(report);
  });

  await check("an invalid parameter is refused beside its field", async () => {
    await page.goto(`${stage.base}/send/connection.apply?example=true&target=staging`);
    await page.locator("#p-name").fill("Not A Name");
    await page.getByRole("button", { name: "Show command" }).click();
    await page.locator("#p-name-error").waitFor();
    equal(await page.locator("#p-name").inputValue(), "Not A Name", "the input");
    await page.screenshot({ path: join(pictures, "send-invalid.png"), fullPage: true });
  });

  await check("a dead letter is sent again", async () => {
    const rejected = await stage.sailhand("submit", "ping", "--target", "staging", "--no-check", "-p", "no_such=1");
    await eventually("the run is rejected", async () => {
      await page.goto(`${stage.base}/dead-letters`);
      return page.locator(`a[href="/runs/${rejected}"]`).count();
    });
    await page.screenshot({ path: join(pictures, "dead-letters.png"), fullPage: true });
    page.once("dialog", (dialog) => dialog.accept());
    await page.getByRole("button", { name: "Replay" }).first().click();
    await page.waitForURL("**/runs");
    await page.locator("tbody tr", { hasText: "rejected" }).nth(1).waitFor();
  });

  await check("conformance and golden signals are drawn", async () => {
    for (let n = 0; n < 2; n += 1) await stage.wait(await stage.submit("conformance.run", "suite=smi", "driver=simulated"));
    await stage.wait(await stage.submit("conformance.run", "suite=gateway-api-mesh", "driver=simulated"));
    await page.goto(`${stage.base}/conformance`);
    await page.getByRole("link", { name: "Cases" }).first().waitFor();
    await page.getByRole("link", { name: "Cases" }).last().click();
    await page.locator("details summary").first().click();
    await page.locator("details[open] table").first().waitFor();
    await stage.wait(await stage.submit("connection.discover"));
    await stage.wait(await stage.submit("connection.check", "connection=mesh"));
    await eventually("signals are shown", async () => {
      await stage.wait(await stage.submit("metrics.query", "connection=mesh", "by_version=true", "window_s=15"));
      await page.goto(`${stage.base}/connections`);
      return page.locator("svg.sparkline").count();
    });
  });

  await check("the list misses nothing when NATS restarts", async () => {
    await page.goto(`${stage.base}/runs`);
    await page.locator("#connection", { hasText: "Live" }).waitFor();
    await page.evaluate(() => { window.sameDocument = true; });
    const before = await apply(stage, "outlives", waiting("outlives"), "wait=5m");
    await row(page, before).waitFor();
    await stage.restartNats(() => page.locator('#connection[data-connected="false"]').waitFor());
    await page.locator("#connection", { hasText: "Live" }).waitFor({ timeout: 60_000 });
    const sent = [];
    for (let n = 0; n < 5; n += 1) sent.push(await eventually("NATS takes commands", () => stage.submit("ping", `echo=${n}`).catch(() => null)));
    for (const key of sent) await row(page, key).locator('[data-state="succeeded"]').waitFor({ timeout: 60_000 });
    equal(await page.evaluate(() => window.sameDocument), true, "the page was not loaded again");
    await stage.sailhand("cancel", before);
    await row(page, before).locator('[data-state="cancelled"]').waitFor({ timeout: 60_000 });
  });

  await check("a restarted dashboard shows the same", async () => {
    await page.goto(`${stage.base}/runs`);
    await page.locator("#connection", { hasText: "Live" }).waitFor();
    const rows = () => page.locator("tbody tr").evaluateAll((all) => all.map((one) => one.id).join());
    const before = await rows();
    await page.evaluate(() => { window.sameDocument = true; });
    await stage.stop("dashboard", "SIGKILL");
    await page.locator("#connection", { hasText: "Connection lost" }).waitFor();
    await stage.startDashboard(new URL(stage.base).host);
    await page.waitForFunction(() => !window.sameDocument, null, { timeout: 30_000 });
    await eventually("the same rows", async () => (await rows()) === before);
  });

  const pages = {
    runs: "/runs", targets: "/targets", findings: "/findings", conformance: "/conformance", connections: "/connections",
    "dead-letters": "/dead-letters", send: "/send", "send-traffic": "/send/traffic.apply?example=true&target=staging",
    "send-install": "/send/mesh.install?example=true&target=staging", code: "/codes/SH3705", "run-cancelled": `/runs/${running}`,
    "run-waited": `/runs/${waited}`,
  };
  await page.goto(`${stage.base}/runs?verb=config.apply&state=succeeded`);
  pages["run-applied"] = await page.locator("tbody a").nth(1).getAttribute("href");
  await page.goto(`${stage.base}/conformance`);
  pages.cases = await page.getByRole("link", { name: "Cases" }).last().getAttribute("href");
  const looks = {
    light: {}, dark: { colorScheme: "dark" }, phone: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true },
  };
  for (const [look, options] of Object.entries(looks)) {
    await check(`pages fit and are accessible: ${look}`, async () => {
      const shown = await tab(options);
      const found = [];
      for (const [name, path] of Object.entries(pages)) {
        await shown.goto(stage.base + path);
        await shown.screenshot({ path: join(pictures, `${look}-${name}.png`), fullPage: look !== "phone" || name !== "runs" });
        const over = await shown.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        if (over > 0) found.push(`${name} is ${over} px too wide`);
        await shown.evaluate(axe);
        const { violations } = await shown.evaluate(() => globalThis.axe.run());
        for (const one of violations) found.push(`${name}: ${one.id}: ${one.nodes[0].html.slice(0, 160)}`);
      }
      await shown.context().close();
      if (found.length) throw new Error(found.join("; "));
    });
  }

  await check("no script of a stranger, no error and no request elsewhere", async () => {
    if (problems.length) throw new Error([...new Set(problems)].join("; "));
  });
} finally {
  if (failed) for (const [name, { output }] of stage.processes) writeFileSync(join(pictures, `${name}.log`), output.text);
  await browser.close();
  await stage.end();
}
process.exit(failed ? 1 : 0);
