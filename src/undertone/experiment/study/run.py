"""The stages of a study in order: read, prepare, look, plan, recognise, align, cross-validate, report, final.

Each stage leaves its file in the study's folder, and a stage whose file stands is not done again::

    table.jsonl      the clips with what was taken for their labels, speakers and words
    prepared.jsonl   the manifest of those that can be read
    plan.json        folds, systems and seeds, as they were chosen
    clips.jsonl      without silent and doubled clips; words.jsonl, aligned.jsonl where these are made
    recipes/         what is run, as files for `undertone crossval`
    runs/  report.html  report.md  final/  study.json
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from undertone import __version__, progress, splits
from undertone import manifest as manifests
from undertone.auditing.sounds import twins
from undertone.config import fingerprint
from undertone.errors import AudioError, TrainingError
from undertone.evaluation import metrics, report, results
from undertone.experiment.align import align
from undertone.experiment.aligned import AlignmentRequest
from undertone.experiment.crossval import Crossval, Watched, crossval
from undertone.experiment.finish import read_folds
from undertone.experiment.prepare import prepare, spoken_parts
from undertone.experiment.recipe import Recipe
from undertone.experiment.study.clips import Choices, Clips, read_clips
from undertone.experiment.study.look import Survey, refuse, survey
from undertone.experiment.study.plan import (
    ALIGNED,
    TUNED,
    WARM,
    Speed,
    StudyPlan,
    keep_plan,
    kept_plan,
    measured_speed,
    plan_study,
    write_recipes,
)
from undertone.experiment.study.voices import by_voices
from undertone.features import speech as speech_encoders
from undertone.features.config import SpeechConfig
from undertone.features.extract import extract, speech_key
from undertone.files import locked, refuse_place, write_json, write_lines, write_whole
from undertone.judging.asr import check
from undertone.manifest.records import to_plain
from undertone.store import Store
from undertone.training.jobs import Failure, Job
from undertone.types import Utterance

__all__ = ["StudyResult", "study"]

log = logging.getLogger(__name__)

SHORTEST = 0.2
"""Seconds; a shorter clip is a click."""
SAMPLE = 6
"""Clips that are encoded to measure the speed."""


@dataclass(frozen=True)
class StudyResult:
    """A study's folder and what is in it; without results where it was planned alone."""

    folder: Path
    survey: Survey
    plan: StudyPlan
    guesses: tuple[str, ...]
    left_out: tuple[str, ...]
    """Clips that are not used, and why."""
    results: tuple[results.Result, ...] = ()
    chosen: str = ""
    """The run whose final model is the study's: the best by the validation parts."""
    failures: tuple[Failure, ...] = ()
    seconds: float = 0.0

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def final(self) -> Path:
        """The model for ``predict`` and ``serve``."""
        return self.folder / "final"

    def plain(self) -> dict[str, Any]:
        """JSON values, as in ``study.json``."""
        return {
            "folder": str(self.folder),
            "clips": self.survey.plain(),
            "guesses": list(self.guesses),
            "left_out": list(self.left_out),
            "plan": self.plan.plain(),
            "chosen": self.chosen,
            "systems": [result.plain() for result in self.results],
            "seconds": round(self.seconds, 1),
        }


@dataclass(frozen=True)
class _Room:
    """Where a study works, and with what."""

    folder: Path
    store: Store
    processes: int
    say: Callable[[str], None]

    def crossval(self, recipes: Sequence[Recipe], **options: Any) -> Crossval:
        """Their runs in the study's folder."""
        return crossval(recipes, self.folder / "runs", store=self.store, over=True, **options)


def study(
    clips: Path,
    out: Path,
    *,
    choices: Choices | None = None,
    budget: float = 600.0,
    processes: int = 2,
    asr: str | None = None,
    store: Store | None = None,
    plan_only: bool = False,
    say: Callable[[str], None] = log.info,
    start: Callable[[Sequence[Job]], None] | None = None,
    watch: Watched | None = None,
) -> StudyResult:
    """Study the clips into the folder ``out``; what an earlier call finished is not done again.

    ``budget``: seconds; ``asr``: a recogniser for clips without words; ``plan_only``: look at the data, print
    the plan, train nothing.
    """
    began = time.perf_counter()
    refuse_place(out, folder=True)
    out = out.absolute()
    if asr is not None:
        check(asr)
    read = read_clips(clips, choices or Choices())
    for line in read.guesses:
        say(line)
    with locked(out):
        room = _Room(out, Store() if store is None else store, processes, say)
        path, left_out = _ready(read, choices or Choices(), clips.stem, room)
        if asr is not None:
            path = _worded(path, asr, room)
        looked = survey(manifests.read(path))
        for line in (*looked.lines(), *left_out):
            say(line)
        mark = fingerprint([path.read_text(encoding="utf-8"), budget, __version__])
        planned = kept_plan(out / "plan.json", mark) or _planned(looked, path, budget, room)
        for line in planned.lines(looked):
            say(line)
        result = StudyResult(out, looked, planned, read.guesses, left_out)
        if plan_only:  # nothing is trained by this plan, so that a study may choose another
            return result
        keep_plan(out / "plan.json", mark, planned)
        transcripts = asr or "gold"
        recipes = write_recipes(planned, _aligned(path, planned, looked, room), out, transcripts)
        done = _cross_validated(recipes, room, start, watch)
        chosen = _chosen(done, planned, recipes)
        measured = report.render(done.whole, out / "report.html", reference=chosen.title)
        room.say(f"final model: {chosen.title}, the best by the validation parts")
        failures = (*done.failures, *_final(chosen, recipes, room))
        _copy(out / "runs" / chosen.title / "final", out / "final")
        result = replace(result, results=tuple(measured), chosen=chosen.title, failures=failures)
        result = replace(result, seconds=time.perf_counter() - began)
        write_json(out / "study.json", result.plain(), indent=1)
        return result


