"""The first stage: a corpus on disk becomes a manifest with the labels of one label set."""

from __future__ import annotations

import inspect
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, get_type_hints, runtime_checkable

from pydantic import TypeAdapter, ValidationError

from undertone import audio, progress
from undertone import manifest as manifests
from undertone.alignment.given import read_iemocap
from undertone.audio import AudioInfo
from undertone.config import explain
from undertone.corpora import CORPORA
from undertone.errors import AlignmentError, AudioError, ConfigError, CorpusError, UsageError, no_such
from undertone.judging.windows import RATE, Segmenter
from undertone.labels import LabelSet, in_order, label_set
from undertone.types import Alignment, Corpus, Utterance

__all__ = ["Prepared", "open_corpus", "prepare", "spoken_parts"]

log = logging.getLogger(__name__)

EVERYTHING = "all"
"""The label set that keeps every turn: those without a class stay, unlabelled."""


LEFT_OUT = "recordings left out"


@runtime_checkable
class Bounded(Protocol):
    """A corpus that ships forced alignments."""

    def boundaries(self, utterance: Utterance) -> tuple[Path, Path, Path]:
        """Where the files of its words, syllables and phones would be."""


@dataclass(frozen=True)
class Prepared:
    """The manifest that was written."""

    manifest: Path
    utterances: int
    labels: Mapping[str, int]
    notes: tuple[str, ...]


@dataclass
class _Notes:
    """Notes gathered over a corpus: the first of a kind in full, the others counted."""

    first: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, example: str) -> None:
        self.first.setdefault(kind, example)
        self.counts[kind] += 1

    def lines(self) -> list[str]:
        return [f"{n} {kind}, the first: {self.first[kind]}" for kind, n in self.counts.items()]


def open_corpus(name: str, root: Path, options: Mapping[str, Any] | None = None) -> Corpus:
    """The reader of a corpus; the error for an unknown corpus or option lists those there are."""
    if name not in CORPORA:
        raise UsageError(no_such("corpus", name, CORPORA))
    module, _, reader = CORPORA[name][0].partition(":")
    build: Callable[..., Corpus] = getattr(import_module(module), reader)
    return build(root, **{key: _option(name, build, key, value) for key, value in (options or {}).items()})


def _option(corpus: str, build: Callable[..., Corpus], key: str, value: object) -> object:
    """An option's value as the corpus declares it, checked."""
    known = list(inspect.signature(build).parameters)[1:]
    if key not in known:
        raise ConfigError(f"{corpus} has no option '{key}'; it has: {', '.join(known) or 'none'}")
    try:
        return TypeAdapter(get_type_hints(build.__init__)[key]).validate_python(value)
    except ValidationError as error:
        raise ConfigError(f"{corpus}: --set {explain(error).replace('value', key, 1)}") from None


def prepare(
    corpus: str,
    root: Path,
    out: Path,
    *,
    labels: str | None = None,
    skip_bad: bool = False,
    spoken: bool = False,
    options: Mapping[str, Any] | None = None,
    watch: Callable[[Iterable[Utterance]], Iterable[Utterance]] = iter,
) -> Prepared:
    """Write the manifest of a corpus; nothing is written where something is wrong.

    ``labels`` names a label set, of which just the utterances are written; ``"all"`` keeps every
    turn of the corpus' own set, ``"SET+all"`` of another. ``skip_bad`` leaves out recordings that
    cannot be read, with a note; ``spoken`` leaves out the silence around speech. ``watch`` may
    count the utterances as they pass (a progress bar).
    """
    manifests.refuse_output(out)
    reader = open_corpus(corpus, root, options)
    space, keep = _space(reader, labels)
    notes = _Notes()
    rooted = "audio_root" in inspect.signature(type(reader)).parameters
    chosen = _readable(_labelled(watch(reader.read()), space, keep), skip_bad, notes, rooted)
    utterances = tuple(_aligned(utterance, reader, notes) for utterance in chosen)
    if not utterances and (number := notes.counts[LEFT_OUT]):
        raise AudioError(f"none of the {number} recordings can be read, the first: {notes.first[LEFT_OUT]}")
    if not utterances:
        raise CorpusError(f"{root}: no utterance" + (f" of label set '{space.name}'" if space else ""))
    if spoken:
        utterances = tuple(spoken_parts(utterances))
    counts = _counts(utterances, space)
    meta = manifests.Meta(corpus, space.name if space else None, tuple(counts))
    _refuse_problems(manifests.Manifest(out, utterances, meta), notes)
    lines = (*reader.notes, *_missing(space, counts), *notes.lines())
    for line in lines:
        log.warning("%s: %s", corpus, line)
    own = {**(options or {}), **({"spoken": True} if spoken else {})}
    settings = {"source": str(root.absolute()), "labels": labels, "options": own}
    manifests.write(out, utterances, replace(meta, notes=lines).after("prepare", **settings))
    return Prepared(out, len(utterances), counts, lines)


def _space(reader: Corpus, labels: str | None) -> tuple[LabelSet | None, bool]:
    """The label set, and whether turns that it leaves out are kept without a label."""
    name, plus, rest = (labels or "").partition("+")
    keep = EVERYTHING in (name, rest)
    if plus and rest != EVERYTHING:
        raise ConfigError(f"labels '{labels}': what can stand after a set is +{EVERYTHING}")
    own = name in ("", EVERYTHING)
    if own and reader.labels is None:
        return None, True
    return label_set(reader.labels if own and reader.labels else name), keep


