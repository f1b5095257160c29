// The page: a recording and its words in, what is heard out. Talks to /v1 of the server it came from, nothing else.
import { bars, clock, element, hue, percent, Waveform, words } from "./chart.js";
import { Live } from "./live.js";
import { Recorder } from "./recorder.js";

const $ = (id) => document.getElementById(id);
const state = { sound: null, recorder: null, live: null, ticking: null, busy: false };
const wave = new Waveform($("wave"), (seconds) => { $("player").currentTime = seconds; });

// ---- the server ----------------------------------------------------------------------------------

const token = () => sessionStorage.getItem("token") ?? "";

async function ask(path, options = {}) {
  const headers = token() ? { authorization: `Bearer ${token()}` } : {};
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The server does not answer.");
  }
  if (answer.status === 401) {
    sessionStorage.removeItem("token");
    $("token-form").hidden = false;
    $("token").focus();
    throw new Error("This server asks for a token.");
  }
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `The server said ${answer.status}.`);
  return answer;
}

async function introduce() {
  const about = await (await ask("v1/model")).json();
  $("model-note").textContent = `Answering: ${about.model}.${about.card.synthesised ? " It was trained on synthesised speech only: a demonstration, not a judge of people." : ""}${about.card.licence ? ` Licence of its weights: ${about.card.licence}.` : ""}`;
  const examples = await (await ask("v1/examples")).json();
  $("examples").hidden = examples.length === 0;
  $("example-list").replaceChildren(...examples.map((example) => {
    const button = element("button", "", example.text ?? example.name);
    button.type = "button";
    if (example.label) button.append(element("small", "", `made to sound ${example.label}`));
    button.addEventListener("click", () => attempt(() => tryExample(example)));
    const item = element("li");
    item.append(button);
    return item;
  }));
}

async function tryExample(example) {
  const sound = await (await ask(`v1/examples/${encodeURIComponent(example.name)}`)).blob();
  choose(new File([sound], example.name, { type: "audio/wav" }));
  $("text").value = example.text ?? "";
  await judge();
}

// ---- choosing ------------------------------------------------------------------------------------

function choose(file) {
  state.sound = file;
  $("chosen").textContent = `${file.name} · ${Math.max(1, Math.round(file.size / 1024))} kB`;
  $("chosen").hidden = false;
  refresh();
}

function refresh() {
  $("judge").disabled = state.busy || state.recorder !== null || (!state.sound && !$("text").value.trim());
  $("judge").textContent = state.busy ? "Listening …" : "Listen";
}

async function toggleRecording() {
  if (state.recorder) return finishRecording();
  const recorder = new Recorder((block) => state.live?.feed(block));
  await recorder.start();
  state.recorder = recorder;
  state.live = new Live(recorder.rate, token(), showNow);
  state.ticking = setInterval(() => { $("record-text").textContent = `Stop · ${recorder.seconds.toFixed(1)} s`; }, 100);
  $("record").setAttribute("aria-pressed", "true");
  $("live").hidden = false;
  $("live").textContent = "Speak; what is heard appears here every two seconds.";
  refresh();
}

async function finishRecording() {
  const { recorder } = state;
  clearInterval(state.ticking);
  state.live.close();
  state.recorder = state.live = null;
  $("record").setAttribute("aria-pressed", "false");
  $("record-text").textContent = "Record again";
  $("live").hidden = true;
  choose(await recorder.stop());
  await judge();
}

function showNow(now) {
  $("live").textContent = `Just now: ${now.label ?? "unsure"}, ${percent(now.confidence)}`;
}

// ---- judging -------------------------------------------------------------------------------------

async function judge() {
  const form = new FormData();
  if (state.sound) form.append("file", state.sound, state.sound.name);
  if ($("text").value.trim()) form.append("text", $("text").value);
  state.busy = true;
  refresh();
  try {
    const prediction = await (await ask("v1/predict", { method: "POST", body: form })).json();
    await show(prediction);
  } finally {
    state.busy = false;
    refresh();
  }
}

