"""From a corpus to a manifest: the counts that were published, alignments attached, nothing half-written."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trees import iemocap, meld, named
from trees.sound import silence
from undertone import audio, corpora, manifest
from undertone.errors import AudioError, ConfigError, CorpusError, LabelError, ManifestError
from undertone.experiment.prepare import open_corpus, prepare, spoken_parts
from undertone.judging import windows
from undertone.types import Alignment, Segment, Utterance


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return iemocap.write(tmp_path_factory.mktemp("iemocap"))


CLASSES = {
    None: {"angry": 10, "happy": 15, "sad": 10, "neutral": 15},
    "iemocap4-unmerged": {"angry": 10, "happy": 5, "sad": 10, "neutral": 15},
    "iemocap5": {"angry": 10, "happy": 15, "sad": 10, "neutral": 15, "frustrated": 5},
    "iemocap6": {"angry": 10, "happy": 5, "sad": 10, "neutral": 15, "excited": 10, "frustrated": 5},
    "all": {"angry": 10, "happy": 15, "sad": 10, "neutral": 15},
    "iemocap5+all": {"angry": 10, "happy": 15, "sad": 10, "neutral": 15, "frustrated": 5},
}


@pytest.mark.parametrize("labels", CLASSES)
def test_a_label_set_writes_just_its_utterances_and_all_keeps_every_turn(
    tree: Path, tmp_path: Path, labels: str | None
) -> None:
    done = prepare("iemocap", tree, tmp_path / "m.jsonl", labels=labels)
    held = manifest.read(tmp_path / "m.jsonl")
    assert done.labels == CLASSES[labels]
    assert Counter(u.label for u in held.utterances if u.label) == CLASSES[labels]
    assert len(held.utterances) == (60 if labels and "all" in labels else sum(CLASSES[labels].values()))
    assert held.meta.classes == tuple(CLASSES[labels])
    assert held.meta.label_set == ("iemocap4" if labels in (None, "all") else labels.split("+")[0])
    assert manifest.validate(held) == []


def _said(turn: Utterance) -> str | None:
    """The label in the corpus' own words: kept beside the class where it differs."""
    said: str | None = turn.extra.get("corpus_label", turn.label)
    return said


def test_what_the_corpus_said_is_kept_beside_the_class(tree: Path, tmp_path: Path) -> None:
    prepare("iemocap", tree, tmp_path / "m.jsonl", labels="all")
    turns = manifest.read(tmp_path / "m.jsonl").utterances
    assert {_said(u): u.label for u in turns} == {
        "ang": "angry", "hap": "happy", "exc": "happy", "sad": "sad", "neu": "neutral",
        "fru": None, "xxx": None,
    }  # fmt: skip


def test_votes_follow_the_label_set(tree: Path, tmp_path: Path) -> None:
    prepare("iemocap", tree, tmp_path / "m.jsonl")
    votes = {_said(u): u.votes for u in manifest.read(tmp_path / "m.jsonl").utterances}
    assert votes["ang"] == {"angry": 2.5, "neutral": 0.5}
    assert votes["exc"] == {"happy": 2.5, "neutral": 0.5}
    assert votes["neu"] == {"neutral": 3.0}


def test_the_corpus_own_alignment_is_attached(tree: Path, tmp_path: Path) -> None:
    prepare("iemocap", tree, tmp_path / "m.jsonl")
    for turn in manifest.read(tmp_path / "m.jsonl").utterances:
        assert turn.alignment is not None
        assert turn.alignment.tiers == ("word", "syllable", "phone")
        words = [w.text for w in turn.alignment.word]
        assert words == (turn.text or "").upper().strip(".").split(), "variant marks and silence are gone"
        assert all(
            turn.text[a:b].upper() == w.text for w in turn.alignment.word for a, b in [w.chars or (0, 0)]
        )  # type: ignore[index]
        phones = [p for w in words for syllable in iemocap.LEXICON[_plain(w)] for p in syllable]
        assert [p.text for p in turn.alignment.phone] == phones


def _plain(word: str) -> str:
    return next(w for w in iemocap.LEXICON if w.upper() == word)


