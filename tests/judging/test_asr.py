"""Recognised words: in order, inside the recording, none from silence, none without end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undertone import audio
from undertone.cli.app import ASR, _with_default_values
from undertone.judging.asr import IN_THE_BOX, Recognised, Recogniser, plausible, without_repetition
from undertone.judging.clip import Transcript
from undertone.judging.fakes import FakeModel
from undertone.judging.plan import follow, plan
from undertone.types import Segment

RATE = 16_000


def words(text: str, length: float = 0.3) -> tuple[Segment, ...]:
    return tuple(Segment(w, length * n, length * (n + 1)) for n, w in enumerate(text.split()))


class Engine:
    """Always recognises the same."""

    def __init__(self, text: str = "", language: str | None = None, times: Sequence[Segment] = ()) -> None:
        self.result = Recognised(tuple(times) or words(text), language)

    def recognise(self, waves: Sequence[np.ndarray]) -> list[Recognised]:
        return [self.result for _ in waves]


def transcribed(seconds: float, engine: Engine) -> Transcript | None:
    return Recogniser("stub", engine).transcribe(np.zeros(round(seconds * RATE), np.float32))


def test_words_become_a_transcript_with_times_and_characters() -> None:
    found = transcribed(3, Engine("what a day", "en"))
    assert found is not None and found.alignment is not None
    assert (found.text, found.source, found.language) == ("what a day", "stub", "en")
    assert [(w.text, w.chars) for w in found.alignment.word] == [
        ("what", (0, 4)), ("a", (5, 6)), ("day", (7, 10)),
    ]  # fmt: skip
    assert transcribed(3, Engine("")) is None


def test_a_recogniser_that_repeats_itself_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    """One real clip gave 447 words, silence "Thank you for watching" 29 times."""
    found = transcribed(60, Engine("well then " + "thank you for watching " * 29))
    assert found is not None
    assert found.text == "well then " + " ".join(["thank you for watching"] * 4)
    assert "repeated itself" in caplog.text
    assert transcribed(3, Engine(" ".join(f"w{n}" for n in range(447)))) is None
    assert "ran away" in caplog.text


@pytest.mark.parametrize("text", ["no no no no", "very very good very very good", "a b c d a b c d e"])
def test_what_people_repeat_is_kept(text: str) -> None:
    assert without_repetition(words(text)) == words(text)


@pytest.mark.parametrize(
    "times",
    [
        [Segment(w, 0.0, 0.01) for w in "all at the beginning".split()],
        [Segment("late", 9.0, 9.5), Segment("words", 9.5, 9.9)],
        [Segment("b", 2.0, 2.4), Segment("a", 0.5, 0.9)],
        [Segment(w, 0.0, 0.0) for w in "no times at all".split()],
    ],
)
def test_poor_times_are_left_to_the_aligner(times: list[Segment]) -> None:
    assert not plausible(times, 3.0)
    found = transcribed(3, Engine(times=times))
    assert found is not None and found.alignment is None
    assert found.text == " ".join(w.text for w in times)


def test_words_of_a_language_that_the_model_does_not_read_are_given_and_not_judged() -> None:
    found = transcribed(3, Engine("ich HASSE dich", "de"))
    assert found is not None and found.source == "stub (de)"
    model = FakeModel()
    wave = np.full(3 * RATE, 0.2, np.float32)
    answer = follow(plan(model, "a", [wave], found), model)
    assert answer.modalities == ("speech",) and answer.text == "ich HASSE dich"
    assert answer.text_source == "stub (de), not judged: the language is de"
    model.card = {**model.card, "languages": ["de"]}
    assert follow(plan(model, "a", [wave], found), model).modalities == ("speech", "text")


def test_asr_without_a_name_means_the_recogniser_in_the_box(tmp_path: Path) -> None:
    assert ASR == IN_THE_BOX
    clip = tmp_path / "clip.wav"
    clip.touch()
    assert _with_default_values(["predict", "a.wav", "--asr"]) == ["predict", "a.wav", "--asr", ASR]
    assert _with_default_values(["predict", "--asr", str(clip)]) == ["predict", "--asr", ASR, str(clip)]
    assert _with_default_values(["predict", "--asr", "-f", "json"]) == ["predict", "--asr", ASR, "-f", "json"]
    clips, model = tmp_path / "clips", tmp_path / "whisper"
    for folder in (clips, model):
        folder.mkdir()
    (model / "config.json").touch()
    assert _with_default_values(["study", "--asr", str(clips)]) == ["study", "--asr", ASR, str(clips)]
    assert _with_default_values(["study", "--asr", str(model), "x"]) == ["study", "--asr", str(model), "x"]
    for whole in (["predict", "a.wav", "--asr", "openai/whisper-base"], ["predict", "a.wav", "--asr=x"], []):
        assert _with_default_values(whole) == whole


def test_recognised_words_come_with_times(tmp_path: Path, clip: bytes) -> None:
    """A CTC recogniser of random weights, made here: its words are nonsense, its times are in order."""
    transformers: Any = pytest.importorskip("transformers")
    import torch

    from undertone.judging.asr import Recogniser

    torch.manual_seed(1)
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghij"]
    (tmp_path / "vocab.json").write_text(json.dumps({letter: n for n, letter in enumerate(letters)}))
    config = transformers.Wav2Vec2Config(
        vocab_size=len(letters), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(16, 16), conv_stride=(20, 16), conv_kernel=(25, 16), num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2, pad_token_id=0,
    )  # fmt: skip
    network = transformers.Wav2Vec2ForCTC(config)
    network.lm_head.weight.data.normal_(std=3.0)
    network.lm_head.bias.data[:5] = -100.0  # letters only, so that there are words
    network.save_pretrained(tmp_path)
    transformers.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json")).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    sound = tmp_path / "clip.wav"
    sound.write_bytes(clip)
    found = Recogniser(str(tmp_path))(str(sound))
    assert found is not None and found.alignment is not None and found.alignment.word
    ends = [edge for word in found.alignment.word for edge in (word.start, word.end)]
    assert ends == sorted(ends)
    assert found.source == str(tmp_path)


@pytest.fixture(scope="module")
def whisper(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Whisper tiny.en with real weights; it is converted into a cache of the tests."""
    pytest.importorskip("faster_whisper", reason="needs the extra 'asr'")
    folder = real_data / "encoders" / "whisper-tiny.en"
    if not folder.is_dir():
        pytest.skip("UNDERTONE_DATA holds no encoders/whisper-tiny.en")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERTONE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "2")
        yield Recogniser(str(folder))


