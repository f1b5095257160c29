"""What a user calls "my clips" → utterances: a folder, a table or a manifest; each guess is put into words.

A folder's labels come from its sub-folders or from its files' names, its speakers from names that state
them (``actor_03``), its words from files beside the recordings. A table's columns are recognised by their
names, or by the labels in them. Nothing is taken silently: ``Clips.guesses`` states each choice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from undertone import manifest as manifests
from undertone.corpora.table import ALIASES, FIELDS, READERS, Table, by_name
from undertone.errors import ConfigError, CorpusError, LabelError, no_such
from undertone.experiment.study.names import (
    MOST,
    emotions_of,
    names_emotions,
    names_speakers,
    speaker_in,
)
from undertone.judging.inputs import AUDIO, beside
from undertone.labels.synonyms import meaning
from undertone.manifest.meta import sidecar
from undertone.types import Utterance

__all__ = ["VOICES", "Choices", "Clips", "read_clips"]

VOICES = "voices"
"""``--speaker-from voices``: speakers are clusters of like voices."""
PEEKED = 500
"""Rows that are looked at for a column of emotion words."""
MANY = 40
"""More different labels are no classes."""


@dataclass(frozen=True)
class Choices:
    """What the user has decided about the clips; None: guessed."""

    label_from: str | None = None
    """``folder``, a column, or a regular expression over paths."""
    speaker_from: str | None = None
    """``folder``, ``voices`` (or ``voices:N``), a column, or a regular expression over paths."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Of a table: its column → a field."""
    label_map: Mapping[str, str | None] | None = None
    """Label → class; None: left out."""
    audio_root: str | None = None
    """Where a table's relative paths start."""

    @property
    def voices(self) -> bool:
        """Whether speakers are clusters of voices."""
        return (self.speaker_from or "").partition(":")[0] == VOICES

    @property
    def voice_count(self) -> int | None:
        """How many clusters of voices there are, where the user says so."""
        number = (self.speaker_from or "").partition(":")[2]
        if number and not number.isdigit():
            raise ConfigError(f"--speaker-from {self.speaker_from}: voices or voices:N is wanted")
        return int(number) if number else None


@dataclass(frozen=True)
class Clips:
    """Utterances as they were read, with labels and speakers as far as they are known."""

    utterances: tuple[Utterance, ...]
    guesses: tuple[str, ...]
    """What was taken for what, a line each."""
    meta: manifests.Meta | None = None
    """Of a manifest."""
    columns: tuple[str, ...] = ()
    """Of a table."""


def read_clips(place: Path, choices: Choices) -> Clips:
    """The clips of a folder, a table or a manifest; an error states what can be done."""
    if place.is_dir():
        clips = _folder(place, choices)
    elif not place.is_file():
        raise CorpusError(f"{place}: no such folder, table or manifest")
    elif _is_manifest(place):
        held = manifests.read(place)
        clips = Clips(held.resolved(), (f"{place.name} is a manifest",), held.meta)
    else:
        clips = _table(place, choices)
    if not clips.utterances:
        raise CorpusError(f"{place}: holds no recordings")
    root = place if place.is_dir() else place.parent
    return _unified(_mapped(_by_pattern(clips, root.absolute(), choices), choices))


def _is_manifest(path: Path) -> bool:
    return sidecar(path).is_file() and path.suffix.lower() in (".jsonl", ".parquet")


# ---- a folder -------------------------------------------------------------------------------------------


def _folder(root: Path, choices: Choices) -> Clips:
    root = root.absolute()
    files = [
        path
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in AUDIO and not path.name.startswith(".") and path.is_file()
    ]
    names = [path.relative_to(root).as_posix() for path in files]
    if not names:
        raise CorpusError(f"{root}: holds no recordings (.wav, .flac, .mp3, .ogg and others)")
    stems = [str(Path(name).with_suffix("").as_posix()) for name in names]
    stems = stems if len(set(stems)) == len(stems) else names
    guesses: list[str] = []
    level = _label_level(names)
    labels = _labels(names, level, choices, guesses)
    speakers = _speakers(names, level, choices, guesses)
    utterances = []
    for path, name, label, speaker in zip(files, stems, labels, speakers, strict=True):
        words = beside(path)
        utterances.append(
            Utterance(
                name,
                str(path),
                speaker=speaker,
                text=words.text if words else None,
                text_source=words.source if words else None,
                label=label,
                alignment=words.alignment if words else None,
            )
        )
    if any(u.text for u in utterances):
        guesses.append("words from the files beside the recordings")
    return Clips(tuple(utterances), tuple(guesses))


def _parts(name: str) -> list[str]:
    return name.split("/")[:-1]


def _levels(names: Sequence[str]) -> list[list[str]]:
    """The folders' names at each depth that every recording has."""
    depth = min(len(_parts(name)) for name in names)
    return [[_parts(name)[level] for name in names] for level in range(depth)]


