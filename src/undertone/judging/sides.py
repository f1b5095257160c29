"""The encoders of a folder that ``undertone fuse`` made: published classifiers, and models of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from undertone.config import fingerprint
from undertone.errors import ModelError
from undertone.features.classify import ClassifierConfig, SpeechClassifier, TextClassifier, classifier
from undertone.features.joined import CLOCK, RATE, SpeechSides, TextSides, one_vector
from undertone.judging.clip import Clip, Transcript

__all__ = ["OwnSide", "described", "member_of", "side_encoder"]

Side = Literal["speech", "text"]


class OwnSide:
    """A model folder of undertone as one side: its log posterior by speech alone, or by words alone."""

    rate, layers, clock = RATE, 0, CLOCK
    task, revision = "single", None

    def __init__(self, model: Any, side: Side, path: Path) -> None:
        self.model, self.side, self.path = model, side, path
        self.name: str = model.name
        self.labels: tuple[str, ...] = model.labels
        self.dim = len(self.labels)
        self.identity = fingerprint([model.name, side])
        self.files: dict[str, str] = {"model": model.name}

    def encode(self, given: Sequence[Any]) -> list[Any]:
        """(1, C) of each wave, or each text's vector; nothing for an empty text."""
        if self.side == "speech":
            return self._logs([Clip(str(i), wave) for i, wave in enumerate(given)])
        texts = [i for i, text in enumerate(given) if text.strip()]
        logs = dict(
            zip(
                texts,
                self._logs([Clip(str(i), None, Transcript(given[i], spoken=False)) for i in texts]),
                strict=True,
            )
        )
        nothing: NDArray[np.float32] = np.zeros((0, self.dim), np.float32)
        rows = [logs.get(i, nothing) for i in range(len(given))]
        return [one_vector(row) for row in rows]

    def _logs(self, clips: Sequence[Clip]) -> list[NDArray[np.float32]]:
        shares = [one.probabilities for one in self.model.predict(clips)] if clips else []
        rows = [[max(share[label], 1e-9) for label in self.labels] for share in shares]
        return [np.log(np.array([row], np.float32)) for row in rows]


def member_of(name: str, side: Side, **settings: Any) -> SpeechClassifier | TextClassifier | OwnSide:
    """A classifier by hub name or folder, or a model of undertone by its folder or shipped name."""
    from undertone.judging.locate import OPEN, STARTER, is_model, locate

    path = Path(name)
    if name in (STARTER, OPEN) or is_model(path) or is_model(path / "final"):
        return _own(locate(name).path, side)
    place = str(path.resolve()) if path.is_dir() else name  # the card must hold wherever it is read
    return classifier(ClassifierConfig.parse({"name": place, "side": side, **settings}))


def _own(path: Path, side: Side) -> OwnSide:
    from undertone.judging.networks import load_torch

    model = load_torch(path)
    if model.contextual or side not in model.sides:
        raise ModelError(f"{path}: judges by {' and '.join(model.sides)}, so it cannot be a side of {side}")
    return OwnSide(model, side, path.resolve())


def described(member: SpeechClassifier | TextClassifier | OwnSide) -> dict[str, Any]:
    """What the card keeps of a member, from which ``side_encoder`` makes it again."""
    about: dict[str, Any] = {"name": member.name, "identity": member.identity, "classes": list(member.labels)}
    if isinstance(member, OwnSide):
        return about | {"model": str(member.path)}
    files = {"revision": member.revision, "files": dict(member.files), "kind": member.kind}
    return about | files | {"settings": member.config.plain(), "task": member.task}


def side_encoder(side: Side, card: Mapping[str, Any]) -> SpeechSides | TextSides:
    """All members of a side, by what the card keeps of them."""
    from undertone.judging.encoders import check_identity

    members: list[Any] = []
    for about in card["members"]:
        if "model" in about:
            member: Any = _own(Path(about["model"]), side)
        else:
            member = classifier(ClassifierConfig.parse(about["settings"], "card.json"))
        check_identity(about, member)
        members.append(member)
    return SpeechSides(members) if side == "speech" else TextSides(members)
