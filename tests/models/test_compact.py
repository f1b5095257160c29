"""What only ``compact`` promises: level, silence and no speech at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from undertone.features.acoustic import AcousticConfig, acoustic_frames
from undertone.models.batch import Dimensions, Example, collate
from undertone.models.compact import NONE, OTHER, Compact, _blended, class_scores
from undertone.models.compact_speech import DECIBEL, SpeechNet, _quiet, _without, spectrum
from undertone.models.compact_whole import figures
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


def _scores(wave: np.ndarray) -> torch.Tensor:
    torch.manual_seed(0)
    net = SpeechNet(67, 8, 16, 5, 0.0).eval()
    with torch.inference_mode():
        return net(*_batch([wave]))


@pytest.mark.parametrize("decibels", [-30, -12, 12])
def test_the_recording_level_changes_nothing(decibels: int) -> None:
    wave = _voice()
    torch.testing.assert_close(
        _scores(wave), _scores(wave * np.float32(10 ** (decibels / 20))), atol=2e-3, rtol=0
    )


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
    fallen = (bands - _without(bands, _quiet(bands, real))) / DECIBEL
    assert fallen.min() >= 0.0
    assert fallen[0, :20].mean() > 5.0, "before the speech"
    assert fallen[0, 40:60, :8].mean() < 2.0, "where the voice is strong"


def test_a_clip_without_quiet_frames_is_kept_whole() -> None:
    tone = np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000).astype(np.float32)
    assert int(spectrum(*_batch([tone])).lengths[0]) == 50


def test_figures_are_the_same_alone_and_beside_longer_clips() -> None:
    together = figures(spectrum(*_batch([_voice(0.7), _voice(2.0, seed=1)])))
    alone = figures(spectrum(*_batch([_voice(0.7)])))
    torch.testing.assert_close(together[:1], alone, atol=1e-4, rtol=1e-4)
    assert torch.isfinite(figures(spectrum(torch.zeros(2, 5, 67), torch.tensor([0, 5])))).all()


def test_figures_know_a_planted_pitch() -> None:
    """An octave higher moves what is said of pitch by one, and nothing of how long the clip is."""
    found = spectrum(*_batch([_voice(), _voice()]))
    prosody = found.prosody.clone()
    prosody[1, :, 1] = torch.where(prosody[1, :, 3] > 0.5, prosody[1, :, 1] + 1.0, 0.0)
    moved = figures(type(found)(found.mel, prosody, found.lengths, found.first))
    apart = (moved[1] - moved[0]).abs()
    assert (apart > 0.9).sum() >= 6
    assert apart[-2:].max() == 0


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


def test_a_clip_that_is_asked_several_questions_is_heard_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    sizes = Dimensions(classes=4, speech=67, text=16, vocabulary=40)
    net = build("compact", {"channels": 8, "width": 16}, sizes).eval()
    assert isinstance(net, Compact)
    one, other = (acoustic_frames(_voice(seconds), ACOUSTIC) for seconds in (0.7, 1.0))
    examples = [
        Example(id=str(n), speech=frames, text=np.array([n + 1, 5], np.int64))
        for n, frames in enumerate([one, one, other, one])
    ]
    heard: list[int] = []
    kinds = net._kinds

    def counted(frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        heard.append(len(frames))
        return kinds(frames, lengths)

    monkeypatch.setattr(net, "_kinds", counted)
    with torch.inference_mode():
        together = net(collate(examples, sizes)).logits
        alone = torch.cat([net(collate([example], sizes)).logits for example in examples])
    assert heard == [3, 1, 1, 1, 1], "neighbours alike are one; what stands apart is heard again"
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_whether_it_is_speech_the_figures_say_alone() -> None:
    """The kinds of speech share what is left, by the weighted mean of both."""
    torch.manual_seed(0)
    heard, told = torch.randn(2, 5, 7).log_softmax(-1)
    mixed = _blended(heard, told, 0.3, MEANS).exp()
    torch.testing.assert_close(mixed.sum(-1), torch.ones(5))
    torch.testing.assert_close(mixed[:, -1], told[:, -1].exp())
    odds = (0.7 * heard + 0.3 * told).exp()
    torch.testing.assert_close(mixed[:, 0] / mixed[:, 5], odds[:, 0] / odds[:, 5])
    torch.testing.assert_close(_blended(heard, told, 0.3, (*MEANS[:-1], OTHER)), 0.7 * heard + 0.3 * told)
