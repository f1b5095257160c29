"""The perspective loss on cases worked by hand, and dialogues."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from undertone.errors import ConfigError
from undertone.models.batch import Batch, collate
from undertone.models.example import IGNORE, Dimensions, Example
from undertone.models.perspective import OPERATORS, Operation, PerspectiveConfig
from undertone.models.system import Output, System
from undertone.models.table import build

E = math.e
LOWEST, HIGHEST = math.log(E + 3) - 1, math.log(E + 3)
"""Of one term with four classes: all the belief on the label, and all of it on another class."""


def _system(**settings: Any) -> System:
    torch.manual_seed(0)
    dims = Dimensions(classes=4, speech=6, text=5)
    return build("perspective", {"width": 16, "dropout": 0.0} | settings, dims)


def _batch(labels: list[int]) -> Batch:
    rng = np.random.default_rng(0)
    items = [
        Example(str(i), rng.normal(size=(5, 6)).astype(np.float32), rng.normal(size=(3, 5)), label=y)
        for i, y in enumerate(labels)
    ]
    return collate(items, Dimensions(classes=4, speech=6, text=5))


def _sure(label: int) -> torch.Tensor:
    """Logits of ±50: a posterior of 1 for the label, in floating point."""
    return torch.where(torch.arange(4) == label, 50.0, -50.0)[None].requires_grad_()


def _terms(system: System, fused: torch.Tensor, labels: list[int]) -> dict[str, torch.Tensor]:
    return system.terms(Output(fused, speech=fused, text=fused), _batch(labels))


def test_the_limits_are_those_of_the_paper() -> None:
    assert pytest.approx(0.744, abs=5e-4) == LOWEST
    assert pytest.approx(1.744, abs=5e-4) == HIGHEST


@pytest.mark.parametrize(("believed", "limit"), [(2, LOWEST), (0, HIGHEST)], ids=["right", "wrong"])
def test_a_sure_system_sits_at_a_limit_where_the_gradient_vanishes(believed: int, limit: float) -> None:
    logits = _sure(believed)
    terms = _terms(_system(), logits, [2])
    assert {name: t.item() for name, t in terms.items()} == pytest.approx(
        dict.fromkeys(("fused", "speech", "text"), limit), abs=1e-6
    )
    sum(terms.values()).backward()
    assert logits.grad is not None and logits.grad.abs().max() < 1e-6


def test_value_and_gradient_on_a_case_worked_by_hand() -> None:
    """Two classes would do; four: z = (ln 3, 0, 0, 0), so p = (1/2, 1/6, 1/6, 1/6), label 0.

    q = softmax(p) has q₀ = 1 / (1 + 3 exp(-1/3)); the term is -ln q₀. Its slope in p is q - y, and
    in z it is p ⊙ (g - p·g).
    """
    z = torch.tensor([[math.log(3.0), 0.0, 0.0, 0.0]], requires_grad=True)
    term = _terms(_system(), z, [0])["fused"]
    q0 = 1 / (1 + 3 * math.exp(-1 / 3))
    assert term.item() == pytest.approx(-math.log(q0), abs=1e-6)
    term.backward()
    p = np.array([1 / 2, 1 / 6, 1 / 6, 1 / 6])
    q = np.exp(p) / np.exp(p).sum()
    g = q - np.array([1, 0, 0, 0])
    np.testing.assert_allclose(z.grad[0].numpy(), p * (g - p @ g), atol=1e-6)


def test_textbook_inputs_are_the_plain_cross_entropy() -> None:
    z = torch.tensor([[math.log(3.0), 0.0, 0.0, 0.0]])
    terms = _terms(_system(perspective_inputs="logits"), z, [0])
    assert terms["text"].item() == pytest.approx(math.log(2))


def test_terms_are_summed_over_the_batch_and_weighted_one_to_one_to_one() -> None:
    fused = torch.randn(3, 4)
    system = _system()
    summed = _terms(system, fused, [0, 1, 3])["fused"]
    singles = [_terms(system, fused[i : i + 1], [y])["fused"] for i, y in enumerate([0, 1, 3])]
    torch.testing.assert_close(summed, torch.stack(singles).sum())
    mean = _terms(_system(reduction="mean"), fused, [0, 1, 3])["fused"]
    torch.testing.assert_close(mean * 3, summed)
    assert system.weights == {"fused": 1.0, "speech": 1.0, "text": 1.0}
    assert set(system.reductions.values()) == {"sum"}
    assert _system(delta=0.3).weights == {"fused": 1.0, "speech": 0.3, "text": 0.3}
    assert _system(loss="single").weights == {"fused": 1.0}


def test_an_absent_side_has_no_term() -> None:
    system, batch = _system(), _batch([0, 1])
    gone = batch.without(text=torch.tensor([True, True]))
    assert system.terms(system(gone), gone)["text"].item() == 0.0


def test_an_absent_branch_adds_nothing_and_multiplies_by_one() -> None:
    speech, text = torch.randn(2, 4), torch.zeros(2, 4)
    only_speech = torch.tensor([[True, False]] * 2)
    for operator in ("add", "product", "gate"):
        fuse = Operation(PerspectiveConfig(operator=operator), 4)  # type: ignore[arg-type]
        torch.testing.assert_close(fuse(speech, text, only_speech), speech)


def test_attention_over_one_side_gives_it_all_the_weight() -> None:
    fuse = Operation(PerspectiveConfig(operator="attention"), 4).eval()
    speech, only_speech = torch.randn(2, 4), torch.tensor([[True, False]] * 2)
    assert fuse.shared is not None
    torch.testing.assert_close(fuse(speech, torch.zeros(2, 4), only_speech), fuse.shared(speech))


def test_the_vector_of_attention_is_random_fixed_and_saved() -> None:
    system = _system(operator="attention")
    assert "late.omega" in system.state_dict() and "late.omega" not in dict(system.named_parameters())
    many = Operation(PerspectiveConfig(operator="attention"), 5000).omega
    assert many.std().item() == pytest.approx(0.01, rel=0.05) and abs(many.mean().item()) < 1e-3


@pytest.mark.parametrize("level", ["utterance", "dialogue"])
def test_early_fusion_trains_three_terms(level: str) -> None:
    system = _system(level=level, stage="early")
    assert set(system.weights) == {"fused", "speech", "text"}
    assert set(_system(level=level, stage="early", loss="single").weights) == {"fused"}


def test_an_utterance_is_classified_by_one_map_of_its_pooled_vector() -> None:
    system = _system().eval()
    output = system(_batch([0, 1]))
    v_speech, v_text = output.vectors["fused"].chunk(2, -1)
    state = system.state_dict()
    for side, vector in (("speech", v_speech), ("text", v_text)):
        names = {k for k in state if k.startswith(f"{side}_classifier")}
        assert names == {f"{side}_classifier.last.weight", f"{side}_classifier.last.bias"}
        logits = vector @ state[f"{side}_classifier.last.weight"].T + state[f"{side}_classifier.last.bias"]
        torch.testing.assert_close(output.sides()[side], logits)
    assert _system(level="dialogue").state_dict().keys() >= {"speech_classifier.hidden.0.weight"}


def test_late_concatenation_has_no_bias() -> None:
    assert "late.join.bias" not in _system(operator="concat").state_dict()
    assert "late.join.bias" in _system(operator="concat", concat_bias=True).state_dict()


def test_frames_are_relative_to_their_own_utterance() -> None:
    """Louder or shifted frames give the same logits, unless the training part alone sets the scale."""
    batch = _batch([0, 1])
    moved = replace(batch, speech=batch.speech * torch.tensor([2.0, 0.5])[:, None, None] + 3.0)
    for normalise, same in (("utterance", True), ("training", False)):
        system = _system(normalise=normalise).eval()
        assert torch.allclose(system(batch).logits, system(moved).logits, atol=1e-4) is same


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"stage": "middle", "operator": "product"}, "stage"),
        ({"context": "past"}, "level"),
        ({"width": 10, "heads": 4}, "heads"),
        ({"level": "dialogue", "normalise": "utterance"}, "normalise"),
    ],
)
def test_contradictions_are_refused_by_name(settings: dict[str, Any], names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        PerspectiveConfig.parse(settings)


# -- dialogues --------------------------------------------------------------------------------------

TURNS = Dimensions(classes=4, speech=6, text=5)


def _dialogues(lengths: list[int], seed: int = 0) -> list[Example]:
    rng = np.random.default_rng(seed)
    return [
        Example(
            f"d{i}",
            speech=rng.normal(size=(n, 6)).astype(np.float32),
            text=rng.normal(size=(n, 5)).astype(np.float32),
            labels=rng.integers(-1, 4, size=n),
            ids=tuple(f"d{i}t{t}" for t in range(n)),
            speakers=np.arange(n) % 2,
        )
        for i, n in enumerate(lengths)
    ]


STAGES = [(stage, operator) for stage, operators in OPERATORS.items() for operator in operators]
each_stage = pytest.mark.parametrize(("stage", "operator"), STAGES)


@each_stage
@pytest.mark.parametrize("context", ["none", "past", "full"])
def test_a_dialogue_may_know_what_its_context_allows(stage: str, operator: str, context: str) -> None:
    system = _system(level="dialogue", context=context, stage=stage, operator=operator).eval()
    batch = collate(_dialogues([6]), TURNS)
    before = system(batch).logits[0]
    changed = batch.speech.clone()
    changed[:, 3] += 1.0
    moved = (system(type(batch)(**{**batch.__dict__, "speech": changed})).logits[0] - before).abs().amax(-1)
    seen = {"none": [3], "past": [3, 4, 5], "full": list(range(6))}[context]
    assert [t for t in range(6) if moved[t] > 1e-7] == seen


@each_stage
def test_dialogues_are_masked_where_they_end(stage: str, operator: str) -> None:
    system = _system(level="dialogue", stage=stage, operator=operator).eval()
    items = _dialogues([2, 5, 3])
    together = system(collate(items, TURNS))
    assert together.logits.shape == (3, 5, 4)
    alone = [system(collate([item], TURNS)) for item in items]
    for i, one in enumerate(alone):
        torch.testing.assert_close(
            together.logits[i, : one.logits.shape[1]], one.logits[0], atol=1e-5, rtol=0
        )
    whole = system.terms(together, collate(items, TURNS))["fused"]
    parts = [system.terms(o, collate([d], TURNS))["fused"] for o, d in zip(alone, items, strict=True)]
    torch.testing.assert_close(whole, torch.stack(parts).sum(), atol=1e-4, rtol=1e-5)


def test_every_parameter_of_a_dialogue_system_learns() -> None:
    system = _system(level="dialogue")
    batch = collate(_dialogues([3, 5]), TURNS)
    sum(system.terms(system(batch), batch).values()).backward()
    assert all(p.grad is not None and p.grad.any() for p in system.parameters())


def test_a_dialogue_of_unlabelled_turns_costs_nothing() -> None:
    item = _dialogues([3])[0]
    silent = type(item)(**{**item.__dict__, "labels": np.full(3, IGNORE)})
    system, batch = _system(level="dialogue"), collate([silent], TURNS)
    assert sum(system.terms(system(batch), batch).values()).item() == 0.0


def _without_speech(item: Example, turn: int, filling: float) -> Example:
    assert item.speech is not None
    present = np.ones((len(item.ids), 2), bool)
    present[turn, 0] = False
    speech = item.speech.copy()
    speech[turn] = filling
    return replace(item, speech=speech, turn_present=present)


@each_stage
@pytest.mark.parametrize("context", ["none", "past", "full"])
def test_a_turn_without_speech_enters_as_nothing(stage: str, operator: str, context: str) -> None:
    """Whatever stands at its place, and whatever frames are standardised by."""
    system = _system(level="dialogue", context=context, stage=stage, operator=operator).eval()
    item = _dialogues([5])[0]
    plain = system(collate([_without_speech(item, 0, 0.0)], TURNS))
    assert torch.isfinite(plain.logits).all()
    torch.testing.assert_close(system(collate([_without_speech(item, 0, 9.0)], TURNS)).logits, plain.logits)
    system.standardise(torch.full((6,), 3.0), torch.full((6,), 2.0))
    moved = replace(_without_speech(item, 0, 0.0), speech=2 * item.speech + 3)  # type: ignore[operator]
    torch.testing.assert_close(system(collate([moved], TURNS)).logits, plain.logits, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(
        system(collate([replace(moved, turn_present=None)], TURNS)).logits, plain.logits
    )


def test_a_turn_without_speech_has_no_speech_logits_and_no_speech_term() -> None:
    system = _system(level="dialogue").eval()
    item = replace(_dialogues([3])[0], labels=np.array([IGNORE, 2, IGNORE]))
    batch = collate([_without_speech(item, 1, 0.0)], TURNS)
    output = system(batch)
    assert output.speech is not None and output.text is not None
    assert not output.speech[0, 1].any() and output.speech[0, 0].any()
    torch.testing.assert_close(output.logits[0, 1], output.text[0, 1])
    terms = system.terms(output, batch)
    assert terms["speech"].item() == 0.0 and terms["text"].item() > 0 and terms["fused"].item() > 0
