"""``mmer``: its gate and pooling by hand, its losses against loops, and the second view of a batch."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.models.synthetic import IDS, VECTORS, batch_of, make
from undertone.models.characters import CHARACTERS, Characters, spelled
from undertone.models.contrast import of_equal_labels
from undertone.models.mmer import Mmer, _of_views
from undertone.models.unison import Unison
from undertone.models.views import DROPPED, GAIN, second_view
from undertone.training.objective import losses


def _mmer(variant: str = "mmer", **settings: object) -> Mmer:
    system = make(variant, VECTORS, **settings).requires_grad_(False)
    assert isinstance(system, Mmer)
    return system


@pytest.mark.parametrize("drawn", [False, True])
def test_gate_and_pooling_by_hand(drawn: bool) -> None:
    """One clip, position by position: the blocks' outputs are taken, all that joins them is done here."""
    system, batch = _mmer("mmer as drawn" if drawn else "mmer", pooling="max"), batch_of(1, VECTORS)
    taken: dict[str, Tensor] = {}
    for name in ("tokens_read", "tokens_again", "speech_input"):
        part = system.get_submodule(name)
        part.register_forward_hook(lambda _m, _i, out, n=name: taken.update({n: out[0]}))
    logits = system(batch).logits[0]
    q, r, H = taken["tokens_read"], taken["tokens_again"], taken["speech_input"]
    rows = []
    for token in range(len(q)):
        before = system.gate.weight @ torch.cat([r[token], q[token]]) + system.gate.bias
        g = torch.tensor([1 / (1 + math.exp(-value)) for value in before.tolist()])
        rows.append(r[token] * g if drawn else torch.cat([r[token], g * q[token]]))
    m = torch.tensor([max(column) for column in torch.stack(rows).T.tolist()])
    v = torch.tensor([max(column) for column in H.T.tolist()])
    z = torch.cat([v, system.down.weight @ m + system.down.bias])
    torch.testing.assert_close(logits, system.last.weight @ z + system.last.bias, atol=1e-5, rtol=1e-5)


def test_tokens_read_frames_and_frames_read_tokens() -> None:
    """Each block changes with the other side alone where it should."""
    system, batch = _mmer(), batch_of(3, VECTORS)
    taken: list[Tensor] = []
    system.frames_read.register_forward_hook(lambda _m, _i, out: taken.append(out))
    system(batch)
    system(replace(batch, text=batch.text + 1.0))
    assert not torch.allclose(taken[0], taken[1], atol=1e-3)
    system(batch.without(text=torch.ones(3, dtype=torch.bool)))
    alone = taken[2]
    system(replace(batch, text=batch.text + 1.0).without(text=torch.ones(3, dtype=torch.bool)))
    torch.testing.assert_close(taken[3], alone)


@pytest.mark.parametrize("published", [False, True])
def test_contrast_by_labels_is_that_of_loops(published: bool) -> None:
    torch.manual_seed(0)
    o, labels, tau = torch.randn(6, 3, dtype=torch.float64), [0, 1, 0, 2, 1, -1], 0.5
    fast = of_equal_labels(o, torch.tensor(labels), tau, published)
    known = [i for i, label in enumerate(labels) if label >= 0]
    if not published:
        o = torch.stack([row / row.norm() for row in o])
    losses_of: list[list[float]] = []
    for i in known:
        others = known if published else [j for j in known if j != i]
        scale = 1.0 if published else tau
        total = math.log(sum(math.exp(float(o[i] @ o[j]) / scale) for j in others))
        equal = [j for j in others if labels[i] == labels[j]]
        divisor = tau if published else 1.0
        losses_of.append([-(float(o[i] @ o[j]) / scale - total) / divisor for j in equal])
    if published:
        every = [x for row in losses_of for x in row]
        slow = sum(every) / len(every)
    else:
        means = [sum(row) / len(row) for row in losses_of if row]
        slow = sum(means) / len(means)
    assert float(fast) == pytest.approx(slow)


