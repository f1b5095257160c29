"""A recording is judged by its speech: pauses and silence around it change nothing, no word is lost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertone.judging.clip import Clip, Transcript, share
from undertone.judging.fakes import FakeModel
from undertone.judging.plan import Course, follow, plan
from undertone.judging.predictor import Predictor, Stream, load
from undertone.judging.regions import Region, RegionWords
from undertone.judging.settings import Segmenting
from undertone.judging.summary import shares
from undertone.judging.timeline import segment
from undertone.types import Alignment, Prediction, Segment

RATE = 16_000
NOTHING = np.zeros(0, np.float32)


class Loudness:
    """A detector for tests: a step is speech where it is not silent."""

    def __call__(self, steps: np.ndarray) -> np.ndarray:
        return np.where(np.abs(steps).max(1) > 0.01, 0.9, 0.0)


@pytest.fixture(autouse=True)
def _detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("undertone.judging.windows.detector", Loudness)


class Recorded(FakeModel):
    """Keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.clips: list[Clip] = []

    def predict(self, clips: Sequence[Clip], explain: bool = False) -> list[Prediction]:
        self.clips += clips
        return super().predict(clips, explain)


def voice(seconds: float, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(np.arange(round(seconds * RATE)) / 10)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def joined(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts).astype(np.float32)


def test_a_pause_is_not_judged() -> None:
    model = Recorded()
    answer = Predictor(model).predict(joined(voice(2), silence(1), voice(2)))
    assert [round(len(c.wave) / RATE) for c in model.clips if c.wave is not None] == [2, 2]
    alone = Predictor(FakeModel()).predict(voice(2))
    assert answer.label == alone.label
    assert answer.confidence == pytest.approx(alone.confidence, abs=0.05)
    assert answer.shares == {alone.label: 1.0}


def test_what_is_not_judged_has_no_share_of_the_speech() -> None:
    """Silence was 100 % of the first class."""
    even = dict.fromkeys(("angry", "sad"), 0.5)
    cells = [segment(0, 1, even, 0, None), segment(1, 2, {"angry": 0.1, "sad": 0.9}, 0, None)]
    assert shares(cells[:1]) == {} and shares(cells) == {"sad": 1.0}


@pytest.mark.parametrize("edge", [1.0, 8.0])
def test_silence_at_either_end_changes_next_to_nothing(edge: float) -> None:
    model = Predictor(FakeModel())
    alone = model.predict(joined(silence(0.2), voice(3), silence(0.2)))
    around = model.predict(joined(silence(edge), voice(3), silence(edge)))
    assert around.label == alone.label
    assert around.confidence == pytest.approx(alone.confidence, abs=0.02)


def test_the_mean_counts_seconds_of_speech_and_the_shares_say_of_whom() -> None:
    model = Predictor(FakeModel())
    parts = voice(3, 0.3), voice(1, 0.02)
    loud, soft = (model.predict(part) for part in parts)
    answer = model.predict(joined(parts[0], silence(1), parts[1]))
    assert loud.label != soft.label
    for label, share_ in answer.probabilities.items():
        mean = 0.75 * loud.probabilities[label] + 0.25 * soft.probabilities[label]
        assert share_ == pytest.approx(mean, abs=0.03)
    assert answer.shares[str(loud.label)] == pytest.approx(0.75, abs=0.05)
    assert answer.plain()["shares"].keys() == {loud.label, soft.label}


@pytest.mark.parametrize("text", [None, "one two three four five six"])
def test_a_stream_and_a_file_end_with_the_same_prediction(text: str | None) -> None:
    wave = joined(silence(1), voice(3), silence(0.7), voice(5, 0.05), silence(2))
    whole = Predictor(FakeModel()).predict(wave, text)
    course = Course(FakeModel(), words=Transcript(text) if text else None)
    for first in range(0, len(wave), 1_234):
        follow(course.feed(wave[first : first + 1_234]), FakeModel())
    follow(course.close(), FakeModel())
    final = course.prediction("stream")
    assert final.perspectives.keys() == whole.perspectives.keys()
    assert list(final.probabilities.values()) == pytest.approx(list(whole.probabilities.values()), abs=1e-6)
    assert final.segments == whole.segments


def test_a_short_stream_without_speech_is_judged_as_its_upload() -> None:
    hum = voice(2, 0.005)  # below what the detector takes for speech
    stream = Stream(FakeModel())
    stream.feed(hum)
    stream.close()
    assert stream.prediction("a").probabilities == Predictor(FakeModel()).predict(hum, name="a").probabilities


def test_speech_without_a_pause_is_cut_and_nothing_is_lost() -> None:
    model = Recorded()
    Predictor(model, segmenting=Segmenting(region_up_to=10.0)).predict(voice(35))
    regions = [len(c.wave) / RATE for c in model.clips if c.wave is not None and len(c.wave) > 4.2 * RATE]
    assert regions == pytest.approx([10, 10, 10, 5], abs=0.2)


def test_words_without_times_beyond_a_minute_count() -> None:
    """They were dropped: modalities ("speech",), exit 0."""
    model = Recorded()
    wave = joined(*[part for _ in range(12) for part in (voice(5), silence(1))])
    text = " ".join(f"word{n}" for n in range(60))
    answer = Predictor(model).predict(wave, text)
    assert answer.modalities == ("speech", "text")
    assert answer.text == text
    given_words = " ".join(c.text for c in model.clips if c.text)
    assert given_words == text
    assert len({c.text for c in model.clips if c.text}) == 12


def test_words_of_a_recording_too_long_to_be_held_are_spread_over_its_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("undertone.judging.plan.ALIGN_UP_TO", 10.0)
    model = Recorded()
    wave = joined(*[part for _ in range(6) for part in (voice(5), silence(1))])
    text = " ".join(f"word{n}" for n in range(10, 40))
    blocks = np.split(wave, range(RATE, len(wave), RATE))
    answer = follow(plan(model, "a", blocks, Transcript(text), seconds=36.0), model)
    assert answer.modalities == ("speech", "text")
    assert " ".join(c.text for c in model.clips if c.text) == text


def test_timed_words_in_a_pause_go_to_a_region_and_keep_their_times_and_characters() -> None:
    text = "one two three"
    words = (Segment("one", 0.5, 1.0, chars=(0, 3)), Segment("two", 2.1, 2.3, chars=(4, 7)),
             Segment("three", 4.0, 4.5, chars=(8, 13)))  # fmt: skip
    wave = joined(voice(2), silence(1.5), voice(2))
    answer = Predictor(FakeModel()).predict(wave, text, alignment=Alignment(word=words))
    assert [w.text for w in answer.words] == ["one", "two", "three"]
    assert [w.chars for w in answer.words] == [(0, 3), (4, 7), (8, 13)]
    assert [w.start for w in answer.words] == pytest.approx([0.5, 2.1, 4.0], abs=0.11)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.text(alphabet="abcdé'", min_size=1, max_size=9), min_size=1, max_size=30),
    st.lists(st.integers(1, 300_000), min_size=1, max_size=8),
)
def test_every_word_goes_to_exactly_one_region(texts: list[str], lengths: list[int]) -> None:
    words = Transcript("  ".join(texts))
    ends = np.cumsum([length + 8_000 for length in lengths])
    regions = [Region(int(e) - n, int(e), NOTHING) for e, n in zip(ends, lengths, strict=True)]
    for seconds in (None, float(ends[-1]) / RATE):
        taken: Any = RegionWords(words, seconds)
        ready = [r for region in regions for r in taken.take([region])] + taken.close()
        assert ready == regions
        parts = [r.excerpt for r in regions if r.excerpt is not None]
        assert [w for part in parts for w in re.findall(r"\S+", part.words.text)] == texts
        assert all(words.text[p.first :].startswith(p.words.text) for p in parts)


