"""``paired``: its pairs, its sequence, and its two tasks against loops."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.models.synthetic import VECTORS, batch_of, make
from undertone.models.paired import PairedTasks, permuted


def _paired(**settings: object) -> PairedTasks:
    system = make("paired", VECTORS, **settings).requires_grad_(False)
    assert isinstance(system, PairedTasks)
    return system


@pytest.mark.parametrize("count", range(2, 9))
def test_pairs_leave_no_utterance_with_its_own_text(count: int) -> None:
    seen = set()
    for seed in range(40):
        order = permuted(count, torch.Generator().manual_seed(seed))
        assert sorted(order.tolist()) == list(range(count))
        assert all(i != j for i, j in enumerate(order.tolist()))
        assert torch.equal(order, permuted(count, torch.Generator().manual_seed(seed)))
        seen.add(tuple(order.tolist()))
    assert len(seen) > 1 or count == 2


def test_one_utterance_has_no_other_text() -> None:
    assert permuted(1).tolist() == [0] and permuted(0).tolist() == []
    system, batch = _paired(), batch_of(1, VECTORS)
    terms = system.terms(system(batch), batch)
    assert float(terms["match"]) == float(terms["sides"]) == 0.0


def test_both_tasks_are_those_of_a_loop_over_pairs_made_by_hand() -> None:
    """Each speech is put beside another's text in a batch of its own, and the whole network run on that."""
    system, batch = _paired(), batch_of(5, VECTORS)
    batch = replace(batch, labels=torch.tensor([0, 1, 0, -1, 2]))
    system.generator = torch.Generator().manual_seed(3)
    terms = system.terms(system(batch), batch)
    known = [0, 1, 2, 4]
    order = permuted(4, torch.Generator().manual_seed(3)).tolist()
    match, sides = [], []
    assert system.matched is not None and system.each is not None
    for i, j in enumerate(order):
        speech, text = known[i], known[j]
        mixed = replace(batch, text=batch.text.clone(), text_lengths=batch.text_lengths.clone())
        mixed.text[speech], mixed.text_lengths[speech] = batch.text[text], batch.text_lengths[text]
        h = system(mixed).vectors["fused"][speech]
        y, z = int(batch.labels[speech]), int(batch.labels[text])
        match.append(-float(system.matched(h).log_softmax(-1)[int(y == z)]))
        for head, label in zip(system.each, (y, z), strict=True):
            sides.append(-float(head(h).log_softmax(-1)[label]))
    assert float(terms["match"]) == pytest.approx(sum(match) / 4, rel=1e-4)
    assert float(terms["sides"]) == pytest.approx(sum(sides) / 8, rel=1e-4)


def test_a_layer_is_berts() -> None:
    """The same weights in torch's own post-norm layer give the same."""
    layer = _paired().stack[0]
    theirs = (
        torch.nn.TransformerEncoderLayer(16, 8, 64, 0.0, F.gelu, batch_first=True)
        .requires_grad_(False)
        .eval()
    )
    ours = dict(layer.named_parameters())
    bias = torch.cat([ours["attention.query.bias"], torch.zeros(16), ours["attention.value.bias"]])
    weight = torch.cat([ours[f"attention.{part}.weight"] for part in ("query", "key", "value")])
    theirs.load_state_dict(
        {
            "self_attn.in_proj_weight": weight,
            "self_attn.in_proj_bias": bias,
            "self_attn.out_proj.weight": ours["attention.out.weight"],
            "self_attn.out_proj.bias": ours["attention.out.bias"],
            **{f"linear1.{p}": ours[f"maps.0.{p}"] for p in ("weight", "bias")},
            **{f"linear2.{p}": ours[f"maps.2.{p}"] for p in ("weight", "bias")},
            **{f"norm{n + 1}.{p}": ours[f"norms.{n}.{p}"] for n in (0, 1) for p in ("weight", "bias")},
        }
    )
    x, mask = torch.randn(2, 5, 16), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()
    made = theirs(x, src_key_padding_mask=~mask)
    torch.testing.assert_close(layer(x, x, (mask, mask))[mask], made[mask], atol=1e-5, rtol=1e-5)


def test_the_sequence_is_speech_then_text_between_three_places() -> None:
    system, batch = _paired(), batch_of(2, VECTORS)
    kept: list[Tensor] = []
    system.stack[0].register_forward_pre_hook(lambda _m, inputs: kept.append(inputs[0]))
    system(batch)
    speech, text = system._placed(batch)
    T = speech.shape[1]
    for b in range(2):
        frames, tokens = int(batch.speech_lengths[b]), int(batch.text_lengths[b])
        row = kept[0][b]
        torch.testing.assert_close(row[0], system.side[0])
        torch.testing.assert_close(row[1 : frames + 1], speech[b, :frames])
        torch.testing.assert_close(row[T + 1], system.side[1])
        torch.testing.assert_close(row[T + 2 : T + 2 + tokens], text[b, :tokens])
        torch.testing.assert_close(row[-1], system.side[2])
        assert not row[frames + 1 : T + 1].any() and not row[T + 2 + tokens : -1].any()


def test_pairs_are_drawn_in_the_loss_alone() -> None:
    system, batch = _paired(), batch_of(8, VECTORS)
    assert torch.equal(system(batch).logits, system(batch).logits)

    def loss(seed: int) -> float:
        system.generator = torch.Generator().manual_seed(seed)
        return float(system.terms(system(batch), batch)["match"])

    assert loss(0) == loss(0) != loss(1)
