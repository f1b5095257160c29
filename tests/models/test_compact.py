"""What only ``compact`` promises: kinds, no speech at all, and how sure far from what is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from undertone.errors import ConfigError
from undertone.models.batch import collate
from undertone.models.compact import Compact
from undertone.models.example import Dimensions, Example
from undertone.models.kinds import (
    LEAST,
    NONE,
    OTHER,
    KindClassifier,
    NoiseShare,
    SpeechDistance,
    class_scores,
    reject_nonspeech,
)
from undertone.models.table import build

MEANS = (0, 1, 2, 3, 3, OTHER, NONE)
SIZES = Dimensions(classes=4, speech=6, speech_layers=2, text=8)


def _net(**settings: object) -> Compact:
    torch.manual_seed(0)
    net = build("compact", {"hidden": 8, "kinds": MEANS, "axes": 4, **settings}, SIZES).eval()
    assert isinstance(net, Compact) and net.known is not None
    net.known.learn(torch.randn(400, net.pool.width))
    return net


def _batch(frames: np.ndarray, text: bool = True) -> object:
    words = np.ones((3, 8), np.float32) if text else None
    return collate([Example("a", speech=frames.astype(np.float32), text=words)], SIZES)


def test_views_are_the_upper_mean_all_means_or_all() -> None:
    pooled = torch.arange(24.0)[None]  # two states of six numbers: their means, then their deviations
    for view, wanted in (("upper", (6, 12)), ("means", (0, 12)), ("all", (0, 24))):
        net = KindClassifier(2, 6, view, 3, 4, 0.0).eval()
        assert net.hidden.in_features == wanted[1] - wanted[0]
        changed = pooled.clone()
        changed[:, : wanted[0]] += 5.0
        changed[:, wanted[1] :] += 5.0
        torch.testing.assert_close(net(changed), net(pooled))


def test_the_distance_is_mahalanobis() -> None:
    """With every axis kept it is what the whole inverse covariance says."""
    size = 30
    known = SpeechDistance(size, axes=size - 1)
    rows = torch.randn(4 * size, size, generator=torch.Generator().manual_seed(0))
    rows[:, 1] += rows[:, 0]
    known.learn(rows)
    scaled = (rows - rows.mean(0)) / (rows.std(0) + 1e-3)
    inverse = (scaled.T.cov() + LEAST * torch.eye(size)).inverse()
    want = torch.einsum("bi,ij,bj->b", scaled, inverse, scaled) / size
    torch.testing.assert_close(known(rows), want, rtol=1e-3, atol=1e-3)


def test_far_from_all_speech_is_no_speech() -> None:
    kinds = torch.randn(4, 7, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    found = reject_nonspeech(kinds, MEANS, torch.tensor([0.5, 1.0, 2.0, 50.0]), 1.0)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(4))
    torch.testing.assert_close(found[0], kinds[0], atol=1e-2, rtol=0)
    assert found[1, -1].exp() == pytest.approx(0.5 + 0.5 * float(kinds[1, -1].exp()))
    assert found[2:, -1].exp().min() > 0.999
    torch.testing.assert_close(found[1, 0] - found[1, 1], kinds[1, 0] - kinds[1, 1])
    without = reject_nonspeech(kinds, (*MEANS[:-1], OTHER), torch.full((4,), 50.0), 1.0)
    torch.testing.assert_close(without, kinds)


def test_classes_are_the_sums_of_their_kinds() -> None:
    kinds = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    shares = kinds.softmax(-1)
    want = torch.stack([shares[:, 0], shares[:, 1], shares[:, 2], shares[:, 3] + shares[:, 4]], 1)
    torch.testing.assert_close(class_scores(kinds, MEANS[:6]).exp(), want / want.sum(1, keepdim=True))


def test_what_is_no_speech_pulls_towards_any_class_alike() -> None:
    kinds = torch.tensor([[9.0, 0, 0, 0, 0, 0, -30], [9.0, 0, 0, 0, 0, 0, 30]])
    sure, lost = class_scores(kinds, MEANS).exp()
    assert sure[0] > 0.99
    torch.testing.assert_close(lost, torch.full((4,), 0.25), atol=1e-4, rtol=0)
    torch.testing.assert_close(class_scores(kinds, MEANS).exp().sum(1), torch.ones(2))


def test_the_farther_from_known_speech_the_less_sure_and_the_label_stays() -> None:
    net = _net()
    net.limit.fill_(1e6)
    kinds = torch.tensor([[4.0, 1, 0, 0, 0, -9, -30]]).expand(3, -1)
    distance = torch.tensor([0.5, 2.0, 8.0])
    even = net.classes(kinds, distance).exp()
    torch.testing.assert_close(even[0], even[2])
    net.strangeness.fill_(0.7)
    found = net.classes(kinds, distance).exp()
    assert found[0, 0] > found[1, 0] > found[2, 0] > 0.25
    assert (found.argmax(1) == 0).all()
    want = class_scores(kinds[:1], MEANS, 8.0**0.7).exp()
    torch.testing.assert_close(found[2:], want)


def test_what_is_noise_is_learned_from_frames_that_count_unlike() -> None:
    made = torch.Generator().manual_seed(0)
    noisy = torch.arange(200) % 2
    frames = torch.randn(200, 6, generator=made) + 3.0 * noisy[:, None]
    share = NoiseShare(6)
    share.learn(frames, noisy.float(), torch.ones(200))
    assert bool(((share(frames) > 0.5) == (noisy > 0)).float().mean() > 0.98)
    share.learn(frames, noisy.float(), 1.0 - 0.9 * noisy)
    rare = share(torch.full((1, 6), 1.5))
    share.learn(frames, noisy.float(), 0.1 + 0.9 * noisy)
    assert float(rare) < 0.4 < 0.6 < float(share(torch.full((1, 6), 1.5)))


def test_some_classifiers_answer_as_far_as_there_is_noise() -> None:
    model = build(
        "compact",
        {"views": ("upper",), "noise_views": ("all",), "networks": 2},
        Dimensions(3, speech=4, text=2),
    ).eval()
    assert isinstance(model, Compact) and model.noise is not None
    pooled = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    each = torch.stack([judge(pooled).log_softmax(-1) for judge in model.judges])
    for bias, share in ((-50.0, 0.0), (50.0, 1.0), (0.0, 0.5)):
        model.noise.bias.fill_(bias)
        wanted = (1 - share) * each[:2].mean(0) + share * each[2:].mean(0)
        assert torch.allclose(model.score_speech(pooled)[0], wanted, atol=1e-6)


def test_frames_are_pooled_by_their_mean_and_deviation_of_each_state() -> None:
    net = _net()
    frames = np.random.default_rng(0).normal(size=(2, 9, 6))
    pooled = net.pool.pooled(_batch(frames))[0].numpy()
    want = np.concatenate([frames.mean(1).ravel(), np.sqrt(frames.var(1) + 1e-6).ravel()])
    assert pooled == pytest.approx(want, abs=1e-5)


def test_asides_have_the_distance_where_it_is_known() -> None:
    frames = np.random.default_rng(0).normal(size=(2, 9, 6))
    net = _net()
    with torch.inference_mode():
        assert net.asides(net(_batch(frames)))["distance"].shape == (1, 1)
        bare = build("compact", {"hidden": 8}, SIZES).eval()
        assert "distance" not in bare.asides(bare(_batch(frames)))


def test_a_model_of_the_first_edition_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="first edition"):
        build("compact", {"texts": 3, "networks": 2, "emotions": 28}, SIZES)
