"""Who is trained on, who chooses the epoch, who is tested: folds as files, with a hash.

>>> people = [Utterance(f"u{i}", f"{i}.wav", speaker=f"s{i % 6}", session=str(i % 6 // 2)) for i in range(12)]
>>> split = make(people, "loso")
>>> [fold.name for fold in split.folds]
['session-0', 'session-1', 'session-2']

Every protocol keeps a speaker, a dialogue and a recording in one part of a fold, or carries a *stamp* that
names what the parts share. Validation is always taken from training and holds other speakers than training.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from undertone.config import fingerprint
from undertone.errors import ProtocolError, UsageError, no_such
from undertone.files import write_json
from undertone.types import Utterance

__all__ = ["BY_VOICES", "PARTS", "PROTOCOLS", "Fold", "Split", "count_groups", "make", "read", "write"]

PARTS = ("train", "validation", "test")
SCHEMA = 1
PARTNER = "validation shares dialogues with test"
SPEAKERS = "speaker-dependent"
DIALOGUES = "dialogues in several parts"
RECORDINGS = "recordings in several parts"
UNKNOWN = "speakers unknown"
CLUSTERED = "speakers are clusters of voices: one person may be in several parts"
BY_VOICES = "speaker_by_voice"
"""Of ``extra``: the speaker is a cluster of like voices, not a person that somebody named."""
LEAKING = "leaking: utterances split at random"
EMOSUPERB = (4, 3, 2, 1, 5)
"""The session that is tested in each of its five folds."""
SHARE = 0.1
"""Least share of the training utterances that becomes validation where no session does."""

_SPELLINGS = {"dev": "validation", "val": "validation", "valid": "validation", "training": "train"}


@dataclass(frozen=True, slots=True)
class Fold:
    """One training: the ids of its three parts, sorted; ``name`` is safe as a folder's name."""

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def part(self, name: str) -> tuple[str, ...]:
        """The ids of one of ``PARTS``."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]


@dataclass(frozen=True, slots=True)
class Split:
    """All folds of a protocol."""

    protocol: str
    folds: tuple[Fold, ...]
    stamps: tuple[str, ...] = ()
    """What a reader must know: ``speaker-dependent``, ``leaking: …``. Empty is best."""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """Over the protocol and the ids of each part, whatever the order of the manifest."""
        return fingerprint({"protocol": self.protocol, "folds": [asdict(fold) for fold in self.folds]})

    def check(self, ids: Iterable[str]) -> None:
        """Refuse a manifest whose utterances are not those that were split."""
        split = {i for fold in self.folds for part in PARTS for i in fold.part(part)}
        if lacking := sorted(split - set(ids)):
            raise ProtocolError(
                f"the split names {len(lacking)} utterances that the manifest lacks, first '{lacking[0]}'"
            )


@dataclass(frozen=True, slots=True)
class _Options:
    seed: int
    strict: bool
    folds: int


Group = list[Utterance]
Made = tuple[list[Fold], set[str]]
"""Folds and their stamps."""


def make(
    utterances: Sequence[Utterance],
    protocol: str,
    *,
    seed: int = 0,
    strict: bool = False,
    folds: int = 5,
    level: Literal["utterance", "dialogue"] = "utterance",
    selection: Literal["validation", "test"] = "validation",
    refuse: bool = True,
) -> Split:
    """The folds of ``protocol`` (a key of ``PROTOCOLS``), the same for the same seed whatever the order.

    ``strict`` leaves the test speaker's partner out of ``lospo`` altogether; ``folds`` counts those of
    ``kfold-speaker`` and of the random split. At ``level="dialogue"`` a sample is a conversation, so only
    ``loso``, or a corpus' own split that keeps conversations whole, is allowed. With ``selection="test"``
    all but the test part trains and the test part is the validation part too, as in several published
    codes; the partner of ``lospo`` then trains, unless strict. Folds that leak are refused;
    ``refuse=False`` returns them, stamped, for the audit.
    """
    if protocol not in PROTOCOLS:
        raise UsageError(no_such("protocol", protocol, PROTOCOLS))
    if level == "dialogue" and protocol not in ("loso", "emosuperb", "fixed"):
        raise ProtocolError(f"at the dialogue level '{protocol}' would cut conversations; use 'loso'")
    ordered = sorted(utterances, key=lambda u: u.id)
    for one, two in pairwise(ordered):
        if one.id == two.id:
            raise ProtocolError(f"utterance '{one.id}' stands twice in the manifest")
    made, stamps = PROTOCOLS[protocol](ordered, _Options(seed, strict, folds))
    _refuse_empty(made, protocol)
    options: dict[str, Any] = {"seed": seed, "strict": strict, "folds": len(made), "level": level}
    if selection == "test":
        made = [
            replace(fold, train=tuple(sorted(fold.train + fold.validation)), validation=()) for fold in made
        ]
        stamps, refuse = stamps - {PARTNER}, refuse and protocol != "lospo"
        options |= {"selection": selection}
    stamps |= _leaks(ordered, made, protocol, refuse)
    if selection == "test":
        made = [replace(fold, validation=fold.test) for fold in made]
    if level == "dialogue" and DIALOGUES in stamps:
        raise ProtocolError(f"at the dialogue level '{protocol}' cuts conversations of this corpus")
    return Split(protocol, tuple(made), tuple(sorted(stamps)), options)


def count_groups(utterances: Sequence[Utterance]) -> int:
    """How many groups of speakers who share no dialogue or recording: folds at most."""
    return len(_connected(list(utterances)))


def _loso(utterances: Group, options: _Options) -> Made:
    """One session out; the next one (or ``seed`` further) validates."""
    sessions = _by(utterances, "session", "loso")
    names = sorted(sessions, key=_natural)
    if len(names) < 3:
        raise ProtocolError(
            f"loso needs 3 sessions (test, validation, training), there are {len(names)}"
            + _instead(utterances)
        )
    shift = 1 + options.seed % (len(names) - 1)
    folds = []
    for index, name in enumerate(names):
        chosen = names[(index + shift) % len(names)]
        train = [u for other in names if other not in (name, chosen) for u in sessions[other]]
        folds.append(_fold(f"session-{name}", train, sessions[chosen], sessions[name]))
    return folds, set()


def _emosuperb(utterances: Group, options: _Options) -> Made:
    """EMO-SUPERB's folds of IEMOCAP (Wu et al. 2024): the session after the tested one validates."""
    sessions = _by(utterances, "session", "emosuperb")
    if sorted(sessions) != ["1", "2", "3", "4", "5"]:
        raise ProtocolError(
            f"emosuperb names IEMOCAP's sessions 1 to 5, here are {', '.join(sorted(sessions))}"
        )
    made, stamps = _loso(utterances, replace(options, seed=0))
    by_name = {fold.name: fold for fold in made}
    order = enumerate(EMOSUPERB, 1)
    return [replace(by_name[f"session-{test}"], name=f"fold-{number}") for number, test in order], stamps


