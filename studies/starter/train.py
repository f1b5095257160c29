"""The whole training, in parts that each resume: frames, text, a model a fold and one of all, calibration.

runs/starter/frames/          every clip in its variants, shared by all parts
runs/starter/text/            the text networks, trained without the development sentences
runs/starter/fold-k/          fold.json (the clips it is tested on), heard.npz (their scores), model/
runs/starter/final/           as a fold that is trained on all speakers: what is shipped
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studies.starter import clips as recordings
from studies.starter import frames, sentences
from studies.starter.clips import Spoken
from studies.starter.judges import VERSION, fit_distance, fit_judge, functionals, selected
from studies.starter.recipe import StarterRecipe
from studies.starter.targets import CLASSES, label_of
from undertone.config import dump_toml, fingerprint
from undertone.files import one_thread, spawned_pool, whole, write_json, write_whole

if TYPE_CHECKING:
    from torch import Tensor

    from undertone.models.compact.classifiers import FunctionalsClassifier
    from undertone.models.compact.functionals import View

__all__ = ["PARTS", "Place", "train", "train_part", "train_text", "weights_of"]

log = logging.getLogger(__name__)

PARTS = (*(f"fold-{k}" for k in range(recordings.FOLDS)), "final")
"""Everything that has a speech side of its own."""
ONLY = ("only-ravdess", "only-emodb")
"""Further parts on request: one corpus learned whole, to be tried on the other."""


@dataclass(frozen=True)
class Place:
    """Where things of one run are, and what they are made from."""

    run: Path
    data: Path
    recipe: StarterRecipe

    @property
    def frames(self) -> Path:
        return self.run / "frames"

    @property
    def text(self) -> Path:
        return self.run / "text"

    def part(self, name: str) -> Path:
        return self.run / name

    def mark(self, *more: Any) -> str:
        """A hash of what determines the classifiers; a part with another mark is trained again."""
        recipe = self.recipe
        made_of = [VERSION, recipe.seed, recipe.variants, recipe.noisy, recipe.sounds]
        settings = [recipe.acoustic, recipe.augment, recipe.noise, recipe.targets, recipe.judges]
        return fingerprint([*made_of, *(one.plain() for one in settings), *more])

    def text_file(self, name: str, suffix: str) -> Path:
        """A file of the text networks of this seed and these settings."""
        mark = fingerprint([self.recipe.seed, self.recipe.text.plain()])
        return self.text / f"{name}-{mark}{suffix}"


def train(place: Place, parts: Sequence[str] = PARTS, jobs: int = 1) -> None:
    """Everything that is not there yet; ``jobs`` parts at a time, one thread each."""
    from studies.starter.calibrate import calibrate

    started = time.perf_counter()
    write_whole(place.run / "recipe.toml", dump_toml(place.recipe.plain()))
    clips = recordings.read(place.data)
    for variants in (*_variants(place, clips), _noisy(place, clips)):
        functionals(variants)  # computed once, before parts that need them run side by side
    if jobs == 1:
        train_text(place)
        for part in parts:
            train_part(place, part)
    else:
        with spawned_pool(jobs) as pool:
            waiting = [
                pool.submit(train_text, place),
                *(pool.submit(train_part, place, part) for part in parts),
            ]
            for one in waiting:
                one.result()
    calibrate(place, clips, parts, time.perf_counter() - started)


def _variants(place: Place, clips: Sequence[Spoken]) -> tuple[frames.Variants, frames.Variants]:
    """Frames of all clips and of the sounds."""
    recipe = place.recipe
    spoken = frames.clip_variants(
        clips, recipe.acoustic, recipe.augment, recipe.variants, recipe.seed, place.frames
    )
    sounds = frames.sound_variants(recipe.sounds, recipe.acoustic, recipe.seed, place.frames)
    return spoken, sounds


def _noisy(place: Place, clips: Sequence[Spoken]) -> frames.Variants:
    """The clips as they are and in noise."""
    recipe = place.recipe
    return frames.clip_variants(
        clips, recipe.acoustic, recipe.noise, recipe.noisy + 1, recipe.seed + 1, place.frames
    )


def chosen(part: str, clips: Sequence[Spoken]) -> tuple[list[int], list[int]]:
    """Indices of the clips that a part is trained on, and of those it is tested on."""
    if part in ONLY:
        corpus = part.removeprefix("only-")
        return [i for i, clip in enumerate(clips) if clip.corpus in (corpus, "timit")], []
    aside = frozenset() if part == "final" else recordings.folds(clips)[int(part.removeprefix("fold-"))]
    train = [i for i, clip in enumerate(clips) if clip.speaker not in aside]
    return train, [i for i, clip in enumerate(clips) if clip.speaker in aside]


def train_part(place: Place, part: str) -> None:
    """The classifiers of a fold or of all speakers; a fold's scores of its test clips are kept."""
    from studies.starter.build import scores_of

    one_thread()
    clips = recordings.read(place.data)
    learned, tested = chosen(part, clips)
    spoken, sounds = _variants(place, clips)
    train_judges(place, part, clips, learned, (spoken, _noisy(place, clips), sounds))
    if tested:
        ids = {c: [clips[i].id for i in tested if clips[i].corpus == c] for c in recordings.CORPORA}
        write_json(place.part(part) / "fold.json", {**ids, "goemotions": "dev"}, indent=1)
        recorded = [spoken.get(i, 0) for i in tested]
        kinds, distance = scores_of(place.recipe, weights_of(place.part(part)), recorded)
        with whole(place.part(part) / "heard.npz") as file:
            np.savez(file, clips=np.array(tested), kinds=kinds, distance=distance)


