"""What only ``compact`` promises: level, silence and no speech at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from undertone.features.acoustic import acoustic_frames
from undertone.features.config import AcousticConfig
from undertone.models.batch import collate
from undertone.models.compact.classifiers import (
    NONE,
    OTHER,
    SpeechDistance,
    class_scores,
    reject_nonspeech,
)
from undertone.models.compact.functionals import VIEWS, View
from undertone.models.compact.spectrum import DECIBEL, Spectrum, _denoised, _noise, spectrum
from undertone.models.compact.system import Compact
from undertone.models.example import Dimensions, Example
from undertone.models.table import build

MEANS = (0, 1, 2, 3, 3, OTHER, NONE)
ACOUSTIC = AcousticConfig(stack=2, mels=64)


def _voice(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    """A buzz that rises, in bursts."""
    times = np.arange(round(seconds * 16_000)) / 16_000
    phase = 2 * np.pi * (120 * times + 30 * times**2)
    buzz = sum(np.sin(k * phase) / k for k in range(1, 12))
    noise = 0.01 * np.random.default_rng(seed).normal(size=len(times))
    return (0.1 * buzz * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * times)) + noise).astype(np.float32)


def _batch(waves: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    frames = [acoustic_frames(wave, ACOUSTIC) for wave in waves]
    lengths = torch.tensor([len(x) for x in frames])
    padded = torch.zeros(len(frames), int(lengths.max()), frames[0].shape[1])
    for row, x in zip(padded, frames, strict=True):
        row[: len(x)] = torch.from_numpy(x)
    return padded, lengths


@pytest.mark.parametrize("decibels", [-30, -12, 12])
@pytest.mark.parametrize("view", VIEWS)
def test_the_recording_level_changes_nothing(decibels: int, view: View) -> None:
    wave = _voice()
    values = VIEWS[view](spectrum(*_batch([wave, wave * np.float32(10 ** (decibels / 20))])))
    torch.testing.assert_close(values[0], values[1], atol=5e-3, rtol=1e-3)


def test_silence_around_the_speech_hardly_changes_anything() -> None:
    wave = _voice()
    silence = np.zeros(16_000, np.float32)
    around = np.concatenate([silence, wave, silence])
    found = spectrum(*_batch([wave, around]))
    assert abs(int(found.lengths[0]) - int(found.lengths[1])) <= 12
    assert int(found.first[1]) > 40
    torch.testing.assert_close(found.mel[0, 10:40].mean(), found.mel[1, 15:45].mean(), atol=0.1, rtol=0)


def _in_noise(wave: np.ndarray, decibels: float) -> np.ndarray:
    """With white noise so far below the wave's active second, everywhere."""
    noise = np.random.default_rng(3).normal(size=len(wave))
    power = np.square(wave).sum() / 16_000 / 10 ** (decibels / 10)
    return (wave + noise * np.sqrt(power)).astype(np.float32)


def test_noise_around_the_speech_is_no_speech() -> None:
    """The noise is far above 30 dB below the voice, so that level alone would not tell them apart."""
    silence = np.zeros(16_000, np.float32)
    around = np.concatenate([silence, _voice(), silence])
    clean, noisy = spectrum(*_batch([around])), spectrum(*_batch([_in_noise(around, 10.0)]))
    assert abs(int(clean.lengths[0]) - int(noisy.lengths[0])) <= 12
    assert abs(int(clean.first[0]) - int(noisy.first[0])) <= 6


def test_steady_noise_is_taken_off() -> None:
    """What stays of the noise beside the speech is at least 5 dB weaker than it was."""
    silence = np.zeros(8_000, np.float32)
    bands = _batch([_in_noise(np.concatenate([silence, _voice(), silence]), 10.0)])[0][..., :64]
    real = torch.ones(1, bands.shape[1], dtype=torch.bool)
    fallen = (bands - _denoised(bands, _noise(bands, real))) / DECIBEL
    assert fallen.min() >= 0.0
    assert fallen[0, :20].mean() > 5.0, "before the speech"
    assert fallen[0, 40:60, :8].mean() < 2.0, "where the voice is strong"


def test_a_clip_without_quiet_frames_is_kept_whole() -> None:
    tone = np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000).astype(np.float32)
    assert int(spectrum(*_batch([tone])).lengths[0]) == 50


