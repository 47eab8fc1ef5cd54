// Two pictures on top of each other, with a divider between them; both zoom and move as one.

import { $ } from "./dom.js";

const MOST = 16; // pixels of the screen for one of the picture
const FITTED = 3; // a small picture is not blown up further to fit

export class Viewer {
  constructor(root) {
    this.root = root;
    [this.canvas, this.divider, this.before, this.after] = [".canvas", ".divider", ".before", ".after"].map((name) => $(name, root));
    [this.left, this.right] = [$(".tag.left", root), $(".tag.right", root)];
    [this.width, this.height, this.split] = [1, 1, 0.5];
    this.pointers = new Map();
    new ResizeObserver(() => this.resized()).observe(root);
    root.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    root.addEventListener("pointerdown", (event) => this.down(event));
    root.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) root.addEventListener(name, (event) => this.up(event));
    root.addEventListener("dblclick", (event) => {
      if (event.target.closest("button")) return;
      if (this.zoomed) this.fit();
      else this.zoomTo(Math.max(1, this.scale * 3), ...this.at(event));
    });
    this.divider.addEventListener("keydown", (event) => this.key(event));
    this.fit();
  }

  /** Show pictures of one size; `before` may be null. Zoom and divider stay where the size does. */
  show({ before, after, width, height, left = "Original", right = "Result" }) {
    const anew = width !== this.width || height !== this.height;
    [this.width, this.height] = [width, height];
    for (const [image, source] of [[this.before, before], [this.after, after]]) {
      image.hidden = !source;
      if (source && image.getAttribute("src") !== source) image.src = source;
      image.style.width = `${width}px`;
      image.style.height = `${height}px`;
    }
    this.root.style.setProperty("--ratio", width / height);
    this.alone = !before || !after;
    this.root.classList.toggle("single", this.alone);
    this.left.textContent = left;
    this.right.textContent = after ? right : left;
    if (anew) this.fit();
    else this.paint();
  }

  get fitted() {
    return Math.min(this.root.clientWidth / this.width, this.root.clientHeight / this.height, FITTED);
  }

  get zoomed() {
    return this.scale > this.fitted * 1.001;
  }

  fit() {
    this.scale = this.fitted;
    this.centre();
    this.paint();
  }

  /** Zoom to so many CSS pixels a picture's pixel, around a point of the viewer. */
  zoomTo(scale, x = this.root.clientWidth / 2, y = this.root.clientHeight / 2) {
    const wanted = Math.min(Math.max(scale, Math.min(this.fitted, 1)), Math.max(MOST, this.fitted));
    this.x = x - (x - this.x) * (wanted / this.scale);
    this.y = y - (y - this.y) * (wanted / this.scale);
    this.scale = wanted;
    this.paint();
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.paint();
  }

  setSplit(split) {
    this.split = Math.min(Math.max(split, 0), 1);
    this.paint();
  }

  setDifference(on) {
    this.root.classList.toggle("difference", on);
    this.paint();
  }

  centre() {
    this.x = (this.root.clientWidth - this.width * this.scale) / 2;
    this.y = (this.root.clientHeight - this.height * this.scale) / 2;
  }

  resized() {
    if (this.wasFitted) this.fit();
    else this.paint();
  }

  paint() {
    const [w, h] = [this.root.clientWidth, this.root.clientHeight];
    // The picture stays in sight: an axis that it does not fill is centred.
    const [pw, ph] = [this.width * this.scale, this.height * this.scale];
    this.x = pw <= w ? (w - pw) / 2 : Math.min(0, Math.max(w - pw, this.x));
    this.y = ph <= h ? (h - ph) / 2 : Math.min(0, Math.max(h - ph, this.y));
    for (const image of [this.before, this.after]) {
      image.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    }
    const [first, last] = this.edges();
    const edge = first + this.split * (last - first);
    const cut = (edge - this.x) / this.scale; // in the picture's pixels
    const whole = this.alone || this.root.classList.contains("difference");
    this.after.style.clipPath = whole ? "none" : `inset(0 0 0 ${Math.max(0, Math.min(cut, this.width))}px)`;
    this.divider.style.left = `${edge}px`;
    const percent = Math.round(100 * this.split);
    this.divider.setAttribute("aria-valuenow", percent);
    this.divider.setAttribute("aria-valuetext", `${percent} % original`);
    this.canvas.classList.toggle("sharp", this.scale >= 3 && this.scale > this.fitted);
    this.root.classList.toggle("zoomed", this.zoomed);
    this.wasFitted = !this.zoomed && Math.abs(this.scale - this.fitted) < 1e-6;
  }

  /** The visible part of the picture, in pixels of the viewer: the divider moves within. */
  edges() {
    return [Math.max(0, this.x), Math.min(this.root.clientWidth, this.x + this.width * this.scale)];
  }

  at(event) {
    const box = this.root.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  wheel(event) {
    // On a narrow page a plain wheel scrolls the page.
    if (!event.ctrlKey && !matchMedia("(min-width: 60rem)").matches) return;
    event.preventDefault();
    this.zoomTo(this.scale * Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), ...this.at(event));
  }

  down(event) {
    if (event.target.closest("button") || (event.pointerType === "mouse" && event.button !== 0)) return;
    this.root.setPointerCapture(event.pointerId);
    const onDivider = Boolean(event.target.closest(".divider"));
    if (onDivider) this.divider.focus({ preventScroll: true });
    this.pointers.set(event.pointerId, this.at(event));
    // Where nothing can be moved, a drag anywhere moves the divider.
    this.swiping = onDivider || !this.zoomed;
    if (event.pointerType === "mouse") event.preventDefault();
  }

  move(event) {
    const previous = this.pointers.get(event.pointerId);
    if (!previous) return;
    const now = this.at(event);
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
      const span = ([x, y]) => Math.hypot(x - other[0], y - other[1]) || 1;
      this.zoomTo((this.scale * span(now)) / span(previous), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      this.pan((now[0] - previous[0]) / 2, (now[1] - previous[1]) / 2);
    } else if (this.swiping) {
      const [first, last] = this.edges();
      this.setSplit((now[0] - first) / (last - first || 1));
    } else {
      this.pan(now[0] - previous[0], now[1] - previous[1]);
    }
    this.pointers.set(event.pointerId, now);
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    this.swiping = false;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = steps[event.key];
    if (step && event.shiftKey) this.pan(-60 * step[0], -60 * step[1]);
    else if (step) this.setSplit(this.split + 0.02 * (step[0] - step[1]));
    else if (event.key === "PageUp") this.setSplit(this.split + 0.1);
    else if (event.key === "PageDown") this.setSplit(this.split - 0.1);
    else if (event.key === "Home") this.setSplit(0);
    else if (event.key === "End") this.setSplit(1);
    else return;
    event.preventDefault();
  }
}
