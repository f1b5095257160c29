"""What other engines, bf16 and packed weights do to decisions, on real speech.

    UNDERTONE_DATA=… python benchmarks/precision.py --encoder whisper-base [--layer 3] [--original FOLDER]

RAVDESS and EmoDB, 4 emotions each, one thread. A probe is a logistic regression on standardised vectors of
a clip (mean and deviation over its frames), trained on features by torch in fp32; the speakers left out are
judged by it twice, with those features and with the other engine's. Three draws of six folds of speakers.

Of each kind and corpus: the share of equal labels, the largest difference of a probability, UA against
fp32's in points with a 95 % interval over speakers, and CPU seconds a clip. With ``--original`` (the same
network's folder, not packed), also packed weights against it, in 10 bits (the box) and in 8, judged by its
probe and by one of their own (``own_probe``).

``accepted``: the share of probes that an engine is accepted for by the built-in clips (``undertone predict
--runtime``), and of these the share of equal labels and the largest difference on the real clips.
"""

from __future__ import annotations

import argparse
import csv
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
from numpy.typing import NDArray

from _timing import line
from transfer import DRAWS, FOLDS, Clips, difference, ravdess, unweighted
from undertone import packed
from undertone.audio import load
from undertone.features.assemble import functionals
from undertone.features.speech import speech_encoder
from undertone.judging.engine import FAR, signals

GERMAN = {"neutral": "neutral", "happiness": "happy", "sadness": "sad", "anger": "angry"}
PARTS = ("weights", "inputs", "products")
ENGINES = ("torch-fp32", "torch-bf16", "openvino-fp32", "openvino-bf16")
Vectors = NDArray[np.float32]


