// Sends the commands of ../commands.json with `cloudevents` and `@nats-io/jetstream`, and checks what comes back on
// the bus. Prints one line per command, `ok NAME` or `FAILED NAME: reason`; exit status 1 when one failed.

import { strict as assert } from "node:assert";
import { createHash, randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";

import { DeliverPolicy, jetstream } from "@nats-io/jetstream";
import { connect, headers as natsHeaders } from "@nats-io/transport-node";
import { CloudEvent, HTTP } from "cloudevents";

const CLIENT = "javascript";
const PATIENCE = 120_000; // milliseconds until the result has to be there
const COMMANDS = new URL("../commands.json", import.meta.url);

/** Headers and payload of the event in a content mode of the CloudEvents NATS binding. */
function messageOf(event, mode) {
  // The NATS binding has the header names of the HTTP one; the SDK leaves percent-encoding to us.
  const message = mode === "binary" ? HTTP.binary(event) : HTTP.structured(event);
  const headers = natsHeaders();
  for (const [name, value] of Object.entries(message.headers)) {
    if (mode === "untyped") continue;
    headers.set(name, name.startsWith("ce-") ? encodeURIComponent(value) : value);
  }
  return { headers, payload: message.body };
}

function readEvent(message) {
  const contentType = message.headers?.get("Content-Type");
  assert.equal(contentType, "application/cloudevents+json");
  return HTTP.toEvent({ headers: { "content-type": contentType }, body: message.string() });
}

/** The first message of the subject, whether it is there already or comes later. */
async function first(js, stream, subject) {
  return (await messages(js, stream, subject, 1))[0];
}

/** The first messages of the subject, whether they are there already or come later. */
async function messages(js, stream, subject, count) {
  const consumer = await js.consumers.get(stream, {
    filter_subjects: subject,
    deliver_policy: DeliverPolicy.All,
  });
  const found = [];
  while (found.length < count) {
    const message = await consumer.next({ expires: PATIENCE });
    assert.ok(message, `${found.length} of ${count} came on ${subject}`);
    found.push(message);
  }
  return found;
}

async function run(js, target, command) {
  const source = `urn:example:${CLIENT}`;
  // A space, a percent sign and a letter outside ASCII: what percent-encoding of headers is for.
  const id = `${randomUUID()} 100% ü`;
  const key = createHash("sha256").update(`${source}\n${id}`).digest("hex").slice(0, 32);
  const event = new CloudEvent({
    id,
    source,
    type: `io.meshery.istio.command.${command.verb}.v1`,
    subject: target,
    datacontenttype: "application/json",
    correlationid: `${CLIENT} clients`,
    data: command.params,
  });
  const { headers, payload } = messageOf(event, command.mode);
  headers.set("Nats-Msg-Id", `${target}.${key}`);
  const subject = `istio.cmd.${target}.${command.verb}`;
  await js.publish(subject, payload, { headers });
  const again = await js.publish(subject, payload, { headers });
  assert.ok(again.duplicate, "the same command was taken twice");
  if (command.cancel) {
    await first(js, "ISTIO_EVT", `istio.evt.${target}.${key}.started`);
    await js.publish(`$KV.istio_control.cancel.${key}`, "{}");
  }

  const result = readEvent(await first(js, "ISTIO_RES", `istio.res.${target}.${key}`));
  assert.equal(result.type, `io.meshery.istio.result.${command.verb}.v1`);
  assert.equal(result.commandid, id);
  assert.equal(result.commandkey, key);
  assert.equal(result.correlationid, `${CLIENT} clients`);
  for (const name of ["outcome", "changed", "report"]) {
    if (name in command) assert.deepEqual(result.data[name], command[name], JSON.stringify(result.data));
  }
  if (["succeeded", "cancelled"].includes(command.outcome)) {
    const started = readEvent(await first(js, "ISTIO_EVT", `istio.evt.${target}.${key}.>`));
    assert.equal(started.type, "io.meshery.istio.event.started.v1");
    assert.equal(started.commandid, id);
    for (const [kind, count] of Object.entries(command.events ?? {})) {
      for (const message of await messages(js, "ISTIO_EVT", `istio.evt.${target}.${key}.${kind}`, count)) {
        const event = readEvent(message);
        assert.equal(event.type, `io.meshery.istio.event.${kind}.v1`);
        assert.equal(event.commandid, id);
      }
    }
  } else {
    assert.match(result.data.error?.code ?? "", /^SH\d{4}$/, JSON.stringify(result.data));
  }
}

const target = process.env.SAILHAND_TARGET;
const connection = await connect({ servers: process.env.SAILHAND_NATS_URL });
const js = jetstream(connection);
const commands = JSON.parse((await readFile(COMMANDS, "utf8")).replaceAll("@client@", CLIENT));
for (const command of commands) {
  const name = `${CLIENT}: ${command.name}`;
  try {
    await run(js, target, command);
    console.log(`ok ${name}`);
  } catch (error) {
    process.exitCode = 1;
    console.log(`FAILED ${name}: ${error.message.split("\n").join(" ")}`);
  }
}
await connection.close();
