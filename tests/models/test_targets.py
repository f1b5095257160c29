"""The losses of targets beside the class, by hand; and that what they reward is what the metrics count."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.models.synthetic import IDS, examples, make
from undertone.errors import ConfigError
from undertone.labels.rated import ccc, fit_thresholds, fractions, present, rated, to_scale, to_unit
from undertone.models.batch import collate
from undertone.models.example import dialogue
from undertone.models.table import build
from undertone.models.targets import Target, inputs, soft_cross_entropy, target_loss, target_terms


def test_divergence_is_zero_where_the_posterior_is_the_votes() -> None:
    shares = torch.tensor([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]])
    assert float(soft_cross_entropy(shares.clamp(min=1e-9).log(), shares)) == pytest.approx(0.0, abs=1e-6)
    even = soft_cross_entropy(torch.zeros(1, 3), torch.tensor([[0.5, 0.5, 0.0]]))
    assert float(even) == pytest.approx(math.log(3) - math.log(2))


def test_a_class_that_counts_more_makes_its_utterances_count_more() -> None:
    logits, shares = torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    plain = soft_cross_entropy(logits[:1], shares[:1])
    doubled = soft_cross_entropy(logits[:1], shares[:1], weight=torch.tensor([2.0, 1.0]))
    assert float(doubled) == pytest.approx(2 * float(plain))


def test_smoothing_mixes_the_votes_with_even_ones() -> None:
    smoothed = soft_cross_entropy(
        torch.tensor([[0.95, 0.05]]).log(), torch.tensor([[1.0, 0.0]]), smoothing=0.1
    )
    assert float(smoothed) == pytest.approx(0.0, abs=1e-6)


def test_the_loss_of_dimensions_is_one_minus_the_metric() -> None:
    random = np.random.default_rng(0)
    truth, mean = random.random((9, 2)).astype(np.float32), random.random((9, 2)).astype(np.float32)
    truth[3, 1] = np.nan
    system = make("concat")
    system.aim(Target(weights={"dimensions": 1.0}, dimensions=("arousal", "valence")))
    made = {"dimensions": torch.from_numpy(mean), "spread": torch.ones(9, 2)}
    loss = float(target_loss(system, "dimensions", made, torch.from_numpy(truth)))
    known = np.isfinite(truth)
    wanted = [1 - ccc(truth[known[:, c], c], mean[known[:, c], c]) for c in range(2)]
    error = np.square(truth - mean)[known].mean() / 2
    assert loss == pytest.approx(np.mean(wanted) + 0.1 * error, abs=1e-5)


def test_the_squared_error_is_an_option() -> None:
    truth = torch.tensor([[0.2, 0.4], [torch.nan, 0.9]])
    mean = torch.tensor([[0.5, 0.4], [0.1, 0.8]])
    system = make("concat")
    system.aim(Target(weights={"dimensions": 1.0}, dimensions=("arousal", "valence"), error="squared"))
    error = (0.3**2 + 0.0 + 0.1**2) / 3
    loss = target_loss(system, "dimensions", {"dimensions": mean, "spread": torch.ones(2, 2)}, truth)
    assert float(loss) == pytest.approx(error + 0.1 * error / 2, abs=1e-6)


def test_heads_read_the_posteriors_of_every_perspective() -> None:
    """Of ``unison`` the fused vector is one of three summands: without the others a head cannot know."""
    system = make("unison")
    system.aim(Target(weights={"dimensions": 1.0}, dimensions=("arousal",)))
    output = system(collate(examples(3), IDS))
    given = inputs(system, output, "")
    expected = [output.vectors["fused"]]
    expected += [4 * logits.softmax(-1) - 1 for logits in output.sides().values()]
    torch.testing.assert_close(given, torch.cat(expected, -1))
    (one,) = make("text").members()
    alone = make("probe both")
    alone.aim(Target(weights={"dimensions": 1.0}, dimensions=("arousal",)))
    made = alone(collate(examples(3), IDS))
    torch.testing.assert_close(inputs(alone, made, one), made.vectors["fused"])


def test_mixed_vectors_have_mixed_targets() -> None:
    system = make("deepser always mixed").train()
    system.aim(Target(weights={"distribution": 1.0, "dimensions": 2.0}, dimensions=("a",), error="squared"))
    random = np.random.default_rng(0)
    items = [
        replace(
            e, targets={"votes": random.dirichlet(np.ones(4)).astype("f4"), "ratings": np.float32([i / 8])}
        )
        for i, e in enumerate(examples(6))
    ]
    batch = collate(items, IDS)
    output = system(batch)
    terms = target_terms(system, output, batch)
    wanted = {"distribution target": 0.0, "dimensions target": 0.0}
    for name, (share, other) in output.mixed.items():
        made = output.targets[name]
        for i, j in enumerate(other.tolist()):
            own = float(share[i])
            votes = own * batch.targets["votes"][i] + (1 - own) * batch.targets["votes"][j]
            kl = (votes * (votes.log() - made["distribution"][i].log_softmax(-1))).sum()
            wanted["distribution target"] += kl.item() / 6
            rating = own * batch.targets["ratings"][i] + (1 - own) * batch.targets["ratings"][j]
            error, spread = (made["dimensions"][i] - rating).square().item(), made["spread"][i].item()
            wanted["dimensions target"] += (error + 0.1 * (math.log(spread) + error / (2 * spread**2))) / 6
    assert {k: v.item() for k, v in terms.items()} == pytest.approx(wanted, rel=1e-4)


def test_one_utterance_has_no_concordance_and_breaks_nothing() -> None:
    system = make("concat").train()
    system.aim(Target(weights={"dimensions": 1.0}, dimensions=("arousal",)))
    item = replace(examples(1)[0], targets={"ratings": np.array([0.5], np.float32)})
    batch = collate([item], IDS)
    (loss,) = target_terms(system, system(batch), batch).values()
    loss.backward()
    assert torch.isfinite(loss)


def test_votes_that_nobody_gave_do_not_count() -> None:
    system = make("concat")
    system.aim(Target(weights={"distribution": 1.0, "multilabel": 1.0}))
    items = [
        replace(e, targets={"votes": np.array(v, np.float32)})
        for e, v in zip(examples(2), ([0.5, 0.5, 0, 0], [np.nan] * 4), strict=True)
    ]
    both, one = collate(items, IDS), collate(items[:1], IDS)
    for name, loss in target_terms(system, system(both), both).items():
        torch.testing.assert_close(loss, target_terms(system, system(one), one)[name])


def test_turns_of_dialogues_have_targets_of_their_own() -> None:
    turns = [
        replace(
            e,
            speech=np.ones((1, 20), np.float32),
            text=np.ones((1, 12), np.float32),
            segments={},
            segment_word={},
            token_word=None,
            targets={"votes": np.eye(4, dtype=np.float32)[i]},
        )
        for i, e in enumerate(examples(4))
    ]
    sizes = replace(IDS, vocabulary=0, speech=20)
    batch = collate([dialogue("a", turns[:3], "xyx"), dialogue("b", turns[3:], "x")], sizes)
    assert batch.targets["votes"].shape == (2, 3, 4)
    assert torch.isnan(batch.targets["votes"][1, 1:]).all()
    system = build("perspective", {"level": "dialogue", "width": 16}, sizes)
    system.aim(Target(weights={"distribution": 1.0}))
    output = system(batch)
    assert output.targets[""]["distribution"].shape == (2, 3, 4)
    (loss,) = target_terms(system, output, batch).values()
    rows = torch.cat([output.targets[""]["distribution"][0], output.targets[""]["distribution"][1, :1]])
    torch.testing.assert_close(loss, soft_cross_entropy(rows, torch.eye(4)))


def test_a_target_needs_a_weight_and_a_known_name() -> None:
    for wrong in ({"weights": {}}, {"weights": {"class": 0.0}}, {"weights": {"mood": 1.0}}):
        with pytest.raises(ConfigError):
            Target.parse(wrong)


def test_scales_and_names() -> None:
    assert rated({"valence": 3, "activation": 2.5, "gender": "f"}) == {"arousal": 2.5, "valence": 3.0}
    assert to_unit(9.0, (1.0, 7.0)) == 1.0
    assert to_scale(to_unit(2.0, (1.0, 5.0)), (1.0, 5.0)) == 2.0
    assert np.isnan(fractions({"other": 2.0}, ("a", "b"))).all()
    assert present(np.array([0.25, 0.26, 0.24, 0.25])).tolist() == [False, True, False, False]


def test_no_other_threshold_has_a_better_f1() -> None:
    random = np.random.default_rng(0)
    shares = random.random((60, 3))
    there = shares + random.normal(0, 0.3, shares.shape) > [0.2, 0.6, 9.0]

    def f1(c: int, threshold: float) -> float:
        above = shares[:, c] > threshold
        return 2 * float((above & there[:, c]).sum()) / max(1, int(above.sum() + there[:, c].sum()))

    fitted = fit_thresholds(there, shares)
    for c in range(2):
        assert f1(c, fitted[c]) == max(f1(c, t) for t in np.linspace(0, 1, 2001))
    assert fitted[2] == pytest.approx(1 / 3), "an emotion that never occurs"
