"""The demo corpus on disk: the same bytes every time, and boundaries that are where the sound is."""

from __future__ import annotations

import hashlib
import json
import wave
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from undertone import espeak
from undertone.corpora.demo.corpus import Demo
from undertone.errors import ConfigError, MissingExtra
from undertone.types import Utterance

SIZE = 60


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Utterance]]:
    root = tmp_path_factory.mktemp("demo")
    return root, list(Demo(root, size=SIZE, workers=2).read())


def samples(utterance: Utterance) -> np.ndarray:
    with wave.open(utterance.audio) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768


def hashes(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*.*"))
    }


def test_one_worker_and_two_make_the_same_bytes_and_records(corpus, tmp_path: Path) -> None:
    root, utterances = corpus
    again = list(Demo(tmp_path, size=SIZE, workers=1).read())
    assert hashes(root) == hashes(tmp_path)
    assert [replace(u, audio="") for u in utterances] == [replace(u, audio="") for u in again]


def test_another_seed_is_another_corpus(corpus, tmp_path: Path) -> None:
    root, _ = corpus
    list(Demo(tmp_path, size=40, seed=1).read())
    mine = set(hashes(root).values())
    assert not mine & set(hashes(tmp_path).values())


def test_every_utterance_has_its_recording(corpus) -> None:
    root, utterances = corpus
    assert len(utterances) == SIZE == len(list(root.rglob("*.wav")))
    assert not list(root.rglob("*.part"))
    assert len({u.speaker for u in utterances}) == 10 and len({u.session for u in utterances}) == 5
    for u in utterances:
        wav = samples(u)
        assert Path(u.audio).is_absolute() and u.text_source == "gold"
        assert u.end == pytest.approx(len(wav) / 16000, abs=1e-4)
        assert np.abs(wav).max() < 0.99, "clipped"


def test_tiers_nest_and_stay_inside_the_recording(corpus) -> None:
    for u in corpus[1]:
        a = u.alignment
        assert a is not None and u.text is not None and a.tiers == ("word", "syllable", "phone")
        assert [w.text for w in a.word] == u.text.split()
        assert all(u.text[slice(*w.chars)] == w.text for w in a.word if w.chars)
        for tier in (a.word, a.syllable, a.phone):
            assert tier[0].start > 0 and tier[-1].end < u.end
            assert all(s.duration > 0 for s in tier)
            assert all(left.end <= right.start for left, right in pairwise(tier))
        for coarse, fine in ((a.word, a.syllable), (a.syllable, a.phone)):
            for whole in coarse:
                parts = [s for s in fine if whole.start <= s.start < whole.end]
                assert parts and parts[0].start == whole.start and parts[-1].end == whole.end
        assert all(sum(p[-1].isdigit() for p in s.text.split("-")) == 1 for s in a.syllable)


def test_speech_begins_and_ends_where_the_first_and_last_word_do(corpus) -> None:
    off = []
    for u in corpus[1]:
        if u.extra["snr"] < 25:
            continue
        power = np.convolve(samples(u) ** 2, np.ones(160) / 160, "same")
        words = u.alignment.word
        quiet = np.percentile(power[: int(words[0].start * 16000) - 160], 99)
        loud = np.flatnonzero(power > 4 * quiet) / 16000
        off += [abs(loud[0] - words[0].start), abs(loud[-1] - words[-1].end)]
    assert len(off) > 10 and np.median(off) < 0.03


def test_the_stressed_word_stands_out_from_its_neighbours(corpus) -> None:
    louder = []
    for u in corpus[1]:
        wav = samples(u)
        levels = [
            10 * np.log10(np.mean(wav[round(w.start * 16000) : round(w.end * 16000)] ** 2) + 1e-12)
            for i, w in enumerate(u.alignment.word)
            if i in u.extra["places"]
        ]
        louder.append(int(np.argmax(levels)) == u.extra["places"].index(u.extra["stressed"]))
    assert np.mean(louder) > 0.85


def test_the_card_states_seed_counts_and_ceilings(corpus) -> None:
    card = json.loads((corpus[0] / "card.json").read_text())
    assert (card["seed"], card["size"]) == (0, SIZE)
    assert sum(card["counts"]["label"].values()) == sum(card["counts"]["kind"].values()) == SIZE
    assert {"speech", "text", "late_fusion", "full_knowledge"} <= set(card["ceilings"])
    assert all(0.25 < c["ua"] <= 1.0 and c["knows"] for c in card["ceilings"].values())


def test_too_small_a_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 40"):
        Demo(tmp_path, size=10)


def test_without_espeak_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise MissingExtra("speech synthesis and pronunciation", "espeak")

    monkeypatch.setattr(espeak, "require", absent)
    with pytest.raises(MissingExtra):
        list(Demo(tmp_path / "made", size=40).read())
    assert not (tmp_path / "made").exists()
