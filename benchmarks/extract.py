"""Encoding clips: ours against transformers' own pipeline, one clip at a time and in padded batches.

    python benchmarks/extract.py [--quick] [--repeats 5] [--runtime openvino] [--device cuda]

A wav2vec2-base of random weights (94 M: speed does not depend on the weights) on noise of
IEMOCAP's lengths, one thread. CPU seconds are compared (``ours_s``, ``theirs_s``); wall seconds
stand beside. ``outputs_rel_err`` is max |a - b| / max |b| against the pipeline's single clips in fp32.
On CUDA: hours of audio an hour, token-budget buckets against one clip at a time.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
from numpy.typing import NDArray

from _timing import Times, line, measure, report

RATE = 16_000
Waves = list[NDArray[np.float32]]

WASTE = 0.43
"""Share of a padded batch of 4 that is padding when IEMOCAP's clips come in random order."""


def clips(seconds: float) -> Waves:
    """Noise of IEMOCAP's lengths (log-normal, median 3.6 s, mean 4.4 s, at most 20 s), ``seconds`` in all.

    A minute is too little for a random sample: the lengths are the distribution's quantiles, in an order
    with as much padding as a random order of the whole corpus.
    """
    rng = np.random.default_rng(1)
    many = np.sort(np.clip(rng.lognormal(np.log(3.6), 0.65, 100_000), 0.6, 20.0))
    count = max(4, round(seconds / float(many.mean())))
    lengths = many[((np.arange(count) + 0.5) / count * len(many)).astype(int)]
    lengths = lengths * seconds / lengths.sum()
    orders = [rng.permutation(lengths) for _ in range(500)]
    chosen = min(orders, key=lambda order: abs(padding(order) - WASTE))
    return [rng.normal(0, 0.1, round(length * RATE)).astype(np.float32) for length in chosen]


def padding(lengths: NDArray[np.float64], batch: int = 4) -> float:
    """The share of padded batches that is padding."""
    groups = [lengths[i : i + batch] for i in range(0, len(lengths), batch)]
    return float(1 - lengths.sum() / sum(group.max() * len(group) for group in groups))


def checkpoint(folder: Path, small: bool) -> str:
    """A random wav2vec2-base (``small``: with two of its twelve layers), saved like the real one."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config(num_hidden_layers=2 if small else 12)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(folder)
    return str(folder)


def pipeline(folder: str, batch: int, device: str = "cpu") -> Callable[[Waves], Waves]:
    """transformers' pipeline from waves to hidden states, batches padded by its own collator."""
    from transformers import AutoFeatureExtractor, AutoModel, Pipeline

    class Frames(Pipeline):  # type: ignore[misc]
        def _sanitize_parameters(self, **_kwargs: Any) -> tuple[dict[str, Any], ...]:
            return {}, {}, {}

        def preprocess(self, inputs: NDArray[np.float32]) -> Any:
            return self.feature_extractor(inputs, sampling_rate=RATE, return_tensors="pt")

        def _forward(self, inputs: Any) -> Any:
            return {"states": self.model(**inputs).last_hidden_state}

        def postprocess(self, outputs: Any) -> NDArray[np.float32]:
            return np.asarray(outputs["states"][0].float().cpu().numpy())

    made = Frames(
        model=AutoModel.from_pretrained(folder).eval(),
        feature_extractor=AutoFeatureExtractor.from_pretrained(folder),
        device=device,
    )
    return lambda waves: list(made(waves, batch_size=batch))


def error(ours: Waves, theirs: Waves) -> float:
    """The worst clip's relative error, over the frames that both have."""
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        count = min(len(a), len(b))
        worst = max(worst, float(np.abs(a[:count] - b[:count]).max() / np.abs(b[:count]).max()))
    return worst


