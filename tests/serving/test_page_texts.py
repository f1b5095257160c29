"""What the page states and computes, without a browser: its modules run in Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.serving import answers
from undertone.serving.server.page import FILES, SCRIPTS, WEB
from undertone.types import Evidence

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="no Node here: the page's modules run in it")
Script = Callable[..., Any]
LONGEST = 400


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Script:
    """Runs the body of a function of one value in Node; the page's modules are named as their files."""
    folder = tmp_path_factory.mktemp("page")
    for name in SCRIPTS:
        shutil.copy(WEB / f"{name}.js", folder)
    (folder / "package.json").write_text('{"type": "module"}')
    pure = ("wording", "stretches", "sound", "tasks", "recorder")
    imports = "".join(f'import * as {name} from "./{name}.js";' for name in pure)

    def run(body: str, value: Any = None) -> Any:
        assert NODE is not None
        text = f"{imports}const work = async (value) => {{ {body} }};"
        text += f"console.log(JSON.stringify(await work({json.dumps(value)})));"
        (folder / "run.js").write_text(text)
        done = subprocess.run([NODE, "run.js"], cwd=folder, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.replace("\\u00a0", " ").replace("\u00a0", " "))

    return run


def verdict(script: Script, answer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = script(f"return wording.verdict(value, {answers.THRESHOLD});", answer)
    return found


def test_the_files_on_disk_are_those_that_are_served_and_none_is_long() -> None:
    served = {name for name, _ in FILES.values()}
    assert served == {path.name for path in WEB.iterdir()}
    for path in WEB.glob("*.js"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST, path.name


# ---- the verdict -------------------------------------------------------------------------------------


def test_one_clear_turn_is_named_with_its_probability(script: Script) -> None:
    made = verdict(script, answers.short().plain())
    assert (made["title"], made["label"], made["sentences"]) == ("Angry", "angry", ["Probability: 89 %."])


def test_without_a_label_the_title_names_none_and_states_threshold_and_reason(script: Script) -> None:
    made = verdict(script, answers.unclear().plain())
    assert made["title"] == "No clear emotion: sad 45 %, neutral 40 %"
    assert made["label"] is None
    text = " ".join(made["sentences"])
    assert "nearly equally probable" in text
    assert "at least 52 %" in text
    assert "sure" not in made["title"] + text


def test_where_stretches_differ_the_title_is_their_shares_of_speech_time(script: Script) -> None:
    cells = [answers.cell(0, 6, sad=0.8), answers.cell(6, 9, neutral=0.7), answers.cell(9, 10, sad=0.4)]
    made = verdict(script, answers.prediction(cells, timeline=True).plain())
    assert made["title"] == "Sad in 60 % of the speech, neutral in 30 %, no clear emotion in 10 %"
    assert made["sentences"][0].startswith("Over all of the speech: sad ")
    assert sum(part["share"] for part in made["shares"]) == pytest.approx(1)


def test_a_label_over_all_does_not_hide_that_no_stretch_has_one(script: Script) -> None:
    cells = [answers.cell(0, 4, sad=0.5), answers.cell(4, 8, sad=0.51)]
    whole = replace(answers.prediction(cells, timeline=True), label="sad", confidence=0.53)
    made = verdict(script, whole.plain())
    assert made["title"] == "No clear emotion"
    assert made["sentences"] == ["Over all of the speech: sad 53 %."]


def test_two_speakers_have_a_title_each(script: Script) -> None:
    made = verdict(script, answers.two_speakers().plain())
    assert made["title"] == "left: neutral in 35 % of the speech; right: angry in 80 %"


def test_no_speech_and_words_of_another_language_have_their_sentences(script: Script) -> None:
    made = verdict(script, answers.silent())
    assert (made["title"], made["sentences"]) == ("No speech", ["No speech was found in this recording."])
    foreign = {**answers.silent(), "withheld": "words that the model can't read"}
    assert "language" in verdict(script, foreign)["sentences"][0]


@pytest.mark.parametrize("reason", ["too little speech", "low confidence", "something new"])
def test_every_reason_is_a_sentence(script: Script, reason: str) -> None:
    (first, _) = verdict(script, {**answers.unclear().plain(), "withheld": reason})["sentences"]
    assert first[0].isupper()
    assert first.endswith(".")


def test_the_evidence_is_seconds_words_and_decibels(script: Script) -> None:
    whole = replace(answers.with_words(), evidence=Evidence(75.0, 2.8, 11, 23.4))
    text = script("return wording.evidence(value);", whole.plain())
    assert text == (
        "Based on 2.8 seconds of speech, 11 words, speech 23 dB louder than the background."
        " The recording lasts 1 minute 15 seconds."
    )
    words = replace(whole, evidence=Evidence(words=1), text_source="whisper-tiny.en", modalities=("text",))
    text = script("return wording.evidence(value);", words.plain())
    assert text == "Based on 1 word (recognised by whisper-tiny.en)."


def test_what_decided_is_stated(script: Script) -> None:
    basis = "return wording.basis(value);"
    assert script(basis, answers.short().plain()) == "From the speech alone, without words."
    assert "alone gives angry, the words alone neutral" in script(basis, answers.with_words().plain())
    other = replace(answers.short(), text_source="given, not judged: the words are not English")
    assert script(basis, other.plain()) == "The words were not used: the words are not English."


# ---- numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("size(32 * 2 ** 20)", "32 MB"),
        ("size(33554432 + 400000)", "32.4 MB"),
        ("size(512)", "1 kB"),
        ("size(2 ** 31)", "2 GB"),
        ("duration(900)", "15 minutes"),
        ("duration(1)", "1 second"),
        ("duration(1.84)", "1.8 seconds"),
        ("duration(59.97)", "1 minute"),
        ("duration(7260)", "2 hours 1 minute"),
        ("clock(3725)", "1:02:05"),
        ("clock(59.96, 1)", "1:00.0"),
        ("percent(0.004)", "under 1 %"),
        ("percent(0.997)", "over 99 %"),
        ("percent(0)", "0 %"),
        ("tooLong(1200, 900)", "This recording lasts 20 minutes; this server takes up to 15 minutes."),
    ],
)
def test_numbers_are_in_a_persons_units(script: Script, call: str, text: str) -> None:
    assert script(f"return wording.{call};") == text


