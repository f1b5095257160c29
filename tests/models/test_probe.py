"""The probe is scikit-learn's logistic regression over pooled features; validation chooses its penalty."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from undertone.models.example import Dimensions, Example
from undertone.models.probe import Probe, ProbeConfig
from undertone.training.config import TrainingConfig
from undertone.training.dataset import Dataset
from undertone.training.inference import infer
from undertone.training.loop import fit

DIMS = Dimensions(classes=3, speech=6, text=4)
STRENGTHS = (0.01, 0.1, 1.0)


def examples(count: int, seed: int, noise: float = 1.0) -> list[Example]:
    """Clips whose class moves the mean of one dimension and the deviation of another."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        label = index % 3
        frames = rng.standard_normal((int(rng.integers(8, 20)), 6)).astype(np.float32)
        frames[:, 0] += 0.8 * label + noise * rng.standard_normal()
        frames[:, 1] *= 1 + 0.5 * label
        text = (rng.standard_normal((3, 4)) + 0.2 * label).astype(np.float32)
        made.append(Example(f"{seed}/{index}", speech=3 + 2 * frames, text=text, label=label))
    return made


def unweighted(labels: np.ndarray, posteriors: np.ndarray) -> float:
    return float((labels == posteriors.argmax(-1)).mean())


def fitted(sides: str = "speech", **training: object) -> tuple[Probe, Dataset, Dataset]:
    system = Probe(ProbeConfig(sides=sides, strengths=STRENGTHS), DIMS)  # type: ignore[arg-type]
    parts = Dataset(examples(90, 1), DIMS), Dataset(examples(60, 2), DIMS)
    fit(system, *parts, TrainingConfig(**training), score=unweighted)  # type: ignore[arg-type]
    return system, *parts


def vectors(dataset: Dataset) -> np.ndarray:
    return np.stack([np.concatenate([e.speech.mean(0), e.speech.std(0)]) for e in dataset.examples])  # type: ignore[union-attr]


def test_each_solution_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    _, train, validation = fitted()
    scaler = StandardScaler().fit(vectors(train))
    for number, strength in enumerate(STRENGTHS, 1):
        system = Probe(ProbeConfig(strengths=STRENGTHS), DIMS)
        fit(system, train, None, TrainingConfig(), ends={"": number})
        head = LogisticRegression(C=strength, tol=1e-8, max_iter=1000)
        head.fit(scaler.transform(vectors(train)), train.targets)
        wanted = head.predict_proba(scaler.transform(vectors(validation)))
        np.testing.assert_allclose(infer(system, validation).posteriors, wanted, atol=2e-3)


def test_the_validation_part_chooses_the_penalty() -> None:
    """All strengths are solved, however impatient the training; the best by validation is kept."""
    train, validation = Dataset(examples(90, 1), DIMS), Dataset(examples(60, 2), DIMS)
    system = Probe(ProbeConfig(strengths=STRENGTHS), DIMS)
    result = fit(system, train, validation, TrainingConfig(epochs=1, patience=1), score=unweighted)
    assert [record["epoch"] for record in result.history] == [1, 2, 3]
    scores = [record["validation_ua"] for record in result.history]
    assert scores[result.best_epoch[""] - 1] == max(scores)
    assert result.validation is not None
    assert unweighted(result.validation.labels, result.validation.posteriors) == max(scores)


@pytest.mark.parametrize("sides", ["speech", "text", "both"])
def test_it_learns_from_its_sides_alone(sides: str) -> None:
    system, _, validation = fitted(sides)
    batch = validation.batch(np.arange(60))
    assert unweighted(batch.labels.numpy(), system(batch).logits.detach().numpy()) > 0.45
    every = torch.ones(60, dtype=torch.bool)
    if sides != "both":
        none = system(batch.without(**{sides: every})).logits
        assert not none.any()


def test_class_weights_count() -> None:
    plain, weighted = fitted()[0], fitted(class_weights=True)[0]
    assert torch.allclose(
        plain.last.weight, weighted.last.weight, atol=1e-3
    )  # the classes are equally frequent
    rare = Dataset([e for e in examples(90, 1) if e.label or e.id.endswith(("0", "3"))], DIMS)
    counts = []
    for weights in (False, True):
        system = Probe(ProbeConfig(strengths=(0.01,)), DIMS)
        fit(system, rare, None, TrainingConfig(class_weights=weights), ends={"": 1})
        counts.append(int((infer(system, Dataset(examples(60, 2), DIMS)).posteriors.argmax(-1) == 0).sum()))
    assert counts[1] > counts[0]


@pytest.mark.parametrize("layers", [0, 2])
def test_two_frames_stand_for_all_frames(layers: int) -> None:
    """A head that takes mean and deviation may train on two frames a clip: its logits for all frames are
    those for the two."""
    from dataclasses import replace

    from undertone.features.assemble import two_frames

    dims = replace(DIMS, speech_layers=layers)
    whole = examples(60, 1)
    if layers:
        whole = [replace(e, speech=np.stack([e.speech, 3 * e.speech + 1])) for e in whole]  # type: ignore[operator]
    few = [replace(e, speech=two_frames(e.speech)) for e in whole]  # type: ignore[arg-type]
    system = Probe(ProbeConfig(strengths=STRENGTHS), dims)
    fit(system, Dataset(few, dims), None, TrainingConfig(), ends={"": 3})
    a, b = (infer(system, Dataset(part, dims)).logits for part in (whole, few))
    assert np.abs(a).max() > 1
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_no_seed_decides() -> None:
    weights = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        weights.append(fitted()[0].last.weight)
    assert torch.equal(*weights)
