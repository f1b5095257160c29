"""How robust a run's models are: noise, a missing modality, transcripts with errors. Nothing is trained.

Every fold's model sees its own test part only, each time with one thing made worse; a model folder without
folds, such as ``undertone fuse`` makes, all labelled clips of a manifest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from undertone import audio
from undertone import manifest as manifests
from undertone.audio.noise import mixed, telephone
from undertone.errors import ConfigError, ManifestError
from undertone.evaluation import metrics
from undertone.experiment.examples import Words, example_of, stored_frames, stored_text
from undertone.experiment.material import Material, open_material
from undertone.experiment.recipe import Recipe, load_recipe
from undertone.experiment.run import posteriors_of
from undertone.features import speech as speech_encoders
from undertone.features import text as text_encoders
from undertone.features.subword import Subword
from undertone.files import write_json
from undertone.judging.clip import Clip
from undertone.judging.inputs import recording_of
from undertone.judging.predictor import load_model
from undertone.models import folder as models
from undertone.models.example import Example
from undertone.progress import Watch
from undertone.training.dataset import Dataset
from undertone.training.inference import infer
from undertone.types import Alignment, Segment, SpeechEncoder, TextEncoder, Utterance

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Condition", "noisy", "stress", "stress_model", "with_word_errors"]

log = logging.getLogger(__name__)

FILE = "stress.json"
SNRS = (20.0, 10.0, 5.0, 0.0)
"""Decibels of the active speech over white noise."""
ERRORS = (0.1, 0.2, 0.4)
"""Shares of the words that are another word, or left out."""
AT_ONCE = 32
"""Clips that a model folder gets in one call."""


@dataclass(frozen=True)
class Condition:
    """What is made worse."""

    sweep: str
    at: str
    snr: float | None = None
    narrow: bool = False
    """Through a telephone's band."""
    errors: float = 0.0
    speech: bool = True
    text: bool = True
    transcripts: Path | None = None
    """A manifest of the same utterances whose texts (and boundaries) are used instead."""


@dataclass(frozen=True)
class _Bench:
    """What one fold's model needs to see its test part."""

    recipe: Recipe
    material: Material
    utterances: Sequence[Utterance]
    tokenizer: Subword | None
    encoders: _Encoders
    vocabulary: Sequence[str]
    """The training part's words, that errors are drawn from."""
    encoded: dict[str, Any]
    """Frames of worsened recordings by utterance, shared by the fold's seeds."""


class _Encoders:
    """The run's encoders, loaded when a condition first needs them."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    @cached_property
    def speech(self) -> SpeechEncoder:
        return speech_encoders.build(self._recipe.speech.encoder)

    @cached_property
    def text(self) -> TextEncoder:
        return text_encoders.build(self._recipe.text.encoder)


def conditions(recipe: Recipe, transcripts: Path | None = None) -> list[Condition]:
    """What makes sense for the recipe's system, sweep by sweep, each from nothing worse on."""
    return _conditions(recipe.uses_speech, recipe.uses_text, recipe.protocol.transcripts, transcripts)


def _conditions(speech: bool, text: bool, source: str, transcripts: Path | None) -> list[Condition]:
    wanted = []
    if speech:
        wanted += [
            Condition("added noise", "none"),
            *(Condition("added noise", f"{x:g} dB", snr=x) for x in SNRS),
            Condition("band", "whole"),
            Condition("band", "telephone", narrow=True),
        ]
    if speech and text:
        wanted += [Condition("missing", "nothing")]
        wanted += [Condition("missing", "speech", speech=False), Condition("missing", "text", text=False)]
    if text:
        wanted += [Condition("transcript", source)]
        wanted += [Condition("transcript", f"{100 * x:g} % word errors", errors=x) for x in ERRORS]
    if transcripts is not None and text:
        wanted += [Condition("transcript", transcripts.stem, transcripts=transcripts)]
    return wanted


Sweeps = dict[str, list[dict[str, Any]]]


def stress(
    run: Path,
    *,
    transcripts: Path | None = None,
    say: Callable[[str], None] = log.info,
    watch: Watch | None = None,
) -> Sweeps:
    """Each condition's metrics over all folds and seeds, by sweep; ``stress.json`` in the run holds them.

    ``say`` gets each condition's name, ``watch`` how many of how many models have seen their test part.
    """
    if not (run / "recipe.toml").is_file():
        raise ConfigError(f"{run}: not a run (no recipe.toml); `undertone crossval` makes runs")
    recipe = load_recipe(run / "recipe.toml")
    if recipe.protocol.level == "dialogue":
        raise ConfigError(f"{run}: stress tests single utterances, this run is of whole dialogues")
    material = open_material(run, recipe.manifest, everything=False, rated=recipe.rated)
    encoders = _Encoders(recipe)
    wanted = conditions(recipe, transcripts)
    each = len(material.split.folds) * recipe.protocol.seeds
    count = _counter(watch, each * len({_what(one) for one in wanted}))

    def values(condition: Condition) -> dict[str, Any]:
        return _metrics(run, recipe, material, encoders, condition, count)

    sweeps = _sweeps(wanted, values, say)
    write_json(run / FILE, {"sweeps": sweeps}, indent=1)
    return sweeps


