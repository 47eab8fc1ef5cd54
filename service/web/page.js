// The page: what was dropped, pasted, picked or linked, and where it goes.

import { Album } from "./album.js";
import { advice, call, key, Problem } from "./api.js";
import { $, $$ } from "./dom.js";
import { Single } from "./single.js";
import { isStream } from "./stream.js";

const LINK = /^#([0-9a-f]{64})(?:\.(\d+)\.([\w-]+))?$/;

class Page {
  async start() {
    try {
      this.service = await (await call("web/service.json")).json();
    } catch (error) {
      this.fail(error);
      return;
    }
    this.single = new Single(this.service, this);
    this.album = new Album(this.service, this);
    $("#version").textContent = `Ziggurat ${this.service.version}`;
    $("#privacy").textContent = privacy(this.service);
    $("#key-button").hidden = !this.service.needs_key;
    if (this.service.needs_key && !key.get() && !LINK.exec(location.hash)?.[3]) this.askForKey();
    this.listen();
    await this.follow();
  }

  listen() {
    $("#file").addEventListener("change", (event) => {
      this.open([...event.target.files]);
      event.target.value = "";
    });
    $("#another").addEventListener("click", () => $("#file").click());
    $("#back").addEventListener("click", () => this.back());
    $("#home").addEventListener("click", () => this.home());
    for (const button of $$("[data-demo]")) button.addEventListener("click", () => this.demo(button.dataset.demo));
    for (const name of ["dragover", "dragleave", "drop"]) addEventListener(name, (event) => this.drag(event));
    addEventListener("paste", (event) => event.clipboardData.files.length && this.open([...event.clipboardData.files]));
    addEventListener("hashchange", () => this.follow());
    $("#key-button").addEventListener("click", () => this.askForKey());
    $("#key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      key.set($("#key").value.trim());
      $("#key").value = "";
      $("#key-form").hidden = true;
      this.clear();
      this.again?.();
    });
  }

  drag(event) {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    document.body.classList.toggle("dragging", event.type === "dragover");
    if (event.type === "drop") this.open([...event.dataTransfer.files]);
  }

  async demo(name) {
    await this.trying(async () => {
      const blob = await (await call(`web/demo/${name}`)).blob();
      await this.open([new File([blob], name, { type: blob.type })]);
    });
  }

  async open(files) {
    if (!files.length) return;
    this.clear();
    this.again = () => this.open(files);
    $("#back").hidden = true;
    if (files.length > 1) {
      this.single.reset();
      this.show("#album");
      await this.album.open(files);
      return;
    }
    const first = new Uint8Array(await files[0].slice(0, 3).arrayBuffer());
    this.show("#work");
    this.single.viewer.divider.focus({ preventScroll: true }); // what had the focus is hidden now
    if (files[0].name.toLowerCase().endsWith(".zgt") || isStream(first)) await this.single.openStream(files[0]);
    else await this.single.open(files[0]);
  }

  /** Open the stream that the address names, if it names one. */
  async follow() {
    const [link, id, expires, signature] = LINK.exec(location.hash) ?? [];
    if (!id || id === this.single.id) return;
    this.clear();
    $("#back").hidden = true;
    this.again = () => this.follow();
    this.show("#work");
    await this.single.openShared(id, signature && { expires, signature });
    if (this.single.id === null) history.replaceState(null, "", link); // for another try
  }

  /** Show one picture of an album beside its share. */
  async openMember(file, id) {
    this.clear();
    this.again = () => this.openMember(file, id);
    this.show("#work");
    $("#back").hidden = false;
    await this.single.open(file, id);
  }

  back() {
    this.single.reset();
    this.clear();
    $("#back").hidden = true;
    this.show("#album");
  }

  home() {
    $("#back").hidden = true;
    this.album.busy.stop();
    this.single.reset();
    this.clear();
    this.show("#start");
  }

  show(section) {
    for (const name of ["#start", "#work", "#album"]) $(name).hidden = name !== section;
    $("#another").hidden = section === "#start";
  }

  /** Run what may fail, and say so in words. */
  async trying(run) {
    this.clear();
    try {
      await run();
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
    }
  }

  fail(error) {
    if (!(error instanceof Problem)) {
      console.error(error);
      error = new Problem("This page failed", error.message);
    }
    if (error.kind === "unauthorized") this.askForKey();
    if (!$("#work").hidden && this.single.empty) this.show("#start");
    const detail = error.detail ? `${error.detail[0].toUpperCase()}${error.detail.slice(1)}` : "";
    this.say(error.message, detail, advice(error, this.service));
  }

  say(...parts) {
    const sentences = parts.filter(Boolean);
    $("#error").textContent = sentences.map((text) => (/[.!?]$/.test(text) ? text : `${text}.`)).join(" ");
    $("#error").hidden = false;
    $("#error").scrollIntoView({ block: "nearest" });
  }

  clear() {
    $("#error").hidden = true;
  }

  askForKey() {
    $("#key-form").hidden = false;
    $("#key").focus();
  }

  /** Show a line for curl, and copy it. */
  showCurl(selector, text) {
    $(selector).hidden = false;
    $(selector).textContent = text;
    this.copy(text, "The curl line is copied.");
  }

  async copy(text, said) {
    try {
      await navigator.clipboard.writeText(text);
      this.flash(said);
    } catch {
      prompt("Copy this:", text); // without TLS a browser has no clipboard for pages
    }
  }

  flash(text) {
    const toast = $("#toast");
    toast.textContent = text;
    toast.hidden = false;
    clearTimeout(this.fading);
    this.fading = setTimeout(() => (toast.hidden = true), 2500);
  }
}

function privacy(service) {
  const days = service.max_age_seconds && service.max_age_seconds / 86400;
  const kept = !days
    ? "until whoever runs it deletes it or needs the room"
    : days < 2 ? `for ${Math.round(24 * days)} hours after it was last made` : `for ${Math.round(days)} days after it was last made`;
  return `Your picture goes to this server (${location.host}) and nowhere else. The original is not kept: it is gone when the answer is made. The compressed stream is kept ${kept}; whoever has its link can see it${service.signed_links ? ", until the link ends" : service.needs_key ? ", with a key" : ""}. A .zgt file that you open is not kept.`;
}

new Page().start();
