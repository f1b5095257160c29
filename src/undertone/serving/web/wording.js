// What the page states in words: pure functions from an answer, a limit or a refusal to sentences.
import { cells, parts } from "./stretches.js";

const SPACE = "\u00a0";                   // between a number and its unit: they stay on one line
export const LEAST = 0.1;                 // nats: a word below this changes the probability by less than 10 %
export const FULL = 1;                    // nats: from here on a word has the full colour
export const UNCLEAR = "no clear emotion";

// ---- numbers ---------------------------------------------------------------------------------------

export function percent(share) {
  if (share > 0 && share < 0.005) return `under 1${SPACE}%`;
  if (share < 1 && share >= 0.995) return `over 99${SPACE}%`;
  return `${Math.round(100 * share)}${SPACE}%`;
}

const rounded = (value) => String(Math.round(10 * value) / 10);

export function size(bytes) {
  if (bytes >= 2 ** 30) return `${rounded(bytes / 2 ** 30)}${SPACE}GB`;
  if (bytes >= 2 ** 20) return `${rounded(bytes / 2 ** 20)}${SPACE}MB`;
  return `${Math.max(1, Math.round(bytes / 1024))}${SPACE}kB`;
}

const count = (number, noun) => `${number}${SPACE}${noun}${number === "1" || number === 1 ? "" : "s"}`;

export function duration(seconds) {
  if (seconds < 59.95) return count(seconds < 10 ? rounded(seconds) : String(Math.round(seconds)), "second");
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  const named = hours ? [[hours, "hour"], [minutes, "minute"]] : [[minutes, "minute"], [rest, "second"]];
  return named.filter(([number]) => number).map(([number, noun]) => count(number, noun)).join(" ");
}

