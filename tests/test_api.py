"""The names of ``undertone`` for programs: typed, as frames on request, watched, and from several threads."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import undertone
from tests.features import classifiers
from trees.sound import noise
from undertone import api
from undertone.api import fusing, scores
from undertone.api.frames import frame_of
from undertone.errors import DataError, MissingExtra, UsageError
from undertone.judging.fakes import FakeModel
from undertone.judging.predictor import Predictor

NAMES = (
    "load", "predict", "timeline", "study", "crossval", "report", "score", "fuse", "extract", "align",
    "audit", "prepare", "Prediction", "Utterance", "UndertoneError",
)  # fmt: skip


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for index in range(4):
        noise(tmp_path / f"{index}.wav", seconds=1.0, seed=index)
    return tmp_path


def test_fifteen_names_are_there_documented_and_typed() -> None:
    assert len(NAMES) == 15 and set(NAMES) <= set(undertone.__all__) == set(dir(undertone))
    for name in NAMES:
        thing = getattr(undertone, name)
        assert (inspect.getdoc(thing) or "").strip(), name
        if inspect.isfunction(thing):
            signature = inspect.signature(thing)
            assert signature.return_annotation is not inspect.Signature.empty, name
            assert all(p.annotation is not p.empty for p in signature.parameters.values()), name
    with pytest.raises(AttributeError, match="no attribute 'predictions'"):
        undertone.predictions  # noqa: B018


def test_recordings_are_predicted_watched_and_framed(clips: Path) -> None:
    pd = pytest.importorskip("pandas")
    model = Predictor(FakeModel())
    seen: list[tuple[int, int]] = []
    answers = undertone.predict(clips, model, watch=lambda done, total: seen.append((done, total)))
    assert [a.id for a in answers] == ["0.wav", "1.wav", "2.wav", "3.wav"]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    frame = undertone.predict([clips / "0.wav", clips / "1.wav"], model, frame=True)
    assert isinstance(frame, pd.DataFrame) and list(frame["label"]) == [a.label for a in answers[:2]]
    assert frame[list(model.labels)].sum(axis=1).to_numpy() == pytest.approx(1)
    cells = undertone.timeline(clips / "0.wav", model)
    assert cells and all(a.end <= b.start for a, b in pairwise(cells))
    assert len(undertone.timeline(clips / "0.wav", model, frame=True)) == len(cells)


def test_one_predictor_serves_several_threads(clips: Path) -> None:
    model = Predictor(FakeModel())
    alone = [model.predict(path).plain() for path in sorted(clips.glob("*.wav"))]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda path: model.predict(path).plain(), sorted(clips.glob("*.wav")) * 5))
    assert together == alone * 5


def test_scores_by_hand() -> None:
    values = undertone.score(["a", "a", "b", "b"], ["a", "b", "b", None], labels=["a", "b"])
    assert values["wa"] == values["ua"] == 0.5 and values["ece"] is None
    posteriors = [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]]
    soft = undertone.score(["a", "a", "b", "b"], posteriors, labels=["a", "b"], units=["s", "t", "s", "t"])
    assert soft["wa"] == 0.75 and soft["ece"] is not None
    low, high = soft["ua_interval"]
    assert low < 0.75 < high
    with pytest.raises(DataError, match="none of a, b: c"):
        undertone.score(["a"], ["c"], labels=["a", "b"])
    with pytest.raises(DataError, match=r"predictions of shape \(2, 2\)"):
        undertone.score(["a"], posteriors[:2], labels=["a", "b"])


def test_posteriors_are_fused_by_the_product_rule() -> None:
    a, b = np.array([[0.6, 0.4]]), np.array([[0.9, 0.1]])
    assert undertone.fuse_posteriors(a, b) == pytest.approx(np.array([[0.54, 0.04]]) / 0.58)
    assert undertone.fuse_posteriors(a, b, weights=[1, 0]) == pytest.approx(a)
    with pytest.raises(DataError, match="of one shape"):
        undertone.fuse_posteriors(a, b[:, :1])
    with pytest.raises(DataError, match="of one shape"):
        undertone.fuse_posteriors()


def test_classifiers_are_fused_as_by_the_command(tmp_path: Path) -> None:
    speech = classifiers.make("whisper", tmp_path / "speech")
    text = classifiers.make("bert", tmp_path / "text", classes=("Freude", "Trauer", "Wut"))
    lines: list[str] = []
    done = undertone.fuse(
        speech=speech, text=[text], out=tmp_path / "m", prior={"sad": 0.4}, say=lines.append
    )
    assert done.folder == tmp_path / "m" and done.labels == ("angry", "happy", "sad", "neutral")
    assert "    Wut -> angry" in lines and "lacks neutral" in done.notes[0]
    assert [one["classes"]["Wut"] for one in done.sides if one["side"] == "text"] == ["angry"]
    assert undertone.load(done.folder).predict(None, text="so good").modalities == ("text",)
    assert set(done.measured["milliseconds"]) == {str(speech), str(text)} and done.plain()["out"]
    with pytest.raises(UsageError, match="--budget needs labelled clips"):
        undertone.fuse(speech=speech, budget=5.0)
    pytest.importorskip("pandas")
    assert list(undertone.fuse(text=text).frame()["side"]) == ["text"]


def test_a_fusion_that_is_fitted_has_rows_of_scores() -> None:
    metrics = {n: {"ua": ua, "interval": [ua - 0.1, ua + 0.1]} for n, ua in (("untrained", 0.5), ("a", 0.4))}
    measured = {"milliseconds": {"a": 7.0}, "fusion": {"metrics": metrics}}
    one, fused = fusing.Fused(
        None, ("sad",), ({"side": "text", "given": "a", "classes": {}},), (), measured
    ).rows()
    assert (one["name"], one["ua"], one["ua_low"], one["milliseconds"]) == ("a", 0.4, pytest.approx(0.3), 7.0)
    assert (fused["name"], fused["side"], fused["ua_high"]) == ("untrained", "fused", 0.6)


def test_findings_are_a_frame(clips: Path) -> None:
    pytest.importorskip("pandas")
    lines = ["path,label,speaker", *(f"{i}.wav,{'sad' if i % 2 else 'happy'},s{i}" for i in range(4))]
    (clips / "c.csv").write_text("\n".join([*lines, "0.wav,sad,s9"]).replace("0.wav,sad", "4.wav,sad") + "\n")
    (clips / "4.wav").write_bytes((clips / "0.wav").read_bytes())
    done = undertone.prepare("table", clips / "c.csv", clips / "m.jsonl")
    assert done.utterances == 5
    seen: list[int] = []
    frame = undertone.audit(clips / "m.jsonl", watch=lambda done, _: seen.append(done), frame=True)
    assert seen == [1, 2, 3, 4, 5] and "identical" in " ".join(frame["says"])
    assert undertone.extract(clips / "0.wav", "acoustic")["0.wav"].ndim == 2


def test_without_pandas_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> object:
        if name == "pandas":
            raise ImportError
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match="'frames'"):
        frame_of([{"a": 1}])


def test_the_examples_in_the_docstrings_run() -> None:
    import doctest

    pytest.importorskip("undertone_starter")
    for module, least in ((api, 2), (scores, 1), (fusing, 2)):
        done = doctest.testmod(module)
        assert done.attempted >= least and not done.failed
