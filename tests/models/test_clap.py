"""``clap``: its losses by hand on three clips, its prompts, and class sets given as words."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models.synthetic import IDS, VECTORS, batch_of, make
from undertone.models.clap import Clap, matching_loss
from undertone.models.inputs import bag, prompts

COSINES = [[0.9, 0.1, -0.3], [0.2, 0.8, 0.0], [-0.5, 0.4, 0.6]]
ALIKE = [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]


def _softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(x) for x in row)
    return [math.exp(x) / total for x in row]


def _by_hand(alike: list[list[float]], scales: tuple[float, float], soft: bool) -> float:
    columns = [list(column) for column in zip(*COSINES, strict=True)]
    losses = []
    for scale, rows in zip(scales, (COSINES, columns), strict=True):
        for wanted, row in zip(alike, rows, strict=True):
            p = _softmax(wanted) if soft else [x / sum(wanted) for x in wanted]
            q = _softmax([scale * x for x in row])
            losses.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0))
    return sum(losses) / 6


@pytest.mark.parametrize("soft", [False, True])
def test_the_loss_of_three_clips_by_hand(soft: bool) -> None:
    ours = matching_loss(torch.tensor(ALIKE), torch.tensor(COSINES), torch.tensor([3.0, 7.0]), soft)
    assert float(ours) == pytest.approx(_by_hand(ALIKE, (3.0, 7.0), soft), rel=1e-5)


def test_a_softmax_of_zeros_and_ones_is_as_soft_as_stated() -> None:
    row = (torch.arange(32) < 8).float().softmax(0)
    assert float(row[0]) == pytest.approx(0.059, abs=5e-4) and float(row[-1]) == pytest.approx(
        0.022, abs=5e-4
    )


@pytest.mark.parametrize("mix", ["losses", "matrices"])
def test_emotion_and_gender_are_mixed_as_in_the_equations(mix: str) -> None:
    system, batch = make("clap", VECTORS, second="gender", mix=mix, alpha=0.7), batch_of(3, VECTORS)
    labels, genders = torch.tensor([2, 1, 2]), torch.tensor([[0], [0], [-1]])
    batch = replace(batch, labels=labels, targets={"gender": genders})
    output = system(batch)
    C = output.vectors["fused"] @ output.extra["classes"][labels].T
    emotion, gender = torch.tensor(ALIKE), torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]])
    scales = torch.tensor([1 / 0.07, 1 / 0.07])
    if mix == "losses":
        slow = 0.7 * matching_loss(emotion, C, scales) + 0.3 * matching_loss(gender, C, scales)
    else:
        slow = matching_loss(0.7 * emotion + 0.3 * gender, C, scales)
    torch.testing.assert_close(system.terms(output, batch)["match"], slow)


def test_the_prediction_is_the_prompt_of_the_largest_cosine() -> None:
    system, batch = make("clap", VECTORS).requires_grad_(False), batch_of(6, VECTORS)
    assert isinstance(system, Clap)
    output = system(batch)
    voice, classes = (
        output.vectors["fused"],
        torch.nn.functional.normalize(system.words(system.prompts), dim=-1),
    )
    for b in range(6):
        cosines = [float(voice[b] @ classes[c]) for c in range(4)]
        assert int(output.logits[b].argmax()) == cosines.index(max(cosines))
        assert output.logits[b].tolist() == pytest.approx([c / 0.07 for c in cosines], rel=1e-4, abs=1e-4)


def test_scales_stay_within_their_limits() -> None:
    system, batch = make("clap", VECTORS).requires_grad_(False), batch_of(2, VECTORS)
    assert isinstance(system, Clap)
    for given, limit in ((9.0, 100.0), (-3.0, 1.0)):
        system.log_scales.fill_(given)
        assert system._scales().tolist() == [limit, limit]
        assert float(system(batch).logits.abs().max()) <= limit


def test_other_classes_may_be_given_and_those_kept_keep_their_logits() -> None:
    system, batch = make("clap", IDS).requires_grad_(False), batch_of(3)
    assert isinstance(system, Clap)
    before = system(batch).logits
    own = system.prompts
    system.describe(torch.stack([own[2], torch.rand(30), own[0], own[1], torch.rand(30)]))
    after = system(batch).logits
    assert after.shape == (3, 5)
    torch.testing.assert_close(after[:, [2, 3, 0]], before[:, :3])


def test_a_prompt_is_the_share_of_its_ids_or_the_mean_of_its_vectors() -> None:
    shares = bag(np.array([3, 5, 3, 7]), IDS)
    assert shares[[3, 5, 7]].tolist() == [0.5, 0.25, 0.25] and float(shares.sum()) == 1.0
    vectors = np.arange(24, dtype=np.float32).reshape(2, 12)
    assert bag(vectors, VECTORS).tolist() == [(a + b) / 2 for a, b in vectors.T.tolist()]
    asked: list[str] = []

    def encode(text: str) -> np.ndarray:
        asked.append(text)
        return np.array([len(text)])

    made: Tensor = prompts(["sad", "happy"], encode, IDS)
    assert asked == ["emotion is sad", "emotion is happy"] and made.argmax(-1).tolist() == [14, 16]