@pytest.mark.parametrize("view", VIEWS)
def test_functionals_are_the_same_alone_and_beside_longer_clips(view: View) -> None:
    compute = VIEWS[view]
    together = compute(spectrum(*_batch([_voice(0.7), _voice(2.0, seed=1), _voice(0.3, seed=2)])))
    for row, wave in enumerate([_voice(0.7), _voice(2.0, seed=1), _voice(0.3, seed=2)]):
        torch.testing.assert_close(together[row], compute(spectrum(*_batch([wave])))[0], atol=1e-4, rtol=1e-4)
    assert torch.isfinite(compute(spectrum(torch.zeros(2, 5, 67), torch.tensor([0, 5])))).all()


@pytest.mark.parametrize("view", VIEWS)
def test_functionals_have_finite_gradients_even_of_nothing(view: View) -> None:
    frames = torch.cat([torch.zeros(1, 40, 67), torch.randn(1, 40, 67)]).requires_grad_()
    VIEWS[view](spectrum(frames, torch.tensor([40, 33]))).square().sum().backward()
    assert frames.grad is not None and torch.isfinite(frames.grad).all()
    assert frames.grad[1, :33].any() and not frames.grad[1, 33:].any()


def test_bands_know_a_planted_pitch() -> None:
    """An octave higher moves what is said of pitch by one, and nothing of how long the clip is."""
    found = spectrum(*_batch([_voice(), _voice()]))
    prosody = found.prosody.clone()
    prosody[1, :, 1] = torch.where(prosody[1, :, 3] > 0.5, prosody[1, :, 1] + 1.0, 0.0)
    moved = VIEWS["bands"](type(found)(found.mel, prosody, found.lengths, found.first))
    apart = (moved[1] - moved[0]).abs()
    assert (apart > 0.9).sum() >= 6
    assert apart[-2:].max() == 0


def _planted(mel: torch.Tensor, prosody: torch.Tensor | None = None) -> Spectrum:
    B, T, _ = mel.shape
    prosody = torch.zeros(B, T, 4) if prosody is None else prosody
    return Spectrum(mel, prosody, torch.full((B,), T), torch.zeros(B, dtype=torch.long))


