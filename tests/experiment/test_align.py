"""Aligning a manifest: everything kept, failures listed, stopped and gone on, in parallel the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from undertone import audio
from undertone import manifest as manifests
from undertone.alignment.textgrid import write_textgrid
from undertone.cli.app import load
from undertone.errors import ConfigError
from undertone.experiment import align as stage
from undertone.experiment.align import align, reasons
from undertone.experiment.aligned import AlignmentRequest, Journal, Outcome
from undertone.judging.clip import Transcript
from undertone.types import DOUBT, Alignment, Segment, Utterance

TIERS = Alignment(word=(Segment("yes", 0.1, 0.4),), phone=(Segment("Y", 0.1, 0.2), Segment("EH1", 0.2, 0.4)))


@pytest.fixture
def given_manifest(tmp_path: Path) -> Path:
    """Three utterances, two of them with a TextGrid beside the recording."""
    utterances = []
    for name in ("a", "b", "c"):
        audio.save(tmp_path / f"{name}.wav", np.zeros(8000, np.float32))
        utterances.append(Utterance(name, str(tmp_path / f"{name}.wav"), text="Yes!"))
    for name in ("a", "b"):
        write_textgrid(tmp_path / f"{name}.TextGrid", TIERS, 0.5)
    manifests.write(tmp_path / "m.jsonl", utterances, manifests.Meta(corpus="table"))
    return tmp_path / "m.jsonl"


def test_given_boundaries_reach_the_manifest_and_failures_are_kept(given_manifest: Path) -> None:
    out = given_manifest.with_name("out.jsonl")
    summary = align(given_manifest, out, AlignmentRequest("given"))
    assert (summary.utterances, summary.aligned, list(summary.failed)) == (3, 2, ["c"])
    held = manifests.read(out)
    assert [u.id for u in held.utterances] == ["a", "b", "c"]
    first, _, last = (u.alignment for u in held.utterances)
    assert first is not None and first.word[0].chars == (0, 3) and len(first.syllable) == 1
    assert last is None
    step = held.meta.provenance[-1]
    assert step["stage"] == "align" and step["failed"] == {"c": "no boundaries are given for it"}
    assert not list(given_manifest.parent.glob("*.journal"))
    assert manifests.validate(held) == []


def test_the_same_reason_is_counted_once(given_manifest: Path) -> None:
    (given_manifest.parent / "b.TextGrid").unlink()
    summary = align(given_manifest, given_manifest.with_name("out.jsonl"), AlignmentRequest("given"))
    assert reasons(summary) == {"no boundaries are given for it": 2}


def test_what_was_stopped_goes_on(given_manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, seen = given_manifest.with_name("out.jsonl"), []
    work = stage._given

    def stopping(utterance: Utterance, find: object) -> Outcome:
        seen.append(utterance.id)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return work(utterance, find)  # type: ignore[arg-type]

    monkeypatch.setattr(stage, "_given", stopping)
    with pytest.raises(KeyboardInterrupt):
        align(given_manifest, out, AlignmentRequest("given"))
    assert not out.exists()
    with out.with_name("out.jsonl.journal").open("ab") as journal:
        journal.write(b'{"utterance": {"id": "b", "au')  # the line it was writing
    summary = align(given_manifest, out, AlignmentRequest("given"))
    assert summary.resumed == 1 and seen == ["a", "b", "b", "c"] and summary.aligned == 2


def test_another_request_starts_anew(given_manifest: Path) -> None:
    out = given_manifest.with_name("out.jsonl")
    request = AlignmentRequest("given", source=str(given_manifest.parent))
    out.with_name("out.jsonl.journal").write_text(AlignmentRequest("given").stamp() + "\n")
    assert align(given_manifest, out, request).resumed == 0
    assert request.stamp() != AlignmentRequest("given").stamp()


def test_an_unknown_aligner_or_setting_is_refused(given_manifest: Path) -> None:
    out = given_manifest.with_name("out.jsonl")
    with pytest.raises(ConfigError, match="given, sphinx, ctc, asr"):
        align(given_manifest, out, AlignmentRequest("mfa"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--model"):
        align(given_manifest, out, AlignmentRequest("ctc"))
    assert not list(out.parent.glob("*.journal"))


def test_a_recogniser_puts_its_words_in_place_of_the_transcript(
    given_manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = []

    class Fake:
        def __init__(self, name: str) -> None:
            self.name = name

        def transcripts(self, wave: list[object], names: list[str]) -> list[Transcript | None]:
            waves.extend(names)
            if len(waves) == 3:
                raise KeyboardInterrupt
            times = Alignment(word=(Segment(names[0], 0.1, 0.2),))
            return [Transcript(names[0], self.name, times) if names[0] != "b" else None]

    monkeypatch.setattr("undertone.experiment.recognised.Recogniser", Fake)
    out = given_manifest.with_name("read.jsonl")
    with pytest.raises(KeyboardInterrupt):
        align(given_manifest, out, AlignmentRequest("asr", "tiny"))
    summary = align(given_manifest, out, AlignmentRequest("asr", "tiny"))
    assert summary.resumed == 2 and waves == ["a", "b", "c", "c"] and summary.failed == {"b": "no words"}
    a, b, _ = manifests.read(out).utterances
    assert (a.text, a.text_source) == ("a", "tiny") and a.alignment is not None
    assert a.alignment.word[0].text == "a" and (b.text, b.alignment) == (None, None)


# ---- with the model -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sentences said, one of them with the other's transcript too, and what cannot be aligned."""
    pytest.importorskip("pocketsphinx")
    pytest.importorskip("espeakng_loader")
    from undertone.espeak import synthesise

    folder = tmp_path_factory.mktemp("spoken")
    texts = {
        "a": "We were walking home when the rain began to fall",
        "b": "Nobody told me about the meeting today",
    }
    utterances = []
    for name, text in texts.items():
        speech = synthesise(text)
        noise = np.random.default_rng(0).normal(0, 1e-3, len(speech.wave)).astype(np.float32)
        audio.save(folder / f"{name}.wav", speech.wave + noise, speech.rate)
        utterances.append(Utterance(name, str(folder / f"{name}.wav"), text=text))
    path = utterances[0].audio
    utterances += [
        Utterance("wrong", path, text="Basketball players usually exchange enormous shirts and shoes"),
        Utterance("silent", path),
        Utterance("german", path, text="Guten Tag", language="de"),
        Utterance("gone", str(folder / "gone.wav"), text="hello"),
        Utterance("hasty", path, end=0.2, text=texts["a"]),
        Utterance("part", path, start=0.0, end=None, text=texts["a"]),
    ]
    manifests.write(folder / "m.jsonl", utterances, manifests.Meta())
    return folder / "m.jsonl"


