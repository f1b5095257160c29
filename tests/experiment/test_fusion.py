"""Fitting a fusion: it finds what is wrong with the sides, leaves what is right; few clips do not hurt."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.features import classifiers
from undertone import manifest as manifests
from undertone.errors import DataError, LabelError, ProtocolError
from undertone.evaluation import metrics
from undertone.experiment.fuse import Judged, Wishes, joined, make_sides, write_sides
from undertone.experiment.fusion import choose, fit, fit_sides, folds_of, logs_of, nested, untrained
from undertone.models.example import Dimensions
from undertone.models.sides import SideConfig, Sides, SidesConfig
from undertone.types import Utterance


def system(prior: tuple[float, ...] = ()) -> Sides:
    sides = tuple(SideConfig(name=s, side=s, classes=(0, 1, 2, 3)) for s in ("speech", "text"))
    return Sides(SidesConfig(members=sides, prior=prior), Dimensions(classes=4, speech=4, text=4)).eval()


def drawn(
    n: int,
    seed: int,
    confident: tuple[float, float] = (1.0, 1.0),
    prior: tuple[float, ...] = (0.25,) * 4,
    speakers: int = 10,
) -> Judged:
    """Sides whose true log likelihood ratios are known: normal logits around the class."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, n, p=prior)
    parts = []
    for scale in confident:
        logits = 2 * np.eye(4)[labels] + 2**0.5 * rng.standard_normal((n, 4))
        parts.append(torch.from_numpy((scale * logits).astype(np.float32)))
    who = np.array([f"s{i % speakers:02d}" for i in range(n)])
    return Judged(tuple(parts), torch.ones(2, n, dtype=torch.bool), torch.from_numpy(labels), who)


def loss(logs: torch.Tensor, data: Judged) -> float:
    return float(-logs.gather(-1, data.labels[:, None]).mean())


def ua(logs: torch.Tensor, data: Judged) -> float:
    return metrics.ua(data.labels.numpy(), logs.argmax(-1).numpy(), 4)


def test_the_fit_starts_at_the_system_itself() -> None:
    from undertone.judging.tensors import SIDES  # noqa: F401
    from undertone.models.batch import collate
    from undertone.models.example import Example

    data, one = drawn(5, 0), system((0.4, 0.3, 0.2, 0.1))
    examples = [
        Example(str(i), speech=data.parts[0][i : i + 1].numpy(), text=data.parts[1][i : i + 1].numpy())
        for i in range(5)
    ]
    batch = collate(examples, one.layout)
    torch.testing.assert_close(
        one(batch).logits.double(), logs_of(one, untrained(one), data), atol=1e-5, rtol=0
    )


def test_an_overconfident_side_is_cooled_and_calibrated_ones_stay() -> None:
    test = drawn(3000, 1, (1.0, 4.0))
    data = drawn(400, 2, (1.0, 4.0))
    best, _ = choose(system(), data)
    assert best.name != "untrained"
    values = fit(system(), data, best)
    before, after = logs_of(system(), untrained(system()), test), logs_of(system(), values, test)
    assert loss(after, test) < loss(before, test) - 0.1
    assert ua(after, test) > ua(before, test)
    data, test = drawn(400, 3), drawn(3000, 7)
    right, _ = choose(system(), data)
    after = logs_of(system(), fit(system(), data, right), test)
    assert loss(after, test) < loss(logs_of(system(), untrained(system()), test), test) + 0.01


def test_biases_find_most_of_what_a_known_prior_gains() -> None:
    prior = (0.05, 0.1, 0.15, 0.7)
    data, test = drawn(300, 4, prior=prior), drawn(4000, 5, prior=prior)
    best, _ = choose(system(), data)
    plain = loss(logs_of(system(), untrained(system()), test), test)
    oracle = plain - loss(logs_of(system(prior), untrained(system(prior)), test), test)
    fitted = plain - loss(logs_of(system(), fit(system(), data, best), test), test)
    assert oracle > 0.1
    assert fitted > 0.8 * oracle


def test_other_proportions_are_counted_where_speakers_are_few() -> None:
    """Five speakers are too few to show a gain of fitted biases; the classes can be counted all the same."""
    prior = (0.05, 0.15, 0.1, 0.7)
    data, test = drawn(200, 8, prior=prior, speakers=5), drawn(4000, 9, prior=prior)
    best, _ = choose(system(), data)
    assert best.counted
    right = [
        float((logs_of(one, values, test).argmax(-1) == test.labels).double().mean())
        for one, values in (
            (system(), untrained(system())),
            (system(prior), untrained(system(prior))),
            (system(), fit(system(), data, best)),
        )
    ]
    assert right[2] - right[0] > 0.8 * (right[1] - right[0]) > 0.01
    # the proportions as stated: nothing is counted
    assert not choose(system(prior), data)[0].counted


