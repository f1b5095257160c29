// An answer as elements: shares, probabilities, words, moments, speakers, turns, and the stretches as a table.
import { $, button, element, hue, swatch } from "./elements.js";
import { cells, dimensionsAt, merged, parts, place } from "./stretches.js";
import * as wording from "./wording.js";

const { clock, percent, UNCLEAR } = wording;
const SIDES = [["fused", "both"], ["speech", "speech"], ["text", "words"]];

/** All of the answer but its sound; `play(start, end)` plays a stretch, and is null where there is no sound. */
export function showAnswer(answer, { name, threshold, play }) {
  const labels = Object.keys(answer.probabilities);
  const verdict = wording.verdict(answer, threshold);
  $("answer-name").textContent = name;
  $("title").textContent = verdict.title;
  $("title").classList.toggle("unclear", verdict.label === null);
  $("title").style.setProperty("--hue", hue(verdict.label, labels));
  $("sentences").textContent = verdict.sentences.join(" ");
  $("basis").textContent = wording.basis(answer);
  $("evidence").textContent = wording.evidence(answer);
  $("change").textContent = wording.change(answer.change);
  $("shares-block").hidden = verdict.shares.length < 2;
  shareBar($("shares"), verdict.shares, labels);
  showMoments(answer, labels, play);
  showBars(answer, labels);
  showDimensions(answer);
  showWords(answer, labels);
  showSpeakers(answer, labels);
  showTurns(answer, labels, play);
  showTable(answer);
  $("identity").textContent = answer.model;
  URL.revokeObjectURL($("download").href);
  $("download").href = URL.createObjectURL(new Blob([JSON.stringify(answer, null, 2)], { type: "application/json" }));
}

function shareBar(root, shares, labels) {
  const bar = element("div", "share-bar");
  const keys = element("p", "keys");
  for (const { label, share } of shares) {
    const part = element("span", label === null ? "unclear" : "");
    part.style.setProperty("--hue", hue(label, labels));
    part.style.setProperty("--share", share);
    bar.append(part);
    const key = element("span", "key", `${label ?? UNCLEAR} ${percent(share)}`);
    key.prepend(swatch(label, labels));
    keys.append(key);
  }
  bar.setAttribute("aria-hidden", "true");
  root.replaceChildren(bar, keys);
}

// ---- probabilities ---------------------------------------------------------------------------------

/** One set of bars for one modality; with two also those of the speech and of the words alone. */
export function showBars({ modalities, perspectives }, labels) {
  $("bars-block").hidden = modalities.length === 0;
  const sides = modalities.length > 1 ? SIDES.filter(([side]) => perspectives[side]) : [SIDES[0]];
  $("bars").replaceChildren(...labels.map((label) => {
    const group = element("div", "bar-group");
    group.style.setProperty("--hue", hue(label, labels));
    group.append(element("span", "bar-name", label));
    const rows = element("div", "bar-rows");
    rows.append(...sides.map(([side, name]) => bar(side, sides.length > 1 ? name : "", perspectives[side][label])));
    group.append(rows);
    return group;
  }));
}

function bar(side, name, share) {
  const row = element("div", `bar ${side}`);
  const track = element("span", "track");
  const fill = element("span", "fill");
  fill.style.setProperty("--share", share);
  track.append(fill);
  if (name) row.append(element("span", "", name));
  row.append(track, element("span", "number", percent(share)));
  return row;
}

// ---- arousal and valence, several emotions ----------------------------------------------------------

const PLANE = 200;                        // the side of the plane, in pixels of its view box
let shown = null;                         // the answer whose point moves

function drawn(tag, values) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(values)) made.setAttribute(name, value);
  return made;
}

const onPlane = ([across, up]) => [PLANE * across, PLANE * (1 - up)];

/** The plane with the path of the stretches, and the point of the whole; and the emotions there are at once. */
export function showDimensions(answer) {
  shown = answer;
  const whole = place(answer.dimensions, answer.scales);
  $("dimensions-block").hidden = !answer.dimensions && !answer.several;
  $("dimensions-text").textContent = wording.dimensions(answer);
  $("several").textContent = wording.several(answer);
  $("plane").toggleAttribute("hidden", whole === null);
  if (whole === null) return;
  const path = answer.segments.map((cell) => place(cell.dimensions, answer.scales)).filter((at) => at !== null);
  const [x, y] = onPlane(whole);
  $("plane").replaceChildren(
    drawn("path", { class: "axes", d: `M0 ${PLANE / 2}H${PLANE}M${PLANE / 2} 0V${PLANE}` }),
    drawn("polyline", { class: "course", points: path.map((at) => onPlane(at).join(",")).join(" ") }),
    drawn("circle", { class: "point", cx: x, cy: y, r: 6 }),
  );
}

/** The point goes where the recording is. */
export function followDimensions(seconds) {
  const point = $("plane").querySelector(".point");
  if (!point || !shown?.segments) return;
  const at = place((seconds > 0 && dimensionsAt(shown.segments, seconds)) || shown.dimensions, shown.scales);
  if (at === null) return;
  const [x, y] = onPlane(at);
  point.setAttribute("cx", x);
  point.setAttribute("cy", y);
}

