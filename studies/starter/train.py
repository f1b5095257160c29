"""The whole training, in parts that each resume: frames, text, a model a fold and one of all, calibration.

runs/starter/frames/          every clip in its variants, shared by all parts
runs/starter/text/            the text network, which never sees the development sentences
runs/starter/fold-k/          fold.json (who is kept aside), judges, heard.npz, model/
runs/starter/final/           as a fold with nobody kept aside: what is shipped
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studies.starter import clips as recordings
from studies.starter import frames, sentences
from studies.starter.clips import Spoken
from studies.starter.judges import VERSION, drawn, told
from studies.starter.recipe import StarterRecipe
from studies.starter.targets import targets
from undertone.config import dump_toml, fingerprint

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


class Place:
    """Where things of one run are, and what they are made from."""

    def __init__(self, run: Path, data: Path, recipe: StarterRecipe) -> None:
        self.run, self.data, self.recipe = run, data, recipe

    def __reduce__(self) -> tuple[Any, ...]:
        return Place, (self.run, self.data, self.recipe)

    @property
    def frames(self) -> Path:
        return self.run / "frames"

    @property
    def text(self) -> Path:
        return self.run / "text"

    def part(self, name: str) -> Path:
        return self.run / name

    def mark(self, *more: Any) -> str:
        """A hash of what determines the judges; a part of another mark is trained anew."""
        recipe = self.recipe
        made_of = [VERSION, recipe.seed, recipe.variants, recipe.noisy, recipe.sounds]
        settings = [recipe.acoustic, recipe.augment, recipe.noise, recipe.targets, recipe.judges]
        return fingerprint([*made_of, *(one.plain() for one in settings), *more])


def train(place: Place, parts: Sequence[str] = PARTS, jobs: int = 1) -> None:
    """Everything that is not there yet; ``jobs`` parts at a time, one thread each."""
    from studies.starter.calibrate import calibrate

    started = time.perf_counter()
    place.run.mkdir(parents=True, exist_ok=True)
    (place.run / "recipe.toml").write_text(dump_toml(place.recipe.plain()), encoding="utf-8")
    found = recordings.read(place.data)
    for variants in (*_variants(place, found), _noisy(place, found)):
        told(variants)  # computed once, before parts that need them run side by side
    if jobs == 1:
        train_text(place)
        for part in parts:
            train_part(place, part)
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=context) as pool:
            waiting = [
                pool.submit(train_text, place),
                *(pool.submit(train_part, place, part) for part in parts),
            ]
            for one in waiting:
                one.result()
    calibrate(place, found, parts, time.perf_counter() - started)


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
    """Indices of the clips that a part learns from, and of those it keeps aside."""
    if part in ONLY:
        corpus = part.removeprefix("only-")
        keep = [i for i, clip in enumerate(clips) if clip.corpus in (corpus, "timit")]
        return keep, []
    aside = frozenset() if part == "final" else recordings.folds(clips)[int(part.removeprefix("fold-"))]
    train = [i for i, clip in enumerate(clips) if clip.speaker not in aside]
    return train, [i for i, clip in enumerate(clips) if clip.speaker in aside]


def train_part(place: Place, part: str) -> None:
    """The judges of a fold or of all speakers; what they say of clips kept aside is written down."""
    import torch

    from studies.starter.build import heard

    torch.set_num_threads(1)
    place.part(part).mkdir(parents=True, exist_ok=True)
    clips = recordings.read(place.data)
    learned, aside = chosen(part, clips)
    spoken, sounds = _variants(place, clips)
    train_judges(place, part, clips, learned, (spoken, _noisy(place, clips), sounds))
    if aside:
        _write_fold(place.part(part), clips, aside)
        recorded = [spoken.get(i, 0) for i in aside]
        kinds, distance = heard(place.recipe, weights_of(place.part(part)), recorded)
        np.savez(place.part(part) / "heard.npz", clips=np.array(aside), kinds=kinds, distance=distance)


def _write_fold(folder: Path, clips: Sequence[Spoken], aside: Sequence[int]) -> None:
    """Who is kept aside, by corpus."""
    kept = {c: [clips[i].id for i in aside if clips[i].corpus == c] for c in recordings.CORPORA}
    text = json.dumps({**kept, "goemotions": "dev"}, indent=1)
    (folder / "fold.json").write_text(text + "\n", encoding="utf-8")


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
    met: tuple[frames.Variants, frames.Variants, frames.Variants],
) -> None:
    """The judges, one after another, and what all speech is like: of variants, of those in noise, and of
    sounds. Each judge is kept when it is done, so that a killed training goes on with the next."""
    import torch
    from safetensors.torch import load_file

    from studies.starter.build import judge, known
    from studies.starter.judges import fit_judge, fit_known
    from undertone.models.compact.functionals import VIEWS

    folder, recipe, started = place.part(part), place.recipe, time.perf_counter()
    mark = place.mark(part, [clips[i].id for i in learned])
    done = folder / f"speech-{mark}.safetensors"
    if done.is_file():
        return
    spoken, noisy, sounds = (told(variants) for variants in met)
    noisy = {view: figures[:, 1:] for view, figures in noisy.items()}
    rows, every = np.array(learned), np.arange(len(met[2].edges))
    goal = targets(clips, learned, len(every))

    def trained(number: int, views: tuple[View, ...]) -> FunctionalsClassifier:
        kept, seed = folder / f"judge-{number}-{mark}.safetensors", 100 * recipe.seed + number
        torch.manual_seed(seed)
        net = judge(recipe, views)
        if kept.is_file():
            net.load_state_dict(load_file(kept))
            return net
        mine = drawn([spoken, noisy], views, rows), drawn([sounds], views, every)[:, 0]
        fit_judge(net, goal, *mine, recipe.judges, recipe.targets, seed)
        _put(kept, net.state_dict())
        log.info("%s: judge %d", part, number + 1)
        return net

    weights: dict[str, Tensor] = {}
    for number, views in enumerate(v for v in recipe.judges.views for _ in range(recipe.judges.networks)):
        found = trained(number, views).state_dict()
        weights |= {f"judges.{number}.{name}": value for name, value in found.items()}
    speech = known(recipe)
    fit_known(speech, drawn([spoken, noisy], tuple(VIEWS), rows), recipe.seed)
    weights |= {f"known.{name}": value for name, value in speech.state_dict().items()}
    seconds = {"seconds": round(time.perf_counter() - started, 1)}
    (folder / "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")
    _put(done, weights)
    for kept in folder.glob("judge-*"):
        kept.unlink()


def _put(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write weights, whole or not at all."""
    from safetensors.torch import save_file

    part = path.with_suffix(".part")
    save_file({name: value.detach().clone().contiguous() for name, value in weights.items()}, part)
    part.replace(path)


