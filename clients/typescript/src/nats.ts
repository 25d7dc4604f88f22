// Sends commands over NATS. Needs `@nats-io/transport-node` and `@nats-io/jetstream`.

import { DeliverPolicy, JetStreamApiError, type JsMsg, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { headers, type NatsConnection } from "@nats-io/transport-node";

import type { CloudEvent, Command, Sent } from "./command.js";
import type { Result } from "./http.js";

/** A client of the bus on a connection. */
export class NatsClient {
  /** `prefix` is that of the subjects. */
  constructor(
    private readonly connection: NatsConnection,
    private readonly prefix = "istio",
  ) {}

  /** Sends a command. Sending it again is the same command. */
  async send(command: Command): Promise<Sent> {
    const header = headers();
    header.set("Content-Type", "application/cloudevents+json");
    header.set("Nats-Msg-Id", `${command.target}.${command.key}`);
    const subject = `${this.prefix}.cmd.${command.target}.${command.verb}`;
    const ack = await jetstream(this.connection).publish(subject, JSON.stringify(command.event), { headers: header });
    return { target: command.target, key: command.key, id: command.id, duplicate: ack.duplicate };
  }

  /** The result of a command, whatever its outcome. Throws after `timeout` milliseconds. */
  async wait(command: Sent, timeout: number): Promise<Result> {
    const messages = await this.follow("RES", `res.${command.target}.${command.key}`);
    const timer = setTimeout(() => messages.stop(), timeout);
    try {
      for await (const message of messages) return (message.json() as CloudEvent).data as Result;
    } finally {
      clearTimeout(timer);
      messages.stop();
    }
    throw new Error(`command ${command.key} on ${command.target} has no result after ${timeout} ms`);
  }

  /** The events of a command from its start, then its result. */
  async *events(command: Sent): AsyncGenerator<CloudEvent> {
    const subject = `evt.${command.target}.${command.key}.>`;
    const results = await this.follow("RES", `res.${command.target}.${command.key}`);
    const messages = await this.follow("EVT", subject);
    const iterator = messages[Symbol.asyncIterator]();
    const result = results[Symbol.asyncIterator]().next();
    let next: Promise<IteratorResult<JsMsg>> | undefined;
    let seen = 0;
    let last: number | undefined;
    try {
      while (last === undefined || seen < last) {
        next ??= iterator.next();
        const following = next.then((found) => ({ found }));
        const ended = result.then(() => ({ found: undefined }));
        const first = await (last === undefined ? Promise.race([following, ended]) : following);
        if (first.found?.done) throw new Error("the events of the command cannot be read");
        if (first.found) {
          const message = first.found.value as JsMsg;
          next = undefined;
          seen = message.seq;
          yield message.json() as CloudEvent;
        } else {
          // A worker publishes no event after the result.
          last = await this.last(subject);
        }
      }
      yield ((await result).value as JsMsg).json() as CloudEvent;
    } finally {
      messages.stop();
      results.stop();
    }
  }

  private async follow(stream: string, subject: string) {
    const consumer = await jetstream(this.connection).consumers.get(this.stream(stream), {
      filter_subjects: `${this.prefix}.${subject}`,
      deliver_policy: DeliverPolicy.All,
    });
    return consumer.consume();
  }

  /** Sequence of the last message of a subject, 0 if there is none. */
  private async last(subject: string): Promise<number> {
    const manager = await jetstreamManager(this.connection, { checkAPI: false });
    try {
      const found = await manager.streams.getMessage(this.stream("EVT"), { last_by_subj: `${this.prefix}.${subject}` });
      return found?.seq ?? 0;
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === 10037) return 0; // no message found
      throw error;
    }
  }

  private stream(name: string): string {
    return `${this.prefix.toUpperCase()}_${name}`;
  }
}
