"""What a worker does with a part, done here: the local rooms' answers, twice the same, in one file."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from undertone import manifest as manifests
from undertone.errors import DataError, ModelError
from undertone.experiment.align import align as align_here
from undertone.experiment.aligned import AlignmentRequest
from undertone.features.extract import extract as extract_here
from undertone.features.extract import read_speech
from undertone.features.speech import speech_encoder
from undertone.judging.fakes import FakeModel
from undertone.judging.inputs import recording_of
from undertone.judging.predictor import Predictor
from undertone.scale import align as aligning
from undertone.scale import extract as extracting
from undertone.scale import predict as predicting
from undertone.scale import stream
from undertone.scale.pack import pack
from undertone.scale.parts import open_source
from undertone.scale.results import check_folder, finished, read_results, result_files
from undertone.scale.stage import staged
from undertone.scale.workers import Workers
from undertone.store import Store
from undertone.types import Alignment, Segment

SETTINGS = {"name": "acoustic"}


def do(work: Any, source: Any) -> list[Any]:
    """All parts, one after the other, in this process."""
    make = work.start()
    done = []
    for part in source.parts:
        with staged(part) as rows:
            done.append(make(part, rows))
    return done


# ---- extraction --------------------------------------------------------------------------------------


def extraction(store: Path | str) -> extracting.Extracting:
    found = extracting._resolve(SETTINGS, None)
    assert isinstance(found, extracting.ResolvedEncoders)
    return extracting.Extracting("x", str(store), found)


def test_features_are_the_local_ones_packed_or_not(make_corpus: Any, tmp_path: Path) -> None:
    manifest = make_corpus(7)
    pack(manifest, str(tmp_path / "shards"), rows=3)
    encoder, here = speech_encoder("acoustic"), Store(tmp_path / "here")
    utterances = manifests.read(manifest).resolved()
    extract_here(utterances, here, encoder)
    for number, place in enumerate((manifest, tmp_path / "shards")):
        do(extraction(tmp_path / f"far{number}"), open_source(str(place), 3))
        there = Store(tmp_path / f"far{number}")
        assert there.keys() == here.keys()
        for utterance in utterances:
            expected = read_speech(here, utterance, encoder)
            np.testing.assert_array_equal(read_speech(there, utterance, encoder), expected)


def test_a_part_done_twice_is_there_once(make_corpus: Any, tmp_path: Path) -> None:
    source = open_source(str(make_corpus(5)), 2)
    first = do(extraction(tmp_path / "store"), source)
    assert [done.totals["computed"] for done in first] == [2, 2, 1]
    shards = sorted(p.name for p in (tmp_path / "store" / "shards").iterdir())
    assert len(shards) == 3
    work = extraction(tmp_path / "store")
    assert all(map(work.finished(), source.parts))
    again = do(work, source)  # as a worker does that was thought dead
    assert [done.totals["hits"] for done in again] == [2, 2, 1]
    assert sorted(p.name for p in (tmp_path / "store" / "shards").iterdir()) == shards
    assert Store(tmp_path / "store").verify() == []


def test_a_store_behind_a_url_gets_the_same_shards(make_corpus: Any, tmp_path: Path) -> None:
    source = open_source(str(make_corpus(3)), 2)
    do(extraction(tmp_path / "here"), source)
    do(extraction("memory://features"), source)
    from undertone.scale import places

    for shard in (tmp_path / "here" / "shards").iterdir():
        assert places.read(f"memory://features/shards/{shard.name}") == shard.read_bytes()
    assert json.loads(places.read("memory://features/store.json"))["schema"]
    assert all(map(extraction("memory://features").finished(), source.parts))


def test_a_clip_that_cannot_be_read_fails_alone(make_corpus: Any, tmp_path: Path) -> None:
    manifest = make_corpus(4)
    (manifest.parent / "2.wav").write_bytes(b"noise")
    done = do(extraction(tmp_path / "store"), open_source(str(manifest), 4))
    assert [one.id for one in done[0].failed] == ["u002"]
    assert str(manifest.parent / "2.wav") in done[0].failed[0].why
    assert len(Store(tmp_path / "store")) == 3


def test_a_machine_with_another_encoder_is_refused(tmp_path: Path) -> None:
    other = extracting.ResolvedEncoders(SETTINGS, None, ("another", None), ())
    with pytest.raises(ModelError, match="same image"):
        extracting.Extracting("x", str(tmp_path), other).start()


# ---- prediction --------------------------------------------------------------------------------------


@pytest.fixture
def fake_model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """Every model folder holds this; Ray's objects are the things themselves."""
    model = FakeModel()
    monkeypatch.setattr("undertone.judging.predictor.load_model", lambda _path: model)
    monkeypatch.setitem(__import__("sys").modules, "ray", SimpleNamespace(get=lambda thing: thing))
    return model


