// Checks schemas/asyncapi.json with the AsyncAPI project's own parser. Prints one line, `ok NAME` or
// `FAILED NAME: reason`; exit status 1 when the parser finds an error.

import { readFile } from "node:fs/promises";

import { Parser } from "@asyncapi/parser";

const FILE = new URL("../../../schemas/asyncapi.json", import.meta.url);
const ERROR = 0; // the parser's severities: 0 error, 1 warning, 2 information, 3 hint

async function check() {
  const { document, diagnostics } = await new Parser().parse(await readFile(FILE, "utf8"), { source: FILE.pathname });
  const errors = diagnostics.filter(({ severity }) => severity === ERROR);
  if (errors.length > 0) {
    throw new Error(errors.map(({ path, message }) => `${path.join("/")}: ${message}`).join("; "));
  }
  const operations = document.operations().all().length;
  if (operations === 0) throw new Error("it describes no operation");
  return operations;
}

try {
  console.log(`ok asyncapi: schemas/asyncapi.json, ${await check()} operations`);
} catch (error) {
  process.exitCode = 1;
  console.log(`FAILED asyncapi: schemas/asyncapi.json: ${error.message}`);
}
