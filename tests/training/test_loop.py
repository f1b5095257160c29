"""The loop finds a planted rule, keeps members apart, stops where it should, and is the same each time."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny import DIMENSIONS, Pair, Pooled, Tiny, dataset, recall
from torch import nn

from undertone.errors import TrainingError
from undertone.models.system import SystemConfig
from undertone.training.averaging import Average
from undertone.training.batching import plan_epoch
from undertone.training.config import TrainingConfig
from undertone.training.dataset import Dataset
from undertone.training.inference import infer
from undertone.training.loop import Fitted, fit, seed_everything
from undertone.training.optimizer import make_optimizer

SHORT = TrainingConfig(epochs=4, batch=8, rate=0.02)


def run(config: TrainingConfig = SHORT, seed: int = 0, dropout: float = 0.0, **more: Any) -> Fitted:
    seed_everything(seed)
    return fit(Tiny(dropout), dataset(48), dataset(30, 1), config, score=recall, seed=seed, **more)


def weights(fitted: Fitted) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in fitted.system.parameters()])


def test_the_planted_rule_is_found_on_unseen_data() -> None:
    fitted = run(TrainingConfig(epochs=20, batch=8, rate=0.02))
    answers = infer(fitted.system, dataset(60, 2))
    assert recall(answers.labels, answers.posteriors) > 0.95
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    first, again, other = run(dropout=0.2), run(dropout=0.2), run(seed=1, dropout=0.2)
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


def test_what_is_asked_comes_back_in_the_datasets_order() -> None:
    data = dataset(23)
    system = Tiny()
    answers = infer(system, data, batch=4)
    one_by_one = [system.eval()(data.batch(np.array([i]))).logits[0] for i in range(23)]
    assert answers.ids == list(data.ids)
    torch.testing.assert_close(torch.from_numpy(answers.logits), torch.stack(one_by_one).detach())


def test_the_best_epoch_is_kept_and_patience_ends_the_run() -> None:
    merits = iter([0.2, 0.5, 0.4, 0.4, 0.4, 0.9])

    def planned(labels: np.ndarray, posteriors: np.ndarray) -> float:
        if not hasattr(planned, "half"):
            planned.half = next(merits)  # type: ignore[attr-defined]
            return float(planned.half)  # type: ignore[attr-defined]
        value = planned.half  # type: ignore[attr-defined]
        del planned.half  # type: ignore[attr-defined]
        return float(value)  # asked twice an epoch: for the member, and for the record

    config = TrainingConfig(epochs=30, patience=3, batch=8, rate=0.02)
    fitted = fit(Tiny(), dataset(24), dataset(12, 1), config, score=planned)
    assert fitted.best_epoch == {"": 2}
    assert len(fitted.history) == 5
    assert [r["validation_ua"] for r in fitted.history] == [0.2, 0.5, 0.4, 0.4, 0.4]


def test_a_member_ends_where_it_would_have_ended_alone() -> None:
    config = TrainingConfig(epochs=6, batch=8, rate=0.05, clip=0.05)

    class Alone(Pair):
        def members(self) -> dict[str, nn.Module]:
            return {"first": self.first}

    def member(kind: type[Pair]) -> tuple[torch.Tensor, Fitted]:
        torch.manual_seed(5)
        system = kind(Pooled(), Pooled())
        if kind is Alone:
            system.weights = {"first": 1.0, "second": 0.0}
        fitted = fit(system, dataset(40), dataset(15, 1), config, score=recall)
        return torch.cat([p.detach().flatten() for p in system.first.parameters()]), fitted

    (together, both), (alone, _) = member(Pair), member(Alone)
    torch.testing.assert_close(together, alone)
    assert set(both.best_epoch) == {"first", "second"}


def test_members_are_combined_by_their_validation_posteriors() -> None:
    system = Pair(Pooled(), Pooled())
    fitted = fit(system, dataset(24), dataset(12, 1), SHORT, score=recall)
    assert system.mix.tolist() == pytest.approx([0.9, 0.1])
    assert fitted.validation is not None
    torch.testing.assert_close(
        torch.from_numpy(fitted.validation.logits), torch.from_numpy(infer(system, dataset(12, 1)).logits)
    )


def test_without_a_validation_side_the_last_epoch_counts() -> None:
    fitted = fit(Tiny(), dataset(24), None, SHORT)
    assert fitted.best_epoch == {"": 4} and fitted.validation is None


def test_averaged_weights_are_the_mean_in_which_later_steps_count_for_more() -> None:
    module, seen = nn.Linear(3, 2), []
    average = Average(module, degree=1.0)
    for _ in range(6):
        with torch.no_grad():
            module.weight.normal_()
        average.follow()
        seen.append(module.weight.detach().clone())
    expected = sum((t + 1) * w for t, w in enumerate(seen)) / sum(range(1, 7))  # step t counts as t
    with average.in_place():
        torch.testing.assert_close(module.weight.detach(), expected)
    assert torch.equal(module.weight.detach(), seen[-1]), "training goes on with its own weights"


def test_averaging_changes_what_is_kept_and_not_how_it_is_trained() -> None:
    plain = run(SHORT)
    averaged = run(SHORT.model_copy(update={"averaging": 8.0}))
    assert [r["loss"] for r in plain.history] == [r["loss"] for r in averaged.history]
    assert not torch.equal(weights(plain), weights(averaged))
    last = fit(Tiny(), dataset(24), None, SHORT.model_copy(update={"averaging": 8.0}))
    assert not torch.equal(weights(last), weights(fit(Tiny(), dataset(24), None, SHORT)))


def test_accumulated_parts_give_the_step_of_the_whole_batch() -> None:
    def end(parts: int) -> torch.Tensor:
        torch.manual_seed(0)
        system = Tiny()
        system.weights["contrast"] = 0.0
        return weights(fit(system, dataset(48), None, SHORT.model_copy(update={"accumulate": parts})))

    torch.testing.assert_close(end(1), end(3), rtol=1e-4, atol=1e-6)


def test_frames_are_standardised_by_the_training_side_alone() -> None:
    train = dataset(30)
    fitted = fit(Tiny(), train, dataset(9, 1, noise=50.0), SHORT, score=recall)
    stacked = torch.from_numpy(np.concatenate([e.speech for e in train.examples if e.speech is not None]))
    torch.testing.assert_close(fitted.system.speech_mean, stacked.mean(0))
    torch.testing.assert_close(fitted.system.speech_std, stacked.std(0, correction=0))


def test_modality_dropout_takes_its_share_and_never_both() -> None:
    seen: list[torch.Tensor] = []

    class Spy(Tiny):
        def forward(self, batch, attention=False):  # type: ignore[no-untyped-def]
            seen.append(batch.present)
            return super().forward(batch, attention)

    fit(Spy(config=SystemConfig(modality_dropout=0.4)), dataset(300), None, SHORT)
    present = torch.cat(seen).float()
    assert present.sum(-1).min() == 1
    assert (1 - present.mean(0)).tolist() == pytest.approx([0.2, 0.2], abs=0.04)


def test_a_nan_stops_the_run_and_says_where() -> None:
    data = dataset(16)
    assert data.examples[5].speech is not None
    data.examples[5].speech[0, 0] = np.nan
    with pytest.raises(TrainingError, match=r"loss is nan in epoch 1 .*batch of 4: .*u5"):
        fit(Tiny(), data, None, TrainingConfig(batch=4, standardise=False))


def test_nothing_labelled_is_said_before_training() -> None:
    bare = Dataset([e.__class__(e.id, e.speech, e.text) for e in dataset(4).examples], DIMENSIONS)
    with pytest.raises(TrainingError, match="has a label"):
        fit(Tiny(), bare, None, SHORT)


def test_random_labels_give_chance() -> None:
    """A loop that leaks would find the labels; over 8 draws the mean recall stays at a third."""
    scores = []
    for draw in range(8):
        random = np.random.default_rng(draw)
        parts = []
        for size, seed in ((60, 10), (30, 11), (90, 12)):
            shuffled = [
                e.__class__(e.id, e.speech, e.text, label=int(random.integers(3)))
                for e in dataset(size, seed + draw).examples
            ]
            parts.append(Dataset(shuffled, DIMENSIONS))
        fitted = fit(Tiny(), parts[0], parts[1], SHORT, score=recall, seed=draw)
        answers = infer(fitted.system, parts[2])
        scores.append(recall(answers.labels, answers.posteriors))
    assert abs(np.mean(scores) - 1 / 3) < 3 * np.std(scores) / np.sqrt(8) + 0.01


def test_class_weights_reach_the_criterion() -> None:
    fitted = fit(Tiny(), dataset(25), None, SHORT.model_copy(update={"class_weights": True}))
    assert fitted.system.criterion.keywords["weight"].shape == (3,)  # type: ignore[attr-defined]


def test_the_sampling_is_what_the_config_says() -> None:
    data = dataset(30)
    assert len(np.concatenate(plan_epoch(data.lengths, data.classes, batch=8, sampling="balanced"))) == 30


def test_a_second_stage_is_balanced_unweighted_slow_and_begins_afresh() -> None:
    def trained(**settings: Any) -> Fitted:
        seed_everything(0)
        config = SHORT.model_copy(update={"class_weights": True, "second_rate": 1e-9, **settings})
        return fit(Tiny(), dataset(40), None, config)

    before, fitted = trained(epochs=2), trained(second_stage=2)
    assert [record["rate"] for record in fitted.history][2:] == pytest.approx([1e-9, 1e-9])
    assert fitted.system.criterion.keywords["weight"] is None  # type: ignore[attr-defined]
    assert before.history[1]["loss"] == fitted.history[1]["loss"], "the first stage ends as it does alone"
    assert [len(record) for record in fitted.history] == [len(record) for record in before.history] * 2
    torch.testing.assert_close(weights(fitted), weights(before), rtol=0, atol=1e-5)


def test_every_epoch_of_a_second_stage_has_a_fresh_optimizer(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.optim.Optimizer] = []

    def kept(system: Any, config: Any) -> torch.optim.Optimizer:
        made.append(make_optimizer(system, config))
        return made[0]

    monkeypatch.setattr("undertone.training.loop.make_optimizer", kept)
    fit(Tiny(), dataset(40), None, SHORT.model_copy(update={"batch": 10, "second_stage": 2}))
    counted = {int(slot["step"]) for slot in made[0].state.values()}
    rarest = int(np.bincount(dataset(40).classes).min())
    assert counted == {-(-3 * rarest // 10)}, "the steps of the last epoch alone"


def test_a_second_stage_draws_as_many_of_each_class(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, str, int]] = []

    def noted(lengths: Any, labels: Any, **options: Any) -> Any:
        plan = plan_epoch(lengths, labels, **options)
        seen.append((options["epoch"], options["sampling"], sum(map(len, plan))))
        return plan

    monkeypatch.setattr("undertone.training.loop.plan_epoch", noted)
    data = dataset(40)
    rarest = np.bincount(data.classes).min()
    fit(Tiny(), data, None, SHORT.model_copy(update={"second_stage": 3}))
    assert [one[1] for one in seen] == ["shuffle"] * 3 + ["undersampled"]
    assert seen[-1][2] == 3 * rarest < 40


def test_the_last_epoch_is_kept_where_that_is_wanted() -> None:
    """No epoch is chosen and none ends the training early, however the validation part scores."""

    def constant(_labels: np.ndarray, _posteriors: np.ndarray) -> float:
        return 0.5

    ends = {}
    for keep in ("best", "last"):
        config = TrainingConfig(epochs=6, patience=2, batch=8, rate=3.0, keep=keep)
        fitted = fit(Tiny(), dataset(24), dataset(12, 1), config, score=constant)
        ends[keep] = (fitted.best_epoch[""], len(fitted.history))
    assert ends["last"] == (6, 6)
    assert ends["best"][0] < 6
