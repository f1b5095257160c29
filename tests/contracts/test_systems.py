"""What every system keeps to, whichever way it fuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.models.synthetic import IDS, LAYERS, VARIANTS, VECTORS, batch_of, examples, make, total
from undertone.models.batch import collate
from undertone.models.example import Example
from undertone.models.folder import load, save
from undertone.models.system import Output
from undertone.models.table import SYSTEMS
from undertone.training.objective import losses

LABELS = ["angry", "happy", "sad", "neutral"]
each_variant = pytest.mark.parametrize("variant", VARIANTS)


def _heads(output: Output) -> dict[str, torch.Tensor]:
    """Everything per utterance that a forward says."""
    found = {"logits": output.logits, "speech": output.speech, "text": output.text, **output.members}
    return {k: v for k, v in (found | output.vectors).items() if v is not None}


def _assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_every_system_has_a_variant() -> None:
    assert {name for name, _ in VARIANTS.values()} == set(SYSTEMS)


@each_variant
@pytest.mark.parametrize("dims", [IDS, VECTORS, LAYERS], ids=["ids", "vectors", "layers"])
def test_outputs_are_finite_and_of_the_right_shape(variant: str, dims: object) -> None:
    system, batch = make(variant, dims), batch_of(5, dims)
    output = system(batch)
    assert output.logits.shape == (5, 4)
    assert all(torch.isfinite(v).all() for v in _heads(output).values())
    assert len(output.vectors["fused"]) == 5


@each_variant
@pytest.mark.parametrize("dims", [IDS, LAYERS], ids=["ids", "layers"])
def test_every_parameter_gets_a_gradient(variant: str, dims: object) -> None:
    system = make(variant, dims).train()
    # with as many of each class, even posteriors would give a bias no gradient
    total(system, batch_of(7, dims)).backward()
    silent = [name for name, p in system.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


@each_variant
def test_padding_changes_nothing(variant: str) -> None:
    system, items = make(variant), examples(6)
    together = _heads(system(collate(items, IDS)))
    for i, item in enumerate(items):
        alone = _heads(system(collate([item], IDS)))
        _assert_same(alone, {k: v[i : i + 1] for k, v in together.items()})


@each_variant
def test_a_system_reads_no_other_tiers_than_it_names(variant: str) -> None:
    system, batch = make(variant), batch_of(6, IDS)
    only = {name: segments for name, segments in batch.segments.items() if name in system.tiers}
    assert set(system.tiers) <= set(batch.segments)
    _assert_same(_heads(system(replace(batch, segments=only))), _heads(system(batch)))


@each_variant
def test_a_system_judges_by_its_sides_alone(variant: str) -> None:
    system, batch = make(variant), batch_of(6, IDS)
    every = torch.ones(6, dtype=torch.bool)
    unused = {side: every for side in ("speech", "text") if side not in system.sides}
    _assert_same(_heads(system(batch.without(**unused))), _heads(system(batch)))
    assert set(system(batch).sides()) <= {"fused", *system.sides}


@each_variant
def test_the_order_of_a_batch_changes_nothing(variant: str) -> None:
    system, items = make(variant), examples(6)
    order = [4, 0, 5, 2, 1, 3]
    there = _heads(system(collate(items, IDS)))
    back = _heads(system(collate([items[i] for i in order], IDS)))
    _assert_same(back, {k: v[order] for k, v in there.items()})


@each_variant
def test_what_is_masked_has_no_influence(variant: str) -> None:
    """Padding is overwritten with large numbers, and its gradient is 0."""
    system, batch = make(variant, VECTORS), batch_of(5, VECTORS)
    noise = torch.Generator().manual_seed(1)
    spoilt = replace(
        batch,
        speech=torch.where(batch.speech_mask[..., None], batch.speech, _noise(batch.speech, noise)),
        text=torch.where(batch.text_mask[..., None], batch.text, _noise(batch.text, noise)),
    )
    _assert_same(_heads(system(batch)), _heads(system(spoilt)))
    speech, text = spoilt.speech.requires_grad_(), spoilt.text.requires_grad_()
    total(system, spoilt).backward()
    for x, mask in ((speech, batch.speech_mask), (text, batch.text_mask)):
        assert x.grad is None or not x.grad[~mask].any()


def _noise(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return 100 * torch.randn(like.shape, generator=generator)


def _without(item: Example, side: str) -> Example:
    return (
        replace(item, speech=None, segments={}, segment_word={})
        if side == "speech"
        else replace(item, text=None)
    )


@each_variant
@pytest.mark.parametrize("side", ["speech", "text"])
def test_a_missing_modality_is_legal_and_leaves_the_others_alone(variant: str, side: str) -> None:
    system, items = make(variant), examples(6)
    mixed = [*items[:4], _without(items[4], side), _without(items[5], side)]
    whole, some = _heads(system(collate(items, IDS))), _heads(system(collate(mixed, IDS)))
    _assert_same({k: v[:4] for k, v in whole.items()}, {k: v[:4] for k, v in some.items()})
    assert all(torch.isfinite(v).all() for v in some.values())
    for few in ([mixed[4]], mixed[4:]):  # nobody in the batch has that side
        loss = total(system.train(), collate(few, IDS))
        assert torch.isfinite(loss)
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in system.parameters() if p.grad is not None)


@each_variant
@pytest.mark.parametrize("side", ["speech", "text"])
def test_taking_a_modality_away_is_as_never_having_had_it(variant: str, side: str) -> None:
    system, items = make(variant), examples(4)
    gone = torch.tensor([True, False, True, False])
    taken = collate(items, IDS).without(**{side: gone})
    never = collate([_without(e, side) if g else e for e, g in zip(items, gone, strict=True)], IDS)
    _assert_same(_heads(system(taken)), _heads(system(never)))


@each_variant
def test_the_side_that_is_left_decides(variant: str) -> None:
    """With the other side missing, the answer still depends on what is there."""
    system, items = make(variant), examples(2)
    for side, left in (("speech", "text"), ("text", "speech")):
        if left not in system.sides or (variant == "multilevel late-syllable" and side == "text"):
            continue
        first, second = system(collate([_without(e, side) for e in items], IDS)).logits
        assert not torch.allclose(first, second, rtol=0, atol=1e-6), left


@each_variant
def test_saving_and_loading_is_identity(variant: str, tmp_path: Path) -> None:
    system, batch = make(variant, LAYERS), batch_of(4, LAYERS)
    system.standardise(torch.full((10,), 0.3), torch.full((10,), 1.7))
    system.temperature.fill_(1.4)
    save(tmp_path / "model", system, {"labels": LABELS})
    loaded = load(tmp_path / "model")
    assert loaded.config == system.config and loaded.dimensions == LAYERS
    again = loaded.system(batch)
    for name, value in _heads(system(batch)).items():
        torch.testing.assert_close(_heads(again)[name], value, rtol=0, atol=0)
    assert torch.equal(loaded.system.posteriors(again.logits), system.posteriors(system(batch).logits))


@each_variant
def test_a_seed_fixes_training(variant: str) -> None:
    def trained() -> list[torch.Tensor]:
        system = make(variant, seed=3).train()
        optimizer = torch.optim.SGD(system.parameters(), lr=0.1)
        torch.manual_seed(7)
        for _ in range(2):
            optimizer.zero_grad()
            total(system, batch_of(6)).backward()
            optimizer.step()
        return [p.detach() for p in system.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(trained(), trained(), strict=True))


@each_variant
def test_half_precision_stays_finite(variant: str) -> None:
    system, batch = make(variant).train(), batch_of(6)
    with torch.autocast("cpu", torch.bfloat16):
        loss = total(system, batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in system.parameters() if p.grad is not None)


@each_variant
def test_every_term_moves_parameters_when_on_and_none_when_off(variant: str) -> None:
    """One step with a term switched off differs from one with it on; with all off nothing moves."""

    def moved(off: set[str]) -> list[torch.Tensor]:
        system = make(variant, seed=2)  # no dropout: only the terms differ
        if hasattr(system, "generator"):
            system.generator = torch.Generator().manual_seed(0)
        batch = batch_of(8)
        terms = losses(system, batch)
        on = [system.weights[name] * term for name, term in terms.items() if name not in off]
        if on:
            torch.stack(on).sum().backward()
            torch.optim.SGD(system.parameters(), lr=1.0).step()
        return [p.detach().clone() for p in system.parameters()]

    names = set(make(variant).weights)
    still, whole = moved(names), moved(set())
    assert any(not torch.equal(a, b) for a, b in zip(still, whole, strict=True))
    for name in names:
        less = moved({name})
        assert any(not torch.equal(a, b) for a, b in zip(less, whole, strict=True)), name


@each_variant
def test_attention_sums_to_one_over_what_is_real(variant: str) -> None:
    system, batch = make(variant), batch_of(5)
    looks = system(batch, attention=True).attention
    masks = {"frame": batch.speech_mask, "token": batch.text_mask}
    masks |= {name: tier.mask for name, tier in batch.segments.items()}
    for name, weights in looks.items():
        assert weights.shape == masks[name].shape
        assert not weights[~masks[name]].any()
        torch.testing.assert_close(weights.sum(1), torch.ones(5))
    assert not system(batch).attention


@each_variant
def test_members_are_disjoint_and_whole(variant: str) -> None:
    system = make(variant)
    members = system.members()
    owned = [p for member in members.values() for p in member.parameters()]
    assert len(owned) == len(set(owned)) == len(list(system.parameters()))
    answered = system(batch_of(3)).members
    assert set(members) == (set(answered) or {""})


def test_unlabelled_utterances_are_legal() -> None:
    items = [replace(e, label=-1) for e in examples(4)]
    for variant in VARIANTS:
        loss = total(make(variant).train(), collate(items, IDS))
        assert torch.isfinite(loss), variant
