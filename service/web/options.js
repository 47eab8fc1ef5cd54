// The form with budget, profile, codec, effort and post-processing.

import { el } from "./dom.js";

const [LEAST, MOST] = [0.03, 2]; // bits per pixel, the ends of the slider
const PROFILES = { visual: "the eye", "ms-ssim": "structure (MS-SSIM)", psnr: "least error (PSNR)" };

const select = (name, choices) =>
  el("select", { name }, ...choices.map(([value, text]) => el("option", { value }, text)));
const field = (text, control, ...more) => el("label", { class: "field" }, el("span", {}, text), control, ...more);

export class Options {
  /** Fill a form. `alone`: for one picture; `changed` is called when a choice was made. */
  constructor(form, service, { alone, changed }) {
    this.form = form;
    this.pixels = 0;
    this.amount = el("input", { type: "number", name: "amount", min: "0", step: "any", value: "0.15", required: true, "aria-label": "Budget" });
    this.unit = select("unit", [["bpp", "bits per pixel"], ["bytes", alone ? "bytes" : "bytes for all"]]);
    this.unit.setAttribute("aria-label", "Unit of the budget");
    this.slider = el("input", { type: "range", min: "0", max: "100", step: "any", "aria-label": "Budget, from small to large" });
    this.profile = select("profile", service.profiles.map((name) => [name, PROFILES[name] ?? name]));
    this.profile.value = service.profile;
    this.effort = el("input", { type: "range", name: "effort", min: "0", max: "9", value: "0" });
    const effort = el("output", {}, "0");
    this.effort.addEventListener("input", () => (effort.textContent = this.effort.value));
    const effortField = field("Effort", this.effort, effort);
    effortField.classList.add("effort");
    form.replaceChildren(
      el("fieldset", {}, el("legend", {}, "Budget"), this.amount, this.unit, this.slider),
      field("Best for", this.profile),
      effortField,
    );
    if (alone) {
      this.codec = select("codec", [["learned", "learned"], ["hybrid", "hybrid (AVIF inside)"], ["auto", "as suits it"]]);
      this.postprocess = select("postprocess", [["auto", "as recommended"], ["on", "on"], ["off", "off"]]);
      effortField.before(field("Codec", this.codec));
      form.append(field("Post-processing", this.postprocess));
    }
    this.slider.addEventListener("input", () => this.setAmount(LEAST * (MOST / LEAST) ** (this.slider.value / 100)));
    this.amount.addEventListener("input", () => this.setSlider());
    this.unit.addEventListener("change", () => this.setAmount(this.slidden));
    form.addEventListener("change", (event) => event.target !== this.unit && this.form.checkValidity() && changed());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      changed();
    });
    this.setSlider();
  }

  /** Tell the pixels of the picture, or of all, in which bytes are bits per pixel. */
  setPixels(pixels) {
    const bpp = this.slidden;
    this.pixels = pixels;
    if (this.unit.value === "bytes" && this.ofPixels !== pixels) this.setAmount(bpp);
    this.ofPixels = pixels;
  }

  setAmount(bpp) {
    this.slidden = bpp;
    this.amount.value = this.unit.value === "bpp" ? String(Number(bpp.toPrecision(2))) : Math.max(1, Math.round((bpp * this.pixels) / 8));
    this.setSlider();
  }

  setSlider() {
    const amount = Number(this.amount.value);
    const bpp = this.unit.value === "bpp" || !this.pixels ? amount : (8 * amount) / this.pixels;
    if (bpp > 0) {
      this.slidden = bpp;
      this.slider.value = (100 * Math.log(bpp / LEAST)) / Math.log(MOST / LEAST);
      this.slider.setAttribute("aria-valuetext", `${bpp.toPrecision(2)} bits per pixel`);
    }
  }

  /** The parameters of `/compress`, or with the names of `/allocate`. */
  query(names = { bpp: "bpp", bytes: "max_bytes" }) {
    const query = new URLSearchParams({ [names[this.unit.value]]: this.amount.value, profile: this.profile.value });
    if (this.codec && this.codec.value !== "learned") query.set("codec", this.codec.value);
    if (this.effort.value !== "0") query.set("effort", this.effort.value);
    return query;
  }
}