def stress_model(
    folder: Path,
    manifest: Path,
    *,
    transcripts: Path | None = None,
    say: Callable[[str], None] = log.info,
    watch: Watch | None = None,
) -> Sweeps:
    """Each condition's metrics of one model folder over a manifest's labelled clips, by sweep.

    ``say`` gets each condition's name, ``watch`` how many of how many clips are judged.
    """
    model = load_model(folder)
    labels = {name: index for index, name in enumerate(model.labels)}
    tested = [u for u in manifests.read(manifest).resolved() if u.label in labels]
    if not tested:
        raise ManifestError(f"{manifest}: no clip is labelled as one of {', '.join(model.labels)}")
    vocabulary = sorted({word for u in tested for word in (u.text or "").split()})
    other = _other_texts(transcripts) if transcripts else {}
    sides = ("speech" in model.sides, "text" in model.sides and bool(vocabulary))
    wanted = _conditions(*sides, tested[0].text_source or "gold", transcripts)
    count = _counter(watch, len(tested) * len({_what(one) for one in wanted}))

    def values(condition: Condition) -> dict[str, Any]:
        truth: list[int] = []
        shares: list[list[float]] = []
        for first in range(0, len(tested), AT_ONCE):
            some = tested[first : first + AT_ONCE]
            clips = [_clip_of(u, condition, vocabulary, other, model.rate) for u in some]
            rows = [
                (labels[str(u.label)], clip)
                for u, clip in zip(some, clips, strict=True)
                if clip.wave is not None or clip.text
            ]
            answers = model.predict([clip for _, clip in rows]) if rows else []
            truth += [label for label, _ in rows]
            shares += [[one.probabilities[name] for name in labels] for one in answers]
            count(len(some))
        return _kept(metrics.summary(np.array(truth), np.array(shares), list(labels)))

    return _sweeps(wanted, values, say)


def _what(condition: Condition) -> Condition:
    """What is made worse, whatever the sweep is called."""
    return replace(condition, sweep="", at="")


def _sweeps(
    wanted: Sequence[Condition],
    values: Callable[[Condition], dict[str, Any]],
    say: Callable[[str], None],
) -> Sweeps:
    """The metrics of each condition, computed once where several sweeps have it."""
    sweeps: Sweeps = {}
    known: dict[Condition, dict[str, Any]] = {}
    for condition in wanted:
        what = _what(condition)
        if what not in known:
            say(f"{condition.sweep}: {condition.at}")
            known[what] = values(condition)
        sweeps.setdefault(condition.sweep, []).append({"at": condition.at, **known[what]})
    return sweeps


def _kept(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: values[key] for key in ("n", "wa", "ua", "macro_f1", "ece")}


def _counter(watch: Watch | None, total: int) -> Callable[[int], None]:
    """A function to call with how many more are done."""
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        if watch is not None:
            watch(done, total)

    return count


def _clip_of(
    utterance: Utterance,
    condition: Condition,
    vocabulary: Sequence[str],
    other: dict[str, Utterance],
    rate: int,
) -> Clip:
    """An utterance as the condition makes it."""
    changed = utterance
    if condition.errors:
        changed = with_word_errors(utterance, condition.errors, vocabulary)
    elif condition.transcripts:
        changed = _with_other_text(utterance, other)
    wave = None
    if condition.speech:
        wave = _worse(
            audio.load(utterance.audio, utterance.start, utterance.end, rate), utterance.id, condition, rate
        )
    return Clip(utterance.id, wave, recording_of(changed).transcript() if condition.text else None)


def _worse(wave: Wave, name: str, condition: Condition, rate: int) -> Wave:
    """The wave in the condition's band and noise."""
    if condition.narrow:
        wave = telephone(wave, rate)
    return wave if condition.snr is None else noisy(wave, condition.snr, name, rate)


def _metrics(
    run: Path,
    recipe: Recipe,
    material: Material,
    encoders: _Encoders,
    condition: Condition,
    count: Callable[[int], None],
) -> dict[str, Any]:
    results: list[tuple[Any, Any]] = []
    for fold in material.split.folds:
        results += _fold(run, recipe, material, encoders, fold.name, condition)
        count(recipe.protocol.seeds)
    labels, posteriors = (np.concatenate(column) for column in zip(*results, strict=True))
    return _kept(metrics.summary(labels, posteriors, list(material.corpus.labels)))


