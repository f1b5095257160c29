"""The whole training, in parts that each resume: pooled frames, words, a model a part, calibration.

runs/starter/heard/           every clip in its variants, pooled; shared by all parts
runs/starter/text/            the words: ``written`` and ``spoken``
runs/starter/fold-k/          fold.json (the clips it is tested on), heard.npz (their scores), model/
runs/starter/without-CORPUS/  the same, learned from the two other corpora
runs/starter/only-CORPUS/     learned from one, to calibrate the two that are without another
runs/starter/open-k/, open/   EmoDB alone: its own folds, and what ``starter-open`` ships
runs/starter/final/           learned from all speakers: what ``starter`` ships
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from studies.starter import clips as recordings
from studies.starter import pooled, sentences
from studies.starter.clips import ACTED, Spoken
from studies.starter.judges import Draws, fit_distance, fit_judge, fit_noise, shares
from studies.starter.recipe import StarterRecipe
from studies.starter.targets import CLASSES, KINDS, kind_of
from undertone.config import dump_toml, fingerprint
from undertone.files import one_thread, spawned_pool, whole, write_json, write_whole

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPEN", "PARTS", "Place", "chosen", "train", "train_part", "train_words", "weights_of"]

log = logging.getLogger(__name__)

VERSION = 7
"""Raised with every change that changes the numbers of a part."""
FOLDS = tuple(f"fold-{k}" for k in range(recordings.FOLDS))
WITHOUT, ONLY = tuple(f"without-{c}" for c in ACTED), tuple(f"only-{c}" for c in ACTED)
OPEN = ("open", *(f"open-{k}" for k in range(recordings.FOLDS)))
PARTS = (*FOLDS, *ONLY, *WITHOUT, *OPEN, "final")
"""Everything that has a speech side of its own."""
HALF = Draws(varied=0.1, noisy=0.3, voices=0.15)
"""Draws from which it is learned what is noise."""


@dataclass(frozen=True)
class Place:
    """Where things of one run are, and what they are made from."""

    run: Path
    data: Path
    recipe: StarterRecipe

    @property
    def heard(self) -> Path:
        return self.run / "heard"

    def part(self, name: str) -> Path:
        return self.run / name

    def mark(self, *more: Any) -> str:
        """A hash of what determines the classifiers; a part with another mark is trained again."""
        recipe = self.recipe
        settings = [one.plain() for one in (recipe.hearing, recipe.targets, recipe.judges)]
        return fingerprint([VERSION, recipe.seed, *settings, *more])

    def words(self, name: str, suffix: str) -> Path:
        """A file of the words of these settings."""
        settings = {key: value for key, value in self.recipe.text.plain().items() if "level" not in key}
        return self.run / "text" / f"{name}-{fingerprint([settings])}{suffix}"


def train(place: Place, parts: Sequence[str] = PARTS, jobs: int = 1) -> None:
    """Everything that is not there yet; ``jobs`` processes at a time, one thread each."""
    from studies.starter.calibrate import calibrate

    started = time.perf_counter()
    write_whole(place.run / "recipe.toml", dump_toml(place.recipe.plain()))
    known = recordings.read(place.data)
    if jobs == 1:
        train_words(place)
        pooled.clips(known, place.recipe.hearing, place.heard)
        pooled.sounds(place.recipe.hearing, place.heard)
        for part in parts:
            train_part(place, part)
    else:
        with spawned_pool(1) as pool:
            words = pool.submit(train_words, place)
            pooled.clips(known, place.recipe.hearing, place.heard, jobs)
            pooled.sounds(place.recipe.hearing, place.heard)
            words.result()
        with spawned_pool(jobs) as pool:
            for one in [pool.submit(train_part, place, part) for part in parts]:
                one.result()
    calibrate(place, known, parts, time.perf_counter() - started)


def chosen(part: str, known: Sequence[Spoken]) -> tuple[list[int], list[int]]:
    """Indices of the clips that a part is trained on, and of those it is tested on."""
    kind, _, which = part.partition("-")
    corpora = {"only": (which,), "open": ("emodb",), "without": tuple(c for c in ACTED if c != which)}
    inside = corpora.get(kind, ACTED)
    read = ("timit",) if kind != "open" else ()
    aside = recordings.folds(known)[int(which)] if kind in ("fold", "open") and which else frozenset()
    learned, tested = [], []
    for index, clip in enumerate(known):
        if clip.speaker in aside:
            if kind == "fold" or clip.corpus in inside:
                tested.append(index)
        elif clip.corpus in (*inside, *read):
            learned.append(index)
        elif clip.corpus in ACTED and not which.isdigit() and part != "final":
            tested.append(index)
    return learned, tested


def train_part(place: Place, part: str) -> None:
    """The classifiers of one part; its scores of its test clips are kept."""
    import torch
    from safetensors.torch import load_file

    from studies.starter.build import distance_from_speech, judge, noise_share

    one_thread()
    folder, recipe, started = place.part(part), place.recipe, time.perf_counter()
    known = recordings.read(place.data)
    learned, tested = chosen(part, known)
    mark = place.mark(part, [known[i].id for i in learned])
    done = folder / f"speech-{mark}.safetensors"
    if done.is_file():
        return
    heard = pooled.clips(known, recipe.hearing, place.heard)
    sounds = pooled.sounds(recipe.hearing, place.heard).astype(np.float32)
    inside = heard.of(learned)
    if part.startswith("open"):  # its licence allows no voices of others
        inside &= heard.sorts(recipe.hearing) < 3
    rows, kinds, shares_of = _to_learn(known, heard, inside, sounds, recipe)
    weights: dict[str, Tensor] = {}
    judges = recipe.judges
    groups = (judges.views, judges.draws), (judges.noise_views, judges.noise_draws)
    views = [(v, d) for views, d in groups for v in views for _ in range(judges.networks)]
    for number, (view, draws) in enumerate(views):
        seed = 100 * recipe.seed + number
        torch.manual_seed(seed)
        net = judge(recipe, view)
        kept = folder / f"judge-{number}-{mark}.safetensors"
        if kept.is_file():
            net.load_state_dict(load_file(kept))
        else:
            fit_judge(net, rows, kinds, shares_of(draws), judges, recipe.targets, seed)
            _write(kept, net.state_dict())
        weights |= {f"judges.{number}.{name}": value for name, value in net.state_dict().items()}
    spoken = slice(len(rows) - len(sounds))
    distance = distance_from_speech(recipe)
    fit_distance(distance, rows[spoken], recipe.seed)
    weights |= {f"known.{name}": value for name, value in distance.state_dict().items()}
    if judges.noise_views:
        noise = noise_share(recipe)
        fit_noise(noise, rows[spoken], heard.sorts(recipe.hearing)[inside], shares_of(HALF)[spoken])
        weights |= {f"noise.{name}": value for name, value in noise.state_dict().items()}
    if tested:
        _score(place, part, known, tested, heard, weights)
    write_json(folder / "seconds.json", {"seconds": round(time.perf_counter() - started, 1)})
    _write(done, weights)
    for kept in folder.glob("judge-*"):
        kept.unlink()


def _to_learn(
    known: Sequence[Spoken],
    heard: pooled.Pooled,
    inside: NDArray[np.bool_],
    sounds: NDArray[np.float32],
    recipe: StarterRecipe,
) -> tuple[NDArray[np.float32], NDArray[np.int64], Callable[[Draws], NDArray[np.float64]]]:
    """Rows to learn from, with their kinds, and how often each is drawn under some ``Draws``; sounds are the
    last."""
    owner = heard.clip[inside]
    kinds = np.array([kind_of(clip) for clip in known])[owner]
    corpora = np.array([clip.corpus for clip in known])[owner]
    sorts = heard.sorts(recipe.hearing)[inside]
    rows = np.concatenate([heard.rows[inside].astype(np.float32), sounds])
    share = recipe.judges.sounds

    def drawn(draws: Draws) -> NDArray[np.float64]:
        spoken = shares(corpora, kinds, sorts, draws, recipe.judges.read)
        every = np.concatenate([spoken * (1 - share), np.full(len(sounds), share / max(1, len(sounds)))])
        return np.asarray(every / every.sum(), np.float64)

    return rows, np.concatenate([kinds, np.full(len(sounds), KINDS.index("none"))]), drawn


def _score(
    place: Place,
    part: str,
    known: Sequence[Spoken],
    tested: Sequence[int],
    heard: pooled.Pooled,
    weights: Mapping[str, Tensor],
) -> None:
    """Keep who is tested, and the scores of their regions as they were recorded."""
    import torch

    from studies.starter.build import head

    ids = {c: [known[i].id for i in tested if known[i].corpus == c] for c in recordings.CORPORA}
    write_json(place.part(part) / "fold.json", {**ids, "goemotions": "dev"}, indent=1)
    inside = heard.of(tested, variant=0)
    model = head(place.recipe).eval()
    model.load_state_dict(weights, strict=False)
    with torch.inference_mode():
        kinds, distance = model.score_speech(torch.from_numpy(heard.rows[inside].astype(np.float32)))
    assert distance is not None
    with whole(place.part(part) / "heard.npz") as file:
        np.savez(file, clips=heard.clip[inside], kinds=kinds.numpy(), distance=distance.numpy())


def weights_of(folder: Path) -> dict[str, Tensor]:
    """The newest weights of a part's speech side, by their names in the system."""
    from safetensors.torch import load_file

    made = sorted(folder.glob("speech-*.safetensors"), key=lambda path: path.stat().st_mtime)
    return load_file(made[-1]) if made else {}


