"""``undertone export``: a model as a graph that needs no torch, compared with the original first."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from undertone.errors import ConfigError, MissingExtra, ModelError, UsageError, no_such
from undertone.features.joined import SpeechSides, TextSides
from undertone.files import refuse_place, whole, writing
from undertone.judging.clip import Clip, Transcript
from undertone.judging.encoders import ClipFeatures, Encoders
from undertone.judging.exported import FILES, ExportedNetwork
from undertone.runtimes import import_openvino
from undertone.types import Alignment, Segment

__all__ = ["TOLERANCE", "Exported", "export"]

TOLERANCE = 1e-4
"""Largest allowed difference of any probability between the graph and the original."""
OPSET = 17


@dataclass(frozen=True)
class Exported:
    """What was written, and how close it is."""

    path: Path
    difference: float
    tolerance: float


def export(
    model: Path, to: str, out: Path | None = None, *, encoders: bool = False, tolerance: float = TOLERANCE
) -> Exported:
    """Write ``model`` as a graph into ``out``; ModelError where its answers would differ too much.

    Blocks that learned with the system are part of it; with ``encoders`` the frozen ones get graphs of their
    own.
    """
    if to not in FILES:
        raise UsageError(no_such("format", to, FILES))
    target = out or model.with_name(f"{model.name}-{to}")
    refuse_place(target, folder=True)
    from undertone.judging.networks import TorchNetwork, load_torch

    trained = load_torch(model)
    if encoders and getattr(getattr(trained.encoders.speech, "precision", None), "name", "") == "bf16":
        from undertone.judging.engine import load_in

        trained = load_in(model, precision="fp32")  # graphs are fp32: accepted where decisions are the same
    network = trained.network
    assert isinstance(network, TorchNetwork)
    network.system.complete()
    if not network.system.exportable:
        name = trained.card["system"]
        raise ConfigError(f"{model}: '{name}' follows each clip's own length, so there is no one graph of it")
    with ExitStack() as stack:
        stack.enter_context(writing(target))
        target.parent.mkdir(parents=True, exist_ok=True)
        place = tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-")
        folder = stack.enter_context(place)
        part = Path(folder)
        rows = _examples(trained.encoders)
        sides = _write_graph(network.system, rows, part, to)
        sizes = asdict(network.system.layout)
        graph = ExportedNetwork(part / FILES[to], sizes, sides)
        difference = _compare(network, graph, rows)
        if not difference <= tolerance:
            raise ModelError(
                f"{model}: the graph's answers differ by {difference:.1e}; {tolerance:.0e} is allowed"
            )
        written = _write_encoders(trained.encoders, part, to) if encoders else {}
        about = {
            "name": trained.name,
            "to": to,
            "sides": sides,
            "dimensions": sizes,
            "tiers": list(trained.tiers),
            "largest_difference": difference,
            "tolerance": tolerance,
            "compared_on": f"{len(rows)} questions",
            "encoders": written,
        }
        card = {**trained.card, "exported": about}
        (part / "card.json").write_text(
            json.dumps(card, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
        )
        if (model / "tokenizer.json").is_file():
            shutil.copyfile(model / "tokenizer.json", part / "tokenizer.json")
        _replace(part, target)
    return Exported(target, difference, tolerance)


def _writer(folder: Path, to: str, layered: bool = False) -> Any:
    """What writes the graph of an encoder (see ``export_encoders.Write``)."""

    def write(module: Any, example: Any, stem: str, given: str, made: str, free: Mapping[int, str]) -> str:
        path = folder / f"{stem}.onnx"
        long = {} if made == "logits" else {example.ndim if stem == "speech" and layered else 1: "T"}
        axes = {given: dict(free), made: long}
        _trace(module.eval(), (example,), path, [given], [made], axes)
        return _converted(path, to).name

    return write


def _write_encoders(encoders: Encoders, folder: Path, to: str) -> dict[str, Any]:
    """The graphs of those encoders that have weights; those that need none run without torch as they are."""
    from undertone.features.neural import PretrainedSpeech
    from undertone.features.text import PretrainedText
    from undertone.serving.export_encoders import (
        export_speech,
        export_speech_side,
        export_text,
        export_text_side,
    )

    written: dict[str, Any] = {}
    if isinstance(encoders.speech, SpeechSides):
        made = [
            export_speech_side(one, folder, f"speech-{i}", _writer(folder, to))
            for i, one in enumerate(encoders.speech.members)
        ]
        written["speech"] = {"members": made}
    if isinstance(encoders.text, TextSides):
        made = [
            export_text_side(one, folder, f"text-{i}", _writer(folder, to))
            for i, one in enumerate(encoders.text.members)
        ]
        written["text"] = {"members": made}
    if isinstance(encoders.speech, PretrainedSpeech):
        write = _writer(folder, to, layered=encoders.speech.layers > 0)
        written["speech"] = export_speech(encoders.speech, folder, write)
    if isinstance(encoders.text, PretrainedText):
        written["text"] = export_text(encoders.text, folder, _writer(folder, to))
    return written


def _examples(encoders: Encoders) -> list[ClipFeatures]:
    """Questions of every kind: both sides, one missing, with and without word times, words left out."""
    drawn = np.random.default_rng(0)
    rows: list[ClipFeatures] = []
    for index, seconds in enumerate((0.4, 1.7, 0.9, 2.6, 1.2, 0.7)):
        wave = (0.1 * drawn.standard_normal(round(seconds * 16_000))).astype(np.float32)
        text = " ".join("what a lovely day to be alone with you".split()[: 2 + index])
        timed = _timed(text, seconds) if index % 3 == 0 else None
        words = None if index == 4 else Transcript(text, alignment=timed)
        (one,) = encoders.encode([Clip(str(index), None if index == 2 else wave, words)])
        if one.sides:
            rows += [one, *one.without_each_word()[:2]]
    return rows


def _timed(text: str, seconds: float) -> Alignment:
    """Even word times, each word with two phones and a syllable."""
    words, at = [], 0
    share = seconds / len(text.split())
    for index, word in enumerate(text.split()):
        words.append(Segment(word, index * share, (index + 1) * share, chars=(at, at + len(word))))
        at += len(word) + 1
    phones = [
        Segment(word.text, word.start + half * share / 2, word.start + (half + 1) * share / 2)
        for word in words
        for half in (0, 1)
    ]
    return Alignment(tuple(words), tuple(words), tuple(phones))


def _write_graph(system: Any, rows: Sequence[ClipFeatures], folder: Path, to: str) -> list[str]:
    """The graph file in the folder; returns the posteriors it gives."""
    import torch

    from undertone.judging.networks import batch_of
    from undertone.judging.tensors import input_names, output_name
    from undertone.models.targets import target_asides
    from undertone.serving.graph import Graph, dense_pooling, dynamic_axes, tensors_of

    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingExtra("export", "export") from error
    batch = batch_of(rows, system)
    with torch.no_grad():
        output = system(batch)
        sides = [*output.sides(), *target_asides(system, output)]
    graph = Graph(system, sides).eval()
    path = folder / FILES["onnx"]
    names = [output_name(side) for side in sides]
    with dense_pooling():
        _trace(graph, tuple(tensors_of(batch)), path, input_names(), names, dynamic_axes(batch))
    _converted(path, to)
    return sides


def _trace(
    module: Any,
    inputs: tuple[Any, ...],
    path: Path,
    given: list[str],
    made: list[str],
    axes: Mapping[str, Any],
) -> None:
    import torch

    from undertone.features.engines import without_warnings

    with torch.no_grad(), without_warnings():  # of every size that is traced; the comparison decides
        torch.onnx.export(
            module,
            inputs,
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=given,
            output_names=made,
            dynamic_axes=axes,
        )


def _converted(path: Path, to: str) -> Path:
    """The graph in the wanted format."""
    if to == "onnx":
        return path
    openvino = import_openvino("export to OpenVINO")
    target = path.with_suffix(".xml")
    openvino.save_model(openvino.convert_model(path), target, compress_to_fp16=False)
    path.unlink()
    return target


def _compare(original: Any, graph: ExportedNetwork, rows: Sequence[ClipFeatures]) -> float:
    """The largest difference of any probability, computed together, in halves and one by one."""
    worst = 0.0
    half = max(1, len(rows) // 2)
    for some in (slice(None), slice(half), slice(half, None), *(slice(i, i + 1) for i in range(len(rows)))):
        if rows[some]:
            ours, theirs = original.run(rows[some]), graph.run(rows[some])
            worst = max(worst, *(float(np.abs(ours[side] - theirs[side]).max()) for side in theirs))
    return worst


def _replace(part: Path, target: Path) -> None:
    """The new files into the target, the card last: with it the folder is whole."""
    target.mkdir(exist_ok=True)
    (target / "card.json").unlink(missing_ok=True)
    for file in sorted(part.iterdir(), key=lambda path: path.name == "card.json"):
        with whole(target / file.name) as copy:
            shutil.copyfile(file, copy)