def on_cpu(
    folder: str, waves: Waves, repeats: int, runtimes: Sequence[str], precisions: Sequence[str]
) -> None:
    """One thread; every rival measured in turn."""
    import torch

    from undertone.features.config import choose_precision
    from undertone.features.speech import speech_encoder

    torch.set_num_threads(1)
    single, padded = pipeline(folder, 1), pipeline(folder, 4)
    rivals: dict[str, Callable[[], Any]] = {"batch1": lambda: single(waves), "batch4": lambda: padded(waves)}
    ours: dict[str, Any] = {"fp32": speech_encoder(folder, precision="fp32")}
    if choose_precision("auto").name == "bf16":
        ours["bf16"] = speech_encoder(folder, precision="bf16")
    for runtime in runtimes:
        for precision in [name for name in ours if name in precisions]:
            ours[f"{runtime}-{precision}"] = speech_encoder(folder, precision=precision, runtime=runtime)
    for name, encoder in ours.items():
        rivals[name] = lambda encoder=encoder: encoder.encode(waves)
    made: dict[str, Waves] = {}
    noted = {name: lambda name=name, run=run: made.update({name: run()}) for name, run in rivals.items()}
    for warm in (single, padded, *(encoder.encode for encoder in ours.values())):
        warm(waves[:1])
    times = measure(noted, repeats, warm=False)
    errors = {name: error(made[name], made["batch1"]) for name in (*ours, "batch4")}
    for name in ours:
        for batch in ("batch1", "batch4"):
            show(f"extract/{name}/pipeline-{batch}", times[name], times[batch], errors[name], repeats)
    print(f'{{"name": "extract/pipeline-batch4/its-own-batch1", "outputs_rel_err": {errors["batch4"]:.3g}}}')


def show(name: str, ours: Times, theirs: Times, far: float, repeats: int) -> None:
    walls = {"ours_wall_s": ours.wall, "theirs_wall_s": theirs.wall, "wall_ratio": theirs.wall / ours.wall}
    report(name, ours.cpu, theirs.cpu, outputs_rel_err=far, repeats=repeats, **walls)


def _worker(folder: str, waves: Waves, start: Any, times: Any) -> None:
    import torch

    from undertone.features.speech import speech_encoder

    torch.set_num_threads(1)
    encoder = speech_encoder(folder, precision="fp32")
    encoder.encode(waves[:1])
    start.wait()
    began = time.perf_counter()
    encoder.encode(waves)
    times.put((began, time.perf_counter()))


def by_processes(folder: str, waves: Waves, count: int) -> float:
    """Wall seconds for all clips in ``count`` processes, from all are ready to all are done."""
    context = multiprocessing.get_context("spawn")
    start, times = context.Barrier(count), context.Queue()
    order = sorted(range(len(waves)), key=lambda i: -len(waves[i]))
    shares: list[list[int]] = [[] for _ in range(count)]
    for index in order:  # the longest to the process with least
        min(shares, key=lambda share: sum(len(waves[i]) for i in share)).append(index)
    workers = [
        context.Process(target=_worker, args=(folder, [waves[i] for i in share], start, times))
        for share in shares
    ]
    for worker in workers:
        worker.start()
    spans = [times.get() for _ in workers]
    for worker in workers:
        worker.join()
    return max(end for _, end in spans) - min(began for began, _ in spans)