@pytest.mark.parametrize("rate", range(4))
@pytest.mark.parametrize("ripple", range(3))
def test_modulation_knows_which_way_a_planted_ripple_goes_and_how_fast(rate: int, ripple: int) -> None:
    """A ripple that climbs the bands answers most in its own filter, and far less in that of falling."""
    from undertone.models.compact.functionals import PLACES, RATES, RIPPLES

    time, band = torch.arange(150)[:, None] / 50, torch.arange(64)[None] / 64
    course = 2 * np.pi * (RATES[rate] * time - RIPPLES[ripple] * band)
    values = VIEWS["modulation"](_planted(1.0 + 0.5 * torch.stack([course, course.flip(0)]).cos()))
    means = values[:, : values.shape[1] // 2][:, 4 * PLACES :].reshape(2, 9, len(RIPPLES), PLACES)
    inner = means[..., 2:-2].mean(-1)  # (2, 9, ripples), away from the ends of the spectrum
    one, other = (int(row.argmax()) for row in inner.flatten(1))
    assert {one % 3, other % 3} == {ripple}
    assert {one // 3, other // 3} == {1 + rate, 5 + rate}
    assert inner[0].flatten()[one] > 4 * inner[0].flatten()[other]


def test_contours_know_planted_stretches_of_voice() -> None:
    """Two stretches whose pitch climbs by an octave a second, with a gap of ten frames."""
    from undertone.models.compact.functionals import _gaps, _numbered, _stretches

    voiced = torch.zeros(1, 60, dtype=torch.bool)
    voiced[0, 5:25] = voiced[0, 35:55] = True
    pitch = torch.where(voiced, torch.arange(60) / 50.0, 0.0)
    assert _numbered(voiced)[0][0, [0, 5, 24, 30, 35, 54, 59]].tolist() == [0, 1, 1, 0, 2, 2, 0]
    mean, spread, first, last = _stretches(torch.zeros(1, 60), pitch, voiced)
    torch.testing.assert_close(
        mean[0, :3], torch.tensor([np.log(20.0), 1.0, 1.0], dtype=torch.float), atol=0.03, rtol=0
    )
    assert spread[0, :3].max() < 2e-3
    assert float(last[0, 5] - first[0, 5]) == pytest.approx(30 / 50, abs=1e-4)
    logs, _, longest, rate = _gaps(~voiced, torch.tensor([60]))
    assert float(longest) == pytest.approx(np.log(10.0), abs=1e-5)
    assert float(logs) == pytest.approx(np.log([5.0, 10.0, 5.0]).mean(), abs=1e-5)
    assert float(rate) == pytest.approx(3 * 50 / 60)


def test_pitch_is_bridged_where_nobody_voices() -> None:
    from undertone.models.compact.functionals import _interpolated

    pitch = torch.tensor([[0.0, 1.0, 0.0, 0.0, 4.0, 0.0], [0.0] * 6])
    voiced = torch.tensor([[False, True, False, False, True, False], [False] * 6])
    torch.testing.assert_close(
        _interpolated(pitch, voiced), torch.tensor([[1.0, 1.0, 2.0, 3.0, 4.0, 4.0], [0.0] * 6])
    )


def test_bands_between_so_many_hertz_are_never_none() -> None:
    from undertone.models.compact.functionals import _between

    assert _between(64, 0.0, 8_000.0) == slice(0, 64)
    for bands in (7, 16, 64):
        for low, high in ((0.0, 500.0), (1_000.0, 1_001.0), (4_000.0, 8_000.0), (200.0, 1_000.0)):
            found = _between(bands, low, high)
            assert 0 <= found.start < found.stop <= bands


def _met(known: SpeechDistance, count: int, seed: int) -> torch.Tensor:
    """Figures that vary along three directions, and a little in all."""
    generator = torch.Generator().manual_seed(seed)
    size = known.mean.shape[0]
    ways = torch.randn(3, size, generator=torch.Generator().manual_seed(0))
    wide = torch.randn(count, 3, generator=generator) @ ways
    return 5.0 + wide + 0.3 * torch.randn(count, size, generator=generator)


def test_what_was_met_is_known_and_what_is_unlike_it_is_not() -> None:
    known = SpeechDistance(10, axes=3)
    known.learn(_met(known, 2000, 1))
    near = known(_met(known, 500, 2))
    assert near.max() < 1.5
    strange = known(5.0 + 2.0 * torch.randn(500, known.mean.shape[0]))
    assert strange.min() > near.max(), "no farther from the mean, but in ways that were never met"


def test_the_distance_is_mahalanobis() -> None:
    """With every axis kept it is what the whole inverse covariance says."""
    from undertone.models.compact.classifiers import LEAST, size_of

    size = size_of(10, tuple(VIEWS))
    known = SpeechDistance(10, axes=size - 1)
    figures = torch.randn(4 * size, size, generator=torch.Generator().manual_seed(0))
    figures[:, 1] += figures[:, 0]
    known.learn(figures)
    scaled = (figures - figures.mean(0)) / (figures.std(0) + 1e-3)
    inverse = (scaled.T.cov() + LEAST * torch.eye(size)).inverse()
    want = torch.einsum("bi,ij,bj->b", scaled, inverse, scaled) / size
    torch.testing.assert_close(known(figures), want, rtol=1e-3, atol=1e-3)


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


def test_a_clip_with_several_transcripts_is_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    sizes = Dimensions(classes=4, speech=67, text=16, vocabulary=40)
    net = build("compact", {"hidden": 8}, sizes).eval()
    assert isinstance(net, Compact)
    one, other = (acoustic_frames(_voice(seconds), ACOUSTIC) for seconds in (0.7, 1.0))
    examples = [
        Example(id=str(n), speech=frames, text=np.array([n + 1, 5], np.int64))
        for n, frames in enumerate([one, one, other, one])
    ]
    scored: list[int] = []
    score = net._score_frames

    def counted(frames: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        scored.append(len(frames))
        return score(frames, lengths)

    monkeypatch.setattr(net, "_score_frames", counted)
    with torch.inference_mode():
        together = net(collate(examples, sizes)).logits
        alone = torch.cat([net(collate([example], sizes)).logits for example in examples])
    assert scored == [3, 1, 1, 1, 1], "equal neighbours are one; an equal clip further on is scored again"
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
