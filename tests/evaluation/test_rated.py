"""CCC, several emotions, and votes of a run: by oracles, by coverage, and in the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undertone.evaluation import metrics, rated
from undertone.evaluation.report import render
from undertone.evaluation.results import evaluate
from undertone.evaluation.significance import interval_of, paired_of
from undertone.labels.rated import ccc
from undertone.types import Utterance

from .conftest import LABELS, make_run, people
from .test_raters import ask


def rate(rng: np.random.Generator, utterance: Utterance) -> Utterance:
    values = {"arousal": float(rng.uniform(1, 7)), "valence": float(rng.uniform(1, 7))}
    return replace(ask(rng, utterance), extra=utterance.extra | values)


def run_of(folder: Path, noise: float = 0.5, seed: int = 0, without: int = 0) -> Path:
    """A run that predicts arousal with this error, valence at random, and votes; some have no label."""
    rng = np.random.default_rng(seed)
    spoken = [rate(np.random.default_rng(i), u) for i, u in enumerate(people())]
    make_run(folder, utterances=spoken)
    by_id = {u.id: u for u in spoken}
    for path in sorted(folder.glob("*/*/predictions.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for n, row in enumerate(rows):
            extra = by_id[row["id"]].extra
            arousal = float(extra["arousal"]) + rng.normal(0, noise)
            row["dimensions"] = {"arousal": arousal, "valence": float(rng.uniform(1, 7))}
            row["several"] = row["probabilities"]
            row["truth"] = None if n < without else row["truth"]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def by_hand(run: Path, name: str) -> float:
    """CCC over all folds, seeds averaged, from the files."""
    facts = {r["id"]: r for r in map(json.loads, (run / "facts.jsonl").read_text().splitlines())}
    values = []
    for seed in ("0", "1"):
        rows = [
            json.loads(line)
            for path in run.glob(f"*/{seed}/predictions.jsonl")
            for line in path.read_text().splitlines()
        ]
        pairs = np.array([[facts[r["id"]]["ratings"][name], r["dimensions"][name]] for r in rows])
        values.append(ccc(pairs[:, 0], pairs[:, 1]))
    return float(np.mean(values))


def test_a_run_has_a_ccc_with_an_interval_for_each_dimension(tmp_path: Path) -> None:
    found = evaluate(run_of(tmp_path / "run")).rated
    assert found is not None
    assert set(found.ccc) == {"arousal", "valence"}
    for name, value in found.ccc.items():
        assert value.value == pytest.approx(by_hand(tmp_path / "run", name))
        assert -1 <= value.low < value.value < value.high <= 1
        assert value.units == 5
    assert found.ccc["arousal"].low > 0.8
    assert found.ccc["valence"].low < 0 < found.ccc["valence"].high
    assert len(found.folds["arousal"]) == 5


def test_utterances_without_a_label_are_scored(tmp_path: Path) -> None:
    found = evaluate(run_of(tmp_path / "run", without=3))
    assert len(found.run.predictions.ids) == 400 - 15
    assert found.rated is not None
    assert found.rated.votes == 400
    assert found.plain()["rated"]["ccc"]["arousal"]["units"] == 5


def test_the_better_run_is_better_by_a_paired_interval(tmp_path: Path) -> None:
    good, bad = (evaluate(run_of(tmp_path / n, e, int(e))).rated for n, e in (("good", 0.5), ("bad", 2.0)))
    assert good is not None and bad is not None
    gaps = rated.compare_rated(good, bad)
    assert set(gaps) == {"kl", "several", "ccc arousal", "ccc valence"}
    assert gaps["ccc arousal"].difference.low > 0
    assert gaps["ccc arousal"].p < 0.05
    assert gaps["ccc valence"].difference.low < 0 < gaps["ccc valence"].difference.high
    assert gaps["ccc arousal"].difference.value == pytest.approx(
        good.ccc["arousal"].value - bad.ccc["arousal"].value
    )
    same = rated.compare_rated(good, good)["kl"]
    assert (same.difference.value, same.p) == (0.0, 1.0)


def test_runs_of_other_utterances_are_not_compared(tmp_path: Path) -> None:
    one, fewer = (run_of(tmp_path / name) for name in ("one", "fewer"))
    for path in fewer.glob("*/*/predictions.jsonl"):  # as where utterances without agreement are dropped
        path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    both = [evaluate(folder).rated for folder in (one, fewer)]
    assert both[0] is not None and both[1] is not None
    assert both[0].tallies["kl"].shape == both[1].tallies["kl"].shape
    assert rated.compare_rated(both[1], both[0]) == {}


def test_intervals_of_ccc_cover_what_is_true() -> None:
    """Twelve speakers with a bias each; the true value is that of very many speakers."""
    rng = np.random.default_rng(4)

    def draw(speakers: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
        which = np.repeat(np.arange(speakers), 20)
        truth = rng.normal(0, 1, len(which))
        shift = rng.normal(0, 0.5, speakers)
        return truth, 0.7 * truth + shift[which] + rng.normal(0, 0.5, len(which)), [str(i) for i in which]

    truth, predicted, _ = draw(20_000)
    wanted = ccc(truth, predicted)
    inside = 0
    for _ in range(200):
        truth, predicted, units = draw(12)
        tallies = rated.moments(truth, predicted[None], units)
        made = interval_of(tallies, rated.concordance, nearest=1e-6, signed=True, draws=400)
        inside += made.low <= wanted <= made.high
    assert 0.90 <= inside / 200 <= 0.99


def test_the_tests_p_is_small_just_where_the_interval_leaves_out_zero() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        ours, theirs = (np.stack([rng.normal(0.2, 1, 9), np.ones(9)], 1) for _ in range(2))
        made = paired_of(ours, theirs, rated.mean)
        assert (made.p < 0.05) == (not made.difference.low <= 0 <= made.difference.high)


def test_several_emotions_as_scikit_learn_counts_them() -> None:
    sklearn: Any = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(6)
    truth, predicted = rng.random((50, 5)) > 0.6, rng.random((1, 50, 5)) > 0.6
    truth[:, 4] = predicted[:, :, 4] = False
    tallies = rated.confusions(truth, predicted, ["a", "b"] * 25)
    wanted = sklearn.f1_score(truth, predicted[0], average="macro", zero_division=0)
    assert float(rated.multilabel_f1(tallies.sum(0))) == pytest.approx(wanted)


def test_ccc_and_ua_are_those_of_audmetric() -> None:
    audmetric: Any = pytest.importorskip("audmetric")
    rng = np.random.default_rng(7)
    for shift in (0.0, 0.3, 2.0):
        truth = rng.normal(0, 1, 60)
        predicted = 0.6 * truth + shift + rng.normal(0, 0.5, 60)
        assert ccc(truth, predicted) == pytest.approx(audmetric.concordance_cc(truth, predicted))
        moments = rated.moments(truth, predicted[None], ["a"] * 30 + ["b"] * 30)
        assert float(rated.concordance(moments.sum(0))) == pytest.approx(ccc(truth, predicted))
    labels, guesses = rng.integers(0, 4, 80), rng.integers(0, 4, 80)
    wanted = audmetric.unweighted_average_recall(labels.tolist(), guesses.tolist())
    assert metrics.ua(labels, guesses, 4) == pytest.approx(wanted)


def test_the_report_shows_what_is_predicted_beside_the_class(tmp_path: Path) -> None:
    plain = make_run(tmp_path / "plain")
    render([plain], tmp_path / "plain.html")
    assert "Votes and dimensions" not in (tmp_path / "plain.html").read_text(encoding="utf-8")
    several = [run_of(tmp_path / "a"), run_of(tmp_path / "b", 1.5)]
    render([*several, plain], tmp_path / "both.html")
    for name in ("both.html", "both.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "Votes and dimensions" in text
        assert "CCC arousal" in text
        assert "EMO-SUPERB" in text
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert "rated and predicted arousal" in page
    assert page.count("votes down, prediction across") == 2
    assert LABELS[0] in page


def test_thresholds_of_the_run_take_the_place_of_one_over_c(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    even = evaluate(run).rated
    for path in sorted(run.glob("*/*/predictions.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            row["present"] = [name for name, p in row["several"].items() if p > 1 / len(LABELS) + 1e-9]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    same = evaluate(run).rated
    assert even and even.several and same and same.several and same.several.value == even.several.value
    for path in sorted(run.glob("*/*/predictions.jsonl")):
        rows = [json.loads(line) | {"present": []} for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    none = evaluate(run).rated
    assert none and none.several and none.several.value == 0


def test_a_rater_left_out_is_compared_with_the_others_as_the_prediction_is() -> None:
    raters = [[1.0, 2.0, 6.0], [4.0], [5.0, 7.0], []]
    predicted = np.array([[2.0, 9.0, 5.0, 9.0], [3.0, 9.0, 6.0, 9.0]])
    others = np.array([4.0, 3.5, 1.5, 7.0, 5.0])
    model, rater = rated.one_left_out(raters, predicted)
    assert rater == pytest.approx(ccc(others, np.array([1.0, 2.0, 6.0, 5.0, 7.0])))
    each = [ccc(others, row[[0, 0, 0, 2, 2]]) for row in predicted]
    assert model == pytest.approx(np.mean(each))


def test_the_report_states_a_raters_agreement_where_each_ones_ratings_are_known(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    rng = np.random.default_rng(0)
    rows = [json.loads(line) for line in (run / "facts.jsonl").read_text().splitlines()]
    for row in rows:
        row["raters"] = {"arousal": (row["ratings"]["arousal"] + rng.normal(0, 1, 5)).tolist()}
    (run / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = evaluate(run)
    assert result.rated is not None and set(result.rated.raters) == {"arousal"}
    model, rater = result.rated.raters["arousal"]
    assert model > rater > 0.5, "its error is half of a rater's"
    render([run], tmp_path / "report.html")
    assert "with all raters but one" in (tmp_path / "report.html").read_text(encoding="utf-8")
