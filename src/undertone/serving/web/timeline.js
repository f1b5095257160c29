// The time line: the wave, a lane of stretches for each speaker, words and an axis; zoom, hover, keys and clicks.
import { element, hue } from "./elements.js";
import { PEAKS } from "./sound.js";
import { axisStep, lanes, moved, overlaps, zoomed } from "./stretches.js";
import { clock, posterior, UNCLEAR } from "./wording.js";

const WAVE = 84;
const LANE = 26;
const NAME = 15;
const AXIS = 20;
const WORDS = 16;
const FONT = "12px system-ui, sans-serif";
const NOTHING = { duration: 0, peaks: null, cells: [], turns: [], words: [], labels: [] };

export class Timeline {
  /** `onPlay(start, end)` is called for a stretch, `onSeek(seconds)` for a time that is in none. */
  constructor(canvas, readout, { onPlay, onSeek }) {
    Object.assign(this, { canvas, readout, onPlay, onSeek, at: 0, hover: null, content: NOTHING, view: { from: 0, to: 1 } });
    this.pointers = new Map();
    const listen = (kind, work, options) => canvas.addEventListener(kind, (event) => work.call(this, event), options);
    listen("pointerdown", this.press);
    listen("pointermove", this.move);
    listen("pointerup", this.lift);
    listen("pointercancel", this.leave);
    listen("pointerleave", this.leave);
    listen("wheel", this.turnWheel, { passive: false });
    listen("keydown", this.pressKey);
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** New content; `grow` keeps the view at the whole while a recording is made. */
  show(content, grow = false) {
    this.content = { ...NOTHING, ...content };
    this.lanes = lanes(this.content.cells);
    this.most = this.content.peaks?.reduce((most, peak) => Math.max(most, peak), 0.02);
    this.overlaps = overlaps(this.content.turns);
    this.named = this.lanes.some(({ speaker }) => speaker !== null);
    if (!grow) this.at = 0;
    this.hover = null;
    this.setView({ from: 0, to: this.content.duration || 1 });
  }

  setView(view) {
    this.view = view;
    this.describe();
    this.draw();
  }

  zoom(factor, at = this.middle()) { this.setView(zoomed(this.view, factor, at, this.content.duration)); }

  pan(by) { this.setView(moved(this.view, by, this.content.duration)); }

  whole() { this.setView({ from: 0, to: this.content.duration }); }

  middle() {
    const { from, to } = this.view;
    return this.at > from && this.at < to ? this.at : (from + to) / 2;
  }

  moveTo(seconds, playing = false) {
    this.at = Math.max(0, Math.min(seconds, this.content.duration));
    const { from, to } = this.view;
    if (this.at > to || this.at < from) this.view = moved(this.view, this.at - from - (playing ? 0 : (to - from) / 2), this.content.duration);
    if (!playing) this.describe();
    this.draw();
  }

  // ---- where and what ------------------------------------------------------------------------------

  time(x) { return this.view.from + (x / this.canvas.clientWidth) * (this.view.to - this.view.from); }

  x(seconds) { return ((seconds - this.view.from) / (this.view.to - this.view.from)) * this.canvas.clientWidth; }

  get rows() { return LANE + (this.named ? NAME : 0); }

  get timed() { return this.content.words.some((word) => word.start !== null); }

  get top() { return (this.content.peaks ? WAVE : 4) + (this.timed ? WORDS : 0); }

  /** The stretches at a time; at a height in a lane, that lane's alone. */
  stretchesAt(seconds, y = null) {
    const row = y === null || y < this.top ? null : Math.floor((y - this.top) / this.rows);
    return this.lanes.flatMap(({ stretches }, i) => (row === null || row === i ? stretches : []))
      .filter((stretch) => seconds >= stretch.start && seconds < stretch.end);
  }

  sentence(seconds, y = null) {
    const all = this.stretchesAt(seconds, y);
    const named = all.map(({ speaker, label, probabilities }) => `${speaker === null ? "" : `${speaker}: `}${label === null ? `${UNCLEAR}, ` : ""}${posterior(probabilities, 4)}`);
    return `${clock(seconds, 1)} · ${named.join(" · ") || "no speech"}`;
  }

  describe() {
    const { canvas, content, view } = this;
    const sentence = content.duration ? this.sentence(this.hover?.seconds ?? this.at, this.hover?.y) : "";
    this.readout.textContent = sentence;
    canvas.setAttribute("aria-valuemax", content.duration.toFixed(1));
    canvas.setAttribute("aria-valuenow", this.at.toFixed(1));
    const part = view.to - view.from < content.duration - 0.01 ? `. In view: ${clock(view.from)} to ${clock(view.to)}` : "";
    canvas.setAttribute("aria-valuetext", content.duration ? this.sentence(this.at) + part : "empty");
  }

  // ---- pointers and keys ---------------------------------------------------------------------------

  press(event) {
    this.pointers.set(event.pointerId, event.offsetX);
    this.start = { x: event.offsetX, moved: false };
    this.canvas.setPointerCapture(event.pointerId);
  }

  move(event) {
    this.hover = { seconds: this.time(event.offsetX), y: event.offsetY };
    const before = this.pointers.get(event.pointerId);
    if (before !== undefined) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, x]) => x);
      this.pointers.set(event.pointerId, event.offsetX);
      if (other !== undefined) {
        this.start.moved = true;
        this.zoom(Math.abs(event.offsetX - other) / Math.max(1, Math.abs(before - other)), this.time((event.offsetX + other) / 2));
      } else if (this.start.moved || Math.abs(event.offsetX - this.start.x) > 6) {
        this.start.moved = true;
        this.pan(this.time(before) - this.time(event.offsetX));
      }
    }
    this.describe();
    this.draw();
  }

  lift(event) {
    this.pointers.delete(event.pointerId);
    if (!this.start?.moved && !this.pointers.size) this.choose(this.time(event.offsetX), event.offsetY);
  }

  leave(event) {
    this.pointers.delete(event.pointerId);
    this.hover = null;
    this.describe();
    this.draw();
  }

  choose(seconds, y = null) {
    const [stretch] = this.stretchesAt(seconds, y);
    if (stretch) this.onPlay(stretch.start, stretch.end);
    else this.onSeek(seconds);
  }

  turnWheel(event) {
    const { from, to } = this.view;
    if (event.ctrlKey || event.metaKey || document.activeElement === this.canvas) {
      event.preventDefault();
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.pan((event.deltaX / this.canvas.clientWidth) * (to - from));
      else this.zoom(Math.exp(-event.deltaY / 200), this.time(event.offsetX));
    }
  }

  pressKey(event) {
    const span = this.view.to - this.view.from;
    const keys = {
      ArrowLeft: () => this.onSeek(this.at - span / 40), ArrowRight: () => this.onSeek(this.at + span / 40),
      PageUp: () => this.onSeek(this.at - span / 2), PageDown: () => this.onSeek(this.at + span / 2),
      Home: () => this.onSeek(0), End: () => this.onSeek(this.content.duration),
      "+": () => this.zoom(2), "=": () => this.zoom(2), "-": () => this.zoom(0.5), 0: () => this.whole(),
      Enter: () => this.choose(this.at), " ": () => this.choose(this.at),
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  }

  // ---- drawing -------------------------------------------------------------------------------------

  draw() {
    const { canvas, content } = this;
    if (!content.duration || !canvas.clientWidth) return;
    const height = this.top + this.rows * Math.max(1, this.lanes.length) + AXIS;
    canvas.style.height = `${height}px`;
    const [ratio, width] = [window.devicePixelRatio || 1, canvas.clientWidth];
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const ink = canvas.getContext("2d");
    ink.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    this.colours = Object.fromEntries(["ink", "soft", "line", "card"].map((name) => [name, style.getPropertyValue(`--${name}`)]));
    ink.font = FONT;
    if (content.peaks) this.drawWave(ink, width);
    if (this.timed) this.drawWords(ink);
    this.lanes.forEach((lane, i) => this.drawLane(ink, lane, this.top + i * this.rows));
    this.drawAxis(ink, width, height);
    const line = (seconds, colour, thick) => {
      ink.fillStyle = colour;
      ink.fillRect(this.x(seconds) - thick / 2, 0, thick, height - AXIS);
    };
    if (this.hover) line(this.hover.seconds, this.colours.soft, 1);
    line(this.at, this.colours.ink, 2);
  }

  drawWave(ink, width) {
    const { peaks } = this.content;
    const scale = (WAVE - 12) / this.most;
    ink.fillStyle = this.colours.soft;
    for (let x = 0; x < width; x += 3) {
      const [first, last] = [Math.floor(this.time(x) * PEAKS), Math.ceil(this.time(x + 3) * PEAKS)];
      let peak = 0;
      for (let i = first; i < Math.min(last, peaks.length); i++) peak = Math.max(peak, peaks[i]);
      const tall = Math.max(1, Math.min(WAVE - 12, peak * scale));
      ink.fillRect(x, (WAVE - tall) / 2, 2, tall);
    }
  }

  drawWords(ink) {
    ink.fillStyle = this.colours.ink;
    let free = 0;
    for (const word of this.content.words) {
      if (word.start === null || this.x(word.end) < 0 || this.x(word.start) < free) continue;
      if (this.x(word.start) > this.canvas.clientWidth) break;
      ink.fillText(word.text, this.x(word.start), this.top - 5);
      free = this.x(word.start) + ink.measureText(word.text).width + 5;
    }
  }

  drawLane(ink, { speaker, stretches }, top) {
    const { labels } = this.content;
    if (speaker !== null) {
      ink.fillStyle = this.colours.ink;
      ink.fillText(speaker, 4, top + 11, 160);
    }
    const [y, tall] = [top + (speaker !== null ? NAME : 0), LANE - 4];
    for (const stretch of stretches) {
      const [from, to] = [this.x(stretch.start), this.x(stretch.end)];
      if (to < 0 || from > this.canvas.clientWidth) continue;
      const wide = Math.max(1.5, to - from - 1);
      ink.fillStyle = stretch.label === null ? this.colours.card : hue(stretch.label, labels);
      ink.fillRect(from, y, wide, tall);
      ink.strokeStyle = this.colours.soft;
      if (stretch.label === null) ink.strokeRect(from + 0.5, y + 0.5, Math.max(1, wide - 1), tall - 1);
      const text = stretch.label ?? "not clear";
      const [left, right] = [Math.max(0, from), Math.min(to, this.canvas.clientWidth)];
      if (ink.measureText(text).width + 10 > right - left) continue;
      ink.fillStyle = stretch.label === null ? this.colours.ink : "#000000";
      ink.fillText(text, left + 5, y + 15);
    }
    this.drawOverlaps(ink, y, tall);
  }

  drawOverlaps(ink, y, tall) {
    ink.strokeStyle = this.colours.ink;
    for (const [start, end] of this.overlaps) {
      const [from, to] = [this.x(start), this.x(end)];
      ink.save();
      ink.beginPath();
      ink.rect(from, y, Math.max(2, to - from), tall);
      ink.clip();
      ink.beginPath();
      for (let x = from - tall; x < to + 2; x += 6) {
        ink.moveTo(x, y + tall);
        ink.lineTo(x + tall, y);
      }
      ink.stroke();
      ink.restore();
    }
  }

  drawAxis(ink, width, height) {
    const { from, to } = this.view;
    const step = axisStep(to - from, width);
    for (let i = Math.ceil(from / step); i * step <= to; i++) {
      const x = this.x(i * step);
      ink.fillStyle = this.colours.line;
      ink.fillRect(x, height - AXIS, 1, 5);
      ink.fillStyle = this.colours.soft;
      if (x + 40 < width || i === 0) ink.fillText(clock(i * step, step < 1 ? 1 : 0), x + 3, height - 5);
    }
  }
}

/** What the colours mean. */
export function legend(root, cells, overlapping, labels, swatch) {
  const shown = [...labels.filter((label) => cells.some((cell) => cell.label === label)), ...(cells.some((cell) => cell.label === null) ? [null] : [])];
  root.replaceChildren(...shown.map((label) => {
    const key = element("span", "key", label ?? UNCLEAR);
    key.prepend(swatch(label, labels));
    return key;
  }));
  if (overlapping) {
    const key = element("span", "key", "two speak at once");
    key.prepend(element("span", "swatch overlap"));
    root.append(key);
  }
}