def weights_of(folder: Path) -> dict[str, Tensor]:
    """The newest weights of a part's speech side, by their names in the system."""
    from safetensors.torch import load_file

    made = sorted(folder.glob("speech-*.safetensors"), key=lambda path: path.stat().st_mtime)
    return load_file(made[-1]) if made else {}


def train_judges(
    place: Place,
    part: str,
    clips: Sequence[Spoken],
    learned: Sequence[int],
    variants: tuple[frames.Variants, frames.Variants, frames.Variants],
) -> None:
    """The classifiers one after another, and the distance from all speech: of variants, of those in noise, of
    sounds. Each classifier is kept when it is done, so that a killed training goes on with the next."""
    import torch
    from safetensors.torch import load_file

    from studies.starter.build import distance_from_speech, judge
    from undertone.models.compact.functionals import VIEWS

    folder, recipe, started = place.part(part), place.recipe, time.perf_counter()
    mark = place.mark(part, [clips[i].id for i in learned])
    done = folder / f"speech-{mark}.safetensors"
    if done.is_file():
        return
    spoken, noisy, sounds = (functionals(one) for one in variants)
    noisy = {view: values[:, 1:] for view, values in noisy.items()}
    rows, every = np.array(learned), np.arange(len(variants[2].edges))
    labels = np.array([label_of(clips[i]) for i in learned])

    def trained(number: int, views: tuple[View, ...]) -> FunctionalsClassifier:
        kept, seed = folder / f"judge-{number}-{mark}.safetensors", 100 * recipe.seed + number
        torch.manual_seed(seed)
        net = judge(recipe, views)
        if kept.is_file():
            net.load_state_dict(load_file(kept))
            return net
        values = selected([spoken, noisy], views, rows), selected([sounds], views, every)[:, 0]
        fit_judge(net, labels, *values, recipe.judges, recipe.targets, seed)
        _write(kept, net.state_dict())
        log.info("%s: classifier %d", part, number + 1)
        return net

    weights: dict[str, Tensor] = {}
    for number, views in enumerate(v for v in recipe.judges.views for _ in range(recipe.judges.networks)):
        state = trained(number, views).state_dict()
        weights |= {f"judges.{number}.{name}": value for name, value in state.items()}
    distance = distance_from_speech(recipe)
    fit_distance(distance, selected([spoken, noisy], tuple(VIEWS), rows), recipe.seed)
    weights |= {f"known.{name}": value for name, value in distance.state_dict().items()}
    write_json(folder / "seconds.json", {"seconds": round(time.perf_counter() - started, 1)})
    _write(done, weights)
    for kept in folder.glob("judge-*"):
        kept.unlink()


def _write(path: Path, weights: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save_file

    with whole(path) as part:
        save_file({name: value.detach().clone().contiguous() for name, value in weights.items()}, part)


def train_text(place: Place) -> None:
    """The tokenizer and the text networks; their scores of the validation sentences are kept."""
    import torch

    from studies.starter import text
    from studies.starter.build import dimensions
    from undertone.features.subword import Subword
    from undertone.models.compact.system import TextNet

    one_thread()
    recipe, config = place.recipe, place.recipe.text
    done = place.text_file("text", ".safetensors")
    if done.is_file():
        return
    rows = sentences.read(place.data, "train")
    log.info("GoEmotions train: %s", sentences.counts(rows))
    learned, aside = text.split(rows, min(config.validation, len(rows) // 5), recipe.seed)
    validation = sentences.four(aside)
    pieces = Subword.fit(text.spellings(learned), config.pieces)
    sizes = dimensions(recipe, pieces.size)
    weights: dict[str, torch.Tensor] = {}
    scores, states = [], []
    for number in range(config.networks):
        seed = 100 * recipe.seed + number
        states.append(place.text_file(f"network-{number}", ".state"))
        torch.manual_seed(seed)
        net = TextNet(sizes, sizes.classes + text.EMOTIONS, config.dropout)
        fitted = text.fit_text(net, learned, validation, pieces, sizes, config, seed, states[-1])
        assert fitted.validation is not None
        log.info("text, network %d: macro-F1 %s", number + 1, [r["validation_ua"] for r in fitted.history])
        weights |= {f"{number}.{name}": value for name, value in net.state_dict().items()}
        scores.append(torch.from_numpy(fitted.validation.logits).log_softmax(-1))
    written, plain = torch.stack(scores).mean(0).numpy().reshape(2, len(validation), -1)
    pieces.save(place.text_file("tokenizer", ".json"))
    classes = np.array([CLASSES.index(str(sentence.label)) for sentence in validation])
    with whole(place.text_file("read", ".npz")) as file:
        np.savez(file, written=written, plain=plain, classes=classes)
    _write(done, weights)
    for state in states:
        state.unlink()