def test_the_published_temperature_is_a_factor() -> None:
    torch.manual_seed(0)
    o, labels = torch.randn(5, 3), torch.tensor([0, 1, 0, 1, 1])
    once, half = (of_equal_labels(o, labels, tau, published=True) for tau in (1.0, 0.5))
    torch.testing.assert_close(half, 2 * once)
    once, half = (of_equal_labels(o, labels, tau) for tau in (1.0, 0.5))
    assert not torch.allclose(half, 2 * once)


def test_contrast_of_views_by_hand() -> None:
    a, b = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0], [1.0, 1.0]])
    rows = [[3.0, 1.0], [0.0, 2.0]]  # products
    slow = sum(math.log(sum(map(math.exp, row))) - row[i] for i, row in enumerate(rows)) / 2
    assert float(_of_views(a, b, 1.0, published=True)) == pytest.approx(slow)
    h = math.sqrt(0.5)
    cosines = [[1.0, h], [0.0, h]]
    forth = sum(math.log(sum(map(math.exp, row))) - row[i] for i, row in enumerate(cosines)) / 2
    back = (
        sum(math.log(sum(map(math.exp, row))) - row[i] for i, row in enumerate(zip(*cosines, strict=True)))
        / 2
    )
    assert float(_of_views(a, b, 1.0, published=False)) == pytest.approx((forth + back) / 2)


def test_the_loss_of_characters_is_the_sum_over_all_paths() -> None:
    """Four frames, two characters: every path of frames that reads as the target, added up."""
    torch.manual_seed(0)
    layer, batch = Characters(3, 0.0).requires_grad_(False), batch_of(2, VECTORS)
    frames, target = torch.randn(2, 4, 3), torch.tensor([[2, 3], [4, 4]])
    batch = replace(batch, targets={"characters": target}, speech_lengths=torch.tensor([4, 3]))
    p = layer.out(frames).softmax(-1)
    slow = []
    for b, (wanted, length) in enumerate((([2, 3], 4), ([4, 4], 3))):
        total = 0.0
        for path in itertools.product((0, *set(wanted)), repeat=length):
            merged = [k for k, _ in itertools.groupby(path) if k]
            if merged == wanted:
                total += math.prod(float(p[b, t, k]) for t, k in enumerate(path))
        slow.append(-math.log(total))
    assert float(layer(frames, batch, "sum")) == pytest.approx(sum(slow), rel=1e-5)
    assert float(layer(frames, batch, "mean")) == pytest.approx(sum(slow) / 2 / 2, rel=1e-5)


def test_utterances_too_short_for_their_characters_do_not_count() -> None:
    layer, batch = Characters(3, 0.0).requires_grad_(False), batch_of(2, VECTORS)
    frames = torch.randn(2, 4, 3)
    batch = replace(batch, speech_lengths=torch.tensor([4, 2]))
    short = replace(batch, targets={"characters": torch.tensor([[2, 3], [4, 4]])})  # 4, 4 needs three frames
    none = replace(batch, targets={"characters": torch.tensor([[2, 3], [-1, -1]])})
    torch.testing.assert_close(layer(frames, short, "sum"), layer(frames, none, "sum"))
    assert float(layer(frames, none, "sum")) > 0
    empty = replace(batch, targets={"characters": torch.full((2, 2), -1)})
    assert float(layer(frames, empty, "mean")) == 0.0


def test_characters_are_letters_without_accents() -> None:
    assert "".join(CHARACTERS[i - 1] for i in spelled("Já, it’s\n  OVER; 50 Tüten!")) == "ja it's over  tuten"


# ---- the second view ---------------------------------------------------------------------------------