def _lospo(utterances: Group, options: _Options) -> Made:
    """One speaker out; their partners in dialogue validate, or are left out when strict; they never train."""
    speakers = _by(utterances, "speaker", "lospo")
    groups = _connected(utterances)
    folds, stamps = [], set()
    for name in sorted(speakers, key=_natural):
        own = next(group for group in groups if any(u.speaker == name for u in group))
        partners = [u for u in own if u.speaker != name]
        others = [group for group in groups if group is not own]
        if partners and not options.strict:
            train, validation = [u for group in others for u in group], partners
            stamps.add(PARTNER)
        else:
            train, validation = _divide(others, f"{options.seed}/{name}")
        folds.append(_fold(f"speaker-{name}", train, validation, speakers[name]))
    return folds, stamps


def _kfold_speaker(utterances: Group, options: _Options) -> Made:
    """Groups of speakers who share no dialogue or recording, distributed over the folds evenly by size."""
    _by(utterances, "speaker", "kfold-speaker")
    groups = _connected(utterances)
    if options.folds < 2 or len(groups) < max(3, options.folds):
        way = ": fewer folds, by --folds, or protocol.folds of a recipe" if len(groups) >= 3 else ""
        raise ProtocolError(
            f"kfold-speaker with {options.folds} folds needs at least {max(3, options.folds)} groups of "
            f"speakers who share no dialogue or recording, there are {len(groups)}{way}"
        )
    random.Random(f"{options.seed}").shuffle(groups)
    tests: list[list[Group]] = [[] for _ in range(options.folds)]
    for group in sorted(groups, key=len, reverse=True):
        min(tests, key=lambda test: (sum(map(len, test)), len(test))).append(group)
    folds = []
    for index, test in enumerate(tests):
        rest = [group for other in tests if other is not test for group in other]
        train, validation = _divide(rest, f"{options.seed}/{index}")
        folds.append(_fold(f"fold-{index + 1}", train, validation, [u for group in test for u in group]))
    return folds, set()


