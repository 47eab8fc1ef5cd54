// One picture: compress it, show it beside the original, and say what it cost.

import { call, STREAM, timings } from "./api.js";
import { Busy, STAGES } from "./busy.js";
import { curl, raw } from "./curl.js";
import { chart } from "./curve.js";
import { $, $$, bytes, el, head, hint, number, save } from "./dom.js";
import { Options } from "./options.js";
import { header } from "./stream.js";
import { Viewer } from "./viewer.js";

const RATES = [0.06, 0.12, 0.25, 0.5, 1]; // bits per pixel of the curves
const RIVALS = { jpeg: "JPEG", webp: "WebP", avif: "AVIF" };
const MOST_SCORED = 2e6; // pixels of which SSIMULACRA2 is measured: it takes as long as compressing

export class Single {
  constructor(service, page) {
    Object.assign(this, { page, service });
    this.busy = new Busy("busy", (run) => page.trying(run), $("#viewer"));
    this.viewer = new Viewer($("#viewer"));
    this.options = new Options($("#options"), service, { alone: true, changed: () => this.compress() });
    this.urls = [];
    const clicks = {
      "zoom-in": () => this.viewer.zoomTo(this.viewer.scale * 1.5),
      "zoom-out": () => this.viewer.zoomTo(this.viewer.scale / 1.5),
      "zoom-fit": () => this.viewer.fit(),
      "zoom-one": () => this.viewer.zoomTo(1 / devicePixelRatio),
      difference: () => this.toggleDifference(),
      "save-stream": () => page.trying(async () => save(await this.stream(), `${this.stem}.zgt`)),
      "save-png": () => save(this.picture, `${this.stem}.png`),
      share: () => page.trying(() => this.share()),
      curl: () => page.showCurl("#curl-line", this.curl),
      draw: () => this.draw(),
    };
    for (const [name, run] of Object.entries(clicks)) $(`#${name}`).addEventListener("click", run);
    for (const button of $$("[data-rival]")) button.addEventListener("click", () => this.choose(button.dataset.rival));
    document.addEventListener("keydown", (event) => this.key(event));
  }

  /** Begin with a picture. */
  async open(file, id = null) {
    this.reset();
    this.file = file;
    this.stem = file.name.replace(/\.[^.]*$/, "") || "picture";
    this.before = this.url(file);
    const shows = await size(this.before);
    if (this.file !== file) return; // another one came meanwhile
    this.shows = shows;
    if (this.shows) {
      this.options.setPixels(this.shows.width * this.shows.height);
      this.viewer.show({ before: this.before, after: null, ...this.shows });
    }
    $("#options").hidden = false;
    if (id) await this.busy.run("Opening", (signal) => this.showStored(id, signal));
    else await this.compress();
  }

  /** Show what is in a stream that was dropped. */
  async openStream(file) {
    this.reset();
    this.stem = file.name.replace(/\.zgt$/i, "");
    this.sent = file;
    await this.busy.run("Opening", async (signal, watched) => {
      const answer = await call("decompress?format=png", { method: "POST", body: file, headers: { "Content-Type": STREAM, ...watched }, signal });
      const facts = header(new Uint8Array(await file.arrayBuffer()));
      await this.showAlone(answer, facts ?? { bytes: file.size }, signal);
    });
  }

  /** Show a stored stream that a link names, perhaps with a signature. */
  async openShared(id, signed) {
    this.reset();
    this.signed = signed;
    this.stem = id.slice(0, 12);
    await this.busy.run("Opening", (signal) => this.showStored(id, signal), !signed);
  }

  async showStored(id, signal) {
    const query = new URLSearchParams(this.signed);
    const facts = await (await call(`bitstreams/${id}/info?${query}`, { signal })).json();
    this.id = id;
    query.set("format", "png");
    await this.showAlone(await call(`decompress/${id}?${query}`, { signal }), facts, signal);
  }

  async showAlone(answer, facts, signal) {
    const picture = await answer.blob();
    const after = this.url(picture);
    const shown = await size(after);
    signal.throwIfAborted();
    this.picture = picture;
    this.viewer.show({ before: this.shows ? this.before : null, after, ...shown, right: "Result" });
    $("#result").replaceChildren(
      el("p", { class: "headline" }, bytes(facts.bytes)),
      el("p", {}, `${number((8 * facts.bytes) / (shown.width * shown.height), 3)} bits per pixel`),
      insides({ ...facts, ...shown, postprocessed: answer.headers.get("Ziggurat-Postprocess") }),
    );
    $("#details").replaceChildren(times(timings(answer)));
    this.offer();
  }