@pytest.mark.slow  # converts the weights, 5 to 40 s
def test_real_weights_recognise_a_real_sentence_and_nothing_in_silence_and_noise(
    whisper: Recogniser, real_data: Path
) -> None:
    found = whisper(str(real_data / "ravdess" / "Actor_01" / "03-01-05-01-01-01-01.flac"))
    assert found is not None and found.alignment is not None
    assert found.text.casefold().strip(".") == "kids are talking by the door"
    assert 0.3 < found.alignment.word[0].start < found.alignment.word[-1].end < 3.3
    drawn = np.random.default_rng(0)
    assert whisper.transcribe(np.zeros(3 * RATE, np.float32)) is None
    assert whisper.transcribe((0.05 * drawn.standard_normal(5 * RATE)).astype(np.float32)) is None


@pytest.mark.slow  # converts the weights, 5 to 40 s
def test_several_waves_at_once_have_the_words_of_each_alone(whisper: Recogniser, real_data: Path) -> None:
    folder = real_data / "ravdess" / "Actor_01"
    waves = [audio.load(str(folder / f"03-01-05-01-0{n}-01-01.flac")) for n in (1, 2)]
    waves.insert(1, np.zeros(3 * RATE, np.float32))
    together = whisper.transcripts(waves)
    assert together == [whisper.transcribe(wave) for wave in waves]
    assert together[1] is None and together[0] != together[2]