// ---- words -----------------------------------------------------------------------------------------

export function showWords(answer, labels) {
  const { text, words } = answer;
  $("words-block").hidden = !text;
  if (!text) return;
  const target = wording.wordsTarget(answer);
  $("words").style.setProperty("--hue", target === null ? "var(--focus)" : hue(target, labels));
  const spans = [];
  let [at, speaker] = [0, null];
  for (const word of words) {
    const [from, to] = word.chars ?? [at, at];
    if (from < at) continue;               // several spoken words of one written number share its characters
    spans.push(text.slice(at, from));
    if (word.speaker && word.speaker !== speaker) spans.push(element("span", "who", `${word.speaker}: `));
    speaker = word.speaker;
    spans.push(wordSpan(word, text.slice(from, to) || word.text, target));
    at = to;
  }
  $("words").replaceChildren(...spans, text.slice(at));
  const unknown = answer.modalities.includes("text") ? "What each word changes was not computed." : "";
  $("words-note").textContent = words.length ? wording.wordsNote(words, target) : unknown;
  $("words-scale").hidden = wording.noWordMattered(words);
}

function wordSpan(word, text, target) {
  const strength = wording.strength(word.contribution);
  const span = element("span", strength === 0 ? "word" : word.contribution > 0 ? "word for" : "word against", text);
  span.style.setProperty("--strength", strength);
  const when = word.start === null ? "" : ` (${clock(word.start, 1)} to ${clock(word.end, 1)})`;
  span.title = wording.effect(word, target) + when;
  if (word.start !== null) Object.assign(span.dataset, { start: word.start, end: word.end });
  return span;
}

/** Marks the words that are being played. */
export function followWords(seconds) {
  for (const word of $("words").querySelectorAll("[data-start]")) {
    word.classList.toggle("playing", seconds > 0 && seconds >= Number(word.dataset.start) && seconds < Number(word.dataset.end));
  }
}

// ---- stretches, speakers, turns --------------------------------------------------------------------

const named = ({ label, confidence }) => (label === null ? `${UNCLEAR} (${percent(confidence)} at most)` : `${label} ${percent(confidence)}`);
const times = ({ start, end }) => `${clock(start, 1)} – ${clock(end, 1)}`;

/** A row that plays its stretch; without sound it is no button. */
function row(stretch, labels, play, text = "") {
  const made = play ? button("stretch", "", () => play(stretch.start, stretch.end)) : element("div", "stretch");
  if (play) made.append(element("span", "play", "▶"), element("span", "sr", "Play "));
  made.append(element("span", "when", times(stretch)));
  if (stretch.speaker !== null) made.append(element("span", "who", stretch.speaker));
  const label = element("span", "what", named(stretch));
  label.prepend(swatch(stretch.label, labels));
  made.append(label);
  if (stretch.overlap > 0.05) made.append(element("span", "note", `others speak too for ${wording.duration(stretch.overlap)}`));
  if (text) made.append(element("span", "text", text));
  const item = element("li");
  item.append(made);
  return item;
}

function showMoments({ moments, turns }, labels, play) {
  $("moments-block").hidden = moments.length === 0 || (moments.length === 1 && turns.length < 2);
  $("moments").replaceChildren(...moments.map((moment) => row(moment, labels, play)));
}

function showTurns({ turns }, labels, play) {
  $("turns-block").hidden = turns.length < 2;
  $("turns-summary").textContent = `All ${turns.length} turns`;
  $("turns").replaceChildren(...turns.map((turn) => row(turn, labels, play, turn.text ?? "")));
}

function showSpeakers(answer, labels) {
  const speakers = Object.entries(answer.speakers);
  $("speakers-block").hidden = speakers.length === 0;
  $("speakers").replaceChildren(...speakers.map(([name, summary]) => {
    const item = element("li", "speaker");
    const own = parts(cells(answer).filter((cell) => cell.speaker === name));
    const shares = element("div");
    shareBar(shares, own, labels);
    const most = summary.label === null ? `no clear emotion: ${wording.posterior(summary.probabilities, 2)}` : `most probable ${summary.label} (${percent(summary.confidence)})`;
    const turns = `${summary.turns} ${summary.turns === 1 ? "turn" : "turns"}`;
    item.append(
      element("h4", "", name), shares,
      element("p", "", `${wording.duration(summary.speech)} of speech in ${turns}. Over all of it ${most}.`),
      element("p", "", wording.change(summary.change)),
    );
    return item;
  }));
}

function showTable(answer) {
  const stretches = merged(cells(answer));
  const several = stretches.some(({ speaker }) => speaker !== null);
  $("table-block").hidden = stretches.length < 2;
  $("table-speaker").hidden = !several;
  $("table").replaceChildren(...stretches.map((stretch) => {
    const made = element("tr");
    const columns = [clock(stretch.start, 1), clock(stretch.end, 1), ...(several ? [stretch.speaker ?? ""] : []), stretch.label ?? UNCLEAR, percent(stretch.confidence)];
    made.append(...columns.map((text) => element("td", "", text)));
    return made;
  }));
}