def _label_level(names: Sequence[str]) -> int | None:
    """The depth whose folders are labels: emotion words, else the only one that is not one of speakers."""
    levels = _levels(names)
    worded = [i for i, folders in enumerate(levels) if names_emotions(folders)]
    if worded:
        return worded[0]
    if _worded(names):
        return None
    free = [i for i, each in enumerate(levels) if 1 < len(set(each)) <= MANY and not names_speakers(each)]
    return free[0] if len(free) == 1 else None


def _labels(
    names: Sequence[str], level: int | None, choices: Choices, guesses: list[str]
) -> list[str | None]:
    given = choices.label_from
    if given == "folder" or (given is None and level is not None):
        own = level if level is not None else _only_level(names, "--label-from folder")
        folders = [_parts(name)[own] for name in names]
        classes = _shared(folders) if given is None else {}
        if classes:
            one = folders[0]
            guesses.append(f"labels by the emotion word in each sub-folder ('{one}' is {classes[one]})")
            return [classes[folder] for folder in folders]
        guesses.append("labels by sub-folder (--label-from folder)")
        return list(folders)
    if given is not None:
        return [None] * len(names)  # a pattern, below
    if words := _worded(names):
        known = "|".join(sorted({word for word in words if word}))
        guesses.append(f"labels by file name (--label-from '(?<![^\\W\\d_])({known})(?![^\\W\\d_])')")
        return words
    raise LabelError(
        "no labels: neither sub-folders nor names are of emotions as it seems, first "
        f"'{names[0]}'; --label-from folder takes sub-folders, --label-from 'REGEX' what its group "
        "matches in a path; a table (csv, jsonl, parquet) can name labels too, and `undertone prepare` "
        "reads known corpora"
    )


def _shared(folders: Sequence[str]) -> dict[str, str]:
    """The class of each folder where several have the same (``anna_Fear``, ``ben_fear``); else empty."""
    each = sorted(set(folders))
    words = emotions_of(each)
    classes = {name: meaning(word) or word.casefold() for name, word in zip(each, words, strict=True) if word}
    return classes if len(set(classes.values())) < len(classes) == len(each) else {}


def _worded(names: Sequence[str]) -> list[str | None]:
    """The emotion word of each file's name; empty where too few hold one."""
    words = emotions_of([Path(name).stem for name in names])
    return words if sum(word is not None for word in words) >= MOST * len(words) else []


def _only_level(names: Sequence[str], option: str) -> int:
    levels = [i for i, each in enumerate(_levels(names)) if len(set(each)) > 1]
    if not levels:
        raise ConfigError(f"{option}: the recordings are in no sub-folders, first '{names[0]}'")
    return levels[-1]


def _speakers(
    names: Sequence[str], level: int | None, choices: Choices, guesses: list[str]
) -> list[str | None]:
    if choices.speaker_from == "folder":
        others = [i for i, each in enumerate(_levels(names)) if i != level and len(set(each)) > 1]
        if not others:
            raise ConfigError("--speaker-from folder: no sub-folders but those of the labels")
        guesses.append("speakers by sub-folder (--speaker-from folder)")
        return [_parts(name)[others[0]] for name in names]
    if choices.speaker_from is not None:
        return [None] * len(names)
    stated = [speaker_in(name) for name in names]
    if all(stated):
        example = next(name for name, speaker in zip(names, stated, strict=True) if speaker)
        guesses.append(f"speakers by their names in the paths: '{stated[0]}' of '{example}' (--speaker-from)")
        return stated
    return [None] * len(names)


# ---- a table --------------------------------------------------------------------------------------------


def _table(path: Path, choices: Choices) -> Clips:
    if path.suffix.lower() not in READERS:
        raise CorpusError(f"{path}: a folder, a table ({', '.join(READERS)}) or a manifest is wanted")
    rows = _peek(path)
    columns = _columns(rows, choices, path)
    reader = Table(path, columns, None, choices.audio_root)
    taken = {ALIASES.get(name, name): name for name in rows[0] if ALIASES.get(name, name) in FIELDS}
    taken |= {kind: name for name, kind in columns.items()}
    shown = [f"{name} → {kind}" if name != kind else name for kind, name in taken.items()]
    guess = f"columns: {', '.join(shown)} (--map COLUMN=FIELD)"
    return Clips(tuple(reader.read()), (guess,), columns=tuple(rows[0]))


def _peek(path: Path) -> list[dict[str, Any]]:
    rows = [row for _, row in islice(READERS[path.suffix.lower()](path), PEEKED)]
    if not rows:
        raise CorpusError(f"{path}: the table has no rows")
    if held := [name for name, value in rows[0].items() if isinstance(value, dict) and "bytes" in value]:
        raise CorpusError(
            f"{path}: column '{held[0]}' holds the sound itself: `undertone prepare huggingface {path} --out"
            " clips.jsonl` reads that, and the manifest can be studied"
        )
    return rows