def _fixed(utterances: Group, options: _Options) -> Made:
    """The corpus' own ``extra.split``, a part or by fold a part; without validation some of training."""
    folds: dict[str, dict[str, Group]] = defaultdict(lambda: {part: [] for part in PARTS})
    for utterance in utterances:
        stated = utterance.extra.get("split", "")
        for name, part in (stated if isinstance(stated, Mapping) else {"fixed": stated}).items():
            given = str(part).lower()
            if (part := _SPELLINGS.get(given, given)) not in PARTS:
                raise ProtocolError(
                    f"{utterance.id}: extra.split is '{given}', a fixed split needs train, validation or test"
                )
            folds[name][part].append(utterance)
    for parts in folds.values():
        if not parts["validation"] and parts["train"]:
            parts["train"], parts["validation"] = _divide(_connected(parts["train"]), f"{options.seed}")
    return [_fold(n, *(folds[n][p] for p in PARTS)) for n in sorted(folds, key=_natural)], set()


def _leaky(utterances: Group, options: _Options) -> Made:
    """Utterances at random: the same speakers in every part. To show the effect, never to report."""
    if options.folds < 2 or len(utterances) < 3 * options.folds:
        raise ProtocolError(f"{len(utterances)} utterances are too few for {options.folds} random folds")
    shuffled = list(utterances)
    random.Random(f"{options.seed}").shuffle(shuffled)
    folds = []
    for index in range(options.folds):
        test = shuffled[index :: options.folds]
        rest = [u for position, u in enumerate(shuffled) if position % options.folds != index]
        cut = max(1, round(SHARE * len(rest)))
        folds.append(_fold(f"random-{index + 1}", rest[cut:], rest[:cut], test))
    return folds, {LEAKING}


PROTOCOLS: dict[str, Callable[[Group, _Options], Made]] = {
    "loso": _loso,
    "emosuperb": _emosuperb,
    "lospo": _lospo,
    "kfold-speaker": _kfold_speaker,
    "emobox": _fixed,
    "fixed": _fixed,
    "leaky-random-utterance": _leaky,
}


def _by(utterances: Group, what: str, protocol: str) -> dict[str, Group]:
    groups: dict[str, Group] = defaultdict(list)
    for utterance in utterances:
        groups[getattr(utterance, what)].append(utterance)
    if None in groups:
        lacking = groups[None]  # type: ignore[index]
        first = f"{len(lacking)} have none, first '{lacking[0].id}'"
        raise ProtocolError(f"{protocol} needs the {what} of every utterance; {first}{_instead(utterances)}")
    return dict(groups)


def _instead(utterances: Group) -> str:
    """What can be done without sessions: the protocols that go by speakers, where these are known."""
    if any(u.speaker is None for u in utterances):
        return "; a table's column becomes the speaker by --map COLUMN=speaker"
    return "; lospo and kfold-speaker need speakers alone (crossval: --set protocol.split=kfold-speaker)"