  async compress() {
    if (!this.file) return;
    const query = this.options.query();
    query.set("report", this.measures);
    const postprocess = this.options.postprocess.value;
    await this.busy.run("Compressing", async (signal, watched) => {
      const made = await this.post(`compress?${query}`, signal, watched);
      const facts = await made.json();
      const shown = await call(`decompress/${facts.id}?format=png&postprocess=${postprocess}`, { headers: watched, signal });
      this.picture = await shown.blob();
      for (const { url } of [{ url: this.after }, ...Object.values(this.rivals)]) if (url) URL.revokeObjectURL(url);
      this.id = facts.id;
      this.facts = facts;
      this.options.setPixels(facts.width * facts.height);
      this.after = this.url(this.picture);
      this.rivals = {};
      this.showFacts(facts, shown.headers.get("Ziggurat-Postprocess"), made.headers.get("Ziggurat-Dropped"));
      this.showBeside();
      $("#details").replaceChildren(times([...timings(made), ...timings(shown).map(([name, value]) => [name, value, true])]));
      this.offer();
      if (this.rival) await this.encode(signal, watched);
    });
  }

  /** Show another codec's picture of the same bytes beside the original; "" is ours again. */
  async choose(rival) {
    this.rival = rival;
    for (const button of $$("[data-rival]")) button.setAttribute("aria-pressed", button.dataset.rival === rival);
    if (!this.facts || this.busy.control) return; // the stream comes first, and then the rival
    if (rival && !this.rivals[rival]) await this.busy.run(`Making a ${RIVALS[rival]} of the same size`, (...how) => this.encode(...how));
    else this.showBeside();
  }

  async encode(signal, watched) {
    const { rival, facts } = this;
    const query = new URLSearchParams({ format: rival, max_bytes: facts.bytes, report: this.measures });
    try {
      const answer = await this.post(`encode?${query}`, signal, watched);
      const blob = await answer.blob();
      this.rivals[rival] = { url: this.url(blob), bytes: blob.size, ...scores(answer) };
    } catch (error) {
      if (error.kind !== "target-missed") throw error;
      this.rivals[rival] = { missed: Number(/has (\d+) bytes/.exec(error.detail)?.[1]) };
    }
    this.showBeside();
  }

  /** Post the picture; answers with facts as JSON where the call has such. */
  post(path, signal, watched) {
    return call(path, { method: "POST", body: this.file, headers: { Accept: "application/json", "Content-Type": this.type, ...watched }, signal });
  }

  /** Measure this picture at several sizes, with ours and with the others, and draw what comes. */
  async draw() {
    await this.busy.run("Measuring at five sizes", async (signal, watched, tell) => {
      const lines = { ours: { title: "Ziggurat", points: [] } };
      for (const [name, title] of Object.entries(RIVALS)) lines[name] = { title, points: [] };
      const metric = this.options.profile.value;
      let done = 0;
      const show = () => {
        $("#chart").replaceChildren(chart(lines, metric));
        tell(++done / (RATES.length * Object.keys(lines).length));
      };
      for (const bpp of RATES) {
        const query = this.options.query();
        query.delete("max_bytes");
        query.set("bpp", bpp);
        query.set("report", "psnr,ms-ssim");
        const facts = await (await this.post(`compress?${query}`, signal)).json();
        if (facts.bytes !== lines.ours.points.at(-1)?.bytes) lines.ours.points.push(facts);
        show();
        for (const name of Object.keys(RIVALS)) {
          const wanted = new URLSearchParams({ format: name, max_bytes: facts.bytes, report: "psnr,ms-ssim" });
          try {
            const answer = await this.post(`encode?${wanted}`, signal);
            lines[name].points.push({ bpp: Number(answer.headers.get("Ziggurat-Bpp")), ...scores(answer) });
          } catch (error) {
            if (error.kind !== "target-missed") throw error; // a codec that cannot be as small begins further right
          }
          show();
        }
      }
    });
  }