def test_each_refusal_has_its_own_sentence(script: Script) -> None:
    texts = script(
        """const limits = { bytes: 2 ** 25, text: 20000 };
        return [
          wording.refusal(401, "x"), wording.refusal(401, "x", { hadToken: true }),
          wording.refusal(413, "the body is longer than 33554432 bytes", { limits }),
          wording.refusal(429, "x", { retryAfter: "12" }), wording.refusal(503, "x", { retryAfter: "1" }),
          wording.refusal(500), wording.tooLarge(2 ** 26, 2 ** 25, 2),
          ...["NotAllowedError", "NotFoundError"].map((name) => wording.microphone({ name, message: "x" })),
        ];"""
    )
    assert len(set(texts)) == len(texts)
    assert "needs a token" in texts[0]
    assert "does not accept" in texts[1]
    assert "up to 32 MB" in texts[2]
    assert "12 seconds" in texts[3]
    assert not any("bytes" in text for text in texts)


# ---- words -------------------------------------------------------------------------------------------


def test_the_strength_of_a_word_is_absolute(script: Script) -> None:
    assert script("return [0.02, -0.09, 0.1, 0.5, -1, 3].map(wording.strength);") == [0, 0, 0.1, 0.5, 1, 1]
    assert script("return wording.noWordMattered([{ contribution: 0.05 }, { contribution: -0.09 }]);") is True
    assert script("return wording.noWordMattered([{ contribution: 0.05 }, { contribution: -0.2 }]);") is False
    text = script("return wording.effect({ contribution: Math.LN2 }, 'sad');")
    assert text == "+0.69 nats: without this word the probability of sad falls to 50 % of what it is"