# ---- the clips ------------------------------------------------------------------------------------------


def _ready(read: Clips, choices: Choices, name: str, room: _Room) -> tuple[Path, tuple[str, ...]]:
    """The manifest of the clips that can be used, and what was left out; made unless it is there."""
    path, made = room.folder / "clips.jsonl", room.folder / "clips.made"
    mark = fingerprint([_mark(read), asdict(choices), __version__, "spoken"])
    if not (path.is_file() and made.is_file() and made.read_text(encoding="utf-8") == mark):
        made.unlink(missing_ok=True)
        manifest = _prepared(read, name, room)
        if not choices.voices:
            refuse(manifest)  # before the recordings are opened
        kept, lines = _audible(manifest, room)
        if choices.voices:
            with progress.bar("voices") as watch:
                kept = by_voices(kept, choices.voice_count, jobs=room.processes, watch=watch)
        kept = spoken_parts(kept, jobs=room.processes)
        room.say("silence before and after speech is left out, as `predict` leaves it out")
        meta = replace(manifest.meta, notes=(*manifest.meta.notes, *lines)).after(
            "study", left_out=list(lines)
        )
        refuse(manifests.Manifest(path, tuple(kept), meta))
        manifests.write(path, kept, meta)
        write_whole(made, mark)
    return path, manifests.read(path).meta.notes


def _mark(read: Clips) -> str:
    """Hash of the clips as they were read, and of the state of their files."""
    states = []
    for utterance in read.utterances:
        file = Path(utterance.audio)
        state = file.stat() if file.is_file() else None
        states.append([to_plain(utterance), state and [state.st_size, state.st_mtime_ns]])
    return fingerprint(states)


def _prepared(read: Clips, name: str, room: _Room) -> manifests.Manifest:
    """The manifest of the recordings that can be read."""
    path = room.folder / "prepared.jsonl"
    if read.meta is not None:
        manifests.write(path, read.utterances, read.meta)
        return manifests.read(path)
    table = room.folder / "table.jsonl"
    write_lines(table, (_row(u) for u in read.utterances))
    try:
        prepare("table", table, path, skip_bad=True)
    except AudioError as error:
        where = "; --audio-root FOLDER names where a table's paths start" if read.columns else ""
        raise AudioError(f"{error}{where}") from None
    made = manifests.read(path)
    return replace(made, meta=replace(made.meta, corpus=name))


def _row(utterance: Utterance) -> dict[str, Any]:
    """A row of a table: without what a table has no column for."""
    values = to_plain(utterance.without_alignment())
    return {name: value for name, value in values.items() if value not in (None, {}, [])}


def _audible(manifest: manifests.Manifest, room: _Room) -> tuple[list[Utterance], tuple[str, ...]]:
    """The clips without silent, very short and doubled ones, and lines about those."""
    utterances = manifest.resolved()
    with progress.bar("reading") as watch:
        same = twins(utterances, jobs=room.processes, watch=watch)
    by_id = {u.id: u for u in utterances}
    lines: list[str] = []
    bad: set[str] = set()

    def leave_out(names: Sequence[str], why: str) -> None:
        new = [name for name in names if name not in bad]
        if new:
            bad.update(new)
            lines.append(f"{len(new)} clip{'s' * (len(new) > 1)} left out: {why}, first '{new[0]}'")

    leave_out(sorted(same.unread), "they cannot be read")
    leave_out(same.silent, "they hold no sound")
    leave_out([u.id for u in utterances if _short(u)], f"shorter than {SHORTEST} s")
    copies: list[str] = []
    unclear: list[str] = []
    for group in same.identical:
        agree = len({(by_id[name].label, by_id[name].speaker) for name in group}) == 1
        (copies if agree else unclear).extend(group[1:] if agree else group)
    leave_out(copies, "copies of others")
    leave_out(unclear, "the same recording under several labels or speakers")
    crossing = [pair for a, b, _ in same.near if by_id[a].speaker != by_id[b].speaker for pair in (a, b)]
    leave_out(sorted(set(crossing)), "nearly the same recording under several speakers")
    return [u for u in utterances if u.id not in bad], tuple(lines)


def _short(utterance: Utterance) -> bool:
    from undertone import audio

    seconds = utterance.duration
    if seconds is None:
        about = audio.glance(utterance.audio)
        seconds = about.duration if about is not None else SHORTEST
    return seconds < SHORTEST


