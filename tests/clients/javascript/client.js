// Sends the commands of ../commands.json over NATS and over HTTP, with the package of clients/typescript and with the SDK
// `cloudevents`, and checks what comes back. Prints one line per command, `ok NAME` or `FAILED NAME: reason`; exit status 1
// when one failed.

import { strict as assert } from "node:assert";
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";

import { jetstream } from "@nats-io/jetstream";
import { connect, headers as natsHeaders } from "@nats-io/transport-node";
import { GatewayError, HttpClient, command as build } from "@sailhand/client";
import { NatsClient } from "@sailhand/client/nats";
import { CloudEvent, HTTP } from "cloudevents";

const CLIENT = "javascript";
const PATIENCE = 120_000; // milliseconds until the result has to be there
const COMMANDS = new URL("../commands.json", import.meta.url);

/** The command as an event of the SDK. */
function sdkEvent(command) {
  return new CloudEvent(command.event);
}

/** Headers and payload of the event in a content mode of the CloudEvents NATS binding. */
function natsMessage(event, mode) {
  // The NATS binding has the header names of the HTTP one; the SDK leaves percent-encoding to us.
  const message = mode === "binary" ? HTTP.binary(event) : HTTP.structured(event);
  const headers = natsHeaders();
  for (const [name, value] of Object.entries(message.headers)) {
    if (mode === "untyped") continue;
    headers.set(name, name.startsWith("ce-") ? encodeURIComponent(value) : value);
  }
  return { headers, payload: message.body };
}

/** Sends a command twice: with the typed client in structured mode, with the SDK in other modes. */
async function send(client, js, command, mode) {
  if (mode === "structured") {
    const sent = await client.send(command);
    assert.ok((await client.send(command)).duplicate, "the same command was taken twice");
    return sent;
  }
  const { headers, payload } = natsMessage(sdkEvent(command), mode);
  headers.set("Nats-Msg-Id", `${command.target}.${command.key}`);
  const subject = `istio.cmd.${command.target}.${command.verb}`;
  await js.publish(subject, payload, { headers });
  const again = await js.publish(subject, payload, { headers });
  assert.ok(again.duplicate, "the same command was taken twice");
  return { target: command.target, key: command.key, id: command.id, duplicate: false };
}

/** Checks the events of a command, the last of which is its result. */
function checkAnswers(wanted, command, events) {
  for (const event of events) assert.equal(event.commandid, command.id);
  const result = events.at(-1);
  assert.equal(result.type, `io.meshery.istio.result.${command.verb}.v1`);
  assert.equal(result.commandkey, command.key);
  assert.equal(result.correlationid, `${CLIENT} clients`);
  for (const name of ["outcome", "changed", "report"]) {
    if (name in wanted) assert.deepEqual(result.data[name], wanted[name], JSON.stringify(result.data));
  }
  if (["succeeded", "cancelled"].includes(wanted.outcome)) {
    assert.equal(events[0].type, "io.meshery.istio.event.started.v1");
    for (const [kind, count] of Object.entries(wanted.events ?? {})) {
      const found = events.filter((event) => event.type === `io.meshery.istio.event.${kind}.v1`).length;
      assert.ok(found >= count, `${found} events of ${kind}, not ${count}`);
    }
  } else {
    assert.match(result.data.error?.code ?? "", /^SH\d{4}$/, JSON.stringify(result.data));
  }
}

function newCommand(target, wanted, source = `urn:example:${CLIENT}`) {
  // A space, a percent sign and a letter outside ASCII: what percent-encoding of headers is for.
  const options = { id: `${randomUUID()} 100% ü`, correlationId: `${CLIENT} clients` };
  return build(wanted.verb, target, source, wanted.params, options);
}

async function run(client, js, target, wanted) {
  const command = newCommand(target, wanted);
  const sent = await send(client, js, command, wanted.mode);
  const events = [];
  for await (const event of client.events(sent)) {
    events.push(event);
    if (wanted.cancel && event.type.endsWith(".started.v1")) {
      await js.publish(`$KV.istio_control.cancel.${command.key}`, "{}");
    }
  }
  checkAnswers(wanted, command, events);
  assert.deepEqual(await client.wait(sent, PATIENCE), events.at(-1).data);
}

/** Sends a command over HTTP as the SDK encodes it. */
async function sdkPost(url, token, command, mode) {
  const message = mode === "binary" ? HTTP.binary(sdkEvent(command)) : HTTP.structured(sdkEvent(command));
  const headers = { Authorization: `Bearer ${token}` };
  for (const [name, value] of Object.entries(message.headers)) {
    headers[name] = name.startsWith("ce-") ? encodeURIComponent(value) : value;
  }
  const response = await fetch(`${url}/v1/events`, { method: "POST", headers, body: message.body });
  assert.equal(response.status, 202);
  return response.json();
}

/** One command over HTTP: by the typed client, or by the SDK in one of its modes. */
async function runHttp(target, wanted, how) {
  const { SAILHAND_GATEWAY_URL: url, SAILHAND_GATEWAY_TOKEN: token } = process.env;
  const client = new HttpClient(url, token);
  const command = newCommand(target, wanted, `/clients/${CLIENT}`);
  const sent = how === "client" ? await client.send(command) : await sdkPost(url, token, command, how);
  assert.equal(sent.key, command.key);
  assert.equal((await client.sendAll([command]))[0].key, command.key);
  const events = [];
  for await (const event of client.events(sent)) events.push(event);
  checkAnswers(wanted, command, events);
  assert.deepEqual(await client.wait(sent, PATIENCE), events.at(-1).data);
}

async function runRefusals(target, wanted) {
  const { SAILHAND_GATEWAY_URL: url, SAILHAND_GATEWAY_TOKEN: token } = process.env;
  const refused = [
    [token, { eco: 1 }, "SH1005"],
    ["0123456789abcdef-wrong", {}, "SH3804"],
  ];
  for (const [bearer, params, code] of refused) {
    const command = newCommand(target, { ...wanted, params }, `/clients/${CLIENT}`);
    const isExpected = (error) => error instanceof GatewayError && error.code === code;
    await assert.rejects(new HttpClient(url, bearer).send(command), isExpected);
  }
}

async function report(name, tried) {
  try {
    await tried();
    console.log(`ok ${CLIENT}: ${name}`);
  } catch (error) {
    process.exitCode = 1;
    console.log(`FAILED ${CLIENT}: ${name}: ${error.message.split("\n").join(" ")}`);
  }
}

const target = process.env.SAILHAND_TARGET;
const connection = await connect({ servers: process.env.SAILHAND_NATS_URL });
const client = new NatsClient(connection);
const commands = JSON.parse((await readFile(COMMANDS, "utf8")).replaceAll("@client@", CLIENT));
for (const wanted of commands) {
  await report(wanted.name, () => run(client, jetstream(connection), target, wanted));
}
const ping = commands.find((wanted) => wanted.verb === "ping");
for (const how of ["client", "structured", "binary"]) {
  await report(`HTTP, ${how}`, () => runHttp(target, ping, how));
}
await report("HTTP, refusals", () => runRefusals(target, ping));
await connection.close();
