// A double of Meshery's HTTP endpoints that the bridge calls. It validates what it gets with Meshery's own schemas: the npm
// package @meshery/schemas for registrations, and the rules of Meshery's handler for events, which has no schema.
//
// Prints its address. `GET /report` tells the valid events, the registered versions, and why others are not valid.
import { createServer } from "node:http";

import connectionSchema from "@meshery/schemas/constructs/v1beta3/connection/ConnectionSchema";
import modelSchema from "@meshery/schemas/constructs/v1beta1/model/ModelSchema";
import componentSchema from "@meshery/schemas/constructs/v1beta2/component/ComponentSchema";
import Ajv from "ajv";
import addFormats from "ajv-formats";

// Not strict: the schemas are those of an OpenAPI document, with keywords of code generators.
const ajv = addFormats(new Ajv({ strict: false, allErrors: true }));

/**
 * Compiles a schema without what it contradicts itself in: nested schemas repeat the `$id` of others, and the pattern of
 * `schemaVersion` matches neither its default nor its examples (`models.meshery.io/v1beta1`).
 */
function validator(document, name) {
  const repair = (key, value) => {
    if (key === "$id") return undefined;
    if (typeof value?.pattern === "string" && typeof value.default === "string") {
      const { pattern, ...rest } = value;
      return new RegExp(pattern).test(value.default) ? value : rest;
    }
    return value;
  };
  return ajv.compile(JSON.parse(JSON.stringify((document.default ?? document).components.schemas[name], repair)));
}

const validators = {
  connection: validator(connectionSchema, "Connection"),
  model: validator(modelSchema, "ModelDefinition"),
  component: validator(componentSchema, "ComponentDefinition"),
};

const report = { events: [], versions: [], invalid: [] };

function check(name, value) {
  const validate = validators[name];
  if (validate(value)) return true;
  report.invalid.push(`${name}: ${ajv.errorsText(validate.errors)}`);
  return false;
}

/** `POST /api/registry/components`: like Meshery's, it answers 200 whether the component is valid or not. */
function register(body) {
  const component = JSON.parse(Buffer.from(body.entity, "base64").toString("utf8"));
  // Each is checked, so that the report names all defects.
  const valid = [check("connection", body.connection), check("component", component), check("model", component.model)];
  if (body.entityType !== "component") report.invalid.push(`entityType: ${body.entityType}`);
  else if (valid.every(Boolean)) report.versions.push(component.model.version);
  return 200;
}

const severities = ["alert", "critical", "debug", "emergency", "error", "informational", "warning", "success"];
const fields = ["actedUpon", "action", "category", "severity", "description", "metadata"];
const uuid = /^(?!0{8}-)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** `POST /api/system/events`. */
function event(body) {
  const unknown = Object.keys(body).filter((name) => !fields.includes(name));
  const valid =
    unknown.length === 0 &&
    uuid.test(body.actedUpon) &&
    Boolean(body.action) &&
    Boolean(body.category) &&
    severities.includes(body.severity);
  if (!valid) {
    report.invalid.push(`event: ${JSON.stringify(body)}`);
    return 400;
  }
  report.events.push(body);
  return 201;
}

function answer(request, body) {
  const model = (version) => ({ name: "istio", version });
  switch (`${request.method} ${request.url}`) {
    case "POST /api/registry/components":
      return [register(JSON.parse(body)), {}];
    case "POST /api/system/events":
      return [event(JSON.parse(body)), {}];
    case "GET /api/meshmodels/models/istio":
      return [200, { models: report.versions.map(model), total_count: report.versions.length }];
    case "GET /report":
      return [200, report];
    default:
      return [404, {}];
  }
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  let [status, body] = [400, {}];
  try {
    [status, body] = answer(request, Buffer.concat(chunks).toString("utf8"));
  } catch (error) {
    report.invalid.push(`${request.url}: ${error}`);
  }
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