def test_an_utterance_without_alignment_is_said_and_kept(tmp_path: Path) -> None:
    counts = {s: {"neu": 60} if s == 3 else c for s, c in iemocap.SMALL.items()}
    done = prepare("iemocap", iemocap.write(tmp_path / "tree", counts), tmp_path / "m.jsonl")
    assert f"1 utterances without alignment, the first: {iemocap.UNALIGNED}" in done.notes
    held = {u.id: u for u in manifest.read(tmp_path / "m.jsonl").utterances}
    assert held[iemocap.UNALIGNED].alignment is None
    assert sum(u.alignment is None for u in held.values()) == 1


def test_a_broken_boundary_file_is_said_and_its_utterance_kept(tmp_path: Path) -> None:
    root = iemocap.write(tmp_path / "tree")
    words = sorted(root.rglob("Ses01F_impro01_*.wdseg"))[0]
    words.write_text("SFrm EFrm SegAScr Word\n 12 oops -3 OH\n")
    done = prepare("iemocap", root, tmp_path / "m.jsonl", labels="all")
    assert any(
        n.startswith(f"1 alignments that cannot be read, the first: {words}, line 2") for n in done.notes
    )
    assert done.utterances == 60


def test_the_sidecar_tells_what_was_made_from_what(tree: Path, tmp_path: Path) -> None:
    done = prepare("iemocap", tree, tmp_path / "m.jsonl", labels="iemocap5")
    values = json.loads((tmp_path / "m.meta.json").read_text("utf-8"))
    assert values["corpus"] == "iemocap" and values["label_set"] == "iemocap5"
    assert tuple(values["notes"]) == done.notes
    assert "counts differ from a complete copy's: angry 10 for 1103" in " ".join(done.notes)
    (step,) = values["provenance"]
    assert (step["stage"], step["source"], step["labels"]) == ("prepare", str(tree), "iemocap5")


