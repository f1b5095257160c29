// The page: a recording and its words go to the server that the page came from; the answer is shown.
import { $, button, element, swatch } from "./elements.js";
import { Live } from "./live.js";
import { level, Recorder } from "./recorder.js";
import { followDimensions, followWords, showAnswer } from "./results.js";
import * as server from "./server.js";
import { decode, differ, mixed, peaks, PEAKS, RATE, wav } from "./sound.js";
import { cells, merged, overlaps } from "./stretches.js";
import { Tasks } from "./tasks.js";
import { legend, Timeline } from "./timeline.js";
import * as wording from "./wording.js";

const tasks = new Tasks();
const state = { recording: null, recorder: null, live: null, livePeaks: [], until: null, clock: null };
const timeline = new Timeline($("timeline"), $("readout"), { onPlay: play, onSeek: seek });

// ---- one door for work: the old answer leaves first, a late result is left out ---------------------------

async function run(work) {
  const signal = tasks.begin();
  idle();
  clear();
  try {
    await stopRecorder();
    signal.throwIfAborted();
    await work(signal);
  } catch (error) {
    if (!signal.aborted) fail(error);
  } finally {
    if (!signal.aborted) idle();
    tasks.end(signal);
  }
}

function clear() {
  for (const id of ["answer", "more", "timeline-block", "live", "error", "empty", "names"]) $(id).hidden = true;
  $("error").textContent = $("spoken").textContent = "";
  $("player").pause();
  $("player").removeAttribute("src");
  state.until = null;
}

function fail(error) {
  $("error").textContent = error.name in { NotAllowedError: 1, NotFoundError: 1, NotReadableError: 1 } ? wording.microphone(error) : error.message;
  $("error").hidden = false;
  if (error instanceof server.TokenNeeded) {
    $("token-form").hidden = false;
    $("token").focus();
  }
}

function busy(name, text, progress = null) {
  $("busy").hidden = false;
  if (!state.clock) {
    const began = performance.now();
    const tick = () => { $("elapsed").textContent = `${wording.duration(Math.floor((performance.now() - began) / 1000))} so far`; };
    state.clock = setInterval(tick, 1000);
    reveal();
    $("elapsed").textContent = "";
  }
  $("busy-name").textContent = name;
  if ($("busy-text").textContent !== text) $("busy-text").textContent = text;
  if (progress === null) $("progress").removeAttribute("value");
  else $("progress").value = progress;
  refresh();
}

function idle() {
  clearInterval(state.clock);
  state.clock = null;
  $("busy").hidden = true;
  refresh();
}

function cancel() {
  if (!tasks.cancel()) return;
  idle();
  $("empty").textContent = "Cancelled. Nothing was judged.";
  $("empty").hidden = false;
  $("spoken").textContent = "Cancelled.";
  ($("judge").disabled ? $("file") : $("judge")).focus();
}

// ---- choosing --------------------------------------------------------------------------------------------

/** A file as a recording: its samples at 16 kHz where this browser can decode it. */
async function read(file, signal) {
  busy(file.name, "Reading the file.");
  const channels = await decode(file);
  signal.throwIfAborted();
  const seconds = channels ? channels[0].length / RATE : null;
  return { file, name: file.name, channels, seconds, split: null, differ: channels !== null && differ(channels) };
}

function choose(file) {
  return chooseFrom(async () => file);
}

/** The file that `fetched(signal)` gives becomes the recording, and is judged. */
function chooseFrom(fetched) {
  state.recording = null;
  showChosen();
  return run(async (signal) => {
    const file = await fetched(signal);
    signal.throwIfAborted();
    const recording = await read(file, signal);
    state.recording = recording;
    showChosen();
    if (recording.differ && server.canSplit()) {
      $("spoken").textContent = "This recording has two different channels. Choose how to judge them.";
      $("empty").textContent = "Choose beside or above: judge each channel as a speaker, or mix them.";
      $("empty").hidden = false;
      $("split").focus();
    } else await judge(signal, recording);
  });
}

function showChosen() {
  const { recording } = state;
  $("chosen").hidden = !recording;
  $("channels").hidden = !(recording?.differ && server.canSplit());
  if (!recording) return;
  const length = recording.seconds === null ? "" : `, ${wording.duration(recording.seconds)}`;
  $("chosen").textContent = `${recording.name}: ${wording.size(recording.file.size)}${length}`;
}

function refresh() {
  const text = $("text").value.trim();
  const undecided = !$("channels").hidden && state.recording?.split === null;
  $("judge").disabled = !$("busy").hidden || state.recorder !== null || undecided || (!state.recording && !text);
  $("asr").disabled = text !== "";
}

function tryExample(example) {
  return chooseFrom(async (signal) => {
    busy(example.name, "Fetching the example.");
    const sound = await server.exampleSound(example.name, signal);
    signal.throwIfAborted();
    $("text").value = example.text ?? "";
    return new File([sound], example.name, { type: sound.type });
  });
}

// ---- judging ---------------------------------------------------------------------------------------------

