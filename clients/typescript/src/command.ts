// Commands as CloudEvents (docs/contract.md).

import { createHash, randomUUID } from "node:crypto";

import type { Params } from "./types.js";

/** Optional attributes of a command. */
export interface Options {
  /** Identifies the command together with `source`. A random UUID by default. */
  id?: string;
  /** The command is not started after this time. */
  expires?: Date;
  /** Later generations of an installation supersede earlier ones. */
  generation?: number;
  /** Groups commands. The id by default. */
  correlationId?: string;
  /** W3C trace context. */
  traceparent?: string;
}

/** A command that has not been sent. */
export interface Command {
  verb: keyof Params;
  target: string;
  id: string;
  /** The first 32 hex digits of SHA-256 of source, line feed and id. */
  key: string;
  /** The CloudEvent in structured mode. */
  event: Record<string, unknown>;
}

/** A command that the bus has stored. */
export interface Sent {
  target: string;
  key: string;
  id: string;
  /** The queue had the same command already. */
  duplicate: boolean;
}

/** An event or the result of a command, as a CloudEvent. */
export interface CloudEvent {
  id: string;
  source: string;
  type: string;
  subject?: string;
  time: string;
  commandid?: string;
  commandkey?: string;
  commandsource?: string;
  data: unknown;
  [extension: string]: unknown;
}

/** Builds a command. `source` and the id identify it: sending it again is the same command. */
export function command<V extends keyof Params>(
  verb: V,
  target: string,
  source: string,
  params: Params[V],
  options: Options = {},
): Command {
  const id = options.id ?? randomUUID();
  const event: Record<string, unknown> = {
    specversion: "1.0",
    id,
    source,
    type: `io.meshery.istio.command.${verb}.v1`,
    subject: target,
    datacontenttype: "application/json",
    data: params,
  };
  if (options.expires) event["expirytime"] = options.expires.toISOString();
  if (options.generation !== undefined) event["generation"] = options.generation;
  if (options.correlationId !== undefined) event["correlationid"] = options.correlationId;
  if (options.traceparent !== undefined) event["traceparent"] = options.traceparent;
  const key = createHash("sha256").update(`${source}\n${id}`).digest("hex").slice(0, 32);
  return { verb, target, id, key, event };
}
