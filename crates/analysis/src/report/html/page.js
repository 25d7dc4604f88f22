"use strict";
const form = document.getElementById("filter");
const main = document.getElementById("findings");
const rows = [...document.querySelectorAll("#findings article")];
const counts = [...document.querySelectorAll("button.count")];
const worst = { error: 3, warning: 2, info: 1 };

// Cached: thousands of rows are searched at each letter.
const texts = new Map();
function textOf(row) {
  if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
  return texts.get(row);
}

function chosen(name) { return form.elements[name].value; }

function apply() {
  const [namespace, level, code] = ["namespace", "level", "code"].map(chosen);
  const text = chosen("text").toLowerCase();
  const shown = rows.filter((row) => {
    const fits = (namespace === "*" || row.dataset.namespace === namespace)
      && (level === "*" || row.dataset.level === level)
      && (code === "*" || row.dataset.code === code)
      && (!text || textOf(row).includes(text));
    row.hidden = !fits;
    return fits;
  });
  document.getElementById("shown").textContent = shown.length + " of " + rows.length + " findings";
  document.getElementById("none").hidden = shown.length > 0 || rows.length === 0;
  for (const button of counts) button.setAttribute("aria-pressed", String(button.value === level));
  group(shown);
  const wanted = form.elements.graph.checked;
  document.getElementById("graph").hidden = !wanted;
  if (wanted) draw(shown);
}

// One section for each object, file or code; the one with the most severe findings first.
function group(shown) {
  const by = chosen("group"), groups = new Map();
  for (const row of shown) {
    const name = row.dataset[by] || "(no file)";
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(row);
  }
  const weight = (list) => list.reduce((sum, row) => sum + ({ error: 1e6, warning: 1e3, info: 1 })[row.dataset.level], 0);
  const sorted = [...groups].sort((a, b) => weight(b[1]) - weight(a[1]) || (a[0] < b[0] ? -1 : 1));
  main.dataset.group = by;
  const sections = sorted.map(([name, list]) => {
    const section = document.createElement("section"), heading = document.createElement("h2"), count = document.createElement("small");
    list.sort((a, b) => worst[b.dataset.level] - worst[a.dataset.level]);
    // Fix and reason of a code are shown once in a section.
    const codes = new Set();
    for (const row of list) {
      row.classList.toggle("again", codes.has(row.dataset.code));
      codes.add(row.dataset.code);
    }
    heading.textContent = (by === "code" ? name + ": " + list[0].dataset.title : name) + " ";
    count.textContent = list.length === 1 ? "1 finding" : list.length + " findings";
    heading.append(count);
    section.append(heading, ...list);
    return section;
  });
  const hidden = rows.filter((row) => row.hidden);
  main.replaceChildren(...sections, ...hidden);
}

for (const button of counts) {
  button.addEventListener("click", () => {
    form.elements.level.value = form.elements.level.value === button.value ? "*" : button.value;
    apply();
  });
}
form.addEventListener("input", apply);
form.addEventListener("reset", () => setTimeout(apply));
form.addEventListener("submit", (event) => event.preventDefault());
if (location.hash === "#graph") form.elements.graph.checked = true;
if (window.innerWidth < 640) document.getElementById("panel").open = false;
apply();
