// Calls of the service, and its problems in words.

import { bytes, number } from "./dom.js";

const KEY = "ziggurat-api-key";
export const STREAM = "image/vnd.ziggurat";

/** An answer that is no success: what happened, and what to do. */
export class Problem extends Error {
  constructor(title, detail, status = 0, kind = "", retryAfter = null) {
    super(title);
    Object.assign(this, { detail, status, kind, retryAfter });
  }
}

// The key lives in this tab alone, and ends with it.
export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

/** Call the service. Addresses are relative, so that a proxy may put it under any path. */
export async function call(path, { method = "GET", body, headers = {}, signal } = {}) {
  const sent = new Headers(headers);
  if (key.get()) sent.set("X-API-Key", key.get());
  let answer;
  try {
    answer = await fetch(path, { method, body, headers: sent, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The service cannot be reached", "It may have stopped, or the network is down.", 0, "network");
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Problem(
    problem.title ?? `The service answered ${answer.status}`,
    problem.detail ?? "",
    answer.status,
    (problem.type ?? "").split(":").pop(),
    Number(answer.headers.get("Retry-After")) || null,
  );
}

/** Read Server-Timing: [["decode", 3.2], …], in milliseconds. */
export function timings(answer) {
  const header = answer.headers.get("Server-Timing") ?? "";
  return [...header.matchAll(/([\w-]+);dur=([\d.]+)/g)].map(([, name, milliseconds]) => [name, Number(milliseconds)]);
}

const ADVICE = {
  network: "Check that it still runs, then try again.",
  unauthorized: "Enter an API key above. Whoever runs this service has one for you.",
  forbidden: "Use a key with the role “write”.",
  "bad-link": "Ask whoever sent it for another.",
  "expired-link": "Ask whoever sent it for another.",
  "image-too-large": (service) => `Make the picture smaller: this service takes up to ${number(service.max_pixels / 1e6, 1)} megapixels.`,
  "body-too-large": (service) => `Send a smaller file: this service takes up to ${bytes(service.max_body_bytes)}.`,
  "unsupported-image": "Save it as JPEG, PNG, WebP, AVIF or TIFF and try again.",
  "unsupported-variant": "Save it as an ordinary JPEG or PNG and try again.",
  "animated-image": "Send one frame of it.",
  "damaged-image": "Copy the file again from where it came, or save it anew in another program.",
  "costly-image": "Save the picture anew in another program.",
  "too-costly": "Make the picture smaller, or choose the learned codec.",
  "deadline-exceeded": "Try again later, choose less effort, or make the picture smaller.",
  overloaded: "Others are being served. Try again in a moment.",
  unavailable: "The service is starting or stopping. Try again in a moment.",
  "unknown-id": "It was never made here, or is no longer kept. Compress the picture again.",
  "unknown-model": "It needs a model that this service has not loaded.",
  "not-a-stream": "Choose a .zgt file, or a picture.",
  "truncated-stream": "The file is cut off. Copy it again from where it came.",
  "damaged-stream": "The file was changed on its way. Copy it again from where it came.",
  "newer-stream": "Open it with a service of a newer version.",
  "older-stream": "Compress the original again.",
  "unsuitable-source": "Set post-processing to “as recommended”.",
  "invalid-target": "Correct the budget.",
  "invalid-request": "Correct the options.",
  "store-full": "Whoever runs this service must make room. Try again later.",
  "target-missed": "Allow more bytes.",
};

/** What somebody who sees a problem should do. */
export function advice(problem, service) {
  const wait = problem.retryAfter ? ` The service asks for ${problem.retryAfter} s.` : "";
  const known = ADVICE[problem.kind];
  const words = (typeof known === "function" ? known(service) : known) ?? (problem.status >= 500 ? "Try again. If it stays so, tell whoever runs this service." : "");
  return words + wait;
}