def test_preparing_twice_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        prepare("iemocap", tree, tmp_path / f"{name}.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert (tmp_path / "a.meta.json").read_bytes() == (tmp_path / "b.meta.json").read_bytes()


CORPORA = {
    "meld": (meld.write, 8),
    "ravdess": (named.write_ravdess, 4),
    "emodb": (named.write_emodb, 5),
    "cremad": (named.write_cremad, 5),
}


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("corpus", CORPORA)
def test_every_corpus_becomes_a_valid_manifest(tmp_path: Path, corpus: str, suffix: str) -> None:
    write, size = CORPORA[corpus]
    root = write(tmp_path / "Korpus für alle")
    done = prepare(corpus, root, tmp_path / f"m{suffix}")
    held = manifest.read(tmp_path / f"m{suffix}")
    assert done.utterances == len(held.utterances) == size
    assert manifest.validate(held) == []
    assert all(u.label in held.meta.classes and u.speaker and u.text for u in held.utterances)
    assert not Path(held.utterances[0].audio).is_absolute(), "audio beneath the manifest is relative to it"


def test_a_table_takes_its_labels_as_they_are_or_by_a_set(tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        silence(tmp_path / f"{name}.wav", 0.2)
    (tmp_path / "c.csv").write_text("audio,label\n1.wav,zest\n2.wav,angry\n3.wav,\n")
    done = prepare("table", tmp_path / "c.csv", tmp_path / "m.jsonl")
    assert done.labels == {"angry": 1, "zest": 1} and done.utterances == 3
    with pytest.raises(LabelError, match=r"1: label 'zest' is not mapped by label set 'demo4'"):
        prepare("table", tmp_path / "c.csv", tmp_path / "n.jsonl", labels="demo4")
    (tmp_path / "c.csv").write_text("audio,label\n1.wav,sad\n2.wav,angry\n3.wav,\n")
    done = prepare("table", tmp_path / "c.csv", tmp_path / "m.jsonl", labels="demo4")
    assert done.labels == {"angry": 1, "happy": 0, "sad": 1, "neutral": 0} and done.utterances == 2


def test_a_label_of_ones_own_that_looks_mistyped_is_noted(tmp_path: Path) -> None:
    silence(tmp_path / "a.wav", 0.5)
    rows = [f"u{i},a.wav,{label}" for i, label in enumerate(["happy"] * 5 + ["sad"] * 5 + ["hapy"])]
    (tmp_path / "t.csv").write_text("\n".join(["id,path,label", *rows]) + "\n")
    (note,) = prepare("table", tmp_path / "t.csv", tmp_path / "m.jsonl").notes
    assert "typing errors" in note and "u10: label 'hapy' (1): did you mean 'happy' (5)?" in note


def test_an_unlabelled_table_can_be_prepared_too(tmp_path: Path) -> None:
    silence(tmp_path / "1.wav", 0.2)
    (tmp_path / "c.csv").write_text("path\n1.wav\n")
    done = prepare("table", tmp_path / "c.csv", tmp_path / "m.jsonl")
    assert (done.utterances, done.labels) == (1, {})


# --- what is wrong stops, and leaves nothing -----------------------------------------------------


def _table(folder: Path, *rows: str) -> Path:
    silence(folder / "1.wav", 0.2)
    (folder / "c.csv").write_text("\n".join(["id,audio,label,start,end", *rows, ""]))
    return folder / "c.csv"


STOPS: dict[str, tuple[list[str], dict[str, Any], type[Exception], str]] = {
    "audio is gone": (["a,gone.wav,sad,,"], {}, AudioError, r"gone\.wav: no such file; .*audio_root"),
    "two are gone": (
        ["a,x.wav,sad,,", "b,y.wav,sad,,"],
        {},
        AudioError,
        r"x\.wav: no such file \(and 1 more\)",
    ),
    "an id stands twice": (["a,1.wav,sad,,", "a,1.wav,sad,,"], {}, CorpusError, "a: the id stands 2 times"),
    "it ends before it starts": (["a,1.wav,sad,0.1,0.05"], {}, CorpusError, "a: ends at 0.05 s, not after"),
    "nothing of the set": (
        ["a,1.wav,,,"],
        {"labels": "demo4"},
        CorpusError,
        "no utterance of label set 'demo4'",
    ),
    "it lies outside": (
        ["a,1.wav,sad,0.1,0.5"],
        {},
        AudioError,
        r"a: its times lie outside .*1\.wav, which has 0\.200 s",
    ),
    "no such addition": (["a,1.wav,sad,,"], {"labels": "demo4+some"}, ConfigError, r"after a set is \+all"),
    "no such set": (
        ["a,1.wav,sad,,"],
        {"labels": "demo5"},
        LabelError,
        r"no label set 'demo5': did you mean 'demo4'",
    ),
    "an option of another kind": (
        ["a,1.wav,sad,,"],
        {"options": {"columns": 3}},
        ConfigError,
        "table: --set columns: .* not 3",
    ),
    "no such option": (
        ["a,1.wav,sad,,"],
        {"options": {"seed": 1}},
        ConfigError,
        "table has no option 'seed'",
    ),
}


@pytest.mark.parametrize("stop", STOPS)
def test_what_is_wrong_stops_and_leaves_nothing(tmp_path: Path, stop: str) -> None:
    rows, settings, error, what = STOPS[stop]
    table = _table(tmp_path, *rows)
    with pytest.raises(error, match=what) as caught:
        prepare("table", table, tmp_path / "out" / "m.jsonl", **settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_no_manifests_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="a manifest's name ends in"):
        prepare("demo", tmp_path / "demo", tmp_path / "m.txt")
    assert list(tmp_path.iterdir()) == []


def test_videos_without_ffmpeg_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = meld.write(tmp_path / "meld")
    for clip in list(root.rglob("dia*.wav")):
        clip.rename(clip.with_suffix(".mp4"))
    monkeypatch.setattr("undertone.audio.ffmpeg.shutil.which", lambda name: None)
    with pytest.raises(AudioError, match=r"dia0_utt0\.mp4: .*install ffmpeg"):
        prepare("meld", root, tmp_path / "m.jsonl")
    assert not (tmp_path / "m.jsonl").exists()


def test_bad_recordings_can_be_left_out_and_are_said(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    table = _table(tmp_path, "a,1.wav,sad,,", "b,empty.wav,sad,,", "c,gone.wav,sad,,")
    done = prepare("table", table, tmp_path / "m.jsonl", skip_bad=True)
    assert done.utterances == 1
    assert done.notes == (f"2 recordings left out, the first: {tmp_path / 'empty.wav'}: is empty (0 bytes)",)


def test_an_unknown_corpus_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no corpus 'iemocup': did you mean 'iemocap'"):
        open_corpus("iemocup", tmp_path)


def test_every_corpus_in_the_table_can_be_opened(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("audio\n")
    (tmp_path / "c.jsonl").write_text("")  # what a folder of EmoBox holds
    (tmp_path / "labels_consensus_1.csv").write_text("FileName\n")  # what one of EMO-SUPERB holds
    for name in corpora.CORPORA:
        reader = open_corpus(name, tmp_path / "c.csv" if name == "table" else tmp_path)
        assert reader.name == name
        assert reader.notes == []


# --- the whole of IEMOCAP ------------------------------------------------------------------------

FULL = {"angry": 1103, "happy": 1636, "sad": 1084, "neutral": 1708}


@pytest.mark.slow  # writes 41,000 files: a complete copy's layout with its alignments
def test_a_complete_copy_gives_the_published_counts_in_time(tmp_path: Path) -> None:
    root = iemocap.write(tmp_path / "IEMOCAP_full_release", iemocap.FULL, words=11)
    before = time.process_time()
    done = prepare("iemocap", root, tmp_path / "m.jsonl")
    spent = time.process_time() - before
    held = manifest.read(tmp_path / "m.jsonl").utterances
    sessions = Counter(u.session for u in held)
    print(f"{len(held)} utterances prepared in {spent:.1f} s of CPU time")
    assert done.labels == FULL and len(held) == 5531
    assert [sessions[f"Ses0{s}"] for s in range(1, 6)] == [1085, 1023, 1151, 1031, 1241]
    assert not [note for note in done.notes if "complete copy" in note]
    assert sum(u.alignment is not None for u in held) == 5530
    assert spent < 15

    for labels, size in {"iemocap4-unmerged": 4490, "iemocap5": 7380, "iemocap6": 7380, "all": 10039}.items():
        done = prepare("iemocap", root, tmp_path / f"{labels}.jsonl", labels=labels)
        assert done.utterances == size
        assert not [note for note in done.notes if "complete copy" in note]


class _Loud:
    """Detects speech by energy: the network knows people, and these recordings are tones."""

    def __call__(self, steps: np.ndarray) -> np.ndarray:
        return (np.abs(steps).max(-1) > 0.01).astype(np.float32)


def test_silence_around_speech_can_be_left_out_as_predict_leaves_it_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "detector", _Loud)
    wave = np.zeros(4 * 16000, np.float32)
    wave[16000:24000] = wave[40000:48000] = 0.3 * np.sin(np.arange(8000) / 5)
    audio.save(tmp_path / "spoken.wav", wave)
    audio.save(tmp_path / "silent.wav", wave * 0)
    rows = "audio,label,speaker\nspoken.wav,angry,a\nsilent.wav,sad,b\n"
    (tmp_path / "clips.csv").write_text(rows, encoding="utf-8")
    prepare("table", tmp_path / "clips.csv", tmp_path / "clips.jsonl", spoken=True)
    spoken, silent = manifest.read(tmp_path / "clips.jsonl").resolved()
    assert spoken.start == pytest.approx(0.9, abs=0.05)
    assert spoken.end == pytest.approx(3.1, abs=0.05)
    assert (silent.start, silent.end) == (None, None)
    (step,) = json.loads((tmp_path / "clips.meta.json").read_text("utf-8"))["provenance"]
    assert step["options"] == {"spoken": True}
    # what predict judges of the recording begins and ends there, and a second time nothing more is left out
    again = spoken_parts([spoken])[0]
    assert again.start == pytest.approx(spoken.start, abs=0.11)
    # words stay whole, and keep their place in the recording
    word = Segment("early", 0.8, 1.2)
    held = spoken_parts([replace(spoken, start=0.0, end=None, alignment=Alignment(word=(word,)))])[0]
    assert held.start == pytest.approx(0.8)
    assert held.alignment is not None and held.alignment.word[0].start == pytest.approx(0.0)
