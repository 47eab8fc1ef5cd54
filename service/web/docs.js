// The HTTP API as /openapi.json describes it: every operation with its parameters, bodies and answers.

import { $, el } from "./dom.js";

const EXAMPLES = { "/compress": "?bpp=0.15", "/allocate": "?budget_bpp=0.15", "/encode": "?format=webp&max_bytes=20000" };
const METHODS = ["get", "head", "post", "put", "patch", "delete"];

/** Text with `code` in it. */
function text(source = "") {
  return source.split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));
}

function values(schema) {
  if (!schema) return "";
  if (schema.enum) return schema.enum.map((value) => `\`${value}\``).join(", ");
  if (schema.const) return `\`${schema.const}\``;
  if (schema.type === "array") return `list of ${values(schema.items) || "values"}`;
  const least = schema.minimum ?? (schema.exclusiveMinimum !== undefined ? `above ${schema.exclusiveMinimum}` : undefined);
  const range = [least !== undefined ? `from ${least}`.replace("from above", "above") : "", schema.maximum !== undefined ? `to ${schema.maximum}` : ""];
  return [schema.type ?? "", ...range].filter(Boolean).join(" ");
}

function table(caption, heads, rows) {
  if (!rows.length) return null;
  return el("div", {},
    el("h4", {}, caption),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
      el("table", {},
        el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
        el("tbody", {}, ...rows.map(([first, ...rest]) => el("tr", {}, el("th", { scope: "row" }, ...text(first)), ...rest.map((cell) => el("td", {}, ...text(cell)))))))));
}

function curl(method, path, operation) {
  const types = Object.keys(operation.requestBody?.content ?? {});
  const body = types.some((type) => type.startsWith("image/")) ? ` --data-binary @FILE -H 'Content-Type: application/octet-stream'` : types.length ? " -F file=@FILE" : "";
  const verb = method === "head" ? " --head" : ["get", "post"].includes(method) ? "" : ` -X ${method.toUpperCase()}`;
  const target = new URL(path.slice(1), location.href).href.replaceAll("%7B", "{").replaceAll("%7D", "}");
  const saved = types.length ? " -o RESULT" : "";
  return `curl --fail-with-body${verb}${body} '${target}${EXAMPLES[path] ?? ""}'${saved}`;
}

function described(path, method, operation) {
  const parameters = (operation.parameters ?? []).map((parameter) => [
    `\`${parameter.name}\``, parameter.in, values(parameter.schema), parameter.schema?.default === undefined ? "" : [].concat(parameter.schema.default).map((value) => `\`${value}\``).join(", "), parameter.description ?? "",
  ]);
  const answers = Object.entries(operation.responses).map(([status, answer]) => [
    status, Object.keys(answer.content ?? {}).map((type) => `\`${type}\``).join(", "), answer.description ?? "",
  ]);
  const bodies = Object.keys(operation.requestBody?.content ?? {}).map((type) => [`\`${type}\``]);
  return el("details", { class: "operation", id: `${method}${path.replaceAll(/[^a-z_]+/g, "-")}` },
    el("summary", {}, el("h3", {}, el("span", { class: "method" }, method.toUpperCase()), path)),
    el("p", {}, ...text(operation.description ?? operation.summary)),
    el("pre", { tabindex: "0", "aria-label": "With curl" }, curl(method, path, operation)),
    table("Parameters", ["name", "in", "values", "default", "meaning"], parameters),
    table("Bodies", ["media type"], bodies),
    table("Answers", ["status", "media types", "meaning"], answers),
  );
}

async function show() {
  const api = await (await fetch("openapi.json")).json();
  const groups = new Map();
  for (const [path, operations] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((name) => operations[name])) {
      const tag = operations[method].tags?.[0] ?? "other";
      groups.set(tag, [...(groups.get(tag) ?? []), described(path, method, operations[method])]);
    }
  }
  $("#docs").replaceChildren(
    el("p", {}, ...text(api.info.description.trim())),
    el("p", { class: "hint" }, `Version ${api.info.version}. Errors are application/problem+json with a stable type.`),
    ...[...groups].flatMap(([tag, operations]) => [el("h2", {}, tag[0].toUpperCase() + tag.slice(1)), ...operations]),
  );
}

show();