def _connected(utterances: Group) -> list[Group]:
    """The smallest groups that share no speaker, dialogue or recording with each other."""
    parent = list(range(len(utterances)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[tuple[str, str], int] = {}
    for index, utterance in enumerate(utterances):
        for kind in ("speaker", "dialogue", "audio"):
            if name := getattr(utterance, kind):
                parent[root(index)] = root(first.setdefault((kind, name), index))
    groups: dict[int, Group] = defaultdict(list)
    for index, utterance in enumerate(utterances):
        groups[root(index)].append(utterance)
    return sorted(groups.values(), key=lambda group: group[0].id)


def _divide(groups: list[Group], seed: str) -> tuple[Group, Group]:
    """(training, validation): whole groups validate, until these hold two speakers, every class and a tenth.

    At most half of the groups validate; one group alone cannot be divided.
    """
    if len(groups) < 2:
        raise ProtocolError("too few speakers are left to train and to validate on different ones")
    order = list(groups)
    random.Random(seed).shuffle(order)
    total, labels = sum(map(len, groups)), {u.label for group in groups for u in group}
    validation: Group = []
    least = len(groups) - max(1, len(groups) // 2)
    while len(order) > least:
        validation += order.pop(0)
        people = {u.speaker for u in validation}
        enough = len(validation) >= SHARE * total and (len(people) >= 2 or people == {None})
        if enough and labels == {u.label for u in validation}:
            break
    return [u for group in order for u in group], validation


def _fold(name: str, train: Group, validation: Group, test: Group) -> Fold:
    safe = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII)
    return Fold(safe, *(tuple(sorted(u.id for u in part)) for part in (train, validation, test)))


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts ``2`` before ``10``."""
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in re.split(r"(\d+)", name)]


def _refuse_empty(folds: list[Fold], protocol: str) -> None:
    if repeated := [fold.name for fold in folds if sum(one.name == fold.name for one in folds) > 1]:
        raise ProtocolError(f"{protocol}: two folds would be called '{repeated[0]}'; rename the groups")
    for fold in folds:
        for part in PARTS:
            if not fold.part(part):
                raise ProtocolError(f"{protocol}: the {part} part of fold '{fold.name}' is empty")


def _leaks(utterances: Group, folds: list[Fold], protocol: str, refuse: bool) -> set[str]:
    """Stamps for what a prescribed or random split shares; any other protocol that shares is refused."""
    by_id = {u.id: u for u in utterances}
    stamps: set[str] = set()
    for fold in folds:
        for what, stamp in (("speaker", SPEAKERS), ("dialogue", DIALOGUES), ("audio", RECORDINGS)):
            names = {part: {getattr(by_id[i], what) for i in fold.part(part)} - {None, ""} for part in PARTS}
            shared = names["train"] & (names["validation"] | names["test"])
            if what == "speaker" or protocol != "lospo":
                shared |= names["validation"] & names["test"]
            if not shared:
                continue
            if refuse and protocol not in ("emobox", "fixed", "leaky-random-utterance"):
                raise ProtocolError(
                    f"{protocol}: {what} '{min(shared)}' would be in two parts of fold '{fold.name}'; "
                    "use kfold-speaker, which keeps such groups together"
                )
            stamps.add(stamp)
    if any(u.speaker is None for u in utterances):
        stamps.add(UNKNOWN)
    if any(u.extra.get(BY_VOICES) for u in utterances):
        stamps.add(CLUSTERED)
    return stamps


def write(path: Path, split: Split) -> None:
    """Write a split as one JSON file, whole or not at all."""
    values = {
        "schema": SCHEMA,
        "protocol": split.protocol,
        "stamps": list(split.stamps),
        "options": dict(split.options),
        "hash": split.hash,
        "folds": [asdict(fold) for fold in split.folds],
    }
    write_json(path, values, indent=1)


def read(path: Path) -> Split:
    """The split of a file; one whose folds no longer fit its hash is refused."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        folds = tuple(
            Fold(str(fold["name"]), *(tuple(map(str, fold[part])) for part in PARTS))
            for fold in values["folds"]
        )
        split = Split(str(values["protocol"]), folds, tuple(values["stamps"]), values.get("options", {}))
        schema, stated = int(values["schema"]), values["hash"]
    except FileNotFoundError:
        raise ProtocolError(f"{path}: no such split file") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"{path}: not a split file ({type(error).__name__}: {error})") from None
    if schema > SCHEMA:
        raise ProtocolError(f"{path}: split schema {schema} is newer than this version reads ({SCHEMA})")
    if stated != split.hash:
        raise ProtocolError(f"{path}: the folds were changed after they were hashed; make the split again")
    return split
