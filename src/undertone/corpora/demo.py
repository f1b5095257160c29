"""The demo corpus: synthesised speech with a planted emotion, made on the spot.

A test bed whose truth is known: where every word and phone begins, what carries each emotion, and how well
speech, text and their combinations can do at best. ``docs/demo-corpus.md`` tells how it is made.
"""

from __future__ import annotations

import json
import os
import wave as riff
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertone.corpora.demo_prosody import SPEAKER, Prosody, habits
from undertone.corpora.demo_script import Line, write
from undertone.errors import ConfigError
from undertone.types import Utterance

if TYPE_CHECKING:
    import numpy as np

    from undertone.types import Wave

__all__ = ["Demo"]

_SMALLEST = 40


class Demo:
    """Made into ``root``: one wav an utterance in a folder a session, and ``card.json``.

    The same ``seed`` and ``size`` give the same bytes, whatever ``workers`` is: each speaker's part is made in
    one fresh process, in the order of the script.
    """

    name = "demo"
    labels = "demo4"

    def __init__(self, root: Path, seed: int = 0, size: int = 1000, workers: int = 2) -> None:
        if size < _SMALLEST:
            raise ConfigError(f"the demo corpus needs at least {_SMALLEST} utterances, not {size}")
        self.root = Path(root)
        self.seed = seed
        self.size = size
        self.workers = max(1, workers)
        self.notes: list[str] = []

    def read(self) -> Iterator[Utterance]:
        """Make the whole corpus, then give its utterances, dialogue by dialogue."""
        import numpy as np

        lines = write(self.size, np.random.default_rng([self.seed, 0]))
        ways = habits(np.random.default_rng([self.seed, 1]))
        parts = [[line for line in lines if line.speaker == s] for s in range(len(SPEAKER))]
        jobs = [(self.root, self.seed, s, ways[s], part) for s, part in enumerate(parts)]
        context = get_context("spawn")
        with ProcessPoolExecutor(self.workers, mp_context=context, max_tasks_per_child=1) as pool:
            spoken = {u.id: u for part in pool.map(_speak_part, jobs) for u in part}
        yield from (spoken[line.id] for line in lines)


def _speak_part(job: tuple[Path, int, int, Prosody, Sequence[Line]]) -> list[Utterance]:
    """One speaker's part, spoken in this fresh process."""
    import numpy as np

    from undertone.corpora.demo_syllables import with_syllables
    from undertone.corpora.demo_voice import RATE, speak

    root, seed, speaker, habit, lines = job
    rng = np.random.default_rng([seed, 2, speaker])
    utterances = []
    for line in lines:
        take = speak(line, SPEAKER[speaker], habit, rng)
        path = root / f"session{line.session + 1}" / f"{line.id}.wav"
        _save(path, take.wave, RATE)
        utterances.append(
            Utterance(
                id=line.id,
                audio=str(path.absolute()),
                start=0.0,
                end=round(len(take.wave) / RATE, 5),
                speaker=f"{line.session + 1}{'FM'[speaker % 2]}",
                session=str(line.session + 1),
                dialogue=f"s{line.session + 1}d{line.dialogue + 1:02d}",
                turn=line.turn + 1,
                text=" ".join(line.words),
                text_source="gold",
                label=line.label,
                language="en",
                alignment=with_syllables(take.alignment),
                extra=_extra(line, habit, take.snr),
            )
        )
    return utterances


def _extra(line: Line, habit: Prosody, snr: float) -> dict[str, Any]:
    """The planted truth: what an honest system may not see, and a test wants to."""
    return {
        "kind": line.kind,
        "places": list(line.places),
        "meanings": list(line.meanings),
        "stressed": line.stressed,
        "prosody": {k: round(v, 3) for k, v in asdict(line.prosody + habit).items()},
        "snr": snr,
    }


def _save(path: Path, samples: Wave, rate: int) -> None:
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with riff.open(str(part), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(samples * 32767.0).astype("<i2").tobytes())
    os.replace(part, path)