function judgeAgain(split = state.recording?.split ?? null) {
  const { recording } = state;
  if (recording) recording.split = split;
  return run((signal) => judge(signal, recording));
}

/** The model that is chosen; the first is what judges where none is named. */
const model = () => server.server.models.find(({ id }) => id === $("model").value) ?? server.server.models[0];

async function judge(signal, recording) {
  const fields = {};
  const split = recording?.split === true;
  const text = $("text").value.trim();
  if (text) fields.text = text;
  if (model().id !== server.server.models[0].id) fields.model = model().id;
  if (split) fields.channels = "split";
  else if (recording?.split === false && !recording.channels) fields.channels = "mix";     // the server mixes them
  if (!text && recording && $("asr").checked && server.canRead()) fields.asr = "true";
  const job = recording !== null && server.asJob(recording.seconds, fields);
  const name = recording?.name ?? "Words without a recording";
  busy(name, "Preparing what is sent.");
  const sound = recording ? body(recording, split, server.limits(job)) : null;
  busy(name, sound ? `Sending ${wording.size(sound.size)}.` : "The server judges it.", sound ? 0 : null);
  const answer = await server.predict({ sound, name, fields, job }, signal, (progress) => {
    if (!signal.aborted) showProgress(name, progress);
  }).catch((error) => {
    if (recording && !recording.channels && /channels/.test(error.message)) recording.differ = true;
    if (!signal.aborted) showChosen();
    throw recording && !recording.channels && /not a sound/.test(error.message) ? new Error(wording.unreadable(name)) : error;
  });
  signal.throwIfAborted();
  show(answer, recording, name);
}

/** What is sent: 16-bit WAV at 16 kHz, or the file itself where this browser cannot decode it. */
function body({ file, channels, seconds }, split, limits) {
  if (seconds !== null && limits?.seconds && seconds > limits.seconds) throw new Error(wording.tooLong(seconds, limits.seconds));
  const sound = channels ? wav(split ? channels : [mixed(channels)]) : file;
  if (limits?.bytes && sound.size > limits.bytes) throw new Error(wording.tooLarge(sound.size, limits.bytes, split ? 2 : 1));
  return sound;
}

function showProgress(name, { sent, total, share }) {
  if (sent < total) busy(name, `Sending ${wording.size(total)}.`, sent / total);
  else busy(name, "The server judges it.", share ?? null);
}

function show(answer, recording, name) {
  showAnswer(answer, { name, threshold: model().threshold, play: recording ? play : null });
  $("answer").hidden = $("more").hidden = false;
  if (recording) showTimeline(answer, recording);
  $("spoken").textContent = `${name}: ${$("title").textContent}. ${$("sentences").textContent}`;
  reveal();
}

/** Where the result is below, not beside, what was chosen: scrolls to it. */
function reveal() {
  if (matchMedia("(max-width: 52rem)").matches) $("result").scrollIntoView({ block: "start" });
}

function showTimeline(answer, { file, channels, seconds }) {
  const labels = Object.keys(answer.probabilities);
  $("timeline-block").hidden = false;
  $("controls").hidden = $("hint").hidden = false;
  $("player").hidden = false;
  URL.revokeObjectURL(state.url);
  $("player").src = state.url = URL.createObjectURL(file);
  timeline.show({
    duration: seconds ?? answer.evidence.seconds ?? Math.max(0, ...cells(answer).map(({ end }) => end)),
    peaks: channels && peaks(mixed(channels)), cells: cells(answer), turns: answer.turns, words: answer.words, labels,
  });
  legend($("legend"), merged(cells(answer)), overlaps(answer.turns).length > 0, labels, swatch);
}

// ---- playing ---------------------------------------------------------------------------------------------

function play(start, end) {
  $("player").currentTime = start;
  state.until = end;
  timeline.moveTo(start);
  $("player").play().catch(() => {});          // a browser that cannot play it has hidden the player
}

function seek(seconds) {
  state.until = null;
  timeline.moveTo(seconds);
  $("player").currentTime = timeline.at;
}

function follow() {
  const player = $("player");
  if (state.until !== null && player.currentTime >= state.until) {
    player.pause();
    state.until = null;
  }
  timeline.moveTo(player.currentTime, true);
  followWords(player.currentTime);
  followDimensions(player.currentTime);
  if (!player.paused) requestAnimationFrame(follow);
}

// ---- recording -------------------------------------------------------------------------------------------

async function record() {
  if (state.recorder) return finishRecording();
  state.recording = null;
  showChosen();
  return run(async (signal) => {
    const recorder = new Recorder((block) => takeBlock(recorder, block));
    try {
      await recorder.start();
      signal.throwIfAborted();
    } catch (error) {
      await recorder.release();
      throw error;
    }
    state.recorder = recorder;
    state.livePeaks = [];
    $("record").setAttribute("aria-pressed", "true");
    $("live").hidden = $("timeline-block").hidden = false;
    $("controls").hidden = $("hint").hidden = true;
    $("legend").replaceChildren();
    $("live-text").textContent = "Speak. The first result comes after about four seconds of speech.";
    timeline.show({ duration: 0.2 });
    state.live = new Live(recorder.rate, server.token(), model()?.id, {
      onUpdate: showLive,
      onProblem: (why) => { $("live-text").textContent = `No result while recording: ${why}. The recording goes on.`; },
    });
  });
}