def _worded(path: Path, asr: str, room: _Room) -> Path:
    """The manifest with recognised words where there were none."""
    from undertone.experiment.recognised import recognised

    out = room.folder / "words.jsonl"
    held = manifests.read(path)
    with progress.bar("recognising words") as watch:
        spoken = recognised(held.resolved(), asr, room.folder / "words.journal", watch=watch)
    manifests.write(out, spoken, held.meta.after("asr", recogniser=asr))
    return out


def _aligned(path: Path, plan: StudyPlan, looked: Survey, room: _Room) -> Path:
    """The manifest with times of words where a system of the plan pools by them."""
    if not set(plan.names) & set(ALIGNED) or looked.timed >= looked.worded / 2:
        return path
    out = room.folder / "aligned.jsonl"
    room.say("align words")
    with progress.bar("aligning") as watch:
        align(path, out, AlignmentRequest("sphinx"), jobs=room.processes, watch=watch)
    return out


# ---- the plan -------------------------------------------------------------------------------------------


def _planned(looked: Survey, path: Path, budget: float, room: _Room) -> StudyPlan:
    """The plan for the budget, by measurements of this machine."""
    from undertone import packed

    boxed = packed.find("whisper-base") is not None
    settings = SpeechConfig(name="whisper-base", layer="2-3") if boxed else SpeechConfig()
    encoder = speech_encoders.build(settings)
    utterances = manifests.read(path).resolved()
    keys = {u.id: speech_key(u, encoder) for u in utterances}
    present = room.store.present(keys.values())
    missing = [u for u in utterances if keys[u.id] not in present]
    sample = missing[:: max(1, len(missing) // SAMPLE)][:SAMPLE]
    encoding = 0.0
    if sample:
        extract(sample[:1], room.store, speech=encoder, progress=False, skip_bad=True)  # loads the weights
        done = extract(sample[1:] or sample, room.store, speech=encoder, progress=False, skip_bad=True)
        encoding = done.wall_seconds / done.audio_seconds if done.audio_seconds else 0.0
    return plan_study(
        looked,
        budget,
        Speed(encoding, measured_speed()),
        room.processes,
        timed=looked.timed >= looked.worded / 2 or find_spec("pocketsphinx") is not None,
        encoded=1 - len(missing) / len(utterances),
    )


# ---- the runs -------------------------------------------------------------------------------------------


def _cross_validated(
    recipes: Sequence[Recipe],
    room: _Room,
    start: Callable[[Sequence[Job]], None] | None,
    watch: Watched | None,
) -> Crossval:
    """The runs of all recipes; a tuned one begins with the head of a frozen one, so it comes after."""
    runs: tuple[Path, ...] = ()
    failures: tuple[Failure, ...] = ()
    for some in (
        [recipe for recipe in recipes if recipe.title != TUNED],
        [recipe for recipe in recipes if recipe.title == TUNED],
    ):
        if some:
            room.say("extract and cross-validate: " + ", ".join(recipe.title for recipe in some))
            done = room.crossval(some, processes=room.processes, final=False, start=start, watch=watch)
            runs, failures = (*runs, *done.runs), (*failures, *done.failures)
    done = Crossval(runs, failures)
    if not done.whole:
        raise TrainingError(f"no system got through every fold, the first: {failures[0].why}")
    return done


def _chosen(done: Crossval, plan: StudyPlan, recipes: Sequence[Recipe]) -> Recipe:
    """The recipe that is best on the validation parts: the test parts choose nothing."""
    by_name = {recipe.title: recipe for recipe in recipes}
    spoken = [run for run in done.whole if by_name[run.name].uses_speech]  # recordings come without words
    best = max(spoken or done.whole, key=lambda run: _validated(run, plan))
    return by_name[best.name]


def _final(chosen: Recipe, recipes: Sequence[Recipe], room: _Room) -> tuple[Failure, ...]:
    """Make the final model, after that of the run which it begins with; what failed."""
    first = [recipe for recipe in recipes if recipe.title == WARM and chosen.title == TUNED]
    failures: tuple[Failure, ...] = ()
    for recipe in (*first, chosen):
        failures = (*failures, *room.crossval([recipe]).failures)
    return failures


def _validated(run: Path, plan: StudyPlan) -> float:
    """Mean UA of the folds' validation parts."""
    split = splits.read(run / "split.json")
    folds = read_folds(run, [fold.name for fold in split.folds], plan.seeds)
    scores = []
    for fold in folds:
        posterior = np.mean(list(fold.members.values()), axis=0)
        scores.append(metrics.ua(fold.labels, posterior.argmax(-1), posterior.shape[-1]))
    return float(np.mean(scores))


def _copy(model: Path, out: Path) -> None:
    """A copy of the final model under the study's own folder."""
    if not model.is_dir():
        raise TrainingError(f"{model}: the final model was not made; run the command again")
    aside = out.with_name(f".{out.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(model, aside)
    shutil.rmtree(out, ignore_errors=True)
    aside.replace(out)