def _columns(rows: Sequence[Mapping[str, Any]], choices: Choices, path: Path) -> dict[str, str]:
    """Column → field: the user's, then by name, then the label by what the column holds."""
    header = list(rows[0])
    columns = dict(choices.columns)
    for option, kind in ((choices.label_from, "label"), (choices.speaker_from, "speaker")):
        if option in header:
            columns[str(option)] = kind
    skip = [kind for kind in ("label", "speaker") if _by_path(kind, choices, header)]
    columns = by_name(header, columns, skip)
    if "label" not in columns.values() and "label" not in header and "label" not in skip:
        free = [name for name in header if name not in columns and ALIASES.get(name, name) not in FIELDS]
        worded = [name for name in free if _holds_emotions(rows, name)]
        if not worded:
            raise LabelError(
                f"{path}: no column of labels is recognised: --label-from COLUMN names it ({', '.join(free)})"
            )
        columns[worded[0]] = "label"
    return columns


def _by_path(kind: str, choices: Choices, header: Sequence[str]) -> bool:
    """Whether the user takes the field from the paths instead of a column."""
    option = {"label": choices.label_from, "speaker": choices.speaker_from}.get(kind)
    return option is not None and option not in header


def _holds_emotions(rows: Sequence[Mapping[str, Any]], column: str) -> bool:
    values = {str(row.get(column)) for row in rows}
    return 1 < len(values) <= MANY and names_emotions(values)


# ---- both -----------------------------------------------------------------------------------------------


def _by_pattern(clips: Clips, root: Path, choices: Choices) -> Clips:
    """Labels and speakers by the user's regular expressions over the recordings' paths."""
    utterances, guesses = clips.utterances, list(clips.guesses)
    for option, kind in ((choices.label_from, "label"), (choices.speaker_from, "speaker")):
        if option is None or option == "folder" or option in clips.columns:
            continue
        if kind == "speaker" and choices.voices:
            continue
        pattern = _pattern(option, kind)
        if clips.columns and re.fullmatch(r"[\w ]+", option):  # no regular expression: a name
            raise ConfigError(f"--{kind}-from: {no_such('column', option, clips.columns)}")
        values = [_match(pattern, u, root) for u in utterances]
        if None in values:
            lacking = [u for u, value in zip(utterances, values, strict=True) if value is None]
            raise ConfigError(
                f"--{kind}-from '{option}': {len(lacking)} of {len(values)} paths do not match, first "
                f"'{_relative(lacking[0], root)}'"
            )
        utterances = tuple(
            replace(u, **{kind: value})  # type: ignore[arg-type]
            for u, value in zip(utterances, values, strict=True)
        )
        guesses.append(f"{kind}s by '{option}' in the paths")
    return replace(clips, utterances=utterances, guesses=tuple(guesses))


def _pattern(text: str, kind: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigError(f"--{kind}-from '{text}': not a regular expression: {error}") from None


def _match(pattern: re.Pattern[str], utterance: Utterance, root: Path) -> str | None:
    match = pattern.search(_relative(utterance, root))
    if match is None:
        return None
    groups = [group for group in match.groups() if group]
    return groups[0] if groups else match[0]


def _relative(utterance: Utterance, root: Path) -> str:
    path = Path(utterance.audio)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _mapped(clips: Clips, choices: Choices) -> Clips:
    """The labels as the user maps them; those with none are left out."""
    if choices.label_map is None:
        return clips
    known = Counter(u.label for u in clips.utterances if u.label is not None)
    if unknown := [label for label in choices.label_map if label not in known]:
        raise LabelError(f"--label-map {unknown[0]}: no clip has that label ({', '.join(sorted(known))})")
    mapping = {label: choices.label_map.get(label, label) for label in known}
    kept = [
        replace(u, label=mapping[u.label])
        for u in clips.utterances
        if u.label and mapping[u.label] is not None
    ]
    changed = ", ".join(f"{a} → {b or 'left out'}" for a, b in mapping.items() if a != b)
    return replace(clips, utterances=tuple(kept), guesses=(*clips.guesses, f"labels: {changed}"))


def _unified(clips: Clips) -> Clips:
    """Labels that differ in capitals and spaces alone as one, in the spelling that is most frequent."""
    spelt = Counter(u.label for u in clips.utterances if u.label is not None)
    chosen: dict[str, str] = {}
    for label, _ in spelt.most_common():
        chosen.setdefault(_even(label), label)
    changed = {label: chosen[_even(label)] for label in spelt if chosen[_even(label)] != label}
    if not changed:
        return clips
    same = tuple(replace(u, label=changed.get(u.label or "", u.label)) for u in clips.utterances)
    shown = ", ".join(f"'{label}' is '{kept}'" for label, kept in sorted(changed.items()))
    return replace(clips, utterances=same, guesses=(*clips.guesses, f"labels: {shown}"))


def _even(label: str) -> str:
    return " ".join(re.split(r"[\s_-]+", label.casefold().strip()))
