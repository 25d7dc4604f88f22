// Live updates, ages, confirmation of actions, copies, and the key "/". Without this script the pages show their state at load.
"use strict";

const units = [[86400, 2, "d"], [3600, 2, "h"], [60, 2, "m"]];

function age(text) {
  const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(text)) / 1000));
  for (const [size, least, name] of units) {
    if (seconds >= size * least) return `${Math.floor(seconds / size)}${name} ago`;
  }
  return `${seconds}s ago`;
}

function showAges(root) {
  for (const time of root.querySelectorAll("time[data-age]")) {
    time.title = time.dateTime;
    time.textContent = age(time.dateTime);
  }
}

const connection = document.getElementById("connection");

function showConnection(connected, text) {
  if (!connection) return;
  connection.dataset.connected = String(connected);
  connection.textContent = text;
}

// Inserts, replaces or removes rows. The list is ordered by start, newest first.
function updateRows(table, message) {
  const body = table.tBodies[0];
  const isFirst = table.dataset.first === "true";
  for (const { key, started, row } of message.rows) {
    const old = document.getElementById(`run-${key}`);
    if (row === null) {
      old?.remove();
      continue;
    }
    const template = document.createElement("template");
    template.innerHTML = row;
    const fresh = template.content.firstElementChild;
    showAges(fresh);
    if (old) {
      const hadFocus = old.contains(document.activeElement);
      old.replaceWith(fresh);
      if (hadFocus) fresh.querySelector("a")?.focus();
    } else if (isFirst) {
      const next = [...body.rows].find((one) => Number(one.dataset.started) <= started);
      if (next) next.before(fresh);
      else body.append(fresh);
      while (body.rows.length > Number(table.dataset.rows)) body.lastElementChild.remove();
    }
  }
  for (const [state, count] of Object.entries(message.counts)) {
    const shown = document.querySelector(`[data-count="${state}"]`);
    if (shown) shown.textContent = count;
  }
}

let loading = false;
let again = false;

async function updateRun(run, events) {
  if (loading) {
    again = true;
    return;
  }
  loading = true;
  try {
    do {
      again = false;
      await replaceRun(run, events);
    } while (again);
  } finally {
    loading = false;
  }
}

async function replaceRun(run, events) {
  const response = await fetch(run.dataset.body);
  if (response.ok) {
    const open = [...run.querySelectorAll("details")].map((one) => one.open);
    const before = open.length;
    run.innerHTML = await response.text();
    // New CloudEvents come first.
    const details = [...run.querySelectorAll("details")];
    details.forEach((one, at) => { one.open = open[at - (details.length - before)] ?? false; });
    showAges(run);
    const title = run.parentElement.dataset.untitled !== undefined && run.querySelector("[data-title]")?.dataset.title;
    if (title) {
      document.querySelector("h1").textContent = title;
      document.title = `${title} – sailhand`;
    }
    if (!run.querySelector('.facts [data-state="running"], .facts [data-state="retrying"], .facts [data-state="queued"]')) {
      events.close();
      showConnection(true, "Run has ended");
    }
  }
}

function follow(live) {
  const events = new EventSource(live.dataset.live);
  events.addEventListener("open", () => showConnection(true, "Live"));
  events.addEventListener("error", () => showConnection(false, "Connection lost; connecting again …"));
  events.addEventListener("bus", (event) => {
    if (event.data === "connected") showConnection(true, "Live");
    else showConnection(false, "NATS connection lost");
  });
  events.addEventListener("reload", () => location.reload());
  events.addEventListener("runs", (event) => updateRows(live, JSON.parse(event.data)));
  events.addEventListener("run", () => updateRun(live, events));
  window.addEventListener("pagehide", () => events.close());
}

const live = document.querySelector("[data-live]");
if (live) follow(live);
showAges(document);
setInterval(() => showAges(document), 1000);

document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.ask ?? event.target.dataset.ask;
  if (question && !confirm(question)) event.preventDefault();
});
// Browsers permit the clipboard on https and localhost only.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}
// A parameter with an error may be in closed details.
document.querySelector(".invalid")?.closest("details")?.setAttribute("open", "");
document.addEventListener("keydown", (event) => {
  const search = document.getElementById("search");
  if (event.key === "/" && search && !["INPUT", "TEXTAREA", "SELECT"].includes(event.target.tagName)) {
    event.preventDefault();
    search.focus();
  }
});
