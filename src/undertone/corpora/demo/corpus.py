"""The demo corpus: synthesised speech with a planted emotion, made on the spot.

Its truth is known: where every word and phone begins, what carries each emotion, and the best possible
scores of speech, text and their combinations. ``docs/demo-corpus.md`` describes how it is made.
"""

from __future__ import annotations

import wave as riff
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from undertone import espeak
from undertone.corpora.demo import raters
from undertone.corpora.demo.prosody import SPEAKER, Prosody, habits
from undertone.corpora.demo.script import CLASSES, Line, write
from undertone.corpora.demo.truth import MEANING, ceilings
from undertone.corpora.demo.voice import RATE, speak
from undertone.errors import ConfigError
from undertone.files import spawned_pool, whole, write_json
from undertone.types import Utterance

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Demo"]

_SMALLEST = 40


class Demo:
    """Made into ``root``: one wav an utterance in a folder a session, and ``card.json``.

    The same ``seed`` and ``size`` give the same bytes, whatever ``workers`` is: each speaker's part is made
    in one fresh process, in the order of the script.
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
        """The utterances, dialogue by dialogue, once the whole corpus is made."""
        espeak.require()
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "card.json").unlink(missing_ok=True)
        lines = write(self.size, np.random.default_rng([self.seed, 0]))
        ways = habits(np.random.default_rng([self.seed, 1]))
        parts = [[line for line in lines if line.speaker == s] for s in range(len(SPEAKER))]
        jobs = [(self.root, self.seed, s, ways[s], part) for s, part in enumerate(parts)]
        with spawned_pool(self.workers, tasks_each=1) as pool:
            spoken = pool.map(_speak_part, jobs)
            limits = ceilings()  # meanwhile
            utterances = {u.id: u for part in spoken for u in part}
        self._write_card(lines, ways, limits)
        yield from self._rated([utterances[line.id] for line in lines], lines, ways)

    def _rated(
        self, utterances: Sequence[Utterance], lines: Sequence[Line], ways: Sequence[Prosody]
    ) -> Iterator[Utterance]:
        """The utterances with raters' votes and ratings, and the planted distribution of the votes."""
        chances = raters.perceived(raters.observed(lines, ways))
        votes, ratings = raters.rate(chances, np.random.default_rng([self.seed, 3]))
        for utterance, chance, counts, (arousal, valence) in zip(
            utterances, chances.tolist(), votes.tolist(), ratings.tolist(), strict=True
        ):
            planted = {name: round(p, 4) for name, p in zip(CLASSES, chance, strict=True)}
            extra = {"arousal": round(arousal, 4), "valence": round(valence, 4), "perceived": planted}
            given = {name: n for name, n in zip(CLASSES, counts, strict=True) if n}
            yield replace(utterance, votes=given, extra={**utterance.extra, **extra})

    def _write_card(
        self, lines: Sequence[Line], ways: Sequence[Prosody], limits: Mapping[str, dict[str, float]]
    ) -> None:
        """Write ``card.json``, last of all: only a complete corpus has it."""
        card = {
            "name": self.name,
            "seed": self.seed,
            "size": self.size,
            "synthesised": "all speech is made by espeak-ng; no person speaks",
            "counts": {
                "label": Counter(line.label for line in lines),
                "kind": Counter(line.kind for line in lines),
            },
            "speakers": {
                _speaker(s): {"voice": SPEAKER[s], "habit": _rounded(way)} for s, way in enumerate(ways)
            },
            "ceilings": {name: {"knows": MEANING[name], **scores} for name, scores in limits.items()},
            "raters": {
                "each": raters.RATERS,
                "simulated": "no person rated; votes are drawn from planted distributions",
                "ceilings": raters.rated_ceilings(),
            },
        }
        write_json(self.root / "card.json", card, indent=2)


def _speak_part(job: tuple[Path, int, int, Prosody, Sequence[Line]]) -> list[Utterance]:
    """One speaker's utterances, synthesised in this fresh process."""
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
                speaker=_speaker(speaker),
                session=str(line.session + 1),
                dialogue=f"s{line.session + 1}d{line.dialogue + 1:02d}",
                turn=line.turn + 1,
                text=" ".join(line.words),
                text_source="gold",
                label=line.label,
                language="en",
                alignment=take.alignment,
                extra=_extra(line, habit, take.snr),
            )
        )
    return utterances


def _extra(line: Line, habit: Prosody, snr: float) -> dict[str, Any]:
    """The planted truth, for tests: no system may use it."""
    return {
        "kind": line.kind,
        "places": list(line.places),
        "meanings": list(line.meanings),
        "stressed": line.stressed,
        "prosody": _rounded(line.prosody + habit),
        "snr": snr,
    }


def _speaker(index: int) -> str:
    return f"{index // 2 + 1}{'FM'[index % 2]}"


def _rounded(prosody: Prosody) -> dict[str, float]:
    return {name: round(value, 3) for name, value in asdict(prosody).items()}


def _save(path: Path, samples: Wave, rate: int) -> None:
    with whole(path) as part, riff.open(str(part), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(samples * 32767.0).astype("<i2").tobytes())