def test_forty_clips_do_not_hurt() -> None:
    points = []
    for seed in range(3):
        data, test = drawn(40, 10 + seed), drawn(2000, 50 + seed)
        best, _ = choose(system(), data)
        after, before = (logs_of(system(), v, test) for v in (fit(system(), data, best), untrained(system())))
        points.append(100 * (ua(after, test) - ua(before, test)))
    assert np.mean(points) > -1.0


def test_no_clip_is_judged_by_what_its_speaker_was_fitted_on() -> None:
    """Labels that belong to speakers alone are not learned: nested stays at chance, a fit on all does not."""
    data = drawn(200, 6, (0.0, 0.0), speakers=8)
    labels = torch.tensor([int(s[1:]) % 4 for s in data.speakers])
    data = Judged(data.parts, data.present, labels, data.speakers)
    folds = folds_of(data.speakers)
    assert np.stack(folds).sum(0).tolist() == [1] * 200
    for test in folds:
        assert not set(data.speakers[test]) & set(data.speakers[~test])
    assert ua(nested(system(), data), data) < 0.45


# ---- on a manifest -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    utterances = []
    for number in range(48):
        path = root / f"{number}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(6_000), 16_000)
        label = ("angry", "happy", "sad", "neutral")[number % 4]
        text = None if number % 6 == 5 else ("so good", "never again", "sad , sad", "what")[rng.integers(4)]
        utterances.append(Utterance(str(number), str(path), speaker=f"s{number % 5}", text=text, label=label))
    manifests.write(root / "m.jsonl", utterances, manifests.Meta("mine", None, ()))
    return root / "m.jsonl"


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    root = tmp_path_factory.mktemp("sides")
    return str(classifiers.make("hubert", root / "hubert")), str(classifiers.make("bert", root / "bert"))


def test_a_fitted_folder_keeps_honest_numbers(corpus: Path, names: tuple[str, str], tmp_path: Path) -> None:
    wishes = Wishes()
    made = joined(make_sides(names[:1], names[1:], wishes), wishes)
    fitted, more = fit_sides(made, corpus, wishes)
    write_sides(tmp_path / "model", fitted, more)
    card = json.loads((tmp_path / "model" / "card.json").read_text(encoding="utf-8"))
    assert card["fusion"]["clips"] == 48
    assert {"untrained", "fitted"} <= set(card["fusion"]["metrics"])
    low, high = card["fusion"]["metrics"]["fitted"]["interval"]
    assert low < card["fusion"]["metrics"]["fitted"]["ua"] < high
    assert card["protocol"]["split"] == "kfold-speaker"


def test_a_budget_leaves_out_what_is_missed_least(corpus: Path, names: tuple[str, str]) -> None:
    wishes = Wishes()
    made = joined(make_sides(names[:1], names[1:], wishes), wishes)
    fitted, more = fit_sides(made, corpus, wishes, budget=0.001)
    assert len(fitted.sides) == 1
    assert len(more["fusion"]["left_out"]) == 1


def test_too_few_clips_or_other_labels_or_a_known_corpus(
    corpus: Path, names: tuple[str, str], tmp_path: Path
) -> None:
    wishes = Wishes(trained={names[0]: ("mine",)})
    made = joined(make_sides(names[:1], [], wishes), wishes)
    with pytest.raises(ProtocolError, match="--allow-overlap"):
        fit_sides(made, corpus, wishes)
    whole = manifests.read(corpus).resolved()
    manifests.write(tmp_path / "few.jsonl", whole[:30], manifests.Meta("few", None, ()))
    with pytest.raises(DataError, match="30 labelled clips of these classes"):
        fit_sides(made, tmp_path / "few.jsonl", wishes)
    from dataclasses import replace

    odd = [replace(u, label="contempt") for u in whole]
    manifests.write(tmp_path / "odd.jsonl", odd, manifests.Meta("odd", None, ()))
    with pytest.raises(LabelError, match=r"its labels \(contempt\) are none of the classes"):
        fit_sides(made, tmp_path / "odd.jsonl", wishes)


def test_stress_takes_the_folder(corpus: Path, names: tuple[str, str], tmp_path: Path) -> None:
    from undertone.experiment.stress import stress_model

    write_sides(tmp_path / "model", joined(make_sides(names[:1], names[1:], Wishes()), Wishes()))
    seen: list[tuple[int, int]] = []
    sweeps = stress_model(tmp_path / "model", corpus, watch=lambda done, total: seen.append((done, total)))
    conditions = {row["at"] for rows in sweeps.values() for row in rows} - {"none", "whole", "nothing"}
    total = sweeps["added noise"][0]["n"] * len(conditions)
    assert seen[0] == (32, total) and seen[-1] == (total, total), "what several sweeps have is done once"
    assert list(sweeps) == ["added noise", "band", "missing", "transcript"]
    assert sweeps["added noise"][0] == sweeps["missing"][0] | {"at": "none"}
    assert sweeps["missing"][1]["n"] == 40