async function show(prediction) {
  const labels = Object.keys(prediction.probabilities);
  $("empty").hidden = true;
  $("answer").hidden = false;
  $("label").textContent = prediction.label ?? "unsure";
  $("label").style.setProperty("--hue", prediction.label ? hue(prediction.label, labels) : "var(--soft)");
  $("confidence").textContent = prediction.modalities.length ? `${percent(prediction.confidence)} sure` : "";
  $("why").textContent = why(prediction);
  bars($("bars"), prediction);
  showWords(prediction);
  showTimeline(prediction);
  await showSound(prediction, labels);
  $("identity").textContent = prediction.model;
  URL.revokeObjectURL($("download").href);
  $("download").href = URL.createObjectURL(new Blob([JSON.stringify(prediction, null, 2)], { type: "application/json" }));
  $("result").focus({ preventScroll: true });
  if (matchMedia("(max-width: 52rem)").matches) $("result").scrollIntoView({ block: "start" });
}

function why(prediction) {
  return decided(prediction) + (prediction.unfamiliar ? " This speech is unlike what the model learned from: take the answer with care." : "");
}

function decided({ modalities, perspectives, agree }) {
  const top = (side) => Object.entries(perspectives[side]).reduce((a, b) => (b[1] > a[1] ? b : a))[0];
  if (modalities.length === 0) return "No speech was found in this recording.";
  if (modalities.length === 1) return modalities[0] === "speech" ? "Decided by the sound alone: there was no transcript." : "Decided by the words alone: there was no sound.";
  if (agree === null) return "Decided by sound and words together.";
  return agree ? `Sound and words agree.` : `Sound and words disagree: the sound alone says ${top("speech")}, the words alone say ${top("text")}.`;
}

function showWords(prediction) {
  $("words-block").hidden = prediction.words.length === 0;
  if (!prediction.words.length) return;
  words($("words"), prediction);
  const [likeliest] = Object.entries(prediction.probabilities).reduce((a, b) => (b[1] > a[1] ? b : a));
  $("words-legend").textContent = `The stronger the colour, the more a word spoke for “${likeliest}”; dotted underlines spoke against it.`;
}

function showTimeline({ segments }) {
  $("timeline-block").hidden = segments.length === 0;
  $("timeline").replaceChildren(...segments.map((cell) => {
    const row = element("tr");
    row.append(...[clock(cell.start), clock(cell.end), cell.label, percent(cell.confidence)].map((text) => element("td", "", text)));
    return row;
  }));
}

async function showSound(prediction, labels) {
  $("wave-figure").hidden = !state.sound;
  if (!state.sound) return;
  URL.revokeObjectURL($("player").src);
  $("player").src = URL.createObjectURL(state.sound);
  const context = new AudioContext();
  try {
    const decoded = await context.decodeAudioData(await state.sound.arrayBuffer());
    wave.at = 0;
    wave.show(decoded.getChannelData(0), decoded.duration, prediction);
  } catch {
    $("wave-figure").hidden = true;      // the server could read it, this browser cannot draw it
  } finally {
    await context.close();
  }
  const heard = labels.filter((label) => prediction.segments.some((cell) => cell.label === label));
  $("wave-caption").replaceChildren(...heard.map((label) => {
    const key = element("span", "key", label);
    const swatch = element("span", "swatch");
    swatch.style.setProperty("--hue", hue(label, labels));
    key.prepend(swatch);
    return key;
  }));
  $("wave").setAttribute("aria-label", heard.length ? `Waveform with the timeline: ${prediction.segments.length} stretches, ${heard.join(", ")}` : "Waveform");
}

function followPlayer() {
  const at = $("player").currentTime;
  wave.moveTo(at);
  for (const word of $("words").querySelectorAll("[data-start]")) {
    word.classList.toggle("playing", at > 0 && at >= Number(word.dataset.start) && at < Number(word.dataset.end));
  }
}

// ---- one door for errors -------------------------------------------------------------------------

async function attempt(work) {
  $("error").hidden = true;
  try {
    await work();
  } catch (error) {
    $("answer").hidden = true;
    $("empty").hidden = true;
    $("error").textContent = error.name === "NotAllowedError" ? "The microphone was not allowed." : error.message;
    $("error").hidden = false;
  }
}

// ---- wiring --------------------------------------------------------------------------------------

$("file").addEventListener("change", ({ target }) => {
  if (target.files[0]) attempt(() => { choose(target.files[0]); return judge(); });
  target.value = "";
});
$("judge").addEventListener("click", () => attempt(judge));
$("record").addEventListener("click", () => attempt(toggleRecording));
$("text").addEventListener("input", refresh);
$("player").addEventListener("timeupdate", followPlayer);
for (const kind of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) attempt(() => { choose(event.dataTransfer.files[0]); return judge(); });
  });
}
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
  $("token-form").hidden = true;
  attempt(introduce);
});
attempt(introduce);
