// Sends commands to `sailhand gateway` (docs/http.md), with fetch.

import { setTimeout as sleep } from "node:timers/promises";

import type { CloudEvent, Command, Sent } from "./command.js";
import type { ResultData } from "./types.js";

/** Longest `?wait=` of one request, milliseconds. Shorter than the idle time of usual proxies. */
const LONGEST_WAIT = 50_000;
/** Delay before a repetition if the gateway does not ask for one, milliseconds. */
const REPEAT = 1_000;

/** A refused request, as problem details (RFC 9457). */
export class GatewayError extends Error {
  constructor(
    readonly status: number,
    /** Such as `SH3805`; its page is docs/errors/<code>.md. */
    readonly code: string,
    detail: string,
    readonly remedy: string,
    /** Milliseconds until a repetition may succeed; absent if no repetition helps. */
    readonly retryAfter?: number,
  ) {
    super(`${code || status}: ${detail}`);
  }
}

/** A result with its report, as `Reports` has it for the verb. */
export type Result<R = unknown> = ResultData & { report?: R };

/** State of a command. */
export interface State {
  state: "pending" | "running" | "ended";
  outcome?: string;
  result?: Result;
}

interface Request {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  signal?: AbortSignal;
}

/** A client of one gateway. `token` is a bearer token, or a function that returns a current one. */
export class HttpClient {
  constructor(
    readonly url: string,
    private readonly token?: string | (() => string | Promise<string>),
  ) {}

  /** Sends a command. Repeats while the gateway is not ready, which is safe, for at most `timeout` milliseconds. */
  async send(command: Command, timeout = 60_000): Promise<Sent> {
    return sent(await this.post("application/cloudevents+json", command.event, timeout));
  }

  /** Sends at most 500 commands in one request: all are valid, or none is sent. */
  async sendAll(commands: Command[], timeout = 60_000): Promise<Sent[]> {
    const events = commands.map((command) => command.event);
    const accepted = await this.post("application/cloudevents-batch+json", events, timeout);
    return (accepted as { commands: unknown[] }).commands.map(sent);
  }

  /** The state of a command. Waits at most so many milliseconds for its end. */
  async state(command: Sent, wait = 0): Promise<State> {
    const query = wait > 0 ? `?wait=${Math.floor(wait)}ms` : "";
    const signal = AbortSignal.timeout(wait + 30_000);
    return (await (await this.open(`${path(command)}${query}`, { signal })).json()) as State;
  }

  /** The result of a command, whatever its outcome. Throws after `timeout` milliseconds. */
  async wait(command: Sent, timeout: number): Promise<Result> {
    const end = Date.now() + timeout;
    for (;;) {
      let delay = 0;
      try {
        const state = await this.state(command, Math.max(0, Math.min(end - Date.now(), LONGEST_WAIT)));
        if (state.result) return state.result;
      } catch (error) {
        delay = delayOf(error);
      }
      if (Date.now() + delay >= end) {
        throw new Error(`command ${command.key} on ${command.target} has no result after ${timeout} ms`);
      }
      await sleep(delay);
    }
  }

  /** The events of a command from its start, then its result. Resumes a lost connection. */
  async *events(command: Sent): AsyncGenerator<CloudEvent> {
    let last = "";
    while (last !== "end") {
      try {
        const response = await this.open(`${path(command)}/events`, last ? { headers: { "Last-Event-ID": last } } : {});
        for await (const { id, data } of read(response)) {
          last = id;
          yield JSON.parse(data) as CloudEvent;
        }
        if (last !== "end") await sleep(REPEAT); // the stream ended early
      } catch (error) {
        await sleep(delayOf(error));
      }
    }
  }

  private async post(kind: string, body: unknown, timeout: number): Promise<unknown> {
    const end = Date.now() + timeout;
    const request = { method: "POST", headers: { "Content-Type": kind }, body: JSON.stringify(body) };
    for (;;) {
      try {
        return await (await this.open("/v1/events", { ...request, signal: AbortSignal.timeout(30_000) })).json();
      } catch (error) {
        const delay = delayOf(error);
        if (Date.now() + delay >= end) throw error;
        await sleep(delay);
      }
    }
  }

  private async open(path: string, request: Request): Promise<Response> {
    const token = typeof this.token === "function" ? await this.token() : this.token;
    const headers = { ...request.headers, ...(token ? { Authorization: `Bearer ${token.trim()}` } : {}) };
    // A redirect would send the token to another address.
    const response = await fetch(this.url.replace(/\/+$/, "") + path, { ...request, headers, redirect: "manual" });
    if (response.ok) return response;
    throw await refusal(response);
  }
}

async function refusal(response: Response): Promise<GatewayError> {
  const problem = (await response.json().catch(() => ({}))) as Record<string, string>;
  const after = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
  const temporary = [408, 429, 502, 503, 504].includes(response.status);
  const retryAfter = Number.isNaN(after) ? (temporary ? REPEAT : undefined) : after * 1000;
  const { code = "", detail = response.statusText, remedy = "" } = problem;
  return new GatewayError(response.status, code, detail, remedy, retryAfter);
}

/** Milliseconds before the repetition; throws errors that no repetition changes. */
function delayOf(error: unknown): number {
  if (error instanceof GatewayError) {
    if (error.retryAfter === undefined) throw error;
    return error.retryAfter;
  }
  if (error instanceof TypeError || error instanceof DOMException) return REPEAT; // no connection, or too slow
  throw error;
}

function path(command: Sent): string {
  return `/v1/commands/${command.target}/${command.key}`;
}

function sent(accepted: unknown): Sent {
  const { target, key, id, duplicate } = accepted as Sent;
  return { target, key, id, duplicate };
}

/** Ids and data of server-sent events. */
async function* read(response: Response): AsyncGenerator<{ id: string; data: string }> {
  const decoder = new TextDecoder();
  let buffer = "";
  let id = "";
  let data: string[] = [];
  for await (const chunk of response.body ?? []) {
    buffer += decoder.decode(chunk as Uint8Array, { stream: true });
    const lines = buffer.split("\n");
    buffer = lines.pop() ?? "";
    for (const line of lines.map((line) => line.replace(/\r$/, ""))) {
      if (line.startsWith("id:")) id = line.slice(3).trimStart();
      else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
      else if (line === "" && data.length > 0) {
        yield { id, data: data.join("\n") };
        data = [];
      }
    }
  }
}
