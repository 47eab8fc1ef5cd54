// Work that takes a while: how far it is, and the button that stops it.

import { call } from "./api.js";
import { $, number } from "./dom.js";

const EVERY = 1000; // milliseconds between two looks
export const STAGES = {
  receive: "sending", decode: "read the file", queue: "wait", device: "networks", entropy: "entropy coder", avif: "AVIF search",
  decode_av1: "decode AV1", encode: "write the picture", store: "store", finish: "finish",
};

export class Busy {
  /** `name` begins the ids of its elements; `trying` runs what may fail; `around` has the work in it. */
  constructor(name, trying, around) {
    const [line, what, text, bar, stop] = ["", "-what", "-text", "-bar", "-stop"].map((end) => $(`#${name}${end}`));
    Object.assign(this, { line, what, text, bar, trying, around });
    stop.addEventListener("click", () => this.stop());
  }

  /** Run one piece of work; a new one ends the one before. It gets a signal, headers to be watched by, and a way to tell how far it is. */
  async run(what, work, watch = true) {
    this.stop();
    const control = (this.control = new AbortController());
    const token = crypto.getRandomValues(new Uint32Array(8)).join("-"); // randomUUID needs TLS
    const begun = performance.now();
    let own = false;
    const tell = (stage, share) => {
      const words = [stage, share === null ? "" : `${number(100 * share)} %`, `${number((performance.now() - begun) / 1000)} s`];
      this.text.textContent = words.filter(Boolean).join(", ");
      this.bar.hidden = share === null;
      this.bar.value = share ?? 0;
    };
    const look = async () => {
      if (own) return;
      const found = await call(`progress/${token}`, { signal: control.signal }).then((answer) => answer.json()).catch(() => (watch = false) || { share: null });
      if (own || this.control !== control) return;
      tell(found.ahead ? `${found.ahead} before it` : STAGES[found.stage] ?? "", found.share);
    };
    this.what.textContent = what;
    tell("", null);
    const looking = setInterval(() => (watch ? look() : tell("", null)), EVERY);
    this.line.hidden = false;
    this.around.setAttribute("aria-busy", "true");
    const done = (share) => tell("", share, (own = true));
    await this.trying(() => work(control.signal, { "Ziggurat-Progress": token }, done));
    clearInterval(looking);
    if (this.control === control) this.idle();
  }

  stop() {
    this.control?.abort();
    this.idle();
  }

  idle() {
    this.control = null;
    this.line.hidden = true;
    this.around.removeAttribute("aria-busy");
  }
}
