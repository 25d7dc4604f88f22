"use strict";
const data = JSON.parse(document.getElementById("objects").textContent);
const order = ["KubernetesGateway", "Gateway", "HTTPRoute", "GRPCRoute", "VirtualService", "DestinationRule", "Service", "ServiceEntry"];
const most = 150;
const box = { width: 220, height: 30, gap: 60, space: 10, lane: 12 };

function element(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Columns by kind, in the direction of traffic. An edge that passes a column has a lane of its own in it, so that no edge
// crosses a box.
function layout(nodes, edges) {
  const rank = (kind) => (kind === "Not found" ? 99 : (order.indexOf(kind) + order.length + 1) % (order.length + 1));
  const kinds = [...new Set(nodes.map((number) => data.nodes[number].kind))].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
  const columns = kinds.map(() => []), slots = new Map();
  const add = (column, slot) => { columns[column].push(slot); return slot; };
  for (const number of nodes) {
    const column = kinds.indexOf(data.nodes[number].kind);
    slots.set(number, add(column, { number, column, size: box.height, near: [] }));
  }
  const paths = [];
  for (const [from, to, broken] of edges) {
    const a = slots.get(from), b = slots.get(to);
    if (!a || !b) continue;
    const [left, right] = a.column <= b.column ? [a, b] : [b, a];
    const chain = [left];
    for (let column = left.column + 1; column < right.column; column++) chain.push(add(column, { column, size: box.lane, near: [] }));
    chain.push(right);
    for (let i = 1; i < chain.length; i++) { chain[i - 1].near.push(chain[i]); chain[i].near.push(chain[i - 1]); }
    paths.push({ chain, broken, turned: left !== a });
  }
  const place = (column) => {
    let y = 28;
    for (const slot of column) { slot.y = y + slot.size / 2; y += slot.size + box.space; }
    return y;
  };
  columns.forEach(place);
  // Slots near their neighbours: fewer crossings.
  for (let sweep = 0; sweep < 4; sweep++) {
    for (const column of sweep % 2 ? [...columns].reverse() : columns) {
      const mean = (slot) => (slot.near.length ? slot.near.reduce((sum, other) => sum + other.y, 0) / slot.near.length : slot.y);
      const means = new Map(column.map((slot) => [slot, mean(slot)]));
      column.sort((a, b) => means.get(a) - means.get(b));
      place(column);
    }
  }
  return { kinds, slots, paths, height: Math.max(40, ...columns.map(place)) };
}

function route({ chain, turned }) {
  const left = (slot) => 10 + slot.column * (box.width + box.gap), right = (slot) => left(slot) + box.width;
  const [first, last] = [chain[0], chain[chain.length - 1]];
  if (first.column === last.column) {
    // Beside the column.
    const x = right(first), bend = x + box.gap / 2;
    const [start, end] = turned ? [last, first] : [first, last];
    return `M${x} ${start.y} C${bend} ${start.y} ${bend} ${end.y} ${x} ${end.y}`;
  }
  const points = [];
  chain.forEach((slot, index) => {
    if (index > 0) points.push([left(slot), slot.y]);
    if (index < chain.length - 1) points.push([right(slot), slot.y]);
  });
  if (turned) points.reverse();
  let path = `M${points[0].join(" ")}`;
  for (let i = 1; i < points.length; i++) {
    const [x1, y1] = points[i - 1], [x2, y2] = points[i];
    // Odd points cross a gap, even points a column.
    path += i % 2 ? ` C${(x1 + x2) / 2} ${y1} ${(x1 + x2) / 2} ${y2} ${x2} ${y2}` : ` L${x2} ${y2}`;
  }
  return path;
}

function short(label) { return label.length > 34 ? label.slice(0, 16) + "…" + label.slice(-17) : label; }

function draw(shown) {
  const levels = new Map();
  for (const row of shown) {
    const { object, level } = row.dataset;
    if ((worst[level] || 0) > (worst[levels.get(object)] || 0)) levels.set(object, level);
  }
  const edges = data.edges.filter(([from, to]) => levels.has(data.nodes[from].name) || levels.has(data.nodes[to].name));
  const numbers = new Set(edges.flatMap(([from, to]) => [from, to]));
  data.nodes.forEach((node, number) => { if (levels.has(node.name)) numbers.add(number); });
  const ordered = [...numbers].sort((a, b) => a - b);
  const nodes = ordered.slice(0, most);
  const { kinds, slots, paths, height } = layout(nodes, edges);
  const note = document.getElementById("graph-note");
  note.textContent = (nodes.length < ordered.length
    ? "The first " + most + " of " + ordered.length + " objects; filter to see the others."
    : nodes.length + " objects in " + kinds.length + " columns; scroll to see all. Select an object to filter its findings.")
    + (data.cut ? " The graph is limited to the first objects with findings." : "");
  const width = 20 + kinds.length * (box.width + box.gap);
  // A graph that is a little too wide is scaled, a wider one scrolls.
  const panel = document.getElementById("drawing").clientWidth, scale = Math.min(1, Math.max(.65, panel / width));
  const svg = element("svg", { width: width * scale, height: (height + 10) * scale, viewBox: `0 0 ${width} ${height + 10}` });
  kinds.forEach((kind, column) => svg.append(element("text", { x: 10 + column * (box.width + box.gap), y: 16, class: "kind" }, kind)));
  const arrow = element("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" });
  arrow.append(element("path", { d: "M0 0 L8 4 L0 8" }));
  svg.append(arrow);
  for (const path of paths) svg.append(element("path", { d: route(path), class: path.broken ? "broken" : "", "marker-end": "url(#arrow)" }));
  for (const [number, slot] of slots) {
    const node = data.nodes[number], label = node.missing ? node.name : node.name.slice(node.name.indexOf(" ") + 1);
    const x = 10 + slot.column * (box.width + box.gap), y = slot.y - box.height / 2;
    const group = element("g", { class: node.missing ? "missing" : levels.get(node.name) || "", "data-object": node.name, tabindex: 0, role: "button" });
    group.append(element("title", {}, node.name), element("rect", { x, y, width: box.width, height: box.height, rx: 5 }));
    group.append(element("text", { x: x + 8, y: y + 19 }, short(label)));
    const choose = () => { form.elements.text.value = label; apply(); };
    group.addEventListener("click", choose);
    group.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); } });
    svg.append(group);
  }
  document.getElementById("drawing").replaceChildren(svg);
}
