"""Data as other tools keep it: written, read again, and read by the tools themselves where these are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from undertone import audio
from undertone import manifest as manifests
from undertone.corpora.exchange import Audformat, AudioFolder, HuggingFace, Kaldi, Lhotse, SpeechBrain
from undertone.errors import ConfigError, CorpusError
from undertone.experiment.prepare import prepare
from undertone.manifest.exchange import FORMATS, export
from undertone.types import Alignment, Segment, Utterance

theirs = pytest.mark.filterwarnings("ignore")
"""What other people's code warns of."""
FILES = ("huggingface", "speechbrain")


def recording(path: Path, seconds: float, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * 16_000))
    soundfile.write(path, wave, 16_000)
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Three whole clips and two stretches of one recording, with words of which two have times."""
    whole = [recording(tmp_path / "in" / f"c{n}.wav", 1 + n / 4, n) for n in range(3)]
    long = recording(tmp_path / "in" / "long.wav", 5.0, 9)
    labels = ("angry", "happy", "neutral")
    made = [
        Utterance(
            f"c{n}", str(path), speaker=f"s{n % 2}", text=f"wörter, \"{n}\" more", text_source="gold",
            label=labels[n], language="de", extra={"take": n, "room": "a b"},
        )
        for n, path in enumerate(whole)
    ]  # fmt: skip
    words = (Segment("good", 0.1, 0.4), Segment("day", 0.5, 0.9))
    for n, (start, end) in enumerate([(0.5, 2.0), (2.25, 4.5)]):
        made.append(
            Utterance(
                f"part-{n}", str(long), start, end, speaker="s3", text="good day", text_source="gold",
                label="sad", alignment=Alignment(word=words) if n else None,
            )
        )  # fmt: skip
    path = tmp_path / "in" / "m.jsonl"
    manifests.write(path, made, manifests.Meta("planted", None, ("angry", "happy", "neutral", "sad")))
    return path


def exported(manifest: Path, form: str, out: Path) -> Path:
    return export(manifests.read(manifest), form, out / "e.parquet" if form in FILES else out / "e")


def cut(manifest: Path) -> Path:
    """The manifest without stretches."""
    read = manifests.read(manifest)
    path = manifest.with_name("cut.jsonl")
    manifests.write(path, [u for u in read.resolved() if u.start is None], read.meta)
    return path


def same_speech(one: Utterance, other: Utterance) -> None:
    ours, theirs = (audio.load(u.audio, start=u.start, end=u.end) for u in (one, other))
    assert len(ours) == pytest.approx(len(theirs), abs=2)
    size = min(len(ours), len(theirs))
    assert np.abs(ours[:size] - theirs[:size]).max() < 1e-3


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_written_is_read_again(form: str, manifest: Path, tmp_path: Path) -> None:
    given = cut(manifest) if form == "speechbrain" else manifest
    out = exported(given, form, tmp_path)
    again = tmp_path / "again" / "m.jsonl"
    prepare(form, out, again, options={"media": str(tmp_path / "media")} if form == "huggingface" else {})
    before = {u.id: u for u in manifests.read(given).resolved()}
    after = {u.id: u for u in manifests.read(again).resolved()}
    if form == "audformat":  # has no ids
        by_words = {(b.text, b.label, round(b.start or 0.0, 3)): name for name, b in before.items()}
        after = {by_words[u.text, u.label, round(u.start or 0.0, 3)]: u for u in after.values()}
    assert after.keys() == before.keys()
    for name, one in before.items():
        other = after[name]
        assert (one.label, one.speaker, one.text) == (other.label, other.speaker, other.text)
        if form not in ("audformat", "kaldi"):
            assert one.language == other.language
            assert int(other.extra.get("take", -1)) == one.extra.get("take", -1)
        same_speech(one, other)


def test_word_times_come_back_from_lhotse(manifest: Path, tmp_path: Path) -> None:
    read = {u.id: u for u in Lhotse(exported(manifest, "lhotse", tmp_path)).read()}
    (last,) = (u for u in manifests.read(manifest).utterances if u.id == "part-1")
    assert last.alignment is not None
    made = read["part-1"].alignment
    assert made is not None
    for one, other in zip(last.alignment.word, made.word, strict=True):
        assert (one.text, one.start, one.end) == (
            other.text,
            pytest.approx(other.start),
            pytest.approx(other.end),
        )


def test_audiofolder_without_metadata_has_a_label_a_folder(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("joy", "rage"):
            recording(tmp_path / "d" / split / label / f"{split}{label}.wav", 1.0, 0)
    read = list(AudioFolder(tmp_path / "d", label_map={"joy": "happy", "rage": "angry"}).read())
    assert {(u.id, u.label, u.extra["split"]) for u in read} == {
        (f"{split}/{label}/{split}{label}", {"joy": "happy", "rage": "angry"}[label], split)
        for split in ("train", "test")
        for label in ("joy", "rage")
    }


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_audiofolder_has_a_metadata_file_a_folder(tmp_path: Path, suffix: str) -> None:
    for split in ("train", "validation"):
        recording(tmp_path / "d" / split / "a.wav", 1.0, 0)
        text = {
            ".csv": "file_name,emotion\na.wav,sad\n",
            ".jsonl": '{"file_name": "a.wav", "emotion": "sad"}\n',
        }
        (tmp_path / "d" / split / f"metadata{suffix}").write_text(text[suffix], encoding="utf-8")
    read = list(AudioFolder(tmp_path / "d").read())
    assert [(u.label, u.extra["split"]) for u in read] == [("sad", "train"), ("sad", "validation")]
    assert all(Path(u.audio).is_file() for u in read)


def test_classes_of_a_dataset_are_names_again_and_audio_wants_a_place(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    held = recording(tmp_path / "a.wav", 1.0, 0).read_bytes()
    features = {"audio": {"_type": "Audio"}, "label": {"names": ["sad", "happy"], "_type": "ClassLabel"}}
    table = pa.Table.from_pylist(
        [{"audio": {"bytes": held, "path": None}, "label": n} for n in (1, 0, -1)]
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    shard = tmp_path / "data" / "validation-00000-of-00001.parquet"
    shard.parent.mkdir()
    pq.write_table(table, shard)
    with pytest.raises(CorpusError, match="--set media=DIR"):
        list(HuggingFace(tmp_path / "data").read())
    read = list(HuggingFace(tmp_path / "data", media=str(tmp_path / "media")).read())
    assert [u.label for u in read] == ["happy", "sad", None]
    assert {u.extra["split"] for u in read} == {"validation"}
    assert Path(read[0].audio).read_bytes() == held


def test_a_huge_dataset_is_read_in_pieces(tmp_path: Path) -> None:
    """100,000 rows of 4 kB; what is in memory at a time is a small part of them."""
    import tracemalloc

    import pyarrow as pa
    import pyarrow.parquet as pq

    sound = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("audio", sound), ("label", pa.string())])
    held = np.random.default_rng(0).bytes(4000)
    path = tmp_path / "train.parquet"
    with pq.ParquetWriter(path, schema, compression="none") as file:
        row = {"audio": {"bytes": held, "path": "x.wav"}, "label": "sad"}
        piece = pa.Table.from_pylist([row] * 1000, schema=schema)
        for _ in range(100):
            file.write_table(piece)
    table = HuggingFace(path, media=str(tmp_path / "media"))
    table._recording = lambda value, name, _shard: name  # type: ignore[method-assign, misc, assignment]
    tracemalloc.start()
    try:
        count = sum(u.label == "sad" for u in table.read())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 100_000
    assert peak < 20e6


AUDFORMAT = """\
name: db
schemes:
  emotion: {dtype: str, labels: {A: angry, F: happy}}
  speaker: {dtype: str, labels: {1: {gender: female}}}
