"""A trained model in hand: the same answer however a recording comes, and what an answer says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undertone.errors import AudioError, ModelError
from undertone.judging.clip import Clip, Recording, Transcript, abstain, excerpt
from undertone.judging.fakes import FakeModel
from undertone.judging.locate import locate
from undertone.judging.predictor import Predictor, load, load_model
from undertone.judging.regions import Region, pooled
from undertone.judging.settings import Segmenting
from undertone.judging.words import Words
from undertone.models.table import SYSTEMS
from undertone.types import Alignment, Evidence, Prediction, Segment

Make = Callable[..., Any]
TEXT = "what a lovely day"
STARTS = {"what": 0, "a": 5, "lovely": 7, "day": 14}
WORDS = tuple(
    Segment(word, 0.2 + 0.3 * n, 0.45 + 0.3 * n, chars=(at, at + len(word)))
    for n, (word, at) in enumerate(STARTS.items())
)


@pytest.fixture(scope="module")
def model(model_folder: Path) -> Predictor:
    return Predictor(load_model(model_folder))


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    drawn = np.random.default_rng(3)
    t = np.arange(24_000) / 16_000
    voice = sum(np.sin(2 * np.pi * 140 * k * t + np.sin(3 * t)) / k for k in range(1, 12))
    return (0.05 * voice + 0.001 * drawn.standard_normal(len(t))).astype(np.float32)


def same(one: Prediction, other: Prediction, tolerance: float = 1e-5) -> None:
    assert one.label == other.label
    for side, shares in one.perspectives.items():
        for label, share in shares.items():
            assert share == pytest.approx(other.perspectives[side][label], abs=tolerance)


def test_a_path_its_bytes_and_its_samples_are_judged_alike(
    model: Predictor, wave: np.ndarray, make_wav: Make, tmp_path: Path
) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(make_wav(wave, subtype="FLOAT"))
    answer = model.predict(path, TEXT)
    assert answer.id == "clip.wav"
    same(answer, model.predict(path.read_bytes(), TEXT), 1e-9)
    same(answer, model.predict(wave, TEXT), 1e-9)


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_in_a_batch_each_clip_is_judged_as_if_alone(
    system: str, new_model: Make, tmp_path: Path, wave: np.ndarray
) -> None:
    ready = load_model(new_model(tmp_path / system, system))
    clips = [
        Clip("a", wave, Transcript(TEXT, alignment=Alignment(word=WORDS))),
        Clip("b", wave[:7_000]),
        Clip("c", None, Transcript("leave me alone")),
        Clip(
            "d",
            wave[4_000:20_000],
            Transcript("the meeting is at nine o'clock, and some more words"),
        ),
        Clip("e", wave[:900], Transcript("now")),
    ]
    used = {"speech": ["speech"], "text": ["text"]}.get(system, ["speech", "text"])
    here = {
        clip.id: [s for s in used if getattr(clip, "wave" if s == "speech" else "text") is not None]
        for clip in clips
    }
    clips = [clip for clip in clips if here[clip.id]]
    together = ready.predict(clips, explain=True)
    for clip, found in zip(clips, together, strict=True):
        (alone,) = ready.predict([clip], explain=True)
        same(found, alone)
        assert list(found.modalities) == here[clip.id]
        for one, other in zip(found.words, alone.words, strict=True):
            assert one.contribution == pytest.approx(other.contribution, abs=1e-3)


def test_what_a_model_cannot_judge_it_refuses(new_model: Make, tmp_path: Path, wave: np.ndarray) -> None:
    listener, reader = (load_model(new_model(tmp_path / system, system)) for system in ("speech", "text"))
    with pytest.raises(ModelError, match="a: holds nothing"):
        listener.predict([Clip("a", None, Transcript(TEXT))])
    with pytest.raises(ModelError, match="a: holds nothing"):
        reader.predict([Clip("a", wave)])


def test_without_words_speech_decides_and_the_answer_says_so(model: Predictor, wave: np.ndarray) -> None:
    answer = model.predict(wave)
    assert answer.modalities == ("speech",)
    assert answer.agree is None
    assert answer.text is None
    assert answer.plain()["modalities"] == ["speech"]


def test_an_answer_names_the_model_its_corpus_and_protocol(model: Predictor, wave: np.ndarray) -> None:
    name = model.predict(wave).model
    assert name.startswith("unison@")
    assert name.endswith("(tiny, loso)")


def test_words_carry_times_characters_and_contributions(model: Predictor, wave: np.ndarray) -> None:
    answer = model.predict(wave, TEXT, alignment=Alignment(word=WORDS))
    assert [word.text for word in answer.words] == TEXT.split()
    assert [(word.start, word.end) for word in answer.words] == [(w.start, w.end) for w in WORDS]
    assert [TEXT[slice(*word.chars)] for word in answer.words if word.chars] == TEXT.split()
    assert any(abs(word.contribution) > 1e-4 for word in answer.words)


def test_a_contribution_is_what_the_answer_loses_without_the_word(model: Predictor, wave: np.ndarray) -> None:
    """One word at a time, its frames and its tokens multiplied by 0."""
    import torch

    from undertone.judging.networks import batch_of

    judge: Any = model.model
    clip = Clip("a", wave, Transcript(TEXT, alignment=Alignment(word=WORDS)))
    (features,) = judge.encoders.encode([clip])
    system, batch = judge.network.system, batch_of([features], judge.network.system)
    slow = []
    for index, (begin, end) in enumerate(batch.segments["word"].spans[0].tolist()):
        frames, tokens = batch.speech_mask.float(), (batch.token_word != index).float()
        frames[:, begin:end] = 0.0
        with torch.no_grad():
            outputs = [system(b) for b in (batch, replace(batch, speech_gate=frames, text_gate=tokens))]
        whole, without = (system.posteriors(output.logits)[0].log() for output in outputs)
        slow.append(float((whole - without)[whole.argmax()]))
    (answer,) = judge.predict([clip], explain=True)
    assert [word.contribution for word in answer.words] == pytest.approx(slow, abs=1e-4)


def test_confidence_below_the_threshold_is_no_label() -> None:
    sure = Prediction("a", "sad", 0.6, {"sad": 0.6}, {})
    assert abstain(sure, 0.5).label == "sad"
    assert abstain(sure, 0.7).label is None


def test_without_a_threshold_the_models_own_rule_stands_and_a_threshold_overrules_it() -> None:
    unsure = Prediction("a", None, 0.6, {"angry": 0.4, "sad": 0.6}, {}, modalities=("speech",))
    assert abstain(unsure, None).label is None
    assert abstain(unsure, 0.0).label == "sad"
    assert abstain(unsure, 0.7).label is None
    nothing_heard = replace(unsure, modalities=(), confidence=0.0)
    assert abstain(nothing_heard, 0.0).label is None


def test_bad_samples_are_refused_by_name(model: Predictor) -> None:
    with pytest.raises(AudioError, match=r"clip: .*NaN"):
        model.predict(np.full(100, np.nan, np.float32))
    with pytest.raises(AudioError, match="mono"):
        model.predict(np.zeros((2, 100), np.float32))
    with pytest.raises(ModelError, match="neither"):
        model.predict(None)


def test_a_long_file_is_judged_piece_by_piece_as_from_memory(tmp_path: Path, make_wav: Make) -> None:
    """Files over ``whole_up_to`` are read in blocks; their timeline equals that of the samples."""
    drawn = np.random.default_rng(0)
    loud = np.repeat(drawn.uniform(0.01, 0.3, 90), 16_000) * drawn.standard_normal(90 * 16_000)
    wave = loud.clip(-1, 1).astype(np.float32)
    path = tmp_path / "long.wav"
    path.write_bytes(make_wav(wave, subtype="FLOAT"))
    settings = Segmenting(speech_on=1e-6, speech_off=1e-6)  # noise counts as speech here
    model = Predictor(FakeModel(), segmenting=settings)
    from_file, from_memory = model.predict(path), model.predict(wave, name="long.wav")
    assert from_file == from_memory
    assert from_file.segments
    assert from_file.modalities == ("speech",)
    assert sum(from_file.probabilities.values()) == pytest.approx(1)


def test_a_long_recording_without_speech_gets_no_label(make_wav: Make) -> None:
    answer = Predictor(FakeModel()).predict(np.zeros(61 * 16_000, np.float32))
    assert answer.label is None
    assert answer.confidence == 0
    assert answer.modalities == ()


def test_an_excerpt_holds_the_words_whose_middle_lies_in_it() -> None:
    words = Transcript(TEXT, alignment=Alignment(word=WORDS))
    part = excerpt(words, 0.4, 1.1)
    assert part is not None and part.words.alignment is not None
    assert (part.words.text, part.start, part.first) == ("a lovely", 0.4, 5)
    assert [(w.text, w.chars) for w in part.words.alignment.word] == [("a", (0, 1)), ("lovely", (2, 8))]
    assert part.words.alignment.word[0].start == pytest.approx(0.1)
    assert excerpt(words, 5, 6) is None


def test_of_a_long_recording_too_a_model_abstains_below_its_own_threshold() -> None:
    model = FakeModel()
    mean = {"angry": 0.2, "happy": 0.2, "sad": 0.2, "neutral": 0.4}
    said = Prediction("r", "neutral", 0.4, mean, {"fused": mean, "speech": mean}, modalities=("speech",))
    regions = [Region(at, at + 9, np.zeros(0, np.float32), prediction=said) for at in (0, 20)]
    assert pooled("a", model, regions, None, (), evidence=Evidence()).label == "neutral"
    model.card = {**model.card, "abstain": {"threshold": 0.5}}
    answer = pooled("a", model, regions, None, (), evidence=Evidence())
    assert answer.label is None
    assert abstain(answer, 0.3).label == "neutral"


def test_windows_of_a_long_recording_get_their_own_words() -> None:
    heard: list[str | None] = []

    class Ear(FakeModel):
        def predict(self, clips: Any, explain: bool = False) -> Any:
            heard.extend(clip.text for clip in clips)
            return super().predict(clips, explain)

    text = " ".join(f"w{n}" for n in range(60))
    at = [(text.index(f"w{n} ") if n < 59 else text.index("w59")) for n in range(60)]
    words = tuple(Segment(f"w{n}", n + 0.1, n + 0.9, chars=(at[n], at[n] + len(f"w{n}"))) for n in range(60))
    wave = np.random.default_rng(0).standard_normal(61 * 16_000).astype(np.float32) * 0.1
    settings = Segmenting(speech_on=1e-6, speech_off=1e-6)
    item = Recording("talk", wave, Transcript(text, "given", Alignment(word=words)))
    answer = Predictor(Ear(), segmenting=settings).judge(item)
    assert heard[0] == "w0 w1 w2 w3"
    assert heard[1] == "w2 w3 w4 w5"
    assert answer.modalities == ("speech", "text")


def test_words_are_aligned_when_first_needed_and_failing_is_no_error() -> None:
    from undertone.errors import AlignmentError

    made: list[int] = []

    class Stub:
        name = "stub"

        def align(self, wave: Any, rate: int, text: str) -> Alignment:
            if text == "mismatch":
                raise AlignmentError("not what is heard")
            return Alignment(word=(Segment(text, 0.0, 0.5),))

    def make() -> Stub:
        made.append(1)
        return Stub()

    words = Words(make)
    assert made == []
    wave = np.zeros(16_000, np.float32)
    found = words.align(wave, Transcript("Hello", "given"))
    assert found.alignment is not None and found.alignment.word[0].chars == (0, 5)
    assert words.align(wave, Transcript("mismatch", "given")).alignment is None
    assert made == [1]


def test_doubtful_times_are_used_only_on_request() -> None:
    from undertone.errors import TranscriptMismatch

    class Stub:
        name = "stub"

        def align(self, wave: Any, rate: int, text: str) -> Alignment:
            raise TranscriptMismatch("another text", Alignment(word=(Segment(text, 0.0, 0.5),)), 0.1)

    wave, words = np.zeros(16_000, np.float32), Transcript("Hello", "given")
    assert Words(Stub).align(wave, words).alignment is None
    timed = Words(Stub, doubtful=True).align(wave, words).alignment
    assert timed is not None and timed.word[0].chars == (0, 5)


# ---- which model ------------------------------------------------------------------------------------


def test_a_run_means_its_final_model(new_model: Make, tmp_path: Path) -> None:
    new_model(tmp_path / "runs" / "mine" / "final")
    (tmp_path / "runs" / "mine" / "card.json").write_text('{"protocol": "a run has a card of its own"}')
    assert locate(tmp_path / "runs" / "mine").path == tmp_path / "runs" / "mine" / "final"
    assert load(tmp_path / "runs" / "mine").labels == ("angry", "happy", "sad", "neutral")


def test_unasked_the_newest_demo_is_taken_and_said_to_be_synthesised(new_model: Make, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="undertone demo --quick"):
        locate(None, tmp_path)
    new_model(tmp_path / "runs" / "demo-quick" / "unison" / "final")
    found = locate(None, tmp_path)
    assert found.path.parts[-3:] == ("demo-quick", "unison", "final")
    assert found.chosen is not None and "synthesised" in found.chosen


def test_what_is_no_model_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        locate(tmp_path)
    with pytest.raises(ModelError, match="nowhere"):
        locate(tmp_path / "nowhere")


def test_a_model_of_another_encoder_is_refused(new_model: Make, tmp_path: Path) -> None:
    path = new_model(tmp_path / "m")
    card = json.loads((path / "card.json").read_text())
    card["encoders"]["speech"]["identity"] = "something else"
    (path / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"acoustic is not the encoder .* not as something else\)"):
        load_model(path)