def emodb(data: Path, every: int) -> Clips:
    """Every ``every``-th clip of the four emotions."""
    with (data / "emodb" / "manifest.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] in GERMAN][::every]
    waves = [load(data / "emodb" / row["path"]) for row in rows]
    labels = np.array([GERMAN[row["label"]] for row in rows])
    return Clips(waves, labels, np.array([row["speaker"] for row in rows]))


def rounded(encoder: Any, bits: int) -> Any:
    """The encoder, its matrices rounded as packed weights are."""
    import torch

    named = dict(encoder.body.named_parameters())
    arrays = {name: values.detach().numpy() for name, values in named.items()}
    for name, values in packed.unpack(packed.pack(arrays, lambda _name: bits)).items():
        named[name].data.copy_(torch.from_numpy(values))
    return encoder


def partly(encoder: Any, kind: str) -> Any:
    """The fp32 encoder with bf16 in a part of it: the ``weights`` of its maps and convolutions, their
    ``inputs`` as well, or their ``products`` too (then sums, norms and softmax alone are fp32)."""
    import torch

    for module in encoder.body.modules():
        if not isinstance(module, torch.nn.Linear | torch.nn.Conv1d):
            continue
        module.weight.data.copy_(module.weight.data.bfloat16().float())
        if kind != "weights":
            module.register_forward_pre_hook(lambda _module, args: (args[0].bfloat16().float(),))
        if kind == "products":
            module.register_forward_hook(lambda _module, _args, out: out.bfloat16().float())
    return encoder


def encoders(options: argparse.Namespace) -> dict[str, Any]:
    """By the names that are printed; the first is what all engines are compared with."""

    def made(name: str, precision: str = "fp32", runtime: str = "torch") -> Any:
        return speech_encoder(name, options.layer, precision, runtime=runtime)

    rivals = {}
    for engine in ENGINES:
        runtime, _, precision = engine.partition("-")
        if engine not in options.without:
            rivals[engine] = made(options.encoder, precision, runtime)
    if options.parts:
        rivals |= {f"bf16-{kind}": partly(made(options.encoder), kind) for kind in PARTS}
    if options.original:
        rivals |= {"original": made(options.original), "8-bit": rounded(made(options.original), 8)}
    return rivals


def posteriors(
    train: Vectors, clips: Clips, judged: Mapping[str, Vectors], built_in: Mapping[str, Vectors]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of each kind, by probes trained on other speakers' ``train``: posteriors (DRAWS, clips, classes), and
    how far that clip's probe differs on the built-in clips from the first kind's, at most (DRAWS, clips)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes = np.unique(clips.labels)
    made = {kind: np.empty((DRAWS, len(clips.labels), len(classes))) for kind in judged}
    checked = {kind: np.empty((DRAWS, len(clips.labels))) for kind in built_in}
    for draw in range(DRAWS):
        folds = GroupKFold(FOLDS, shuffle=True, random_state=draw)
        for rows, test in folds.split(train, clips.labels, clips.speakers):
            head = LogisticRegression(C=0.02, max_iter=2000, class_weight="balanced")
            model = make_pipeline(StandardScaler(), head).fit(train[rows], clips.labels[rows])
            for kind, vectors in judged.items():
                made[kind][draw, test] = model.predict_proba(vectors[test])
            given = {kind: model.predict_proba(vectors) for kind, vectors in built_in.items()}
            for kind, values in given.items():
                checked[kind][draw, test] = np.abs(values - next(iter(given.values()))).max()
    return made, checked


def extracted(rivals: Mapping[str, Any], clips: Clips) -> tuple[dict[str, Vectors], dict[str, float]]:
    """Vectors, and CPU seconds a clip, of each kind; all take turns on each clip."""
    vectors: dict[str, list[Vectors]] = {kind: [] for kind in rivals}
    taken = dict.fromkeys(rivals, 0.0)
    for encoder in rivals.values():
        encoder.encode(clips.waves[:1])
    for wave in clips.waves:
        for kind, encoder in rivals.items():
            began = time.process_time()
            (frames,) = encoder.encode([wave])
            taken[kind] += (time.process_time() - began) / len(clips.waves)
            vectors[kind].append(functionals(frames)[0])
    return {kind: np.stack(rows) for kind, rows in vectors.items()}, taken


def compare(name: str, kind: str, base: Any, other: Any, clips: Clips, **more: Any) -> None:
    """One line: the labels and posteriors of ``other`` against those of ``base``."""
    classes = np.unique(clips.labels)
    ours, theirs = (classes[values.argmax(-1)] for values in (other, base))
    far = np.abs(other - base).max(-1)
    points, low, high = difference(ours, theirs, clips)
    line(
        f"precision/{name}/{kind}",
        same_labels=float((ours == theirs).mean()),
        largest_posterior_difference=float(far.max()),
        median_posterior_difference=float(np.median(far)),
        ua=100 * unweighted((ours == clips.labels).mean(0), clips.labels),
        difference=[round(x, 2) for x in (points, low, high)],
        clips=len(clips.labels),
        **more,
    )


def measure(name: str, clips: Clips, rivals: Mapping[str, Any]) -> None:
    vectors, seconds = extracted(rivals, clips)
    engines = {kind: encoder for kind, encoder in rivals.items() if kind in ENGINES}
    first, waves = next(iter(engines)), signals()
    built_in = {kind: np.stack([functionals(x)[0] for x in e.encode(waves)]) for kind, e in engines.items()}
    judged, checked = posteriors(vectors[first], clips, vectors, built_in)
    for kind in engines:
        accepted = checked[kind] <= FAR
        far = np.abs(judged[kind] - judged[first]).max(-1)
        same = judged[kind].argmax(-1) == judged[first].argmax(-1)
        more: dict[str, Any] = {"seconds_a_clip": seconds[kind], "accepted": float(accepted.mean())}
        if accepted.any():
            more["labels_where_accepted"] = float(same[accepted].mean())
            more["posterior_where_accepted"] = float(far[accepted].max())
        compare(name, kind, judged[first], judged[kind], clips, **more)
    for kind in [f"bf16-{part}" for part in PARTS if f"bf16-{part}" in rivals]:
        compare(name, kind, judged[first], judged[kind], clips)
    if "original" in rivals:
        exact, _ = posteriors(vectors["original"], clips, vectors, {})
        for kind, bits in ((first, "10-bit"), ("8-bit", "8-bit")):
            own, _ = posteriors(vectors[kind], clips, {kind: vectors[kind]}, {})
            compare(name, f"packed-{bits}", exact["original"], exact[kind], clips)
            compare(name, f"packed-{bits}/own_probe", exact["original"], own[kind], clips)


CORPORA: dict[str, Callable[[Path, int], Clips]] = {"ravdess": ravdess, "emodb": emodb}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", default="whisper-base", help="a folder or name, of the box for example")
    parser.add_argument("--layer", type=int, default=3)
    parser.add_argument("--original", help="the folder of the same network with weights in fp32")
    parser.add_argument("--parts", action="store_true", help="bf16 in parts of the network, in torch")
    parser.add_argument("--every", type=int, default=1, help="take every n-th clip of RAVDESS; all of EmoDB")
    parser.add_argument("--without", nargs="*", default=[], help="engines to leave out, as openvino-fp32")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    data = Path(os.environ.get("UNDERTONE_DATA") or "")
    if not (data / "ravdess").is_dir():
        raise SystemExit("UNDERTONE_DATA names no folder with ravdess: nothing is measured")
    import torch

    torch.set_num_threads(1)
    rivals = encoders(options)
    for corpus, read in CORPORA.items():
        clips = read(data, options.every if corpus == "ravdess" else 1)
        measure(f"{Path(options.encoder).name}/layer-{options.layer}/{corpus}", clips, rivals)


if __name__ == "__main__":
    main()