def _counts(utterances: Iterable[Utterance], space: LabelSet | None) -> dict[str, int]:
    """Utterances of each class in the order of the label space."""
    counts = Counter(u.label for u in utterances if u.label is not None)
    return {name: counts[name] for name in (space.classes if space else in_order(counts))}


def _labelled(utterances: Iterable[Utterance], space: LabelSet | None, keep: bool) -> Iterator[Utterance]:
    for utterance in utterances:
        mapped = utterance if space is None else _mapped(utterance, space)
        if mapped.label is not None or keep:
            yield mapped


def _mapped(utterance: Utterance, space: LabelSet) -> Utterance:
    label = space.map(utterance.label, utterance.id)
    votes: Counter[str] = Counter()
    for name, count in utterance.votes.items():
        if (mapped := space.mapping.get(name, name if name in space.classes else None)) is not None:
            votes[mapped] += count  # type: ignore[assignment]
    extra = dict(utterance.extra)
    if label != utterance.label:
        extra["corpus_label"] = utterance.label
    return replace(utterance, label=label, votes=dict(votes), extra=extra)


def _readable(
    utterances: Iterable[Utterance], skip_bad: bool, notes: _Notes, rooted: bool
) -> Iterator[Utterance]:
    """Those whose recording can be read and holds their times; each recording is opened once.

    ``rooted``: the corpus has an option that names the folder of its recordings.
    """
    seen: dict[str, AudioInfo | AudioError | None] = {}
    bad: list[str] = []
    for utterance in utterances:
        if utterance.audio not in seen:
            seen[utterance.audio] = _glance(utterance.audio)
        if reason := _unfit(utterance, seen[utterance.audio]):
            bad.append(reason)
            notes.add(LEFT_OUT, reason)
        else:
            yield utterance
    if bad and not skip_bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        root = "--set audio_root=FOLDER names the folder where its paths start, " if rooted else ""
        raise AudioError(f"{bad[0]}{more}; {root}--skip-bad leaves such recordings out")


def _glance(ref: str) -> AudioInfo | AudioError | None:
    try:
        return audio.glance(ref)
    except AudioError as error:
        return error


def _unfit(utterance: Utterance, about: AudioInfo | AudioError | None) -> str | None:
    """Why an utterance cannot be cut from its recording."""
    if isinstance(about, AudioError):
        return str(about)
    if about is not None and max(utterance.start or 0, utterance.end or 0) > about.duration + audio.SLACK:
        return f"{utterance.id}: its times lie outside {utterance.audio}, which has {about.duration:.3f} s"
    return None


def _aligned(utterance: Utterance, reader: Corpus, notes: _Notes) -> Utterance:
    if not isinstance(reader, Bounded):
        return utterance
    paths = reader.boundaries(utterance)
    if not paths[0].is_file():
        notes.add("utterances without alignment", utterance.id)
        return utterance
    try:
        alignment = read_iemocap(*paths, text=utterance.text)
    except AlignmentError as error:
        notes.add("alignments that cannot be read", str(error))
        return utterance
    return replace(utterance, alignment=alignment)


def _missing(space: LabelSet | None, counts: Mapping[str, int]) -> list[str]:
    expected = (space.expected if space else None) or {}
    differ = [f"{name} {counts[name]} for {n}" for name, n in expected.items() if counts[name] != n]
    return [f"counts differ from a complete copy's: {', '.join(differ)}"] if differ else []


def _refuse_problems(manifest: manifests.Manifest, notes: _Notes) -> None:
    """Problems of the lines are errors; those of alignments and of labels of one's own become notes."""
    fatal = []
    for problem in manifests.validate(manifest, recordings=False):
        if problem.kind == "alignment":
            notes.add("oddities of alignments (listed by `undertone show --validate`)", str(problem))
        elif problem.kind == "label" and manifest.meta.label_set is None:
            notes.add("labels like typing errors, which training refuses (--label-map)", str(problem))
        else:
            fatal.append(problem)
    if fatal:
        more = f" (and {len(fatal) - 1} more)" if len(fatal) > 1 else ""
        raise CorpusError(f"{fatal[0]}{more}")


# ---- what is spoken --------------------------------------------------------------------------------------


def spoken_parts(utterances: Sequence[Utterance], *, jobs: int = 1) -> list[Utterance]:
    """The utterances without the silence before and after speech, which ``predict`` does not judge either.

    One in which no speech is detected stays as it is; no segment of a tier is cut.
    """
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        return list(progress.track(pool.map(_spoken, utterances), "finding speech", len(utterances)))


def _spoken(utterance: Utterance) -> Utterance:
    if not utterance.audio:
        return utterance
    segmenter = Segmenter()
    wave = audio.load(utterance.audio, utterance.start, utterance.end)
    windows = [*segmenter.feed(wave), *segmenter.close()]
    ends = [window.region_end / RATE for window in windows if window.region_end is not None]
    if not ends:
        return utterance
    known = utterance.alignment or Alignment()
    tiers = {name: known.tier(name) for name in known.tiers}
    first = min(windows[0].region / RATE, *(s.start for tier in tiers.values() for s in tier), ends[0])
    last = max(ends[-1], *(s.end for tier in tiers.values() for s in tier), ends[0])
    moved = {
        name: tuple(replace(s, start=s.start - first, end=s.end - first) for s in tier)
        for name, tier in tiers.items()
    }
    begins = utterance.start or 0.0
    alignment = utterance.alignment and Alignment(**moved)
    return replace(utterance, start=begins + first, end=begins + last, alignment=alignment)
