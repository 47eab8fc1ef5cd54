// What the page does, as a line for curl.

import { key } from "./api.js";

const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A file as it is. */
export const raw = (file) => `--data-binary ${quote(`@${file.name}`)} -H 'Content-Type: application/octet-stream'`;

/** One of many: curl wants quotes where a name has a comma or a semicolon. */
export const part = (file) => `-F ${quote(`file=@"${file.name.replace(/["\\]/g, "\\$&")}"`)}`;

export function curl(path, body, output) {
  const credentials = key.get() ? ' -H "X-API-Key: $ZIGGURAT_API_KEY"' : "";
  return `curl --fail-with-body${credentials} ${body} ${quote(new URL(path, location.href).href)} -o ${quote(output)}`;
}