def two_processes(folder: str, waves: Waves, repeats: int) -> None:
    """One and two processes in turn, so that a busy spell hits both."""
    runs = [(by_processes(folder, waves, 1), by_processes(folder, waves, 2)) for _ in range(repeats)]
    one, two = (sorted(times)[repeats // 2] for times in zip(*runs, strict=True))
    report("extract/two-processes/one-process", two, one, unit="wall seconds", repeats=repeats)


def long_clips(folder: str, seconds: Sequence[float]) -> None:
    """Attention in windows against the whole clip's: mean cosine over frames."""
    from undertone.features.speech import speech_encoder

    whole = speech_encoder(folder, precision="fp32", long={"above": 3600.0, "window": 30.0, "overlap": 5.0})
    parts = speech_encoder(folder, precision="fp32", long={"above": 30.0, "window": 30.0, "overlap": 5.0})
    rng = np.random.default_rng(2)
    for length in seconds:
        wave = rng.normal(0, 0.1, round(length * RATE)).astype(np.float32)
        (a,), (b,) = parts.encode([wave]), whole.encode([wave])
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        print(
            f'{{"name": "extract/long-clip-{length:g}s/unchunked", "cosine_mean": {cosine.mean():.5f}, '
            f'"cosine_min": {cosine.min():.5f}}}',
            flush=True,
        )


def _extract_many(count: int, peak: Any) -> None:
    import soundfile

    from undertone.features.extract import extract
    from undertone.features.speech import speech_encoder
    from undertone.store import Store
    from undertone.types import Utterance

    with tempfile.TemporaryDirectory() as name:
        utterances = []
        rng = np.random.default_rng(0)
        for number in range(count):
            path = Path(name) / f"{number}.wav"
            soundfile.write(path, rng.normal(0, 0.1, 4 * RATE), RATE)
            utterances.append(Utterance(id=str(number), audio=str(path)))
        encoder = speech_encoder(
            "acoustic", acoustic={"stack": 1, "mels": 128, "deltas": True}
        )  # 420 kB a clip
        extract(utterances, Store(Path(name) / "store"), encoder)
    peak.put(_peak())


def _peak() -> float:
    """This process's highest memory in MiB; getrusage on Linux counts its parent's at the fork."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


def memory(few: int, many: int) -> None:
    """Peak memory must not grow with the number of clips."""
    context = multiprocessing.get_context("spawn")
    peaks = []
    for count in (few, many):
        queue = context.Queue()
        process = context.Process(target=_extract_many, args=(count, queue))
        process.start()
        peaks.append(queue.get())
        process.join()
    print(
        f'{{"name": "extract/memory-{many}-clips/{few}-clips", "ratio": {peaks[1] / peaks[0]:.3f}, '
        f'"few_mib": {peaks[0]:.0f}, "many_mib": {peaks[1]:.0f}}}',
        flush=True,
    )


def batches(waves: Waves, boxed: Mapping[str, int | str]) -> None:
    """Frames of clips that share batches, as on a GPU, against single clips, in fp32; Whispers of the box."""
    from undertone.features.batching import plan
    from undertone.features.speech import speech_encoder

    for name, layer in boxed.items():
        encoder: Any = speech_encoder(name, layer, "fp32")
        alone = [encoder.encode([wave])[0] for wave in waves]
        encoder._batches = lambda lengths, pads=encoder.pads: plan(lengths, 6_000, pads)
        sizes: list[int] = []
        bodies = encoder._bodies
        encoder._bodies = lambda rows, bodies=bodies, sizes=sizes: sizes.append(len(rows)) or bodies(rows)
        together = encoder.encode(waves)
        line(f"extract/{name}/batch-single", rel_err=error(together, alone), clips=len(waves), batches=sizes)


def on_cuda(folder: str, waves: Waves, repeats: int) -> None:
    """Token-budget buckets against one clip at a time, hours of audio an hour, peak memory."""
    import torch

    from undertone.features.speech import speech_encoder

    name = torch.cuda.get_device_name()
    alone = pipeline(folder, 1, "cuda")
    encoder = speech_encoder(folder, precision="bf16", device="cuda")
    full = speech_encoder(folder, precision="fp32", device="cuda")
    far, near = error(encoder.encode(waves), alone(waves)), error(full.encode(waves), alone(waves))
    torch.cuda.reset_peak_memory_stats()
    times = measure({"ours": lambda: encoder.encode(waves), "batch1": lambda: alone(waves)}, repeats)
    hours = sum(map(len, waves)) / RATE / times["ours"].wall
    more = {"gpu": name, "hours_an_hour": hours, "fp32_rel_err": near, "repeats": repeats}
    memory = torch.cuda.max_memory_allocated() / 2**30
    ours, theirs = times["ours"].wall, times["batch1"].wall
    report(
        "extract/cuda-bf16-buckets/pipeline-batch1",
        ours,
        theirs,
        outputs_rel_err=far,
        peak_gib=memory,
        **more,
    )


def main() -> None:
    sections = ["batches", "pipeline", "processes", "long", "memory"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--runtime", action="append", choices=["openvino", "onnx"], default=None)
    parser.add_argument("--engine-precision", choices=["fp32", "bf16"], action="append", default=None)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", choices=sections)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    os.environ["TQDM_DISABLE"] = "1"  # transformers' bars
    quick, repeats = options.quick, 1 if options.quick else options.repeats
    waves = clips(600.0 if options.device == "cuda" else 6.0 if quick else 60.0)
    wanted = [options.only] if options.only else sections
    if "batches" in wanted and options.device == "cpu":
        batches(
            waves, {"whisper-tiny.en": "last"} if quick else {"whisper-tiny.en": "last", "whisper-base": 3}
        )
    with tempfile.TemporaryDirectory() as name:
        folder = checkpoint(Path(name), small=quick)
        if options.device == "cuda":
            on_cuda(folder, waves, repeats)
            return
        if "pipeline" in wanted:
            on_cpu(
                folder,
                waves,
                repeats,
                options.runtime or ([] if quick else ["openvino"]),
                options.engine_precision or ["fp32", "bf16"],
            )
        if "processes" in wanted and not quick:
            two_processes(folder, waves, repeats)
        if "long" in wanted and not quick:
            long_clips(folder, (31.0, 45.0, 60.0))
        if "memory" in wanted:
            memory(*((20, 60) if quick else (100, 1000)))


if __name__ == "__main__":
    main()