def _fold(
    run: Path, recipe: Recipe, material: Material, encoders: _Encoders, fold: str, condition: Condition
) -> list[tuple[Any, Any]]:
    """Labels and posteriors of every seed's model on the fold's test part."""
    parts = next(f for f in material.split.folds if f.name == fold)
    by_id = material.corpus.by_id
    words = sorted({w for i in parts.train for w in (by_id[i].text or "").split()})
    results = []
    encoded: dict[str, Any] = {}
    for seed in range(recipe.protocol.seeds):
        if not models_are_there(folder := run / fold / str(seed)):
            raise ConfigError(f"{folder}: this fold is not finished; run the cross-validation again first")
        loaded = models.load(folder)
        tokenizer = Subword.load(loaded.tokenizer) if loaded.tokenizer else None
        tested = [by_id[i] for i in parts.test]
        bench = _Bench(recipe, material, tested, tokenizer, encoders, words, encoded)
        outputs = infer(loaded.system, Dataset(_worsened(bench, condition), loaded.system.layout))
        results.append((outputs.labels, posteriors_of(loaded.system, outputs.logits)))
    return results


def models_are_there(folder: Path) -> bool:
    """Whether a fold's model was finished."""
    return (folder / "model.safetensors").is_file() and (folder / "metrics.json").is_file()


def _worsened(bench: _Bench, condition: Condition) -> list[Example]:
    labels = {name: index for index, name in enumerate(bench.material.corpus.labels)}
    other = _other_texts(condition.transcripts) if condition.transcripts else {}
    features = bench.material.features
    examples = []
    for utterance in bench.utterances:
        changed = utterance
        if condition.errors:
            changed = with_word_errors(utterance, condition.errors, bench.vocabulary)
        elif condition.transcripts:
            changed = _with_other_text(utterance, other)
        frames = _frames(bench, utterance, condition)
        text = _text(bench, utterance, changed) if condition.text else None
        examples.append(
            example_of(
                bench.recipe, changed, frames if condition.speech else None, features.clock, text, labels
            )
        )
    return examples


def _frames(bench: _Bench, utterance: Utterance, condition: Condition) -> Any:
    """The utterance's frames, of a recording as the condition makes it."""
    if condition.snr is None and not condition.narrow:
        return stored_frames(bench.material.features, utterance)
    if not bench.recipe.uses_speech:
        return None
    if utterance.id not in bench.encoded:
        rate = bench.encoders.speech.rate
        wave = _worse(
            audio.load(utterance.audio, utterance.start, utterance.end, rate), utterance.id, condition, rate
        )
        bench.encoded[utterance.id] = bench.encoders.speech.encode([wave])[0]
    return bench.encoded[utterance.id]


def _text(bench: _Bench, utterance: Utterance, changed: Utterance) -> Words | None:
    if changed.text == utterance.text or bench.tokenizer is not None or not bench.recipe.uses_text:
        return stored_text(bench.material.features, changed, bench.tokenizer)
    return bench.encoders.text.encode([changed.text])[0] if changed.text else None


def noisy(wave: Wave, snr: float, name: str, rate: int) -> Wave:
    """The wave with white noise ``snr`` dB below its active speech, the same for the same name."""
    random = np.random.default_rng(list(name.encode()))
    return mixed(wave, random.standard_normal(len(wave)).astype(np.float32), snr, rate)


def with_word_errors(utterance: Utterance, share: float, vocabulary: Sequence[str]) -> Utterance:
    """About ``share`` of the words replaced (two in three) or left out (one in three), as a recogniser does.

    Boundaries stay with the words that stand at their place.
    """
    words = (utterance.text or "").split()
    random = np.random.default_rng(list(utterance.id.encode()))
    alignment = utterance.alignment
    timed = alignment.word if alignment is not None and len(alignment.word) == len(words) else ()
    spoken: list[str] = []
    segments: list[Segment] = []
    for index, word in enumerate(words):
        wrong, omit, other = random.random() < share, random.random() < 1 / 3, int(random.integers(1 << 30))
        text = "" if wrong and omit else vocabulary[other % len(vocabulary)] if wrong else word
        if text:
            start = sum(len(w) + 1 for w in spoken)
            spoken.append(text)
            if timed:
                segments.append(replace(timed[index], text=text, chars=(start, start + len(text))))
    kept = alignment
    if alignment is not None:
        kept = Alignment(tuple(segments), alignment.syllable, alignment.phone) if timed else None
    return replace(utterance, text=" ".join(spoken), alignment=kept, text_source="simulated errors")


def _other_texts(path: Path) -> dict[str, Utterance]:
    return {u.id: u for u in manifests.read(path).utterances}


def _with_other_text(utterance: Utterance, other: dict[str, Utterance]) -> Utterance:
    if utterance.id not in other:
        raise ManifestError(f"{utterance.id}: the other transcripts do not have this utterance")
    same = other[utterance.id]
    return replace(utterance, text=same.text, alignment=same.alignment, text_source=same.text_source)
