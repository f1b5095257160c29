"""One contract over every pretrained speech architecture: a clip's frames depend on the clip alone."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.features.checkpoints import SPEECH, WIDTH
from undertone.errors import AudioError, ConfigError, ModelError
from undertone.features.batching import plan
from undertone.features.config import SpeechConfig
from undertone.features.frontends import Convolutions
from undertone.features.neural import FAMILIES, PretrainedSpeech
from undertone.features.speech import Changed, build, speech_encoder
from undertone.features.text import text_encoder

Made = Callable[[str], Path]
RATE = 16_000
CLOSE = 1e-5
everything = pytest.mark.parametrize("name", SPEECH)
PUBLISHED = {"whisper": {"window": "full"}}
"""Settings with which a family gives what transformers gives."""
convolutional = pytest.mark.parametrize("name", [n for n in SPEECH if n not in ("w2v-BERT", "whisper")])


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def waves(*lengths: float, seed: int = 3) -> list[NDArray[np.float32]]:
    """Noise with a slow swell, so that no two stretches are alike."""
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(0, 0.1, n) * (1.2 + np.sin(np.arange(n) / 4000))).astype(np.float32)
        for n in (round(s * RATE) for s in lengths)
    ]


def error(a: NDArray[Any], b: NDArray[Any]) -> float:
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / np.abs(b).max())


def encoder(folder: Path, **more: Any) -> PretrainedSpeech:
    found = speech_encoder(str(folder), **{"precision": "fp32"} | more)
    assert isinstance(found, PretrainedSpeech)
    return found


def as_transformers_has_it(folder: Path, wave: NDArray[np.float32]) -> tuple[Any, ...]:
    """Hidden states (T, D) of one clip by transformers alone, the last one first."""
    from transformers import AutoFeatureExtractor, AutoModel

    model = AutoModel.from_pretrained(folder).eval()
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    given = extractor(wave, sampling_rate=RATE, return_tensors="pt")
    network = model.get_encoder() if model.config.model_type == "whisper" else model
    with torch.inference_mode():
        out = network(**given, output_hidden_states=True)
    return out.last_hidden_state[0].numpy(), *(h[0].numpy() for h in out.hidden_states)


def test_the_table_of_families_is_held_to_the_contract(checkpoint: Made) -> None:
    import json

    kinds = {json.loads((checkpoint(n) / "config.json").read_text())["model_type"] for n in SPEECH}
    assert kinds == set(FAMILIES)


@everything
def test_frames_are_those_of_transformers(checkpoint: Made, name: str) -> None:
    (wave,) = waves(1.3)
    theirs = as_transformers_has_it(checkpoint(name), wave)[0]
    (ours,) = encoder(checkpoint(name), **PUBLISHED.get(name, {})).encode([wave])
    assert ours.shape[1] == WIDTH
    assert error(ours, theirs[: len(ours)]) < CLOSE


@everything
def test_a_clip_does_not_see_its_neighbours(checkpoint: Made, name: str) -> None:
    """On a CPU, and in the padded buckets that a GPU would be given."""
    model, clips = encoder(checkpoint(name)), waves(0.9, 2.31, 0.9, 1.7, 0.02)
    alone = [model.encode([clip])[0] for clip in clips]
    for batch in (clips, clips[::-1]):
        together = model.encode(batch)
        expected = alone if batch is clips else alone[::-1]
        assert all(error(a, b) < CLOSE for a, b in zip(together, expected, strict=True))
    model._batches = lambda lengths: plan(lengths, 10**6, model.pads)  # type: ignore[method-assign]
    bucketed = model.encode(clips)
    assert max(error(a, b) for a, b in zip(bucketed, alone, strict=True)) < CLOSE


def test_the_trap_is_real_padding_changes_a_group_norm(checkpoint: Made) -> None:
    """What a naive batch of wav2vec2-base does: the reason for all the care."""
    from transformers import AutoFeatureExtractor, AutoModel

    folder = checkpoint("wav2vec2 with group norm")
    short, long = waves(0.9, 2.3)
    given = AutoFeatureExtractor.from_pretrained(folder)(
        [short, long], sampling_rate=RATE, padding=True, return_tensors="pt"
    )
    with torch.inference_mode():
        naive = AutoModel.from_pretrained(folder).eval()(**given).last_hidden_state[0].numpy()
    (alone,) = encoder(folder).encode([short])
    assert error(naive[: len(alone)], alone) > 100 * CLOSE


@everything
def test_layers_are_kept_by_index_and_all_together(checkpoint: Made, name: str) -> None:
    (wave,) = waves(0.8)
    last, *states = as_transformers_has_it(checkpoint(name), wave)
    published = PUBLISHED.get(name, {})
    weighted = encoder(checkpoint(name), layer="weighted", **published)
    (layers,) = weighted.encode([wave])
    count = layers.shape[1]
    assert layers.shape == (4, count, WIDTH) and weighted.layers == 4
    assert error(layers[-1], last[:count]) < CLOSE
    for index in range(3):
        assert error(layers[index], states[index][:count]) < CLOSE
        (one,) = encoder(checkpoint(name), layer=index, **published).encode([wave])
        assert error(one, layers[index]) < CLOSE
    for layer, wanted in (("1-2", layers[1:3]), ("0-1", layers[:2]), ("2-3", layers[2:]), ("0-3", layers)):
        some = encoder(checkpoint(name), layer=layer, **published)
        assert some.layers == len(wanted)
        assert error(some.encode([wave])[0], wanted) < CLOSE


@everything
def test_an_impossible_layer_is_refused_with_the_possible_ones(checkpoint: Made, name: str) -> None:
    for layer in (4, "2-4", "2-2"):
        with pytest.raises(ConfigError, match="hidden states 0 to 3"):
            encoder(checkpoint(name), layer=layer)


@everything
def test_bf16_is_near_and_says_why_it_was_chosen(checkpoint: Made, name: str) -> None:
    clips = waves(1.1, 0.6)
    full, half = encoder(checkpoint(name)), encoder(checkpoint(name), precision="bf16")
    assert "requested" in str(half.precision) and half.identity != full.identity
    for a, b in zip(half.encode(clips), full.encode(clips), strict=True):
        assert a.dtype == np.float32
        assert error(a, b) < 0.1


@everything
def test_silence_and_the_shortest_clips_are_handled(checkpoint: Made, name: str) -> None:
    model = encoder(checkpoint(name))
    for wave in (np.zeros(RATE, np.float32), *waves(0.02), *waves(1 / RATE)):
        (frames,) = model.encode([wave])
        assert len(frames) >= 1 and np.isfinite(frames).all()


@everything
def test_what_is_not_a_wave_is_refused(checkpoint: Made, name: str) -> None:
    model = encoder(checkpoint(name))
    bad = waves(0.5)[0]
    bad[100:103] = np.nan
    with pytest.raises(AudioError, match="3 samples are not numbers"):
        model.encode([bad])
    with pytest.raises(AudioError, match="no samples"):
        model.encode([bad[:0]])
    with pytest.raises(AudioError, match="one channel"):
        model.encode([bad[:200].reshape(2, 100)])


@everything
def test_the_clock_is_the_networks_own(checkpoint: Made, name: str) -> None:
    """A click moves the frames around its time and no others, as far as the front sees."""
    model = encoder(checkpoint(name))
    assert model.clock.hop == pytest.approx(0.02)
    for seconds in (0.8, 1.0, 1.003):
        (frames,) = model.encode(waves(seconds))
        expected = seconds / model.clock.hop
        assert expected - 2 <= len(frames) <= expected + 1
        assert model.clock.centre(len(frames) - 1) <= seconds


@convolutional
def test_a_frame_sees_its_receptive_field_and_no_more(checkpoint: Made, name: str) -> None:
    front = encoder(checkpoint(name)).frontend
    assert isinstance(front, Convolutions)
    assert (front.stride, front.receptive) == (320, 400)
    assert front.clock.offset == pytest.approx(0.0125)
    with torch.inference_mode():
        samples = torch.from_numpy(waves(0.5)[0])
        moved = samples.clone()
        first = 5 * front.stride
        moved[first + front.receptive] += 1.0  # just behind frame 5
        with front._whole_clip_norms(samples):  # the group norm sees all: hold it still
            before, after = front.stack(samples[None])[0], front.stack(moved[None])[0]
    changed = (before != after).any(1)
    assert not changed[5] and changed[6]


@convolutional
def test_the_front_end_in_blocks_is_the_front_end(checkpoint: Made, name: str) -> None:
    model = encoder(checkpoint(name))
    front = model.frontend
    assert isinstance(front, Convolutions)
    (wave,) = waves(3.21)
    with torch.inference_mode():
        whole = front(wave, torch.float32).numpy()
        for front.block in (50, 33, 159):
            assert error(front(wave, torch.float32).numpy(), whole) < CLOSE


@everything
def test_long_clips_are_windowed_with_the_same_number_of_frames(checkpoint: Made, name: str) -> None:
    (wave,) = waves(14.0)
    long = {"above": 6.0, "window": 6.0, "overlap": 2.0}
    whole = encoder(checkpoint(name))
    parts = encoder(checkpoint(name), long=long)
    assert parts.identity != whole.identity, "windowing is another computation"
    (a,), (b,) = parts.encode([wave]), whole.encode([wave])
    assert a.shape == b.shape
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosine.mean() > (0.6 if name == "whisper" else 0.8)
    (short,) = waves(5.0)
    assert error(parts.encode([short])[0], whole.encode([short])[0]) < CLOSE


@everything
def test_identity_changes_with_what_determines_the_numbers(checkpoint: Made, name: str) -> None:
    folder = checkpoint(name)
    seen = {
        encoder(folder, **options).identity
        for options in ({}, {"layer": 1}, {"layer": "weighted"}, {"precision": "bf16"}, {"keep": "fp16"})
    }
    assert len(seen) == 5
    assert encoder(folder).identity in seen, "and with nothing else"


def test_other_weights_are_another_encoder(checkpoint: Made, tmp_path: Path) -> None:
    from tests.features import checkpoints

    torch.manual_seed(8)
    checkpoints.hubert(tmp_path)
    assert encoder(tmp_path).identity != encoder(checkpoint("hubert")).identity


def _changed(folder: Path, name: str, **values: object) -> None:
    """Other values in a settings file, which is also laid out otherwise."""
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values, indent=None))


def _copy(folder: Path, place: Path) -> Path:
    shutil.copytree(folder, place)
    return place


def test_what_changes_no_number_changes_no_identity(checkpoint: Made, tmp_path: Path) -> None:
    folder = _copy(checkpoint("hubert"), tmp_path / "hubert")
    known = encoder(folder).identity
    (folder / "generation_config.json").write_text("{}")
    (folder / "README.md").write_text("A card.")
    (folder / "LICENSE.txt").write_text("As you like.")
    (folder / "trainer_state.json").write_text("{}")
    (folder / "vocab.json").write_text("{}")
    _changed(folder, "config.json", transformers_version="1.0", architectures=["HubertForCTC"])
    _changed(folder, "preprocessor_config.json", processor_class="Wav2Vec2Processor")
    assert encoder(folder).identity == known


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"layer_norm_eps": 0.1}),
        ("config.json", {"hidden_act": "relu"}),
        ("preprocessor_config.json", {"do_normalize": False}),
    ],
)
def test_a_setting_that_changes_numbers_is_another_encoder(
    checkpoint: Made, tmp_path: Path, file: str, values: dict[str, object]
) -> None:
    folder = _copy(checkpoint("hubert"), tmp_path / "hubert")
    before = encoder(folder)
    _changed(folder, file, **values)
    after = encoder(folder)
    assert after.identity != before.identity
    assert {name for name in after.files if after.files[name] != before.files[name]} == {file}


def test_a_device_that_is_not_there_is_refused_in_one_line(checkpoint: Made) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    message = r"device 'cuda': PyTorch on this machine .*use --device cpu$"
    for build_one in (speech_encoder, text_encoder):
        with pytest.raises(ConfigError, match=message) as raised:
            build_one(str(checkpoint("bert")), device="cuda")
        assert "\n" not in str(raised.value)
    with pytest.raises(ConfigError, match="device 'gpu': there are cpu, cuda"):
        speech_encoder("acoustic", device="gpu")


def test_an_encoder_travels_to_another_process_as_its_config(checkpoint: Made) -> None:
    model = encoder(checkpoint("wav2vec2 with group norm"))
    packed = pickle.dumps(model)
    assert len(packed) < 2_000
    assert pickle.loads(packed).identity == model.identity


def test_an_encoder_is_built_from_its_own_config(checkpoint: Made) -> None:
    model = encoder(checkpoint("whisper"), layer=1)
    again = build(SpeechConfig.parse(model.config.plain()))
    assert again.identity == model.identity


def test_what_auto_chose_is_in_the_encoders_config(checkpoint: Made) -> None:
    """So that a model trained here is fed the same precision elsewhere."""
    model = encoder(checkpoint("hubert"), precision="auto")
    assert model.config.precision == model.precision.name in ("fp32", "bf16")
    assert "bf16 arithmetic" in model.precision.why


def test_what_cannot_be_loaded_is_named(
    tmp_path: Path, checkpoint: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="no such folder"):
        speech_encoder(str(tmp_path / "nothing"))
    with pytest.raises(ModelError, match=r"no config\.json"):
        speech_encoder(str(tmp_path))
    with pytest.raises(ModelError, match="'bert' is not a speech encoder"):
        speech_encoder(str(checkpoint("bert")))
    (tmp_path / "config.json").write_text('{"model_type": "wav2vec2"}')
    with pytest.raises(ModelError, match="no safetensors"):
        speech_encoder(str(tmp_path))


@everything
def test_each_few_frames_are_one_at_their_middle(checkpoint: Made, name: str) -> None:
    every, four = encoder(checkpoint(name)), encoder(checkpoint(name), average=4)
    (wave,) = waves(0.99)
    (frames,), (means,) = every.encode([wave]), four.encode([wave])
    by_hand = [frames[i : i + 4].mean(0) for i in range(0, len(frames), 4)]
    assert error(means, np.stack(by_hand)) < 1e-6
    assert four.clock.hop == pytest.approx(4 * every.clock.hop)
    assert four.clock.centre(0) == pytest.approx(np.mean([every.clock.centre(i) for i in range(4)]))
    assert four.identity != every.identity and pickle.loads(pickle.dumps(four)).identity == four.identity


def test_a_copy_is_of_the_recording_and_its_number_alone() -> None:
    acoustic = speech_encoder("acoustic")
    first, second = Changed(acoustic, 1), Changed(acoustic, 2)
    clips = waves(1.0, 1.7)
    together, alone = first.encode(clips), first.encode(clips[1:])
    assert (together[1] == alone[0]).all()
    lengths = {len(encoder.copy_of(clips[0])) for encoder in (first, second)}
    assert len(lengths) == 2 and all(13_700 < n < 18_700 for n in lengths), "15 % faster or slower"
    silence = np.zeros(RATE, np.float32)
    assert not first.copy_of(silence).any() and np.isfinite(second.copy_of(silence)).all()
    assert len({acoustic.identity, first.identity, second.identity}) == 3
    assert pickle.loads(pickle.dumps(second)).identity == second.identity