def test_sphinx_aligns_what_can_be_and_says_what_cannot(spoken: Path) -> None:
    summary = align(spoken, spoken.with_name("one.jsonl"), AlignmentRequest("sphinx"))
    assert set(summary.failed) == {"wrong", "silent", "german", "gone", "hasty"}
    assert summary.refused == ("wrong",) and summary.speed
    for name, part in {
        "silent": "no transcript",
        "german": "'de'",
        "gone": "gone.wav",
        "hasty": "too short",
    }.items():
        assert part in summary.failed[name]


def test_doubtful_times_are_kept_on_request_and_marked(spoken: Path) -> None:
    request = AlignmentRequest("sphinx", keep_doubtful=True)
    out = spoken.with_name("kept.jsonl")
    summary = align(spoken, out, request)
    assert set(summary.failed) == {"silent", "german", "gone", "hasty"}
    assert summary.kept == ("wrong",) and summary.refused == () and "wrong" in summary.doubtful
    held = manifests.read(out)
    kept = held.resolved()
    marked = {u.id: u.doubt for u in kept}
    assert {name for name, doubt in marked.items() if doubt is not None} == {"wrong"}
    wrong = next(u for u in kept if u.id == "wrong")
    assert wrong.alignment is not None and wrong.alignment.word[0].text == "basketball"
    assert wrong.extra == {DOUBT: wrong.doubt} and wrong.doubt is not None and 0 <= wrong.doubt < 0.5
    assert held.meta.provenance[-1]["kept_doubtful"] == 1
    assert request.stamp() != AlignmentRequest("sphinx").stamp()

    journal = Journal(out, request)  # a run that was stopped after it
    journal.path = spoken.with_name("kept.journal")
    with journal:
        journal.add(Outcome(wrong))
    source = manifests.read(spoken).resolved()
    assert journal.read(source)["wrong"].utterance.doubt == wrong.doubt

    align(out, spoken.with_name("given.jsonl"), AlignmentRequest("given"))
    assert sum(u.doubt is not None for u in manifests.read(spoken.with_name("given.jsonl")).utterances) == 1
    align(out, spoken.with_name("again.jsonl"), AlignmentRequest("sphinx"))
    again = {u.id: u for u in manifests.read(spoken.with_name("again.jsonl")).utterances}
    assert again["wrong"].alignment is None and again["wrong"].extra == {}


def test_two_processes_do_the_same_as_one(spoken: Path) -> None:
    align(spoken, spoken.with_name("alone.jsonl"), AlignmentRequest("sphinx"))
    done = []
    align(
        spoken,
        spoken.with_name("two.jsonl"),
        AlignmentRequest("sphinx"),
        jobs=2,
        watch=lambda n, of: done.append((n, of)),
    )
    assert spoken.with_name("two.jsonl").read_bytes() == spoken.with_name("alone.jsonl").read_bytes()
    assert done[-1] == (8, 8)


def test_the_command_closes_with_an_account(spoken: Path) -> None:
    out = spoken.with_name("cli.jsonl")
    run = CliRunner().invoke(load(), ["align", str(spoken), "--with", "sphinx", "--out", str(out)])
    assert run.exit_code == 0, run.output
    assert "3 of 8 aligned" in run.output and "times real time" in run.output and "wrong: " in run.output
    assert "1 seem another text; --keep-doubtful" in run.output
    run = CliRunner().invoke(
        load(), ["align", str(spoken), "--with", "sphinx", "--out", str(out), "--keep-doubtful"]
    )
    assert "4 of 8 aligned" in run.output and "1 kept below the gate: wrong" in run.output
    run = CliRunner().invoke(load(), ["align", str(spoken), "--with", "given", "--out", str(out), "--json"])
    assert json.loads(run.output)["aligned"] == 0
    run = CliRunner().invoke(
        load(), ["align", str(spoken), "--with", "sphinx", "--out", str(out), "--set", "gat=0"]
    )
    assert "did you mean 'gate'" in str(run.exception)