export function clock(seconds, decimals = 0) {
  const scale = 10 ** decimals;
  const total = Math.round(seconds * scale) / scale;
  const hours = Math.floor(total / 3600);
  const minutes = Math.floor((total % 3600) / 60);
  const rest = (total % 60).toFixed(decimals).padStart(decimals ? decimals + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export const ranked = (probabilities) => Object.entries(probabilities).sort((a, b) => b[1] - a[1]);

export function posterior(probabilities, most = Infinity) {
  return ranked(probabilities).slice(0, most).map(([label, share]) => `${label} ${percent(share)}`).join(", ");
}

// ---- the answer ------------------------------------------------------------------------------------

const REASONS = {
  "no speech": "No speech was found in this recording.",
  "too little speech": "There is less than half a second of speech: that is too little.",
  "near tie": "Two emotions are nearly equally probable.",
  "low confidence": "No emotion is probable enough.",
  "unlike what the model learned from": "This speech is unlike the recordings that the model learned from.",
  "words that the model can't read": "The words are in a language that this model cannot read.",
};

/** The dimensions of an answer, each with its scale; "" where the model has none. */
export function dimensions({ dimensions: values, scales = {} }) {
  if (!values) return "";
  const ends = Object.values(scales)[0] ?? { low: 0, high: 1 };
  const named = Object.entries(values).map(([name, value]) => `${name}${SPACE}${rounded(value)}`);
  return `${named.join(", ")}, from ${rounded(ends.low)} to ${rounded(ends.high)}.`;
}

/** The emotions that are there at once, by their own probabilities; "" where the model has none. */
export function several({ several: values }) {
  if (!values) return "";
  const all = Object.entries(values);
  const there = all.filter(([, share]) => share > 1 / all.length).sort((a, b) => b[1] - a[1]);
  if (!there.length) return "No emotion for itself.";
  return `Emotions at once: ${there.map(([label, share]) => `${label} ${percent(share)}`).join(", ")}.`;
}

/** The title, and the sentences below it. Where stretches differ, the title states their shares, not one emotion. */
export function verdict(answer, threshold = null) {
  const shares = parts(cells(answer));
  const sentences = answer.label === null ? [reason(answer), limit(threshold)].filter(Boolean) : [];
  if (!answer.modalities.length) {
    const title = answer.withheld === "no speech" ? "No speech" : "No result";
    return { title, label: null, shares: [], sentences: [reason(answer)] };
  }
  const unclear = posterior(answer.probabilities, 2);
  if (shares.length > 1) {
    const overall = answer.label === null ? `no clear emotion: ${unclear}` : `${answer.label} ${percent(answer.confidence)}`;
    const speakers = speakersTitle(answer);
    const title = speakers ?? capital(sharesTitle(shares));
    return { title, label: speakers ? null : shares[0].label, shares, sentences: [`Over all of the speech: ${overall}.`, ...sentences] };
  }
  if (answer.label === null) return { title: `${capital(UNCLEAR)}: ${unclear}`, label: null, shares, sentences };
  const [most] = shares;
  if (most && most.label !== answer.label) {         // its stretches have no label of their own
    const overall = `${answer.label} ${percent(answer.confidence)}`;
    return { title: capital(most.label ?? UNCLEAR), label: most.label, shares, sentences: [`Over all of the speech: ${overall}.`] };
  }
  return { title: capital(answer.label), label: answer.label, shares, sentences: [`Probability: ${percent(answer.confidence)}.`] };
}

function sharesTitle(shares) {
  const [first, ...others] = shares.filter((part, i) => i < 1 || (i < 3 && part.share >= 0.1));
  const named = ({ label, share }) => `${label ?? UNCLEAR} in ${percent(share)}`;
  return [`${named(first)} of the speech`, ...others.map(named)].join(", ");
}

/** Of two or three speakers each one's largest share; null for other numbers. */
function speakersTitle(answer) {
  const names = Object.keys(answer.speakers);
  if (names.length < 2 || names.length > 3) return null;
  const named = names.map((name, i) => {
    const [most] = parts(cells(answer).filter(({ speaker }) => speaker === name));
    return most && `${name}: ${most.label ?? UNCLEAR} in ${percent(most.share)}${i ? "" : " of the speech"}`;
  });
  return named.filter(Boolean).join("; ");
}

function reason({ withheld }) {
  return REASONS[withheld] ?? (withheld ? `Reason: ${withheld}.` : "");
}

function limit(threshold) {
  return threshold ? `This model names an emotion only if its probability is at least ${percent(threshold)}.` : "";
}

/** What a model can answer. */
export function abilities(labels, threshold) {
  const named = `This model names ${labels.slice(0, -1).join(", ")} or ${labels.at(-1)}.`;
  return threshold ? `${named} Below a probability of ${percent(threshold)} it names none.` : named;
}

export function evidence({ evidence: { seconds, speech, words, snr }, text_source }) {
  const known = [];
  if (speech !== null) known.push(`${duration(speech)} of speech`);
  const recognised = text_source && !["given", "gold"].includes(text_source) && !text_source.includes("not judged");
  known.push(words ? `${count(words, "word")}${recognised ? ` (recognised by ${text_source})` : ""}` : "no words");
  if (snr !== null) known.push(`speech ${Math.round(snr)}${SPACE}dB louder than the background`);
  const whole = seconds !== null ? ` The recording lasts ${duration(seconds)}.` : "";
  return `Based on ${known.join(", ")}.${whole}`;
}

export function basis({ modalities, perspectives, agree, text_source, unfamiliar, label }) {
  const sentences = [];
  if (text_source?.includes(", not judged: ")) sentences.push(`The words were not used: ${text_source.split(", not judged: ")[1]}.`);
  else if (modalities.length === 1) sentences.push(modalities[0] === "speech" ? "From the speech alone, without words." : "From the words alone, without sound.");
  else if (agree === true) sentences.push("Speech and words agree.");
  else if (agree === false) sentences.push(`Speech and words disagree: the speech alone gives ${top(perspectives.speech)}, the words alone ${top(perspectives.text)}.`);
  if (unfamiliar && label !== null) sentences.push("This speech is unlike the recordings that the model learned from: the answer may be wrong.");
  return sentences.join(" ");
}

const top = (probabilities) => ranked(probabilities)[0][0];

export function change(changes) {
  const clear = Object.entries(changes).filter(([, by]) => Math.abs(by) >= 0.1).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  if (!clear.length) return "";
  const named = clear.map(([label, by]) => `${label} ${by > 0 ? "+" : "−"}${Math.round(100 * Math.abs(by))}`);
  return `From the first third to the last, in percentage points: ${named.join(", ")}.`;
}

// ---- words -----------------------------------------------------------------------------------------

export const strength = (contribution) => (Math.abs(contribution) < LEAST ? 0 : Math.min(1, Math.abs(contribution) / FULL));

export const noWordMattered = (words) => words.every((word) => strength(word.contribution) === 0);

/** What the words' contributions are about: the most probable emotion of the stretch that was judged with them. */
export function wordsTarget({ turns, probabilities }) {
  const [turn] = turns;
  const whole = turns.length === 0 || (turns.length === 1 && turn.end - turn.start - turn.speech < 0.01);
  return whole ? ranked(turn?.probabilities ?? probabilities)[0][0] : null;    // null: each stretch has its own
}

const named = (target) => (target === null ? "the most probable emotion of its stretch" : target);

export function effect({ contribution }, target) {
  const factor = Math.exp(-contribution);
  const without = `${factor <= 1 ? "falls" : "rises"} to ${percent(factor)} of what it is`;
  return `${contribution > 0 ? "+" : "−"}${Math.abs(contribution).toFixed(2)} nats: without this word the probability of ${named(target)} ${without}`;
}

export function wordsNote(words, target) {
  if (noWordMattered(words)) return `No word mattered: without any one of them the probability of ${named(target)} changes by less than 10${SPACE}%.`;
  return `Coloured words raise the probability of ${named(target)}; underlined words lower it. Full colour: without the word it falls to about a third (1${SPACE}nat or more). Words without a mark change it by less than 10${SPACE}%.`;
}

// ---- limits and refusals ---------------------------------------------------------------------------

export function tooLong(seconds, most) {
  return `This recording lasts ${duration(seconds)}; this server takes up to ${duration(most)}.`;
}

export function tooLarge(bytes, most, channels = 1) {
  const way = channels > 1 ? " Mix the channels, or use a shorter recording." : " Use a shorter recording.";
  return `${channels > 1 ? "The two channels have" : "This recording has"} ${size(bytes)}; this server takes up to ${size(most)}.${way}`;
}

export function refusal(status, detail, { hadToken = false, limits = null, retryAfter = null } = {}) {
  const again = retryAfter ? `Try again in ${duration(Number(retryAfter))}.` : "Try again later.";
  if (status === 401) return hadToken ? "The server does not accept this token. Check it and enter it again." : "This server needs a token. Enter it in the field “Token”.";
  if (status === 408) return "The upload took too long. Check the connection, or use a shorter recording.";
  if (status === 413) return limits ? `This is too much for the server: it takes up to ${size(limits.bytes)} and ${limits.text} characters of text.` : "This is too much for the server.";
  if (status === 429) return `This token was used too often. ${again}`;
  if (status === 503) return `The server is busy. ${again}`;
  return detail || `The server answered with the error ${status}.`;
}

export function unreadable(name) {
  return `${name} is not a sound file that this browser or the server can read.`;
}

const MICROPHONE = {
  NotAllowedError: "The microphone is not allowed for this page. Allow it in the browser, then try again.",
  NotFoundError: "No microphone was found. Connect one, then try again.",
  NotReadableError: "The microphone is in use by another program.",
};

export const microphone = (error) => MICROPHONE[error.name] ?? error.message;
