// Sends commands to sailhand and reads their events and results. `@sailhand/client/nats` sends them over NATS.

export { type CloudEvent, type Command, type Options, type Sent, command } from "./command.js";
export { GatewayError, HttpClient, type Result, type State } from "./http.js";
export type * from "./types.js";