function takeBlock(recorder, block) {
  if (state.recorder !== recorder) return;
  state.live?.feed(block);
  state.livePeaks.push(...peaks(block, recorder.rate));
  $("record-text").textContent = `Stop (${wording.clock(recorder.seconds, 1)})`;
  const decibels = Math.round(level(block));
  $("level").setAttribute("aria-valuenow", decibels);
  $("level-bar").style.setProperty("--share", (decibels + 60) / 60);
  $("level-text").textContent = decibels < -50 ? "Level: very low. Is the right microphone chosen?" : decibels > -3 ? "Level: too high. Speak more softly or move away." : "Level: good.";
  drawLive(recorder);
  const most = server.server.about?.limits?.seconds;
  if (most && recorder.seconds >= most) finishRecording();
}

function drawLive(recorder) {
  const segments = state.live?.segments ?? [];
  const labels = model()?.labels ?? [];
  timeline.show({ duration: Math.max(5, recorder.seconds), peaks: Float32Array.from(state.livePeaks), cells: segments, labels }, true);
  timeline.moveTo(recorder.seconds, true);
  $("readout").textContent = "";
}

function showLive(segments, now) {
  if (now) $("live-text").textContent = now.label === null ? `Now: no clear emotion (${wording.posterior(now.probabilities, 2)})` : `Now: ${now.label} ${wording.percent(now.confidence)}`;
  legend($("legend"), merged(segments), false, model()?.labels ?? [], swatch);
}

/** Releases the microphone and gives its samples; null where none is open. */
async function stopRecorder() {
  const { recorder } = state;
  if (!recorder) return null;
  state.live?.close();
  state.recorder = state.live = null;
  $("record").setAttribute("aria-pressed", "false");
  $("record-text").textContent = "Record";
  return { samples: await recorder.stop(), rate: recorder.rate };
}

async function finishRecording() {
  const { samples, rate } = await stopRecorder();
  await choose(new File([wav([samples], rate)], "recording.wav", { type: "audio/wav" }));
}

// ---- the start -------------------------------------------------------------------------------------------

function describeModel() {
  const { labels, threshold, model: name, synthesised, licence } = model();
  $("names").textContent = wording.abilities(labels, threshold);
  const notes = [`Model: ${name}.`];
  if (synthesised) notes.push("It was trained on synthesised speech only: it is a demonstration and cannot judge people.");
  if (licence) notes.push(`Licence of its weights: ${licence}.`);
  $("model-note").textContent = notes.join(" ");
}

async function introduce() {
  const { about, examples } = await server.introduce();
  const { models } = server.server;
  $("model-field").hidden = models.length < 2;
  $("model").replaceChildren(...models.map(({ id, model: name }, index) => new Option(index ? `${id}: ${name}` : `Standard: ${name}`, id)));
  describeModel();
  $("limits").textContent = `up to ${wording.duration(server.limits(server.server.jobs).seconds)}`;
  $("text").maxLength = about.limits.text;
  $("asr-field").hidden = !server.canRead();
  $("examples").hidden = examples.length === 0;
  $("example-list").replaceChildren(...examples.map((example) => {
    const made = button("", example.text ?? `Recording ${example.name}`, () => tryExample(example));
    if (example.label) made.append(element("small", "", `Labelled ${example.label} by its source`));
    const item = element("li");
    item.append(made);
    const origin = example.attribution ?? example.source;
    if (origin) item.append(element("p", "small", origin));
    return item;
  }));
}

async function start() {
  try {
    await introduce();
  } catch (error) {
    clear();
    fail(error);
  }
}

$("file").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  target.value = "";
  if (file) choose(file);
});
$("judge").addEventListener("click", () => judgeAgain());
$("split").addEventListener("click", () => judgeAgain(true));
$("mix").addEventListener("click", () => judgeAgain(false));
$("cancel").addEventListener("click", cancel);
$("record").addEventListener("click", record);
$("text").addEventListener("input", refresh);
$("model").addEventListener("change", describeModel);
$("player").addEventListener("play", follow);
$("player").addEventListener("seeked", follow);
$("player").addEventListener("pause", () => timeline.describe());
$("player").addEventListener("error", () => { $("player").hidden = true; });
$("zoom-in").addEventListener("click", () => timeline.zoom(2));
$("zoom-out").addEventListener("click", () => timeline.zoom(0.5));
$("zoom-whole").addEventListener("click", () => timeline.whole());
for (const kind of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) choose(event.dataTransfer.files[0]);
  });
}
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  server.keepToken($("token").value);
  $("token-form").hidden = true;
  clear();
  $("empty").hidden = false;
  start();
});
start();
