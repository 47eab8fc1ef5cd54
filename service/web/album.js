// Many pictures: one budget for all, a table of what each got, and a zip of the streams.

import { call } from "./api.js";
import { Busy } from "./busy.js";
import { curl, part } from "./curl.js";
import { $, bytes, el, head, number, save } from "./dom.js";
import { Options } from "./options.js";
import { zip } from "./zip.js";

const AT_ONCE = 4; // streams that are fetched for the zip

export class Album {
  constructor(service, page) {
    Object.assign(this, { service, page });
    this.options = new Options($("#album-options"), service, { alone: false, changed: () => this.compress() });
    this.busy = new Busy("album-busy", (run) => page.trying(run), $("#album-table"));
    $("#album-curl").addEventListener("click", () => page.showCurl("#album-curl-line", this.curl));
    $("#save-zip").addEventListener("click", () => page.trying(() => this.save()));
  }

  async open(files) {
    this.busy.stop();
    this.files = files;
    this.facts = null;
    $("#album-options").hidden = false;
    $("#album-curl-line").hidden = true;
    this.list();
    if (files.length > this.service.max_images) {
      const detail = `You gave ${files.length} pictures, and this service takes ${this.service.max_images} at once. Choose fewer.`;
      this.page.say("Too many pictures", detail);
      return;
    }
    await this.compress();
  }

  async compress() {
    const body = new FormData();
    for (const file of this.files) body.append("file", file);
    await this.busy.run(`Sharing the budget among ${this.files.length} pictures`, async (signal, watched) => {
      const answer = await call(this.path, { method: "POST", body, headers: { Accept: "application/json", ...watched }, signal });
      this.facts = await answer.json();
      this.options.setPixels(this.facts.streams.reduce((sum, { width, height }) => sum + width * height, 0));
      this.list();
    });
  }

  get path() {
    return `allocate?${this.options.query({ bpp: "budget_bpp", bytes: "budget_bytes" })}`;
  }

  get curl() {
    return curl(this.path, this.files.map(part).join(" "), "pictures.zip");
  }

  /** Show the table; before the answer is there, the files alone. */
  list() {
    const { facts, files } = this;
    const cells = (file, share) => [
      number(file.size),
      ...(share ? [number(share.bytes), number(share.bpp, 3), share.psnr === null ? "exact" : `${number(share.psnr, 2)} dB`, number(share.ms_ssim, 4)] : ["", "", "", ""]),
    ];
    const line = (first, values, attributes) => el("tr", attributes, el("th", { scope: "row" }, first), ...values.map((value) => el("td", {}, value)));
    const rows = files.map((file, index) => {
      const share = facts?.streams[index];
      const name = share ? el("button", { type: "button", onclick: () => this.page.openMember(file, share.id) }, file.name) : file.name;
      return line(name, cells(file, share));
    });
    const total = files.reduce((sum, { size }) => sum + size, 0);
    const sum = facts && line("All", cells({ size: total }, facts), { class: "current" });
    $("#album-table").replaceChildren(
      el("caption", { class: "hidden" }, "The pictures and their shares"),
      head("Picture", "Before", "After", "bpp", "PSNR", "MS-SSIM"),
      el("tbody", {}, ...rows, ...(sum ? [sum] : [])),
    );
    $("#album-result").textContent = facts ? this.outcome(total) : "";
    $("#album-actions").hidden = !facts;
    if (facts && !$("#album-curl-line").hidden) $("#album-curl-line").textContent = this.curl;
  }

  outcome(total) {
    const { facts } = this;
    const share = `${bytes(facts.bytes)} for all, ${number((100 * facts.bytes) / total, 1)} % of the ${bytes(total)} that you gave.`;
    if (facts.target_met) return `${share} The budget was ${bytes(facts.budget_bytes)}.`;
    return facts.bytes > facts.budget_bytes
      ? `${share} These are the smallest streams that there are; the budget of ${bytes(facts.budget_bytes)} is below them.`
      : `${share} These are the largest streams that the codec makes; more of the ${bytes(facts.budget_bytes)} would not help.`;
  }

  async save() {
    const shares = this.facts.streams;
    const files = [];
    for (let at = 0; at < shares.length; at += AT_ONCE) {
      const some = shares.slice(at, at + AT_ONCE).map(async ({ file, id }) => [
        file, new Uint8Array(await (await call(`bitstreams/${id}`)).arrayBuffer()),
      ]);
      files.push(...(await Promise.all(some)));
    }
    save(zip(files), "pictures.zip");
  }
}