def test_a_view_is_fixed_by_its_generator_and_differs_from_the_batch() -> None:
    batch, std = batch_of(4), torch.full((10,), 2.0)
    kinds = ("gain", "noise", "speed", "words")

    def view(seed: int) -> Tensor:
        made = second_view(batch, kinds, std, torch.Generator().manual_seed(seed))
        assert made.speech_gate is not None and made.text_gate is not None
        return torch.cat([made.speech.flatten(), made.speech_gate.flatten(), made.text_gate.flatten()])

    assert torch.equal(view(0), view(0))
    one, other = view(0), view(1)
    assert one.shape != other.shape or not torch.equal(one, other)


def test_noise_is_of_the_frames_deviation_and_gain_within_its_limits() -> None:
    batch = batch_of(32, VECTORS)
    std = torch.tensor([1.0] * 5 + [100.0] * 5)
    noise = (second_view(batch, ["noise"], std).speech - batch.speech)[batch.speech_mask]
    assert 0.09 < float(noise[:, :5].std()) < 0.11 and 9 < float(noise[:, 5:].std()) < 11
    gate = second_view(batch, ["gain"], std).speech_gate
    assert gate is not None
    real = gate[batch.speech_mask].log().abs()
    assert 0.5 * GAIN < float(real.max()) <= GAIN + 1e-6
    assert all(len(set(row[row > 0].tolist())) == 1 for row in gate), "one gain an utterance"


def test_speed_keeps_every_word_over_its_own_frames() -> None:
    """Frames numbered in order: after another speed a word's frames are still those between its ends."""
    batch = batch_of(16, VECTORS)
    count = torch.arange(batch.speech.shape[1]).float()[None, :, None].expand_as(batch.speech)
    fast = second_view(
        replace(batch, speech=count), ["speed"], torch.ones(10), torch.Generator().manual_seed(0)
    )
    assert set(fast.speech_lengths.tolist()) != set(batch.speech_lengths.tolist())
    for b in range(16):
        length = int(fast.speech_lengths[b])
        assert 0.85 < length / int(batch.speech_lengths[b]) < 1.15
        row = fast.speech[b, :length, 0]
        assert bool((row.diff() >= 0).all()) and float(row[-1]) < int(batch.speech_lengths[b])
        for (s, e), (start, end) in zip(
            batch.segments["word"].spans[b].tolist(), fast.segments["word"].spans[b].tolist(), strict=True
        ):
            if e > s:
                assert 0 <= start < end <= length
                assert s - 1 <= float(row[start]) and float(row[end - 1]) <= e + 1
            else:
                assert start == end == 0


def test_tokens_of_a_word_are_dropped_together() -> None:
    batch = batch_of(64)
    gate = second_view(batch, ["words"], torch.ones(10), torch.Generator().manual_seed(0)).text_gate
    assert gate is not None
    for words, kept in zip(batch.token_word.tolist(), gate.tolist(), strict=True):
        for word in {w for w in words if w >= 0}:
            assert len({k for w, k in zip(words, kept, strict=True) if w == word}) == 1
    share = 1 - float(gate[batch.text_mask].mean())
    assert abs(share - DROPPED) < 0.06


@pytest.mark.parametrize(("variant", "term"), [("mmer", "acl"), ("unison views", "second")])
def test_the_second_view_is_made_in_the_objective_alone_and_off_at_test(variant: str, term: str) -> None:
    system, batch = make(variant, IDS), batch_of(4)
    assert system(batch).second is None
    torch.testing.assert_close(system(batch).logits, system(batch).logits, rtol=0, atol=0)
    assert isinstance(system, Mmer | Unison)
    assert system.weights[term] > 0

    def drawn(seed: int) -> float:
        system.generator = torch.Generator().manual_seed(seed)
        return float(losses(system, batch)[term].detach())

    assert drawn(0) == drawn(0) != drawn(1)


def test_without_a_transcript_there_is_no_loss_of_characters() -> None:
    layer, batch = Characters(3, 0.0).requires_grad_(False), replace(batch_of(2, VECTORS), targets={})
    assert float(layer(torch.randn(2, 4, 3), batch, "mean")) == 0.0
