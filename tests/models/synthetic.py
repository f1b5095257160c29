"""Small random batches, and every system with every way it can fuse, at sizes that take no time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from undertone.models.batch import Batch, collate
from undertone.models.example import Dimensions, Example
from undertone.models.perspective import OPERATORS
from undertone.models.system import System
from undertone.models.table import build
from undertone.training.objective import losses

CLASSES = 4
IDS = Dimensions(classes=CLASSES, speech=10, text=12, vocabulary=30, hop=0.02)
VECTORS = Dimensions(classes=CLASSES, speech=10, text=12, hop=0.02)
LAYERS = Dimensions(classes=CLASSES, speech=10, speech_layers=3, text=12, hop=0.02)
SMALL: dict[str, Any] = {"width": 16}
ALL_MEMBERS = [
    f"{kind}-{level}" for kind in ("early", "late") for level in ("frame", "phone", "syllable", "word")
]

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, SMALL) for name in ("speech", "text", "concat", "score", "unison")},
    **{
        f"concat {kind}": ("concat", SMALL | {"pooling": kind})
        for kind in ("mean", "max", "attention", "average")
    },
    "concat attended text": ("concat", SMALL | {"text_pooling": "attention"}),
    **{f"score {rule}": ("score", SMALL | {"late": rule}) for rule in ("mean", "weighted", "pool")},
    **{f"probe {sides}": ("probe", {"sides": sides}) for sides in ("speech", "text", "both")},
    "speech convolved": ("speech", SMALL | {"convolutions": 2}),
    "multilevel all": ("multilevel", SMALL | {"members": ALL_MEMBERS}),
    **{
        f"multilevel {name}": ("multilevel", SMALL | {"members": [name]})
        for name in ("early-frame", "early-word", "late-syllable")
    },
    **{
        f"multilevel {positions}": ("multilevel", SMALL | {"positions": positions})
        for positions in ("index", "none")
    },
    "multilevel windows": (
        "multilevel",
        SMALL | {"windows": [0.04, float("inf")], "members": ["early-frame", "early-phone"]},
    ),
    "unison windows": ("unison", SMALL | {"windows": [0.04, 0.1], "positions": "none"}),
    **{
        f"multilevel {how} segments": ("multilevel", SMALL | {"segment_pooling": how})
        for how in ("max", "attention")
    },
    **{f"multilevel {rule}": ("multilevel", SMALL | {"late": rule}) for rule in ("weighted", "product")},
    **{
        f"perspective {stage} {operator}": (
            "perspective",
            SMALL | {"stage": stage, "operator": operator},
        )
        for stage, operators in OPERATORS.items()
        for operator in operators
    },
    "perspective textbook": ("perspective", SMALL | {"perspective_inputs": "logits", "reduction": "mean"}),
    "perspective single": ("perspective", SMALL | {"loss": "single", "stage": "middle"}),
    "perspective early single": ("perspective", SMALL | {"loss": "single", "stage": "early"}),
    "perspective hidden": (
        "perspective",
        SMALL | {"hidden": True, "activation": "tanh", "heads": 4, "normalise": "training",
                 "attention_dropout": 0.0, "speech_dropout": 0.2, "text_dropout": 0.2},
    ),
    "mgcma": ("mgcma", SMALL | {"entropy": 0.1}),
    "mgcma tokens": ("mgcma", SMALL | {"distribution": 0.0, "instance": 0.0, "match": 0.0}),
    "mgcma distribution": ("mgcma", SMALL | {"token": False, "instance": 0.0, "match": 0.0}),
    "mgcma instance": ("mgcma", SMALL | {"token": False, "distribution": 0.0}),
    "mgcma unaware": ("mgcma", SMALL | {"label_aware": False, "positions": "index"}),
    "mmer": ("mmer", SMALL),
    "mmer as published": (
        "mmer",
        SMALL | {"contrast": "published", "ctc_reduction": "sum", "pooling": "mean_std"},
    ),
    "mmer as drawn": ("mmer", SMALL | {"gate": "multiply", "pooling": "attention", "positions": "word"}),
    "mmer bare": ("mmer", SMALL | {"ctc": 0.0, "scl": 0.0, "acl": 0.0}),
    "pooled": ("pooled", SMALL | {"hidden": 8}),
    "pooled as its code": (
        "pooled",
        SMALL | {"hidden": 8, "depth": 1, "scaled": False, "attention": 2, "free_layers": False},
    ),
    "bayesian": ("bayesian", SMALL),
    "bayesian words": (
        "bayesian",
        SMALL | {"draw": "lognormal", "granularity": "word", "layers": 2, "bend": "tanh", "pooling": "max"},
    ),
    "bayesian keys alone": ("bayesian", SMALL | {"knowledge": 0.0, "positions": "none", "bend": "relu"}),
    "bayesian plain": ("bayesian", SMALL | {"draw": "none", "granularity": "syllable"}),
    "timnet": ("timnet", SMALL | {"levels": 3}),
    "timnet forward": ("timnet", SMALL | {"levels": 2, "direction": "forward", "spatial_dropout": 0.0}),
    "clap": ("clap", SMALL | {"pooling": "mean_std"}),
    "clap as published": (
        "clap",
        SMALL | {"transcript": False, "rows": "softmax", "second": "gender", "mix": "matrices"},
    ),
    "clap of speakers": ("clap", SMALL | {"second": "speaker", "cross_entropy": 0.5}),
    "paired": ("paired", SMALL),
    "paired words": ("paired", SMALL | {"positions": "word", "pairings": 2, "read": "mean", "layers": 1}),
    "paired alone": ("paired", SMALL | {"match": 0.0, "sides_alone": 0.0, "positions": "none"}),
    "deepser": ("deepser", SMALL),
    "deepser always mixed": ("deepser", SMALL | {"mixup": 1.0, "networks": 2, "heads": 2}),
    "compact": ("compact", {"hidden": 8, "dropout": 0.0}),
    "compact kinds": (
        "compact",
        {"hidden": 8, "networks": 2, "views": ["means", "upper"], "axes": 4, "words": 8, "dropout": 0.0,
         "kinds": [0, 1, 2, 3, 3, -2, -1]},
    ),
    "unison bare": (
        "unison",
        SMALL | {"meeting": False, "relative": False, "durations": False, "positions": "none", "layers": 0,
                 "delivery": False, "delta": 0.0, "distribution": 0.0, "instance": 0.0, "tiers": ["phone"]},
    ),
    "unison statistics": ("unison", SMALL | {"statistics": True}),
    "unison views": ("unison", SMALL | {"views": ["gain", "noise", "speed"]}),
}  # fmt: skip
"""Every system and fusion option, by a name that says which."""


def example(index: int, dims: Dimensions, rng: np.random.Generator, label: int | None = None) -> Example:
    """Speech of three to six words, two syllables a word, two phones a syllable, a little silence."""
    words = int(rng.integers(3, 7))
    edges = np.cumsum(np.concatenate([[rng.integers(0, 3)], rng.integers(1, 4, size=4 * words)]))
    frames = int(edges[-1] + rng.integers(0, 3))
    shape = (dims.speech_layers, frames, dims.speech) if dims.speech_layers else (frames, dims.speech)
    phones = np.stack([edges[:-1], edges[1:]], -1)
    tokens = words + int(rng.integers(0, 3))
    text = (
        rng.integers(1, dims.vocabulary, size=tokens)
        if dims.vocabulary
        else rng.normal(size=(tokens, dims.text)).astype(np.float32)
    )
    return Example(
        id=f"u{index}",
        targets={
            "characters": 1 + np.arange(index, index + min(words, frames // 4)) % 26,
            "gender": np.array([index % 2]),
            "speaker": np.array([index // 2]),
        },
        speech=rng.normal(size=shape).astype(np.float32),
        text=text,
        segments={
            "phone": phones,
            "syllable": np.stack([edges[:-1:2], edges[2::2]], -1),
            "word": np.stack([edges[:-1:4], edges[4::4]], -1),
        },
        segment_word={
            "phone": np.arange(4 * words) // 4,
            "syllable": np.arange(2 * words) // 2,
            "word": np.arange(words),
        },
        token_word=np.sort(rng.integers(-1, words, size=tokens)),
        label=int(rng.integers(dims.classes)) if label is None else label,
    )


def examples(count: int, dims: Dimensions = IDS, seed: int = 0) -> list[Example]:
    """With every class among them."""
    rng = np.random.default_rng(seed)
    return [example(i, dims, rng, label=i % dims.classes) for i in range(count)]


def batch_of(count: int, dims: Dimensions = IDS, seed: int = 0) -> Batch:
    return collate(examples(count, dims, seed), dims)


def make(variant: str, dims: Dimensions = IDS, seed: int = 0, **settings: Any) -> System:
    """A variant with fresh weights, in evaluation mode."""
    name, values = VARIANTS[variant]
    torch.manual_seed(seed)
    return build(name, values | settings, dims).eval()


def total(system: System, batch: Batch) -> torch.Tensor:
    """The weighted sum of the terms, as the objective makes it."""
    terms = losses(system, batch)
    assert set(terms) == set(system.weights)
    return torch.stack([system.weights[name] * term for name, term in terms.items()]).sum()