def _write(path: Path, weights: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save_file

    with whole(path) as part:
        save_file({name: value.detach().clone().contiguous() for name, value in weights.items()}, part)


def train_words(place: Place) -> None:
    """The words of written sentences, and from there those of spoken turns too, averaged with those before;
    with their scores of what was kept for validation, in both spellings."""
    from safetensors.torch import load_file

    from studies.starter import text

    one_thread()
    config = place.recipe.text
    rows = sentences.four(sentences.read(place.data, "train"))
    learned, held = text.split(rows, min(config.validation, len(rows) // 5), config.seed)
    turns = sentences.four(sentences.turns(place.data, "dailydialog", "train"))
    spoken = sentences.four(sentences.turns(place.data, "dailydialog", "valid"))
    even = text.evenly(turns, config.turns, config.seed)
    pieces = text.tokenizer(config)
    system = text.network(config)
    for name, train_on, validation, epochs in (
        ("written", learned, held, config.epochs),
        ("spoken", [*learned, *even], [*held, *spoken], config.further),
    ):
        done = place.words(name, ".safetensors")
        if done.is_file():
            system.load_state_dict(system.state_dict() | load_file(done))
            continue
        state = place.words(name, ".state")
        before = {key: value.clone() for key, value in system.state_dict().items()}
        fitted = text.fit_text(system, train_on, validation, pieces, config, epochs, state)
        log.info("words, %s: macro-F1 %s", name, [r["validation_ua"] for r in fitted.history])
        if name == "spoken":
            now = system.state_dict()
            real = {key for key, value in now.items() if value.is_floating_point()}
            system.load_state_dict(now | {key: (now[key] + before[key]) / 2 for key in real})
        scores = text.scores(system, validation, pieces)
        classes = np.array([CLASSES.index(str(sentence.label)) for sentence in validation])
        with whole(place.words(name, ".npz")) as file:
            np.savez(file, written=scores[0], plain=scores[1], classes=classes)
        trained = {n for n, p in system.named_parameters() if p.requires_grad}
        _write(done, {n: v for n, v in system.state_dict().items() if n in trained})
        state.unlink(missing_ok=True)
