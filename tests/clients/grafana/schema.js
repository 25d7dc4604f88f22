// Type-checks dashboards against @grafana/schema, the types of Grafana's own pages: unknown fields and other types are
// errors. `node schema.js FILE...` prints `ok NAME` or `FAILED NAME: reason` for each file.
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const here = dirname(fileURLToPath(import.meta.url));
// Types of the options of each kind of panel that we use; in the package's type of a panel they are `Record<string, unknown>`.
const panels = { timeseries: "TimeSeries", stat: "Stat" };

// Enumerations of texts are texts in JSON.
const prelude = `import type { Dashboard } from "@grafana/schema";
${Object.entries(panels).map(([kind, name]) => `import type { Options as ${kind} } from "@grafana/schema/dist/esm/raw/composable/${kind}/panelcfg/x/${name}PanelCfg_types.gen";`).join("\n")}
type Plain<T> = T extends string ? \`\${T}\` : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? Plain<U>[] : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
`;

// What Grafana accepts and the package refuses. `definition` of a query variable is the text that Grafana's settings page shows
// for it; Grafana writes the field itself when a user saves a variable, and the foundation SDK has it.
function withoutExceptions(dashboard) {
  const list = dashboard.templating?.list?.map(({ definition, ...variable }) =>
    variable.type === "query" || definition === undefined ? variable : { definition, ...variable });
  return list ? { ...dashboard, templating: { ...dashboard.templating, list } } : dashboard;
}

function source(dashboard) {
  const parts = [prelude, `export const board: Plain<Dashboard> = ${JSON.stringify(withoutExceptions(dashboard))};`];
  for (const [index, panel] of dashboard.panels.entries()) {
    // A kind without a type is an error too: the name does not exist.
    parts.push(`export const panel${index}: Plain<${panel.type}> = ${JSON.stringify(panel.options)};`);
  }
  return parts.join("\n");
}

// Errors of the compiler in the TypeScript text of each dashboard.
function errorsOf(texts) {
  const options = {
    noEmit: true, strict: true, skipLibCheck: true, types: [], target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler,
  };
  const host = ts.createCompilerHost(options);
  const read = host.getSourceFile.bind(host);
  host.getSourceFile = (name, ...rest) =>
    texts.has(name) ? ts.createSourceFile(name, texts.get(name), ts.ScriptTarget.ES2022) : read(name, ...rest);
  const program = ts.createProgram([...texts.keys()], options, host);
  const errors = new Map([...texts.keys()].map((name) => [name, []]));
  for (const one of ts.getPreEmitDiagnostics(program)) {
    const text = ts.flattenDiagnosticMessageText(one.messageText, " ").replace(/\s+/g, " ").slice(0, 500);
    (errors.get(one.file?.fileName) ?? errors.values().next().value).push(text);
  }
  return errors;
}

const boards = process.argv.slice(2).map((file) => [basename(file, ".json"), JSON.parse(readFileSync(file, "utf8"))]);
if (boards.length === 0) {
  console.log("FAILED @grafana/schema: no dashboards are given");
  process.exit(1);
}
// The check can fail: by a field and by an option of a panel that do not exist, and by a value.
const [, first] = boards[0];
const wrong = [
  { ...first, shown: true },
  { ...first, panels: [{ ...first.panels[0], options: { ...first.panels[0].options, legends: {} } }] },
  { ...first, panels: [{ ...first.panels[0], options: { ...first.panels[0].options, tooltip: { mode: "all" } } }] },
];
const texts = new Map();
for (const [name, board] of boards) texts.set(join(here, `${name}.ts`), source(board));
for (const [index, board] of wrong.entries()) texts.set(join(here, `wrong-${index}.ts`), source(board));
let failed = false;
for (const [file, errors] of errorsOf(texts)) {
  const name = basename(file, ".ts");
  const shouldFail = name.startsWith("wrong-");
  if (shouldFail === errors.length > 0) {
    console.log(`ok @grafana/schema: ${shouldFail ? `refuses ${name}` : name}`);
  } else {
    failed = true;
    console.log(`FAILED @grafana/schema: ${name}: ${shouldFail ? "it is accepted" : errors.join("; ")}`);
  }
}
process.exit(failed ? 1 : 0);
