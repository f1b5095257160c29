"""Windows and the timeline: streams equal files, and both equal a slow obvious twin."""

from __future__ import annotations

import importlib.util
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from undertone.judging.engine import signals
from undertone.judging.fakes import FakeModel
from undertone.judging.predictor import Stream
from undertone.judging.settings import Segmenting
from undertone.judging.timeline import Timeline, merged, overall
from undertone.judging.windows import RATE, STEP, Segmenter, Silero, Window
from undertone.runtimes import open_onnx
from undertone.types import TimelineSegment

SETTINGS = Segmenting()


@dataclass
class Planned:
    """A detector that was told the answer, step by step; silence after that."""

    probabilities: Sequence[float]
    at: int = 0

    def __call__(self, steps: np.ndarray) -> list[float]:
        first, self.at = self.at, self.at + len(steps)
        planned = list(self.probabilities[first : self.at])
        return planned + [0.0] * (len(steps) - len(planned))


def regions_at_leisure(
    probabilities: Sequence[float], total: int, settings: Segmenting
) -> list[tuple[int, int]]:
    """The slow twin: regions from all probabilities at once."""
    quiet = round(settings.min_silence * RATE)
    pad, shortest = round(settings.pad * RATE), round(settings.min_speech * RATE)
    longest = round(settings.region_up_to * RATE)
    found: list[tuple[int, int]] = []
    index = floor = 0
    while index < len(probabilities):
        if probabilities[index] < settings.speech_on:
            index += 1
            continue
        start = max(floor, index * STEP - pad)
        last = index
        after = index + 1
        while after < len(probabilities):
            if probabilities[after] >= settings.speech_off:
                last = after
            elif (after - last) * STEP >= quiet:
                break
            after += 1
        until = (last + 1) * STEP
        open_at_end = after >= len(probabilities) and (after - 1 - last) * STEP < quiet
        if open_at_end and last == len(probabilities) - 1:
            until = total  # the rest that fills no step counts as the step before
        end = min(until + pad, total)
        while until - start >= longest:  # speech without a pause is cut
            found.append((start, start + longest))
            start += longest
        if until - start >= shortest:
            found.append((start, end))
        floor, index = end, after
    return found


def windows_at_leisure(regions: Sequence[tuple[int, int]], settings: Segmenting) -> list[tuple[int, int]]:
    length, hop = round(settings.window * RATE), round(settings.hop * RATE)
    windows = []
    for start, end in regions:
        own = [(at, at + length) for at in range(start, end, hop) if at + length <= end]
        if not own or own[-1][1] < end:
            own.append((max(start, end - length), end))
        windows += own
    return windows


def timeline_at_leisure(
    windows: Sequence[tuple[int, int]],
    answers: Sequence[np.ndarray],
    regions: Sequence[tuple[int, int]],
    hop: int,
) -> list[tuple[int, int, np.ndarray]]:
    cells = []
    for start, end in regions:
        inside = [(w, p) for w, p in zip(windows, answers, strict=True) if start <= w[0] and w[1] <= end]
        edges = [start]
        while end - edges[-1] >= 1.5 * hop:
            edges.append(edges[-1] + hop)
        edges.append(end)
        for a, b in pairwise(edges):
            weights = [max(0, min(b, w[1]) - max(a, w[0])) for w, _ in inside]
            if (inside[-1][0][0] - start) % hop and any(w[0] == a for w, _ in inside[:-1]):
                weights[-1] = 0  # the tail window comes too late for a cell with a window of its own
            logs = sum(k * np.log(np.maximum(p, 1e-9)) for k, (_, p) in zip(weights, inside, strict=True))
            score = np.exp(logs / sum(weights))
            cells.append((a, b, score / score.sum()))
    return cells


speech = st.lists(st.tuples(st.booleans(), st.integers(1, 300)), min_size=1, max_size=6)


def planned(turns: Sequence[tuple[bool, int]]) -> list[float]:
    return [p for spoken, steps in turns for p in [0.9 if spoken else 0.1] * steps]


def feed(segmenter: Segmenter, wave: np.ndarray, sizes: Sequence[int]) -> list[Window]:
    windows, at, turn = [], 0, 0
    while at < len(wave):
        size = sizes[turn % len(sizes)]
        windows += segmenter.feed(wave[at : at + size])
        at, turn = at + size, turn + 1
    return windows + segmenter.close()


def spans(windows: Sequence[Window]) -> list[tuple[int, int]]:
    return [(w.start, w.end) for w in windows if len(w.wave)]


@settings(deadline=None, max_examples=60)
@given(speech, st.integers(0, STEP - 1))
def test_windows_equal_those_found_at_leisure(turns: list[tuple[bool, int]], rest: int) -> None:
    probabilities = planned(turns)
    wave = np.arange(len(probabilities) * STEP + rest, dtype=np.float32)
    found = feed(Segmenter(SETTINGS, Planned(probabilities)), wave, [len(wave)])
    regions = regions_at_leisure(probabilities, len(wave), SETTINGS)
    assert spans(found) == windows_at_leisure(regions, SETTINGS)
    for window in found:
        np.testing.assert_array_equal(window.wave, wave[window.start : window.end])
    assert [(w.region, w.region_end) for w in found if w.region_end is not None] == regions