def test_words_are_about_their_own_stretch_where_there_are_several(script: Script) -> None:
    target = "return wording.wordsTarget(value);"
    assert script(target, answers.with_words().plain()) == "angry"
    assert script(target, {**answers.with_words().plain(), "turns": []}) == "angry"
    assert script(target, answers.two_speakers().plain()) is None
    with_pause = answers.with_words().plain()
    with_pause["turns"][0]["speech"] -= 0.5
    assert script(target, with_pause) is None
    note = script("return wording.wordsNote([{ contribution: 0.5 }], null);")
    assert "the most probable emotion of its stretch" in note


# ---- dimensions --------------------------------------------------------------------------------------

SCALES = {"arousal": {"low": 1, "high": 7}, "valence": {"low": 1, "high": 5}}


def test_dimensions_lie_in_the_plane_of_their_scales(script: Script) -> None:
    value = {"dimensions": {"arousal": 4, "valence": 5}, "scales": SCALES}
    assert script("return stretches.place(value.dimensions, value.scales);", value) == [1, 0.5]
    assert script("return stretches.place(value.dimensions, value.scales);", {"scales": SCALES}) is None
    assert script("return stretches.place({ arousal: 9, valence: -3 }, value);", SCALES) == [0, 1]


def test_the_point_is_where_the_recording_is(script: Script) -> None:
    cells = [{"start": float(s), "end": s + 2.0, "dimensions": {"arousal": s}} for s in (0, 2, 6)]
    read = "return [1, 3, 5, 7].map((s) => stretches.dimensionsAt(value, s).arousal);"
    assert script(read, cells) == [0, 2, 2, 6]
    assert script("return stretches.dimensionsAt(value, 1);", [{"start": 0, "end": 2}]) is None


def test_dimensions_and_several_emotions_in_words(script: Script) -> None:
    answer = {
        "dimensions": {"arousal": 4.23, "valence": 2.0},
        "scales": {"arousal": {"low": 1, "high": 7}},
        "several": {"angry": 0.3, "happy": 0.01, "sad": 0.6, "neutral": 0.1},
    }
    assert script("return wording.dimensions(value);", answer) == "arousal 4.2, valence 2, from 1 to 7."
    assert script("return wording.several(value);", answer) == "Emotions at once: sad 60 %, angry 30 %."
    assert script("return [wording.dimensions(value), wording.several(value)];", {}) == ["", ""]


# ---- stretches ---------------------------------------------------------------------------------------


def test_equal_neighbours_are_one_stretch_with_their_mean(script: Script) -> None:
    cells = [
        answers.cell(0, 2, sad=0.6),
        answers.cell(2, 6, sad=0.9),
        answers.cell(6, 8, sad=0.4),
        answers.cell(8, 10, neutral=0.4),
        answers.cell(11, 12, sad=0.7),
        answers.cell(12, 14, sad=0.7),
    ]
    plain = answers.prediction(cells, timeline=True).plain()
    made = script("return stretches.merged(stretches.cells(value));", plain)
    assert [(m["start"], m["end"], m["label"]) for m in made] == [
        (0, 6, "sad"),
        (6, 10, None),
        (11, 14, "sad"),
    ]
    assert made[0]["confidence"] == pytest.approx(0.8)


def test_each_speaker_has_a_lane_and_overlaps_are_known(script: Script) -> None:
    plain = answers.two_speakers().plain()
    lanes = script("return stretches.lanes(stretches.cells(value));", plain)
    assert [(lane["speaker"], len(lane["stretches"])) for lane in lanes] == [("left", 3), ("right", 3)]
    assert script("return stretches.overlaps(value.turns);", plain) == [[8.5, 9.0]]


