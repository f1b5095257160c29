"""How one recording is judged, without saying where its samples come from or who runs the model.

A plan is a generator: it yields the clips that are to be judged, is sent their predictions, and returns the
prediction of the recording. The predictor, the server, its WebSocket and the workers of a cluster all follow
the same plan, each in its own way of running a model:

    predictor       plan ─ Step(clips) ─▶ model.predict ─ predictions ─▶ plan
    server          plan ─ Step(clips) ─▶ the queue before the model (await) ─▶ plan

>>> import numpy as np
>>> from undertone.judging.fakes import FakeModel
>>> model = FakeModel()
>>> steps = plan(model, "a", [np.zeros(16000, np.float32)], None)
>>> follow(steps, model).modalities
('speech',)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import numpy as np

from undertone.errors import ModelError
from undertone.judging.clip import Clip, Model, Transcript, abstain
from undertone.judging.conversation import Conversation, Voice
from undertone.judging.course import Course, Listen, Step, Steps, Update
from undertone.judging.reading import unjudged, unread
from undertone.judging.settings import Segmenting
from undertone.judging.windows import RATE
from undertone.types import Evidence, Prediction

if TYPE_CHECKING:
    from undertone.judging.words import Words
    from undertone.types import Wave

__all__ = [
    "Course",
    "Ended",
    "Listen",
    "Recognise",
    "Step",
    "Steps",
    "Update",
    "advance",
    "follow",
    "plan",
    "remembering",
]

T = TypeVar("T")
TOGETHER = 60.0
"""Seconds of a recording whose stretches of speech are recognised at the same time."""
ALIGN_UP_TO = 900.0
"""Seconds of a recording that is held whole so that words without times can be aligned."""
Recognise: TypeAlias = "Callable[[Sequence[Wave]], Sequence[Transcript | None]]"
"""The words of each wave, mono samples at 16 kHz."""


@dataclass(frozen=True)
class Ended(Generic[T]):
    """A plan's result."""

    result: T


def advance(steps: Steps[T], answers: list[Any] | None = None) -> Step | Listen | Ended[T]:
    """The next step of a plan, given the answers to the step before (None at the start)."""
    try:
        return next(steps) if answers is None else steps.send(answers)
    except StopIteration as end:
        return Ended(end.value)


def follow(steps: Steps[T], model: Model, recognise: Recognise | None = None) -> T:
    """The result of a plan whose clips this model judges, and whose words this recogniser reads."""
    step = advance(steps)
    while not isinstance(step, Ended):
        if isinstance(step, Step):
            step = advance(steps, model.predict(step.clips, step.explain))
        else:
            assert recognise is not None, "a plan that listens needs a recogniser"
            step = advance(steps, list(recognise(step.waves)))
    return step.result


def plan(
    model: Model,
    name: str,
    blocks: Iterable[Wave] | None,
    words: Transcript | None,
    *,
    seconds: float | None = None,
    settings: Segmenting | None = None,
    aligner: Words | None = None,
    explain: bool = True,
    threshold: float | None = None,
    voices: Sequence[Voice] = (),
    listen: bool = False,
    before: list[Any] | None = None,
) -> Steps[Prediction]:
    """Judge one recording whose samples come in ``blocks`` (None: there is only text).

    Its stretches of speech are judged, not its silence: each region is one clip, and the recording's
    posterior is the mean over its regions, each second of speech counting the same. From
    ``settings.timeline_from`` seconds it gets a timeline too. ``seconds``, the recording's length, spreads
    words without times over recordings that are too long to be held.

    ``voices``: who speaks in it; blocks are then ``(N, channels)``. ``listen``: words that are not given are
    to be recognised. ``before``: for a ``contextual`` model the turns before, to which this one is added: the
    recording is then one turn, judged as it is.
    """
    if blocks is None and words is None:
        raise ModelError(f"{name}: neither audio nor text")
    if words is not None and "speech" not in model.sides and not voices:
        blocks = None  # it judges by the words, wherever the pauses are
    listen = listen and "text" in model.sides
    if listen and blocks is not None:
        blocks = _longer(blocks, round(TOGETHER * RATE))
    options: dict[str, Any] = {"settings": settings, "explain": explain, "threshold": threshold}
    if before is not None and model.contextual:
        wave = None if blocks is None else _held(blocks, 2**62)[0]
        read = words if words is not None and not unread(model, words) else None
        turn = _one_turn(name, Clip(name, wave, read), explain)
        return abstain((yield from remembering(model, turn, before)), threshold)
    if blocks is not None and words is not None and (why := unread(model, words)):
        steps = plan(model, name, blocks, None, voices=voices, **options)
        source = f"{words.source}, not judged: {why}"
        return replace((yield from steps), text=words.text, text_source=source)
    if voices and blocks is not None:
        talk = Conversation(model, voices, words, aligner=aligner, listen=listen, **options)
        return abstain((yield from remembering(model, talk.run(name, blocks))), threshold)
    if blocks is None:
        assert words is not None
        if why := unread(model, words):
            return unjudged(model, name, words, why)
        (prediction,) = yield Step([Clip(name, None, words)], explain)
        return _with_words(abstain(prediction, threshold))
    spread = None
    if words is not None and words.alignment is None:
        wave, rest = _held(blocks, round(ALIGN_UP_TO * model.rate))
        if rest is not None:
            spread = seconds
        elif aligner is not None:
            words = aligner.align(wave, words)
        blocks = chain([wave], rest or ())
    course = Course(model, words=words, seconds=spread, live=False, listen=listen, **options)
    steps = _whole(course, name, blocks)
    return abstain((yield from remembering(model, steps)), threshold)


def _whole(course: Course, name: str, blocks: Iterable[Wave]) -> Steps[Prediction]:
    for block in blocks:
        for first in range(0, len(block), 60 * RATE):
            yield from course.feed(block[first : first + 60 * RATE])
    yield from course.close()
    return course.prediction(name)


def _one_turn(name: str, clip: Clip, explain: bool) -> Steps[Prediction]:
    (prediction,) = yield Step([clip], explain)
    return _with_words(replace(prediction, id=name))


def _with_words(prediction: Prediction) -> Prediction:
    return replace(prediction, evidence=Evidence(words=len((prediction.text or "").split())))


def remembering(model: Model, steps: Steps[T], before: list[Any] | None = None) -> Steps[T]:
    """A plan for a model that judges a turn by those before it: each clip gets what it gave for them."""
    if not model.contextual:
        return (yield from steps)
    before = [] if before is None else before
    step = advance(steps)
    while not isinstance(step, Ended):
        if isinstance(step, Listen):
            step = advance(steps, (yield step))
            continue
        answers = []
        for clip in step.clips:
            (answer,) = yield Step([replace(clip, before=tuple(before))], step.explain)
            before.append(answer.extra["turn"])
            answers.append(answer)
        step = advance(steps, answers)
    return step.result


def _longer(blocks: Iterable[Wave], least: int) -> Iterator[Wave]:
    """The same samples in blocks of at least so many, but for the last."""
    held: list[Wave] = []
    for block in blocks:
        held.append(block)
        if sum(map(len, held)) >= least:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _held(blocks: Iterable[Wave], most: int) -> tuple[Wave, Iterator[Wave] | None]:
    """All samples, and None; or, of more than ``most``, those so far and what gives the others."""
    remaining = iter(blocks)
    held: list[Wave] = []
    for block in remaining:
        held.append(block)
        if sum(map(len, held)) > most:
            return np.concatenate(held), remaining
    return held[0] if len(held) == 1 else np.concatenate([np.zeros(0, np.float32), *held]), None
