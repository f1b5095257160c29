"""Serves the fake model: ``python fake_server.py '{"model": {"seconds": 0.1}, "max_waiting": 4}'``."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from undertone.judging.asr import Recognised, Recogniser
from undertone.judging.fakes import FakeModel
from undertone.serving.server.examples import find_examples
from undertone.serving.server.run import serve
from undertone.serving.server.settings import ServerSettings
from undertone.types import Segment


class Speller:
    """A recogniser: each second of sound is one word, every third ends a sentence; silence has none."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def recognise(self, waves: Sequence[np.ndarray]) -> list[Recognised]:
        return [self._one(wave) for wave in waves]

    def _one(self, wave: np.ndarray) -> Recognised:
        time.sleep(self.seconds)
        seconds = wave[: len(wave) // 16000 * 16000].reshape(-1, 16000)
        return Recognised(
            tuple(
                Segment(f"<{n}>." if n % 3 == 2 else f"w{n}", n + 0.1, n + 0.9)
                for n, second in enumerate(seconds)
                if np.abs(second).max() > 0.01
            )
        )


def loaded(file: str) -> tuple[FakeModel, None]:
    """A model as a file describes it now: its name, and what it takes."""
    values = json.loads(Path(file).read_text())
    time.sleep(values.pop("loading", 0.0))
    name, card = values.pop("name"), values.pop("card", {})
    model = FakeModel(**values)
    model.name, model.card = name, {**model.card, **card}
    return model, None


def main() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s %(message)s")
    values = json.loads(sys.argv[1])
    model = FakeModel(**values.pop("model", {}))
    examples = values.pop("examples", None)
    spelling = values.pop("recogniser", None)
    loads = {name: partial(loaded, file) for name, file in values.pop("loads", {}).items()}
    if "default" in loads:
        model, _ = loads["default"]()
    for name, limit in json.loads(os.environ.get("LIMITS", "{}")).items():
        import resource

        resource.setrlimit(getattr(resource, name), (limit, limit))
    settings = ServerSettings.parse({"port": 0, "drain_seconds": 0.0, **values})
    serve(
        model,
        settings,
        examples=find_examples(Path(examples)) if examples else None,
        recogniser=None if spelling is None else Recogniser("speller", Speller(spelling)),
        loads=loads,
    )


if __name__ == "__main__":
    main()
