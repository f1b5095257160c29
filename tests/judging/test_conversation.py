"""Several speakers in one recording: channels, given turns, recognised words; and what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.judging.test_pauses import RATE, Loudness, Recorded, joined, silence, voice
from undertone.errors import AudioError, DataError
from undertone.judging.clip import Recording, Transcript, attached
from undertone.judging.clip import joined as joined_words
from undertone.judging.conversation import GivenTurn, Voice
from undertone.judging.fakes import FakeModel
from undertone.judging.predictor import Predictor
from undertone.judging.settings import Segmenting
from undertone.types import Alignment, Segment


@pytest.fixture(autouse=True)
def _detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("undertone.judging.windows.detector", Loudness)


@pytest.fixture
def call(tmp_path: Path) -> Path:
    """Two channels: a loud speaker at 0.5-2.5 and 8-10 s, a soft one at 4-7 s."""
    loud = joined(silence(0.5), voice(2, 0.5), silence(5.5), voice(2, 0.5), silence(2))
    soft = joined(silence(4), voice(3, 0.02), silence(5))
    path = tmp_path / "call.wav"
    soundfile.write(path, np.stack([loud, soft], 1), RATE)
    return path


def test_each_channel_is_a_speaker_on_one_time_line(call: Path) -> None:
    found = Predictor(FakeModel()).predict(call, channels="split")
    spans = [(t.speaker, round(t.start, 1), round(t.end, 1)) for t in found.turns]
    assert spans == [("channel 0", 0.5, 2.5), ("channel 1", 4.0, 7.0), ("channel 0", 8.0, 10.0)]
    assert [t.overlap for t in found.turns] == [0.0, 0.0, 0.0]
    first, second = found.speakers["channel 0"], found.speakers["channel 1"]
    assert (first.label, second.label) == ("angry", "neutral")
    assert first.turns == 2 and first.speech == pytest.approx(4.4, abs=0.1)
    assert {cell.speaker for cell in found.segments} == {"channel 0", "channel 1"}
    assert found.evidence.seconds == pytest.approx(12) and found.evidence.speech == pytest.approx(
        7.6, abs=0.2
    )
    assert sum(found.shares.values()) == pytest.approx(1)


def test_a_channel_is_judged_as_if_it_were_alone(call: Path, tmp_path: Path) -> None:
    both = Predictor(FakeModel()).predict(call, channels="split")
    samples, _ = soundfile.read(call, dtype="float32")
    for channel in (0, 1):
        alone = Predictor(FakeModel()).predict(samples[:, channel].copy(), rate=RATE)
        theirs = both.speakers[f"channel {channel}"]
        assert theirs.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
    assert Predictor(FakeModel()).predict(call, channels=(1,)).label == "neutral"


def test_different_channels_are_not_mixed_unless_that_is_wanted(call: Path, tmp_path: Path) -> None:
    judge = Predictor(FakeModel())
    with pytest.raises(AudioError, match=r"--channels split .* --channels mix"):
        judge.predict(call)
    assert judge.predict(call, channels="mix").speakers == {}
    with pytest.raises(AudioError, match="no channel 2: it has 2"):
        judge.predict(call, channels=(2, 0))
    same = joined(silence(0.5), voice(2), silence(0.5))
    soundfile.write(tmp_path / "alike.wav", np.stack([same, 0.5 * same], 1), RATE)
    assert judge.predict(tmp_path / "alike.wav").turns[0].speaker is None


def test_given_turns_are_judged_apart_and_keep_their_times(call: Path) -> None:
    voices = [
        Voice("Ann", turns=(GivenTurn(0.4, 2.6), GivenTurn(7.5, 10.2, "I am HAPPY!"))),
        Voice("Ben", turns=(GivenTurn(3.8, 7.6),)),
    ]
    model = Recorded()
    found = Predictor(model).predict(call, channels="mix", speakers=voices)
    assert [(t.speaker, t.start, t.end) for t in found.turns] == [
        ("Ann", 0.4, 2.6), ("Ben", 3.8, 7.6), ("Ann", 7.5, 10.2),
    ]  # fmt: skip
    assert found.turns[1].overlap == pytest.approx(0.1) and found.turns[0].overlap == 0.0
    assert found.turns[2].text == "I am HAPPY!" and found.text == "I am HAPPY!"
    assert [clip.text for clip in model.clips if clip.text] == ["I am HAPPY!"]
    assert {word.speaker for word in found.words} == {"Ann"}
    assert [found.text[a:b] for a, b in (w.chars for w in found.words if w.chars)] == ["I", "am", "HAPPY!"]


def test_words_with_times_go_to_the_turns_that_they_lie_in(call: Path) -> None:
    words = (Segment("one", 1.0, 1.4), Segment("two", 4.5, 5.0), Segment("three", 8.5, 9.0))
    text = "one two three"
    spoken = Transcript(text, "given", attached(Alignment(words), text))
    voices = (
        Voice("Ann", turns=(GivenTurn(0, 3), GivenTurn(7.5, 11))),
        Voice("Ben", turns=(GivenTurn(3.5, 7.2),)),
    )
    one = Recording("call", call, spoken, voices=voices, channels="mix")
    found = Predictor(FakeModel()).judge(one)
    assert [(t.speaker, t.text) for t in found.turns] == [("Ann", "one"), ("Ben", "two"), ("Ann", "three")]
    assert [(w.text, w.speaker) for w in found.words] == [("one", "Ann"), ("two", "Ben"), ("three", "Ann")]
    assert [w.start for w in found.words] == pytest.approx([1.0, 4.5, 8.5])
    with pytest.raises(DataError, match="give a transcript with speakers"):
        Predictor(FakeModel()).judge(replace(one, words=Transcript("one two three")))


def listen(waves: Sequence[np.ndarray]) -> list[Transcript | None]:
    """Words by how loud each is."""
    return [spoken(wave) for wave in waves]


def spoken(wave: np.ndarray) -> Transcript | None:
    soft = np.abs(wave).max() < 0.05
    first, second, at = ("so", "SAD", 0.5) if soft else ("OH", "no", 1.5)
    text, words = joined_words((Segment(first, 0.1, 0.4), Segment(second, at, at + 0.4)))
    return Transcript(text, "recogniser", Alignment(words))


def test_recognised_words_are_those_of_their_turn_with_times_of_the_recording(call: Path) -> None:
    found = Predictor(FakeModel(), recognise=listen).predict(call, channels="split")
    assert [(t.speaker, t.text) for t in found.turns] == [
        ("channel 0", "OH no"), ("channel 1", "so SAD"), ("channel 0", "OH no"),
    ]  # fmt: skip
    assert found.text == "OH no so SAD OH no" and found.text_source == "recogniser"
    assert [round(w.start or 0, 1) for w in found.words] == [0.5, 1.9, 4.0, 4.4, 8.0, 9.4]
    assert [found.text[a:b] for a, b in (w.chars for w in found.words if w.chars)] == found.text.split()
    assert found.evidence.words == 6
    assert found.modalities == ("speech", "text")


def test_what_is_spoken_within_a_minute_is_recognised_together(tmp_path: Path) -> None:
    part = joined(voice(2, 0.5), silence(8))
    soundfile.write(tmp_path / "long.wav", np.tile(part, 15), RATE)
    counts = []

    def counting(waves: Sequence[np.ndarray]) -> list[Transcript | None]:
        counts.append(len(waves))
        return listen(waves)

    found = Predictor(FakeModel(), recognise=counting).predict(tmp_path / "long.wav")
    assert sum(counts) == 15 and len(counts) <= 4
    assert found.text == " ".join(["OH no"] * 15)


def test_windows_get_the_words_that_were_recognised_in_them() -> None:
    model = Recorded()
    wave = joined(silence(1), voice(9, 0.5), silence(1))
    Predictor(model, recognise=listen).predict(wave)
    texts = [clip.text for clip in sorted(model.clips, key=lambda clip: float(clip.id.split("-")[0]))]
    assert texts[:2] == ["OH no", "OH no"]  # the first window, and the region
    assert len(texts) > 3 and set(texts[2:]) == {None}


def test_a_stream_gets_words_at_the_end_of_each_region() -> None:
    stream = Predictor(FakeModel(), recognise=listen).stream()
    for piece in np.array_split(joined(silence(1), voice(2, 0.5), silence(1), voice(2, 0.5), silence(1)), 20):
        stream.feed(piece)
    stream.close()
    whole = stream.prediction()
    assert whole.text == "OH no OH no" and [t.text for t in whole.turns] == ["OH no OH no"]


def test_a_long_pause_or_another_speaker_ends_a_turn() -> None:
    wave = joined(voice(2), silence(0.8), voice(2), silence(2), voice(2), silence(1))
    turns = Predictor(FakeModel()).predict(wave).turns
    assert [round(t.end - t.start, 1) for t in turns] == [4.8, 2.0]
    stricter = Predictor(FakeModel(), segmenting=Segmenting(turn_gap=0.3)).predict(wave).turns
    assert len(stricter) == 3


def test_breath_before_and_after_the_speech_is_no_part_of_a_turn() -> None:
    wave = joined(silence(1), voice(0.6, 0.015), voice(2, 0.5), voice(0.6, 0.015), silence(1))
    found = Predictor(FakeModel()).predict(wave)
    (turn,) = found.turns
    assert (turn.start, turn.end) == pytest.approx((1.6, 3.6), abs=0.03)
    assert found.evidence.speech == pytest.approx(3.2 + 0.2, abs=0.1)  # it is judged all the same
    faint = Predictor(FakeModel()).predict(joined(silence(1), voice(2, 0.05), silence(1))).turns[0]
    assert (faint.start, faint.end) == pytest.approx((1.0, 3.0), abs=0.03)


def test_a_threshold_governs_turns_stretches_and_speakers(call: Path) -> None:
    sure = Predictor(FakeModel()).predict(call, channels="split", threshold=1.0)
    assert sure.label is None and sure.withheld in ("low confidence", "near tie")
    labels = [t.label for t in sure.turns] + [s.label for s in sure.segments]
    assert labels == [None] * len(labels)
    assert {one.label for one in sure.speakers.values()} == {None} and sure.moments == ()


def test_the_surest_stretches_and_the_change_over_time() -> None:
    wave = joined(*(x for level in (0.02, 0.02, 0.6, 0.6, 0.7) for x in (voice(3, level), silence(2))))
    found = Predictor(FakeModel()).predict(wave)
    assert found.moments[0].label == "angry" and found.moments[0].start > 9
    assert found.change["angry"] > 0.3 and sum(found.change.values()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("noise", "decibels"), [(0.01, 26.5), (0.1, 6.5)])
def test_the_level_of_the_speech_over_what_is_between(
    noise: float, decibels: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Loud:
        def __call__(self, steps: np.ndarray) -> np.ndarray:
            return np.where(np.abs(steps).max(1) > 0.45, 0.9, 0.0)

    monkeypatch.setattr("undertone.judging.windows.detector", Loud)
    wave = joined(silence(2), voice(3, 0.3), silence(2)) + 0.0
    wave += noise * np.random.default_rng(0).choice([-1.0, 1.0], len(wave)).astype(np.float32)
    wave[2 * RATE : 5 * RATE : 400] = 0.5
    snr = Predictor(FakeModel()).predict(wave).evidence.snr
    assert snr == pytest.approx(decibels, abs=1.5)


def test_why_there_is_no_label() -> None:
    judge = Predictor(FakeModel())
    assert judge.predict(np.zeros(70 * RATE, np.float32)).withheld == "no speech"
    short = judge.predict(joined(silence(1), voice(0.3), silence(1)), threshold=0.99)
    assert short.withheld == "too little speech" or short.evidence.speech >= 0.5  # type: ignore[operator]
    assert judge.predict(voice(3, 0.5)).withheld is None


def test_the_rate_of_an_array_is_what_it_is_said_to_be() -> None:
    judge = Predictor(FakeModel())
    wave = joined(silence(1), voice(2), silence(1))
    fine = np.repeat(wave, 3)
    assert judge.predict(fine, rate=48_000).evidence.seconds == pytest.approx(4.0, abs=0.01)
    assert judge.predict(fine).evidence.seconds == pytest.approx(12.0)


class Counting(FakeModel):
    """A model whose answer to a turn is how many came before it."""

    contextual = True

    def predict(self, clips: Any, explain: bool = False) -> Any:
        made = []
        for clip, answer in zip(clips, super().predict(clips, explain), strict=True):
            label = self.labels[min(len(clip.before), 3)]
            posterior = {name: 0.97 if name == label else 0.01 for name in self.labels}
            extra = {"turn": clip.id}
            made.append(replace(answer, label=label, confidence=0.97, probabilities=posterior, extra=extra))
        return made


def test_a_model_of_conversations_gets_the_turns_so_far_and_never_later_ones(call: Path) -> None:
    voices = [
        Voice("Ann", turns=(GivenTurn(0.4, 2.6), GivenTurn(7.5, 10.2))),
        Voice("Ben", turns=(GivenTurn(3.8, 7),)),
    ]
    found = Predictor(Counting()).predict(call, channels="mix", speakers=voices)
    assert [turn.label for turn in found.turns] == ["angry", "happy", "sad"]
    whole = joined(*(x for _ in range(4) for x in (voice(2), silence(2))))
    assert [turn.label for turn in Predictor(Counting()).predict(whole).turns] == list(FakeModel.labels)
    before: list[Any] = []
    one = Recording("a", voice(2))
    labels = [Predictor(Counting()).judge(one, before=before).label for _ in range(3)]
    assert labels == ["angry", "happy", "sad"] and before == ["a", "a", "a"]


def test_a_stream_too_judges_turns_by_those_before() -> None:
    stream = Predictor(Counting()).stream()
    for piece in np.array_split(joined(*(x for _ in range(3) for x in (voice(2), silence(2)))), 30):
        stream.feed(piece)
    stream.close()
    assert [turn.label for turn in stream.prediction().turns] == ["angry", "happy", "sad"]


def test_turns_lie_on_the_mix_or_on_one_channel(call: Path) -> None:
    voices = [Voice("Ann", turns=(GivenTurn(0.4, 7.5),))]
    judge = Predictor(FakeModel())
    loud = judge.predict(call, channels=(0,), speakers=voices)
    soft = judge.predict(call, channels=(1,), speakers=voices)
    assert (loud.label, soft.label) == ("angry", "neutral")
    with pytest.raises(AudioError, match="for the mix or for one channel"):
        judge.predict(call, channels="split", speakers=voices)


def test_a_turns_words_too_are_judged_only_if_they_can_be_read(call: Path) -> None:
    model = Recorded()
    model.card = {**model.card, "languages": ["en"]}
    turns = (GivenTurn(0.4, 2.6, "Ich HASSE dich"), GivenTurn(7.5, 10.2, "I HATE you"))
    Predictor(model).predict(call, channels="mix", speakers=[Voice("Ann", turns=turns)])
    assert [clip.text for clip in model.clips if clip.text] == ["I HATE you"]


def test_turns_of_another_recording_are_named(call: Path, caplog: pytest.LogCaptureFixture) -> None:
    turns = (GivenTurn(0.4, 2.6), GivenTurn(70.0, 72.0))
    found = Predictor(FakeModel()).predict(call, channels="mix", speakers=[Voice("Ann", turns=turns)])
    assert len(found.turns) == 1
    assert "1 turns begin after its end (12.0 s)" in caplog.text