raters: {gold: {type: other}, r1: {type: human}, r2: {type: human}, r3: {type: human}}
splits: {dev: {type: dev}}
tables:
  files:
    type: filewise
    split_id: dev
    columns:
      emotion: {scheme_id: emotion, rater_id: gold}
      r1: {scheme_id: emotion, rater_id: r1}
      r2: {scheme_id: emotion, rater_id: r2}
      r3: {scheme_id: emotion, rater_id: r3}
  turns:
    type: segmented
    columns: {emotion: {scheme_id: emotion, rater_id: gold}}
"""


def test_audformat_has_votes_splits_names_and_both_kinds_of_tables(tmp_path: Path) -> None:
    (tmp_path / "db.yaml").write_text(AUDFORMAT, encoding="utf-8")
    (tmp_path / "db.files.csv").write_text("file,emotion,r1,r2,r3\na.wav,A,A,A,F\nb.wav,F,F,,F\n")
    (tmp_path / "db.turns.csv").write_text(
        "file,start,end,emotion\nc.wav,0 days 00:00:01.500000,0 days 00:01:00,A\n"
    )
    first, second, third = Audformat(tmp_path).read()
    assert (first.label, dict(first.votes)) == ("angry", {"angry": 2.0, "happy": 1.0})
    assert (second.label, dict(second.votes)) == ("happy", {"happy": 2.0})
    assert first.extra["split"] == "validation"
    assert (third.start, third.end, third.label) == (1.5, 60.0, "angry")
    assert [u.label for u in Audformat(tmp_path, table="turns").read()] == ["angry"]
    with pytest.raises(CorpusError, match="did you mean 'turns'"):
        list(Audformat(tmp_path, table="turn").read())
    (tmp_path / "db.turns.csv").rename(tmp_path / "db.turns.pkl")
    with pytest.raises(CorpusError, match="pickled"):
        list(Audformat(tmp_path).read())


def test_a_command_in_a_kaldi_folder_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("a touch /tmp/x |\n")
    with pytest.raises(CorpusError, match="commands are not run"):
        list(Kaldi(tmp_path).read())


def test_data_root_of_speechbrain_is_the_audio_root(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"u1": {"wav": "{data_root}/x/1.wav", "length": 1.0, "emo": "sad"}}))
    (read,) = SpeechBrain(path, audio_root="/data").read()
    assert (read.id, read.audio, read.label, read.extra) == ("u1", "/data/x/1.wav", "sad", {"split": "train"})


@pytest.mark.parametrize("reader", [AudioFolder, Audformat, Lhotse, Kaldi, HuggingFace, SpeechBrain])
def test_an_empty_folder_and_none_are_one_clear_line(reader: Any, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such folder"):
        reader(tmp_path / "none")
    with pytest.raises(CorpusError, match="holds no"):
        list(reader(tmp_path).read())


def test_a_folder_in_use_and_an_unknown_format_are_refused(manifest: Path, tmp_path: Path) -> None:
    read = manifests.read(manifest)
    with pytest.raises(ConfigError, match="holds something"):
        export(read, "kaldi", manifest.parent)
    with pytest.raises(ConfigError, match="did you mean 'lhotse'"):
        export(read, "lhotze", tmp_path / "x")
    double = replace(
        read, utterances=(read.utterances[0], replace(read.utterances[1], id=read.utterances[0].id))
    )
    with pytest.raises(ConfigError, match="same file name"):
        export(double, "audiofolder", tmp_path / "y")


@theirs
def test_audformat_itself_reads_what_was_written(manifest: Path, tmp_path: Path) -> None:
    audformat = pytest.importorskip("audformat", reason="audformat is not installed")
    table = audformat.Database.load(str(exported(manifest, "audformat", tmp_path)))["utterances"].get()
    assert sorted(table["emotion"].dropna()) == ["angry", "happy", "neutral", "sad", "sad"]
    ends = table.index.get_level_values("end").total_seconds()
    assert max(ends) == pytest.approx(4.5)


@theirs
def test_we_read_what_audformat_itself_writes(tmp_path: Path) -> None:
    audformat = pytest.importorskip("audformat", reason="audformat is not installed")
    made = audformat.Database("db")
    made.schemes["emotion"] = audformat.Scheme(labels=["angry", "sad"])
    made.raters["gold"] = audformat.Rater("other")
    index = audformat.segmented_index(["a.wav", "a.wav"], ["0s", "1.25s"], ["1.25s", "2s"])
    made["t"] = audformat.Table(index)
    made["t"]["emotion"] = audformat.Column(scheme_id="emotion", rater_id="gold")
    made["t"]["emotion"].set(["angry", "sad"])
    for form in ("csv", "parquet"):
        made.save(str(tmp_path / form), storage_format=form)
        read = list(Audformat(tmp_path / form).read())
        assert [(u.start, u.end, u.label) for u in read] == [(0.0, 1.25, "angry"), (1.25, 2.0, "sad")]


@theirs
def test_lhotse_itself_reads_what_was_written(manifest: Path, tmp_path: Path) -> None:
    lhotse = pytest.importorskip("lhotse", reason="lhotse is not installed")
    out = exported(manifest, "lhotse", tmp_path)
    recordings = lhotse.RecordingSet.from_jsonl(out / "recordings.jsonl.gz")
    supervisions = lhotse.SupervisionSet.from_jsonl(out / "supervisions.jsonl.gz")
    cuts = lhotse.CutSet.from_manifests(recordings, supervisions).trim_to_supervisions()
    lengths = {cut.supervisions[0].id: cut.load_audio().shape[1] for cut in cuts}
    for u in manifests.read(manifest).resolved():
        assert lengths[u.id] == pytest.approx(len(audio.load(u.audio, start=u.start, end=u.end)), abs=2)


@theirs
def test_datasets_itself_reads_what_was_written(manifest: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    shard = exported(manifest, "huggingface", tmp_path)
    made = datasets.Dataset.from_parquet(str(shard), cache_dir=str(tmp_path / "cache"))
    made = made.cast_column("audio", datasets.Audio(decode=False))
    assert made["label"][:] == [u.label for u in manifests.read(manifest).utterances]
    assert all(row["audio"]["bytes"] for row in made)