@settings(deadline=None, max_examples=60)
@given(speech, st.lists(st.integers(160, 40_000), min_size=1, max_size=5))
def test_a_stream_in_crumbs_gives_the_windows_of_the_whole(
    turns: list[tuple[bool, int]], sizes: list[int]
) -> None:
    probabilities = planned(turns)
    wave = np.linspace(-1, 1, len(probabilities) * STEP, dtype=np.float32)
    whole = feed(Segmenter(SETTINGS, Planned(probabilities)), wave, [len(wave)])
    crumbs = feed(Segmenter(SETTINGS, Planned(probabilities)), wave, sizes)
    assert spans(whole) == spans(crumbs)
    for one, other in zip(whole, crumbs, strict=True):
        np.testing.assert_array_equal(one.wave, other.wave)


@settings(deadline=None, max_examples=60)
@given(speech, st.integers(0, 2**31))
def test_cells_equal_those_computed_at_leisure(turns: list[tuple[bool, int]], seed: int) -> None:
    probabilities = planned(turns)
    wave = np.zeros(len(probabilities) * STEP, np.float32)
    windows = feed(Segmenter(SETTINGS, Planned(probabilities)), wave, [len(wave)])
    drawn = np.random.default_rng(seed)
    answers = [drawn.dirichlet(np.ones(3)) for w in windows if len(w.wave)]
    timeline, cells, waiting = Timeline(SETTINGS), [], iter(answers)
    for window in windows:
        known = dict(zip("abc", next(waiting), strict=True)) if len(window.wave) else None
        cells += timeline.add(window, known)
    regions = regions_at_leisure(probabilities, len(wave), SETTINGS)
    expected = timeline_at_leisure(spans(windows), answers, regions, round(SETTINGS.hop * RATE))
    assert [(c.start, c.end) for c in cells] == [(a / RATE, b / RATE) for a, b, _ in expected]
    for cell, (_, _, wanted) in zip(cells, expected, strict=True):
        np.testing.assert_allclose(list(cell.probabilities.values()), wanted, atol=1e-12)


def test_a_cell_is_final_within_the_stated_latency() -> None:
    """The planted speech never pauses, so each cell must come as soon as its last window is heard."""
    probabilities = [0.9] * 2000
    stream = Stream(FakeModel(), SETTINGS, detect=Planned(probabilities))
    late = 0.0
    for _ in range(2000):
        for cell in stream.feed(np.full(STEP, 0.1, np.float32)).segments:
            late = max(late, stream.seconds - cell.end)
    assert 0 < late <= SETTINGS.latency + STEP / RATE


def test_memory_does_not_grow_with_the_recording() -> None:
    def peak(steps: int) -> int:
        segmenter = Segmenter(SETTINGS, Planned(planned([(True, 250), (False, 50)] * (steps // 300))))
        silence = np.zeros(STEP, np.float32)
        tracemalloc.start()
        for _ in range(steps):
            segmenter.feed(silence)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(9_000) < 1.1 * peak(1_800)


def test_neighbours_of_one_label_merge_unless_silence_parts_them() -> None:
    def cell(start: float, end: float, label: str, share: float) -> TimelineSegment:
        return TimelineSegment(start, end, label, share, {label: share, "other": 1 - share})

    cells = [cell(0, 2, "sad", 0.6), cell(2, 3, "sad", 0.9), cell(5, 6, "sad", 0.5), cell(6, 7, "happy", 0.5)]
    runs = merged(cells)
    assert [(r.start, r.end, r.label) for r in runs] == [(0, 3, "sad"), (5, 6, "sad"), (6, 7, "happy")]
    assert runs[0].confidence == pytest.approx((2 * 0.6 + 0.9) / 3)
    assert overall(cells[:2])["sad"] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"hop": 3.0}, "1.5 x hop"),
        ({"pad": 0.4}, "min_silence"),
        ({"speech_off": 0.6}, "speech_on"),
        ({"region_up_to": 2.0}, "window"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changed: dict[str, float], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Segmenting(**changed)


def test_the_detector_gives_a_step_the_same_whatever_comes_with_it() -> None:
    """Many steps in one call, as against one at a time by the network that takes single steps."""
    data = importlib.util.find_spec("silero_vad")
    if data is None or not data.submodule_search_locations:
        pytest.skip("silero-vad is not installed")
    single = open_onnx(Path(data.submodule_search_locations[0]) / "data" / "silero_vad.onnx", threads=1)
    drawn = np.random.default_rng(0)
    speech = np.concatenate(signals()[:4])
    steps = (speech + 0.001 * drawn.standard_normal(len(speech)))[: len(speech) // STEP * STEP]
    steps = steps.astype(np.float32).reshape(-1, STEP)
    state, before, alone = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32), []
    for step in steps:
        samples = np.concatenate([before, step])[None]
        probability, state = single({"input": samples, "state": state, "sr": np.array(RATE, np.int64)})
        alone.append(float(probability[0, 0]))
        before = step[-64:]
    detect, crumbs, at = Silero(), [], 0
    for size in (1, 7, 64, 3, len(steps)):
        crumbs.append(detect(steps[at : at + size]))
        at += size
    assert max(alone) > 0.9 and min(alone) < 0.1
    np.testing.assert_allclose(np.concatenate(crumbs), alone, atol=1e-5)
