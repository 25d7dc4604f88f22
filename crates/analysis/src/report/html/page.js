"use strict";
const form = document.getElementById("filter");
const rows = [...document.querySelectorAll("#findings article")];
const data = JSON.parse(document.getElementById("objects").textContent);
const order = ["KubernetesGateway", "Gateway", "HTTPRoute", "GRPCRoute", "VirtualService", "DestinationRule", "Service", "ServiceEntry"];
const worst = { error: 3, warning: 2, info: 1 };
const most = 150;

// Read once: thousands of rows are searched at each letter.
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
  document.getElementById("shown").textContent = shown.length + " of " + rows.length;
  document.getElementById("none").hidden = shown.length > 0 || rows.length === 0;
  const wanted = form.elements.graph.checked;
  document.getElementById("graph").hidden = !wanted;
  if (wanted) draw(shown);
}

function element(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Columns by kind, in the direction in which traffic goes; rows by name.
function draw(shown) {
  const levels = new Map();
  for (const row of shown) {
    const { object, level } = row.dataset;
    if ((worst[level] || 0) > (worst[levels.get(object)] || 0)) levels.set(object, level);
  }
  const edges = data.edges.filter(([from, to]) => levels.has(data.nodes[from].name) || levels.has(data.nodes[to].name));
  const numbers = new Set(edges.flat());
  data.nodes.forEach((node, number) => { if (levels.has(node.name)) numbers.add(number); });
  const ordered = [...numbers].sort((a, b) => a - b);
  const nodes = ordered.slice(0, most);
  const note = document.getElementById("graph-note");
  note.textContent = nodes.length < ordered.length
    ? "The first " + most + " of " + ordered.length + " objects; a filter shows the others."
    : nodes.length + " objects. A click on one filters for it.";
  const rank = (kind) => (order.indexOf(kind) + order.length + 1) % (order.length + 1);
  const kinds = [...new Set(nodes.map((number) => data.nodes[number].kind))].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
  const width = 210, height = 30, gap = 60, places = new Map();
  const svg = element("svg", {});
  let tallest = 0;
  kinds.forEach((kind, column) => {
    svg.append(element("text", { x: 10 + column * (width + gap), y: 16, class: "kind" }, kind));
    nodes.filter((number) => data.nodes[number].kind === kind).forEach((number, row) => {
      places.set(number, { x: 10 + column * (width + gap), y: 28 + row * (height + 10) });
      tallest = Math.max(tallest, row + 1);
    });
  });
  for (const [from, to] of edges) {
    const a = places.get(from), b = places.get(to);
    if (!a || !b) continue;
    const right = a.x <= b.x;
    const [x1, x2] = right ? [a.x + width, b.x] : [a.x, b.x + width];
    const [y1, y2] = [a.y + height / 2, b.y + height / 2], bend = right ? gap / 2 : -gap / 2;
    if (a.x === b.x) {
      // Beside the column, and not across its boxes.
      const side = a.x + width;
      svg.append(element("path", { d: `M${side} ${y1} C${side + bend} ${y1} ${side + bend} ${y2} ${side} ${y2}` }));
      continue;
    }
    svg.append(element("path", { d: `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` }));
  }
  for (const [number, { x, y }] of places) {
    const node = data.nodes[number], label = node.name.slice(node.name.indexOf(" ") + 1);
    const group = element("g", { class: levels.get(node.name) || "", "data-object": node.name, tabindex: 0, role: "button" });
    group.append(element("title", {}, node.name), element("rect", { x, y, width, height, rx: 5 }));
    group.append(element("text", { x: x + 8, y: y + 19 }, label.length > 34 ? label.slice(0, 33) + "…" : label));
    const choose = () => { form.elements.text.value = label; apply(); };
    group.addEventListener("click", choose);
    group.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); } });
    svg.append(group);
  }
  svg.setAttribute("width", 20 + kinds.length * (width + gap));
  svg.setAttribute("height", 40 + tallest * (height + 10));
  document.getElementById("drawing").replaceChildren(svg);
}

form.addEventListener("input", apply);
form.addEventListener("submit", (event) => event.preventDefault());
if (location.hash === "#graph") form.elements.graph.checked = true;
apply();