def judged(manifest: Path, model: FakeModel) -> list[str]:
    judge = Predictor(model)
    found = [judge.judge(recording_of(u)) for u in manifests.read(manifest).resolved()]
    return [json.dumps(one.plain(), ensure_ascii=False) + "\n" for one in found]


@pytest.mark.parametrize("packed", [False, True])
def test_answers_are_the_local_ones_in_the_order_of_the_source(
    make_corpus: Any, tmp_path: Path, fake_model: FakeModel, packed: bool
) -> None:
    manifest = make_corpus(7)
    place = pack(manifest, str(tmp_path / "shards"), rows=3).manifest if packed else str(manifest)
    work = predicting.Predicting("p", str(tmp_path / "out"), {"card.json": b""}, True, None, "none")
    do(work, open_source(place, 3))
    assert list(predicting.predictions(str(tmp_path / "out"))) == judged(manifest, fake_model)
    table = pq.read_table(tmp_path / "out")
    assert table.column_names == ["id", "label", "confidence", "prediction", "error"]


def test_what_cannot_be_judged_has_a_row_that_says_why(
    make_corpus: Any, tmp_path: Path, fake_model: FakeModel
) -> None:
    manifest = make_corpus(3)
    (manifest.parent / "1.wav").unlink()
    work = predicting.Predicting("p", str(tmp_path / "out"), {}, True, None, "none")
    do(work, open_source(str(manifest), 8))
    rows = list(read_results(str(tmp_path / "out")))
    assert [row["id"] for row in rows] == ["u000", "u001", "u002"]
    assert "1.wav: no such file" in rows[1]["error"]
    assert rows[1]["label"] is None
    assert len(list(predicting.predictions(str(tmp_path / "out")))) == 2


def test_lines_are_joined_and_the_shards_go(make_corpus: Any, tmp_path: Path, fake_model: FakeModel) -> None:
    manifest = make_corpus(5)
    parts = tmp_path / "out.jsonl.parts"
    do(predicting.Predicting("p", str(parts), {}, True, None, "none"), open_source(str(manifest), 2))
    predicting.join(str(parts), str(tmp_path / "out.jsonl"))
    assert (tmp_path / "out.jsonl").read_text("utf-8").splitlines(True) == judged(manifest, fake_model)
    assert not parts.exists()


def test_a_model_folder_travels_whole_and_stays_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "model" / "text").mkdir(parents=True)
    for name in ("card.json", "text/weights.bin", "done.json"):
        (tmp_path / "model" / name).write_text(name)
    files = predicting.pack_model(tmp_path / "model")
    there = predicting.unpack(files, tmp_path / "there")
    found = sorted(p.relative_to(there).as_posix() for p in there.rglob("*") if p.is_file())
    assert found == ["card.json", "text/weights.bin"]
    for name in ("../out", "/out"):
        with pytest.raises(Exception, match="holds no file"):
            predicting.unpack({name: b""}, tmp_path / "there")


# ---- alignment ---------------------------------------------------------------------------------------


def test_alignments_are_the_local_ones_and_shards_keep_their_recordings(
    make_corpus: Any, tmp_path: Path
) -> None:
    manifest = make_corpus(4)
    for number in (0, 1, 3):
        words = f"number {number} is {'LOUD' if number % 3 else 'quiet'}".split()
        rows = [f"{0.02 * i},{0.02 * (i + 1)},{word}" for i, word in enumerate(words)]
        text = "\n".join(f"u{number:03} 1 {row.replace(',', ' ')}" for row in rows)
        with (tmp_path / "given.ctm").open("a") as file:
            for row in text.splitlines():
                name, channel, start, end, word = row.split()
                file.write(f"{name} {channel} {start} {float(end) - float(start):.2f} {word}\n")
    request = AlignmentRequest("given", source=str(tmp_path / "given.ctm"))
    align_here(manifest, tmp_path / "here.jsonl", request)
    expected = manifests.read(tmp_path / "here.jsonl").resolved()

    pack(manifest, str(tmp_path / "shards"), rows=3)
    for place in (manifest, tmp_path / "shards"):
        out = tmp_path / f"out-{place.stem}"
        done = do(aligning.Aligning("a", str(out), request), open_source(str(place), 3))
        assert [one.id for part in done for one in part.failed] == ["u002"]
        found = list(aligning._utterances(str(out)))
        assert [u.alignment for u in found] == [u.alignment for u in expected]
        assert any(u.alignment for u in found)
        assert open_source(str(out), 3).utterances == 4
    for part in open_source(str(tmp_path / "out-shards"), 3).parts:
        with staged(part) as rows:
            assert all(one.recording for one in rows)