def test_a_zoom_keeps_the_time_under_the_pointer_and_ends_at_the_edges(script: Script) -> None:
    zoomed = "return stretches.zoomed({ from: 0, to: 100 }, value[0], value[1], 100);"
    assert script(zoomed, [2, 50]) == {"from": 25, "to": 75}
    assert script(zoomed, [4, 0]) == {"from": 0, "to": 25}
    assert script(zoomed, [0.5, 50]) == {"from": 0, "to": 100}
    assert script(zoomed, [1e9, 100]) == {"from": 99.5, "to": 100}
    assert script("return stretches.moved({ from: 0, to: 10 }, 95, 100);") == {"from": 90, "to": 100}
    assert script("return stretches.axisStep(600, 700);") == 60


# ---- sound -------------------------------------------------------------------------------------------


def test_channels_that_are_copies_do_not_differ(script: Script) -> None:
    found = script(
        """const a = Float32Array.from({ length: 16000 }, (_, i) => Math.sin(i / 9));
        const b = Float32Array.from({ length: 16000 }, (_, i) => Math.sin(i / 31));
        const times = (gain) => a.map((x) => gain * x);
        const copies = [[a], [a, a], [a, times(0.3)], [a, times(0)]];
        return [...copies, [a, b], [times(0.1), b], [a, times(-1)]].map(sound.differ);"""
    )
    assert found == [False, False, False, False, True, True, True]


def test_a_wav_file_is_16_bit_and_nothing_is_cut_off(script: Script) -> None:
    made = script(
        """const file = sound.wav([Float32Array.of(0, 0.5, -2), Float32Array.of(0, 0, 1)]);
        const bytes = new DataView(await file.arrayBuffer());
        const head = [22, 34].map((at) => bytes.getUint16(at, true));
        const samples = [44, 46, 48, 50, 52, 54].map((at) => bytes.getInt16(at, true));
        return [...head, bytes.getUint32(24, true), ...samples];"""
    )
    assert made == [2, 16, 16000, 0, 0, 8192, 0, -32768, 16384]


def test_mixing_is_the_mean_and_peaks_are_a_hundred_a_second(script: Script) -> None:
    assert script("return [...sound.mixed([Float32Array.of(1, 0), Float32Array.of(0, 0.5)])];") == [0.5, 0.25]
    made = script(
        "const x = new Float32Array(16000); x[80] = -0.5; x[15999] = 0.25; return [...sound.peaks(x)];"
    )
    assert (len(made), made[0], made[1], made[99]) == (100, 0.5, 0, 0.25)


def test_the_worklet_gathers_a_fifth_of_a_second_and_loses_nothing(script: Script) -> None:
    made = script(
        """globalThis.sampleRate = 48000;
        const sent = [];
        globalThis.AudioWorkletProcessor = class {
          constructor() { this.port = { postMessage: (block) => sent.push(block) }; }
        };
        let Tap;
        globalThis.registerProcessor = (name, made) => { Tap = made; };
        await import("./worklet.js");
        const tap = new Tap();
        for (let i = 0; i < 200; i++) tap.process([[new Float32Array(128).fill(i)]]);
        tap.process([]);
        const before = sent.length;
        tap.port.onmessage();
        const all = sent.flatMap((block) => [...block]);
        const inOrder = all.every((x, at) => x === Math.floor(at / 128));
        return { before, lengths: sent.map((block) => block.length), inOrder };"""
    )
    assert made == {"before": 2, "lengths": [9600, 9600, 6400, 0], "inOrder": True}


def test_the_level_is_in_decibels(script: Script) -> None:
    levels = "[new Float32Array(9).fill(0.5), new Float32Array(9), new Float32Array(0)].map(recorder.level)"
    assert script(f"return {levels};") == [pytest.approx(-6.02, abs=0.01), -60, -60]


# ---- one piece of work at a time ---------------------------------------------------------------------


def test_a_new_task_aborts_the_one_before_it(script: Script) -> None:
    made = script(
        """const all = new tasks.Tasks();
        const first = all.begin();
        const second = all.begin();
        all.end(first);
        const during = [first.aborted, second.aborted];
        const cancelled = [all.cancel(), second.aborted, all.cancel()];
        const third = all.begin();
        all.end(third);
        return [during, cancelled, all.cancel(), third.aborted];"""
    )
    assert made == [[True, False], [True, True, False], False, False]
