// A rate-distortion chart: what each codec makes of this picture at several sizes.

import { el, head, number, svg } from "./dom.js";

const [WIDTH, HEIGHT] = [384, 240];
const [LEFT, RIGHT, TOP, BOTTOM] = [40, 8, 10, 34];
const DASHES = { ours: "none", jpeg: "2 3", webp: "7 3", avif: "10 3 2 3" };

/** MS-SSIM is near 1 wherever it matters: in dB its differences can be seen. */
const height = (point, metric) => (metric === "psnr" ? point.psnr : -10 * Math.log10(1 - Math.min(point.ms_ssim, 0.999999)));

/** Draw lines of points: {name: {title, points: [{bpp, psnr, ms_ssim}]}}; `metric` is "psnr" or "ms-ssim". */
export function chart(lines, metric) {
  const drawn = Object.entries(lines).filter(([, { points }]) => points.length);
  const all = drawn.flatMap(([, { points }]) => points.map((point) => [point.bpp, height(point, metric)]));
  if (!all.length) return el("p", {}, "There is nothing to draw yet.");
  const [rates, heights] = [0, 1].map((axis) => all.map((point) => point[axis]).filter(Number.isFinite));
  const [low, high] = [Math.floor(Math.min(...heights)), Math.ceil(Math.max(...heights) + 0.01)];
  const most = Math.max(...rates) * 1.02;
  const x = (bpp) => LEFT + (bpp / most) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - ((value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const ruled = svg("g");
  for (const value of steps(low, high)) {
    ruled.append(svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
    ruled.append(svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, number(value)));
  }
  for (const value of steps(0, most)) ruled.append(svg("text", { x: x(value), y: HEIGHT - BOTTOM + 14, "text-anchor": "middle" }, String(Number(value.toFixed(2)))));
  ruled.append(svg("text", { x: WIDTH - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, "bits per pixel"));
  ruled.append(svg("text", { x: 2, y: HEIGHT - 4 }, metric === "psnr" ? "PSNR in dB" : "MS-SSIM in dB"));
  const paths = drawn.map(([name, { points }]) => {
    const path = points.map((point, index) => `${index ? "L" : "M"}${x(point.bpp).toFixed(1)} ${y(height(point, metric)).toFixed(1)}`).join("");
    return svg("path", { class: name, d: path, "stroke-dasharray": DASHES[name] });
  });
  const picture = svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "Quality over bits per pixel; the table below has the numbers" }, ruled, ...paths);
  const legend = drawn.map(([name, { title }]) =>
    el("li", {}, svg("svg", { class: "chart key", viewBox: "0 0 28 8", "aria-hidden": "true" }, svg("path", { class: name, d: "M0 4H28", "stroke-dasharray": DASHES[name] })), title));
  const rows = drawn.flatMap(([, { title, points }]) => points.map((point) => el("tr", {},
    el("th", { scope: "row" }, title), el("td", {}, number(point.bpp, 3)),
    el("td", {}, point.psnr === null ? "exact" : number(point.psnr, 2)), el("td", {}, number(point.ms_ssim, 4)))));
  return el("div", {}, picture, el("ul", { class: "legend" }, ...legend),
    el("details", {}, el("summary", {}, "The numbers"), el("table", {},
      head("codec", "bpp", "PSNR", "MS-SSIM"),
      el("tbody", {}, ...rows))));
}

/** Round numbers between two ends, about five. */
function steps(low, high) {
  const rough = (high - low) / 6;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + 1e-9; value += step) found.push(value);
  return found;
}