def test_doubtful_times_are_marked_and_counted_as_locally(
    make_corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from undertone.errors import TranscriptMismatch
    from undertone.experiment import align as stage

    class Stub:
        name = "stub"

        def align(self, wave: Any, rate: int, text: str) -> Alignment:
            alignment = Alignment(word=(Segment(text, 0.0, 0.1),))
            if "number 1 " in text:
                raise TranscriptMismatch("another text", alignment, 0.25)
            return alignment

    monkeypatch.setattr(stage, "_build", lambda request: Stub())
    manifest = make_corpus(3)
    request = AlignmentRequest("sphinx", keep_doubtful=True)
    here = align_here(manifest, tmp_path / "here.jsonl", request)
    out, source = str(tmp_path / "out"), open_source(str(manifest), 2)
    do(aligning.Aligning("a", out, request), source)
    there = aligning._summary(out, out, SimpleNamespace(utterances=3, resumed=0, seconds=0.0))
    assert here.kept == there.kept == ("u001",) and not there.failed and not there.refused
    assert [u.doubt for u in aligning._utterances(out)] == [None, 0.25, None]


# ---- the folder of results, and the account ----------------------------------------------------------


def test_a_folder_of_other_results_is_refused(make_corpus: Any, tmp_path: Path, fake_model: Any) -> None:
    source, out = open_source(str(make_corpus(4)), 2), str(tmp_path / "out")
    check_folder(out, source, "p")
    do(predicting.Predicting("p", out, {}, True, None, "none"), source)
    check_folder(out, source, "p")
    assert [finished(out, "p")(part) for part in source.parts] == [True, True]
    with pytest.raises(DataError, match="2 shards of other utterances, another model"):
        check_folder(out, source, "another model")
    with pytest.raises(DataError, match="choose another --out"):
        check_folder(out, open_source(str(make_corpus(4)), 3), "p")


def test_a_run_goes_on_with_what_is_missing(
    make_corpus: Any, tmp_path: Path, fake_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = open_source(str(make_corpus(9)), 2), str(tmp_path / "out")
    work = predicting.Predicting("p", out, {}, True, None, "none")
    do(work, source)
    for name in result_files(out)[1:3]:
        (tmp_path / "out" / name).unlink()
    numbers: list[int] = []

    def local(_ray: Any, parts: Any, *_: Any) -> Any:
        for part in parts:
            numbers.append(part.number)
            yield {
                "utterances": part.utterances,
                "failed": [],
                "totals": {"n": 1},
                "worker": "w",
                "began": 0,
            }

    monkeypatch.setattr(stream, "_stream", local)
    seen: list[tuple[int, int]] = []
    account = stream.run(None, source, work, Workers(), lambda done, total: seen.append((done, total)))
    assert numbers == [1, 2]
    assert account.resumed == 5
    assert account.totals == {"n": 2}
    assert seen == [(7, 9), (9, 9)]


def test_a_part_that_never_came_back_is_an_error(
    make_corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(str(make_corpus(4)), 2)
    monkeypatch.setattr(stream, "_stream", lambda *_: iter(()))
    with pytest.raises(DataError, match="0 of 4 utterances came back"):
        stream.run(None, source, extraction(tmp_path / "store"), Workers())
    monkeypatch.setattr(stream, "_stream", lambda *_: iter([{"problem": "no such encoder"}]))
    with pytest.raises(Exception, match="no such encoder"):
        stream.run(None, source, extraction(tmp_path / "store"), Workers())


def test_a_worker_that_cannot_start_reports_it_and_is_not_started_for_ever() -> None:
    class Broken:
        def start(self) -> Any:
            raise ModelError("no weights")

    actor = stream._Actor(Broken(), 1)  # type: ignore[arg-type]
    part = stream.WorkPart(0, "x", "lines", 0, 0, 0, "")
    (summary,) = actor({"part": [part.text()]})["summary"]
    assert json.loads(summary) == {"problem": "no weights"}