  showBeside() {
    const { facts, rival } = this;
    const shown = this.rivals[rival];
    this.viewer.show({
      before: this.shows ? this.before : null, after: shown?.url ?? this.after, width: facts.width, height: facts.height,
      right: shown?.url ? `${RIVALS[rival]}, ${bytes(shown.bytes)}` : `Ziggurat, ${bytes(facts.bytes)}`,
    });
    const others = Object.entries(RIVALS).filter(([name]) => this.rivals[name]);
    $("#result tbody").replaceChildren(
      row("Ziggurat", facts, !shown?.url),
      ...others.map(([name, text]) => row(text, this.rivals[name], name === rival && Boolean(shown.url))),
    );
  }

  showFacts(facts, postprocessed, dropped) {
    const share = facts.bytes / this.file.size;
    const against = share < 1
      ? `${number(facts.bpp, 3)} bits per pixel, ${number(100 * share, 1)} % of the ${bytes(this.file.size)} that you gave`
      : `${number(facts.bpp, 3)} bits per pixel. Your file is smaller: it has ${bytes(this.file.size)}`;
    const notes = [
      ...facts.warnings.map((text) => `The file was read, but ${text}.`),
      dropped && `Left out of the stream: ${dropped.toUpperCase().replace("ICC", "colour profile (the colours are converted)")}.`,
      !facts.target_met && missed(facts),
      !this.shows && "This browser cannot show the original, so there is nothing to compare with.",
      facts.ssimulacra2 === null && `SSIMULACRA2 is measured of pictures up to ${MOST_SCORED / 1e6} megapixels.`,
      this.options.postprocess.value !== "auto" && "The measures are of the picture with post-processing as recommended.",
    ];
    $("#result").replaceChildren(
      el("p", { class: "headline" }, bytes(facts.bytes)),
      el("p", {}, against),
      ...notes.filter(Boolean).map(hint),
      el("table", {},
        head("codec", "bytes", "PSNR", "MS-SSIM", "SSIMU\u00adLACRA2"),
        el("tbody"),
      ),
      el("details", {}, el("summary", {}, "What is inside"), insides({ ...facts, postprocessed })),
    );
  }

  offer() {
    $("#actions").hidden = false;
    $("#share").hidden = !this.id;
    $("#difference").hidden = !this.shows;
    for (const name of ["#curl", "#rivals", "#curve"]) $(name).hidden = !this.facts;
    if (this.id) history.replaceState(null, "", `#${[this.id, ...Object.values(this.signed ?? {})].join(".")}`);
    if (!$("#curl-line").hidden) $("#curl-line").textContent = this.curl;
  }

  get type() {
    return this.file.type.startsWith("image/") ? this.file.type : "application/octet-stream";
  }

  /** Whether there is nothing to look at. */
  get empty() {
    return !this.shows && !this.picture;
  }

  /** The metrics to ask for. */
  get measures() {
    return this.shows && this.shows.width * this.shows.height <= MOST_SCORED ? "psnr,ms-ssim,ssimulacra2" : "psnr,ms-ssim";
  }

  /** Copy a link, with keys a signed one. Whoever came by such a link passes it on. */
  async share() {
    let { hash } = location;
    let said = this.service.needs_key ? "Whoever opens it needs a key." : "";
    if (this.service.signed_links && !this.signed) {
      const made = await (await call(`bitstreams/${this.id}/links`, { method: "POST" })).json();
      ({ hash } = new URL(made.page_url, location.href));
      said = `It ends on ${new Date(1000 * made.expires).toLocaleDateString("en", { dateStyle: "long" })}.`;
    }
    this.page.copy(`${location.origin}${location.pathname}${hash}`, `The link is copied. ${said}`);
  }

  get curl() {
    return curl(`compress?${this.options.query()}`, raw(this.file), `${this.stem}.zgt`);
  }

  async stream() {
    return this.sent ?? (await call(`bitstreams/${this.id}?${new URLSearchParams(this.signed)}`)).blob();
  }

  toggleDifference() {
    const on = $("#difference").getAttribute("aria-pressed") !== "true";
    $("#difference").setAttribute("aria-pressed", on);
    this.viewer.setDifference(on);
  }