def test_words_are_shared_by_their_letters() -> None:
    part = share(Transcript("aaaa bb cc dddd"), 0.0, 0.5, 3.0)
    assert part is not None
    assert (part.words.text, part.start, part.first) == ("aaaa bb", 3.0, 0)
    assert share(Transcript("aaaa"), 0.6, 1.0, 0.0) is None


def test_what_is_judged_is_no_longer_held() -> None:
    model, course = FakeModel(), Course(FakeModel())
    for _ in range(5):
        follow(course.feed(joined(voice(3), silence(1))), model)
    follow(course.close(), model)
    assert len(course.regions) == 5
    assert not any(len(region.wave) for region in course.regions)


@pytest.mark.parametrize("text", ["hello", "one two three four"])
def test_a_model_of_words_alone_judges_them_wherever_the_pauses_are(
    text: str, new_model: Any, tmp_path: Path
) -> None:
    model = load(new_model(tmp_path / "text", "text"))
    wave = joined(voice(3), silence(1), voice(3), silence(1), voice(3))
    answer = model.predict(wave, text)
    assert answer.modalities == ("text",)
    assert answer.probabilities == model.predict(None, text).probabilities


def test_a_model_of_speech_alone_gives_silence_no_label_whatever_the_words(
    new_model: Any, tmp_path: Path
) -> None:
    model = load(new_model(tmp_path / "speech", "speech"))
    answer = model.predict(silence(61), "hello there")
    assert answer.label is None and answer.modalities == ()
    spoken = model.predict(joined(voice(3), silence(1), voice(3)), "hello there")
    assert spoken.modalities == ("speech",)