def _teller(part: str, number: int) -> Any:
    def tell(epoch: int, loss: float) -> None:
        log.info("%s, network %d: epoch %d, loss %.3f", part, number, epoch, loss)

    return tell


def train_text(place: Place) -> None:
    """The text network and its pieces; what they say of the validation sentences is written down."""
    import torch
    from safetensors.torch import save_file

    from studies.starter import text
    from studies.starter.build import EMOTIONS, dimensions
    from undertone.models.compact.system import TextNet

    torch.set_num_threads(1)
    recipe = place.recipe
    mark = fingerprint([recipe.seed, recipe.text.plain()])
    done = place.text / f"text-{mark}.safetensors"
    if done.is_file():
        return
    place.text.mkdir(parents=True, exist_ok=True)
    rows = sentences.read(place.data, "train")
    log.info("GoEmotions train: %s", sentences.counts(rows))
    learned, aside = text.split(rows, min(recipe.text.validation, len(rows) // 5), recipe.seed)
    pieces = text.fit_pieces(learned, recipe.text.pieces)
    sizes = dimensions(recipe, pieces.size)
    coded, held = text.code(learned, pieces), text.code(aside, pieces)
    weights: dict[str, torch.Tensor] = {}
    said, history = [], []
    for number in range(recipe.text.networks):
        torch.manual_seed(100 * recipe.seed + number)
        net = TextNet(sizes, sizes.classes + EMOTIONS, recipe.text.dropout)
        history.append(
            text.fit(
                net, coded, held, sizes, recipe.text, 100 * recipe.seed + number, _teller("text", number)
            )
        )
        weights |= {f"{number}.{name}": value.contiguous() for name, value in net.state_dict().items()}
        said.append(
            [text.scores(net, ids, sizes).log_softmax(-1).numpy() for ids in (held.written, held.plain)]
        )
    written, plain = np.mean(said, axis=0)
    known = held.classes >= 0
    pieces.save(place.text / f"tokenizer-{mark}.json")
    np.savez(
        place.text / f"read-{mark}.npz",
        written=written[known],
        plain=plain[known],
        classes=held.classes[known],
        history=np.array(history),
    )
    save_file(weights, done)
