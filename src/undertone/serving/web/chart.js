// Everything that is drawn: bars, words, and the waveform with what was heard over it.

const KNOWN = {
  angry: "#c8453f", happy: "#d9922a", excited: "#e0742f", sad: "#4479b4", neutral: "#7f8894", calm: "#4f9a94",
  fearful: "#8360a8", fear: "#8360a8", disgust: "#6b8a3c", disgusted: "#6b8a3c", surprised: "#2a97a8",
  surprise: "#2a97a8", frustrated: "#a8553a", joy: "#d9922a", anger: "#c8453f", sadness: "#4479b4",
};
const OTHERS = ["#5c7fa3", "#b0785a", "#6c9a5b", "#a0699a", "#8a8452", "#4f8f8a"];

export function hue(label, labels = []) {
  return KNOWN[label] ?? OTHERS[Math.max(0, labels.indexOf(label)) % OTHERS.length];
}

export const percent = (share) => `${Math.round(100 * share)} %`;

export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;      // never innerHTML: transcripts and names are other people's
  return made;
}

const SIDES = [["fused", "together"], ["speech", "speech"], ["text", "words"]];

export function bars(root, prediction) {
  const labels = Object.keys(prediction.probabilities);
  root.replaceChildren(...labels.map((label) => {
    const group = element("div", "bar-group");
    group.style.setProperty("--hue", hue(label, labels));
    group.append(element("span", "bar-name", label));
    for (const [side, name] of SIDES) {
      const values = prediction.perspectives[side];
      if (values) group.append(bar(side, name, values[label]));
    }
    return group;
  }));
}

function bar(side, name, share) {
  const row = element("div", `bar ${side}`);
  const track = element("span", "track");
  const fill = element("span", "fill");
  fill.style.setProperty("--share", share);
  track.append(fill);
  row.append(element("span", "", name), track, element("output", "", percent(share)));
  return row;
}

export function words(root, prediction) {
  const { text, words: scored, label } = prediction;
  const most = Math.max(...scored.map((word) => Math.abs(word.contribution)), 1e-9);
  root.style.setProperty("--hue", hue(label, Object.keys(prediction.probabilities)));
  const parts = [];
  let at = 0;
  for (const word of scored) {
    const [from, to] = word.chars ?? [at, at];
    if (from < at) continue;               // several spoken words of one written number share its characters
    parts.push(text.slice(at, from));
    const span = element("span", word.contribution < 0 ? "word against" : "word", text.slice(from, to) || word.text);
    span.style.setProperty("--share", Math.abs(word.contribution) / most);
    const when = word.start === null ? "" : ` · ${word.start.toFixed(2)}–${word.end.toFixed(2)} s`;
    span.title = `${word.contribution >= 0 ? "for" : "against"} ${label}: ${word.contribution.toFixed(3)}${when}`;
    if (word.start !== null) { span.dataset.start = word.start; span.dataset.end = word.end; }
    parts.push(span);
    at = to;
  }
  parts.push(text.slice(at));
  root.replaceChildren(...parts);
}

export class Waveform {
  constructor(canvas, onSeek) {
    this.canvas = canvas;
    this.peaks = null;
    this.at = 0;
    canvas.addEventListener("click", (event) => {
      if (this.duration) onSeek((event.offsetX / canvas.clientWidth) * this.duration);
    });
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(samples, duration, prediction) {
    this.samples = samples;
    this.duration = duration;
    this.prediction = prediction;
    this.draw();
  }

  moveTo(seconds) {
    this.at = seconds;
    this.draw();
  }

  draw() {
    const { canvas, prediction } = this;
    if (!prediction || !canvas.clientWidth) return;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const ink = canvas.getContext("2d");
    ink.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    this.colours = { ink: style.getPropertyValue("--ink"), soft: style.getPropertyValue("--soft"), line: style.getPropertyValue("--line") };
    const x = (seconds) => (seconds / this.duration) * width;
    this.drawCells(ink, x, height);
    this.drawWave(ink, width, height);
    this.drawWords(ink, x, height);
    this.drawAxis(ink, x, width, height);
    ink.fillStyle = this.colours.ink;
    if (this.at > 0) ink.fillRect(x(this.at), 0, 1.5, height);
  }

  drawCells(ink, x, height) {
    const labels = Object.keys(this.prediction.probabilities);
    for (const cell of this.prediction.segments) {
      const [from, to] = [x(cell.start), x(cell.end)];
      ink.fillStyle = hue(cell.label, labels);
      ink.globalAlpha = 0.1 + 0.35 * cell.confidence;
      ink.fillRect(from, 0, to - from, height - 18);
      ink.globalAlpha = 1;
      ink.fillRect(from, 0, Math.max(1, to - from - 1), 4);
    }
  }

  drawWave(ink, width, height) {
    const named = this.prediction.words.some((word) => word.start !== null) ? 14 : 0;
    const middle = (height - 18 - named) / 2 + 2;
    const peaks = this.envelope(Math.max(1, Math.floor(width / 3)));
    const most = Math.max(...peaks, 0.02);
    ink.fillStyle = this.prediction.segments.length ? this.colours.ink : hue(this.prediction.label ?? "neutral", Object.keys(this.prediction.probabilities));
    peaks.forEach((peak, i) => {
      const tall = Math.max(1, (peak / most) * (height - 34 - named));
      ink.fillRect(3 * i, middle - tall / 2, 2, tall);
    });
  }

  envelope(count) {
    const { samples } = this;
    const step = samples.length / count;
    return Array.from({ length: count }, (_, i) => {
      let most = 0;
      const end = Math.min(samples.length, Math.ceil((i + 1) * step));
      for (let j = Math.floor(i * step); j < end; j += 1 + Math.floor(step / 400)) most = Math.max(most, Math.abs(samples[j]));
      return most;
    });
  }

  drawWords(ink, x, height) {
    ink.font = "11px system-ui, sans-serif";
    ink.fillStyle = this.colours.soft;
    let free = 0;
    for (const word of this.prediction.words) {
      if (word.start === null || x(word.start) < free) continue;
      ink.fillText(word.text, x(word.start), height - 22);
      free = x(word.start) + ink.measureText(word.text).width + 5;
    }
  }

  drawAxis(ink, x, width, height) {
    const steps = [0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800];
    const step = steps.find((seconds) => x(seconds) > 56) ?? 3600;
    ink.font = "11px system-ui, sans-serif";
    for (let t = 0; t <= this.duration; t += step) {
      ink.fillStyle = this.colours.line;
      ink.fillRect(x(t), height - 18, 1, 4);
      ink.fillStyle = this.colours.soft;
      if (x(t) + 30 < width) ink.fillText(clock(t, step), x(t) + 3, height - 5);
    }
  }
}

export function clock(seconds, step = 1) {
  if (seconds < 60) return `${step < 1 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  return `${Math.floor(seconds / 60)}:${String(Math.round(seconds % 60)).padStart(2, "0")}`;
}
