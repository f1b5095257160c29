"""Times to frames and tokens to words, by hand and by properties."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from undertone.features.assemble import assemble, frame_spans, segment_words, token_words
from undertone.features.subword import Subword
from undertone.types import Alignment, EncodedText, FrameClock, Segment, Utterance

CLOCK = FrameClock(hop=0.02, offset=0.0125)


def slowly(segments: list[Segment], clock: FrameClock, frames: int) -> list[list[int]]:
    """Every frame asked whether its centre is inside."""
    spans = []
    for segment in segments:
        inside = [i for i in range(frames) if segment.start - 1e-9 <= clock.centre(i) < segment.end - 1e-9]
        if inside:
            spans.append([inside[0], inside[-1] + 1])
            continue
        middle = (segment.start + segment.end) / 2
        best = min(range(frames), key=lambda i: (round(abs(clock.centre(i) - middle), 9), i))
        spans.append([best, best + 1])
    return spans


times = st.tuples(st.integers(0, 3000), st.integers(1, 400)).map(
    lambda t: Segment("x", t[0] / 1000 + 0.0003, (t[0] + t[1]) / 1000 + 0.0003)
)


@given(segments=st.lists(times, max_size=8), frames=st.integers(1, 120))
def test_spans_are_the_frames_whose_centre_is_inside(segments: list[Segment], frames: int) -> None:
    assert frame_spans(segments, CLOCK, frames).tolist() == slowly(segments, CLOCK, frames)


def test_boundaries_of_ten_millisecond_frames_are_exact() -> None:
    """A boundary file's frames 3..7 are [0.03, 0.08) s; with 10 ms frames centred at 5 ms: 3..7."""
    clock = FrameClock(hop=0.01, offset=0.005)
    for first in range(200):
        span = frame_spans([Segment("x", first * 0.01, (first + 5) * 0.01)], clock, 300)
        assert span.tolist() == [[first, first + 5]]


def test_a_segment_beyond_the_last_frame_takes_the_last() -> None:
    assert frame_spans([Segment("x", 5.0, 6.0)], CLOCK, 10).tolist() == [[9, 10]]


def test_no_segments_are_no_spans() -> None:
    assert frame_spans([], CLOCK, 10).shape == (0, 2)


def test_neighbours_share_no_frame_when_each_has_one() -> None:
    cuts = np.cumsum([0.0, 0.11, 0.07, 0.3, 0.05])
    segments = [Segment("x", a, b) for a, b in pairwise(cuts)]
    spans = frame_spans(segments, CLOCK, 100)
    assert (spans[1:, 0] == spans[:-1, 1]).all()


WORDS = (Segment("can't", 0.1, 0.4, chars=(2, 7)), Segment("stop", 0.5, 0.9, chars=(8, 12)))
TEXT = "I can't stop!"


def test_phones_belong_to_the_word_they_lie_in() -> None:
    phones = [
        Segment(p, a, b) for p, a, b in (("k", 0.1, 0.2), ("t", 0.3, 0.4), ("?", 0.42, 0.46), ("s", 0.5, 0.6))
    ]
    assert segment_words(phones, WORDS).tolist() == [0, 0, -1, 1]
    assert segment_words(phones, ()).tolist() == [-1] * 4


def test_tokens_belong_to_the_word_they_share_characters_with() -> None:
    chars = np.array([(0, 0), (0, 1), (2, 5), (5, 6), (6, 7), (7, 12), (12, 13), (0, 0)])
    assert token_words(chars, WORDS, TEXT).tolist() == [-1, -1, 0, 0, 0, 1, -1, -1]


def test_words_without_characters_are_found_in_reading_order() -> None:
    words = (Segment("NO", 0.1, 0.2), Segment("MISSING", 0.2, 0.3), Segment("NO(2)", 0.3, 0.4))
    assert token_words(np.array([(0, 2), (3, 5), (5, 6)]), words, "no no!").tolist() == [0, 2, -1]


UTTERANCE = Utterance(
    id="u",
    audio="u.wav",
    text=TEXT,
    alignment=Alignment(word=WORDS, phone=(Segment("k", 0.1, 0.2), Segment("s", 0.5, 0.6))),
)


def test_assembling_ties_speech_and_words() -> None:
    subword = Subword.fit([TEXT] * 3, 50)
    made = assemble(UTTERANCE, {"frames": np.zeros((60, 3), np.float32)}, CLOCK, subword.encode(TEXT))
    assert made["segments"]["word"].shape == (2, 2) and set(made["segments"]) == {"word", "phone"}
    assert made["segment_word"]["word"].tolist() == [0, 1]
    assert made["segment_word"]["phone"].tolist() == [0, 1]
    assert made["token_word"] is not None and set(made["token_word"].tolist()) == {-1, 0, 1}


def test_assembling_layers_counts_frames_not_layers() -> None:
    made = assemble(UTTERANCE, np.zeros((13, 60, 3), np.float32), CLOCK, None)
    assert made["segments"]["word"].max() > 13
    assert made["text"] is None and made["token_word"] is None


def test_a_missing_side_is_left_out() -> None:
    coded = EncodedText(np.zeros((3, 4), np.float32), np.array([(0, 0), (2, 7), (0, 0)], np.int32))
    made = assemble(UTTERANCE, None, None, coded)
    assert made["speech"] is None and not made["segments"]
    assert made["token_word"] is not None and made["token_word"].tolist() == [-1, -1, -1]