  key(event) {
    if ($("#work").hidden || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
    const keys = { "+": "#zoom-in", "=": "#zoom-in", "-": "#zoom-out", 0: "#zoom-fit", 1: "#zoom-one", d: "#difference" };
    if (keys[event.key]) $(keys[event.key]).click();
  }

  url(blob) {
    const made = URL.createObjectURL(blob);
    this.urls.push(made);
    return made;
  }

  reset() {
    this.busy.stop();
    for (const url of this.urls.splice(0)) URL.revokeObjectURL(url);
    Object.assign(this, { file: null, id: null, signed: undefined, sent: null, picture: null, before: null, after: null, shows: null, facts: null, rivals: {}, rival: "" });
    for (const button of $$("[data-rival]")) button.setAttribute("aria-pressed", !button.dataset.rival);
    $("#rivals").hidden = true;
    for (const name of ["#options", "#actions", "#curl-line", "#curve"]) $(name).hidden = true;
    for (const name of ["#result", "#details", "#chart"]) $(name).replaceChildren();
    for (const image of $$("img", this.viewer.root)) image.removeAttribute("src");
    history.replaceState(null, "", location.pathname + location.search);
  }
}

/** The measures in an answer's headers; null when the picture came back exactly. */
function scores(answer) {
  const measured = (name) => (answer.headers.get(name) === "inf" ? null : Number(answer.headers.get(name)));
  return {
    psnr: measured("Ziggurat-PSNR"), ms_ssim: measured("Ziggurat-MS-SSIM"),
    ssimulacra2: answer.headers.has("Ziggurat-SSIMULACRA2") ? measured("Ziggurat-SSIMULACRA2") : null,
  };
}

const dB = (value) => (value === null ? "exact" : value === undefined ? "" : `${number(value, 2)} dB`);

function row(name, facts, current = false) {
  if (facts.missed) {
    return el("tr", {}, el("th", { scope: "row" }, name), el("td", { colspan: 4 }, `its smallest has ${number(facts.missed)} bytes`));
  }
  return el("tr", { class: current ? "current" : undefined },
    el("th", { scope: "row" }, name), el("td", {}, number(facts.bytes)), el("td", {}, dB(facts.psnr)),
    el("td", {}, number(facts.ms_ssim, 4)), el("td", {}, facts.ssimulacra2 === null ? "" : number(facts.ssimulacra2, 1)));
}

function missed(facts) {
  return facts.bpp > facts.target_bpp
    ? "This is the smallest stream that there is of this picture; the budget is below it."
    : "This is the largest stream that the codec makes of this picture; more bytes would not help.";
}

function insides(facts) {
  const lines = [
    ["Size", `${number(facts.width)} × ${number(facts.height)} pixels${facts.greyscale ? ", greyscale" : ""}`],
    ["Codec", facts.codec],
    ["Model", [facts.profile, facts.model_id].filter(Boolean).join(", ")],
    ["Quality", facts.quality !== undefined ? number(facts.quality, 1) : null],
    ["Effort", facts.effort_reached !== undefined ? `${facts.effort_reached} of ${facts.effort}` : null],
    ["Better by", facts.auto ? `${facts.auto.metric}: learned ${score(facts.auto.learned)}, hybrid ${score(facts.auto.hybrid)}` : null],
    ["Side information", facts.z_bytes !== undefined ? bytes(facts.z_bytes) : null],
    ["Picture", facts.y_bytes !== undefined ? bytes(facts.y_bytes) : null],
    ["Alpha", facts.alpha_bytes ? bytes(facts.alpha_bytes) : null],
    ["Text", facts.overlay_bytes ? bytes(facts.overlay_bytes) : null],
    ["Metadata", facts.metadata_bytes ? bytes(facts.metadata_bytes) : null],
    ["Format version", facts.format_version],
    ["Post-processing", facts.postprocessed],
    ["Id (SHA-256)", facts.id],
  ];
  return el("dl", {}, ...lines.filter(([, text]) => text !== null && text !== undefined && text !== "").flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, String(text))]));
}

const score = (value) => (value === null ? "exact" : number(value, 4));

function times(rows) {
  if (!rows.length) return "";
  const most = Math.max(...rows.map(([, value]) => value), 1);
  const total = rows.reduce((sum, [, value]) => sum + value, 0);
  return el("details", {},
    el("summary", {}, `Time in the service: ${number(total)} ms`),
    el("div", { class: "bars" }, ...rows.map(([name, value, back]) => {
      const text = `${STAGES[name] ?? name}${back ? " (back)" : ""}`;
      return el("div", {}, el("span", {}, text), el("meter", { min: 0, max: most, value, "aria-label": text }), el("span", {}, `${number(value, value < 10 ? 1 : 0)} ms`));
    })));
}

/** Width and height of a picture that this browser can show; null of one that it cannot. */
async function size(url) {
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
    return { width: image.naturalWidth, height: image.naturalHeight };
  } catch {
    return null;
  }
}
