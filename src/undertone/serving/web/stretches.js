// Stretches of time: merged neighbours, shares of speech time, lanes, overlaps, and the part of time that is in view.

const GAP = 0.25;                         // seconds: a longer silence divides two stretches
const SHORTEST = 0.5;                     // seconds in view at most zoom

/** The stretches that an answer has: the cells of its timeline; of a short recording its turns. */
/** Where a model's arousal and valence lie, as shares of their scales: [across, up]; null without both. */
export function place(dimensions, scales = {}) {
  const on = (name) => {
    const { low, high } = scales[name] ?? { low: 0, high: 1 };
    return Math.min(1, Math.max(0, (dimensions[name] - low) / (high - low)));
  };
  return dimensions?.valence === undefined || dimensions.arousal === undefined ? null : [on("valence"), on("arousal")];
}

/** The dimensions of the stretch that holds a time, or of the one before it; null where there is none. */
export function dimensionsAt(segments, seconds) {
  const begun = segments.filter((cell) => cell.dimensions && cell.start <= seconds);
  return begun.length ? begun.reduce((last, cell) => (cell.start >= last.start ? cell : last)).dimensions : null;
}

export const cells = (answer) => (answer.segments.length ? answer.segments : answer.turns);

const length = (cell) => cell.end - cell.start;

function mean(run) {
  const total = run.reduce((sum, cell) => sum + length(cell), 0) || 1;
  return Object.fromEntries(Object.keys(run[0].probabilities).map((label) => [
    label, run.reduce((sum, cell) => sum + length(cell) * cell.probabilities[label], 0) / total,
  ]));
}

/** Neighbours of one speaker with the same label (or without one) as one stretch, in order of time. */
export function merged(all) {
  const runs = [];
  const last = new Map();
  for (const cell of [...all].sort((a, b) => a.start - b.start || a.end - b.end)) {
    const run = last.get(cell.speaker);
    if (run && run[0].label === cell.label && cell.start - run.at(-1).end <= GAP) run.push(cell);
    else {
      runs.push([cell]);
      last.set(cell.speaker, runs.at(-1));
    }
  }
  return runs.map((run) => {
    const probabilities = mean(run);
    const { label, speaker, start } = run[0];
    const confidence = label === null ? Math.max(...Object.values(probabilities)) : probabilities[label];
    return { start, end: run.at(-1).end, label, speaker, confidence, probabilities };
  });
}

/** Each label's share of the time of these stretches, largest first; those without a label have null. */
export function parts(all) {
  const seconds = new Map();
  for (const cell of all) seconds.set(cell.label, (seconds.get(cell.label) ?? 0) + (cell.speech || length(cell)));
  const total = [...seconds.values()].reduce((sum, one) => sum + one, 0);
  if (!total) return [];
  return [...seconds].map(([label, own]) => ({ label, share: own / total })).sort((a, b) => b.share - a.share);
}

/** One lane a speaker, in the order in which they begin; one lane without a name where nobody is named. */
export function lanes(all) {
  const own = new Map();
  for (const stretch of merged(all)) own.set(stretch.speaker, [...(own.get(stretch.speaker) ?? []), stretch]);
  return [...own].map(([speaker, stretches]) => ({ speaker, stretches }));
}

/** When two speakers speak at once, as [start, end], in order. */
export function overlaps(turns) {
  const times = [];
  turns.forEach((turn, i) => turns.slice(i + 1).forEach((other) => {
    const [start, end] = [Math.max(turn.start, other.start), Math.min(turn.end, other.end)];
    if (turn.speaker !== other.speaker && end > start) times.push([start, end]);
  }));
  return times.sort((a, b) => a[0] - b[0]);
}

// ---- the part in view ------------------------------------------------------------------------------

function inside(from, span, whole) {
  const start = Math.max(0, Math.min(from, whole - span));
  return { from: start, to: start + span };
}

/** The view zoomed by a factor (above 1: closer), so that the time `at` stays where it is. */
export function zoomed(view, factor, at, whole) {
  const span = Math.min(whole, Math.max(Math.min(SHORTEST, whole), (view.to - view.from) / factor));
  const place = (at - view.from) / (view.to - view.from || 1);
  return inside(at - place * span, span, whole);
}

export const moved = (view, by, whole) => inside(view.from + by, view.to - view.from, whole);

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600];

/** Seconds between two numbers on the axis, so that they are at least `apart` pixels from each other. */
export const axisStep = (span, width, apart = 64) => STEPS.find((step) => (step / span) * width >= apart) ?? 7200;
