"""The text encoder of the starter takes no memory before the first words, and changes no answer."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from undertone import packed
from undertone.errors import ModelError
from undertone.features.subword import Subword
from undertone.models import folder
from undertone.models.batch import Batch, collate
from undertone.models.example import Example
from undertone.models.tuned import Tuned

MODEL = Path(__file__).parents[2] / "packages/undertone-starter/src/undertone_starter/model"


@pytest.fixture(autouse=True)
def _box() -> None:
    if packed.find("minilm-l6") is None:
        pytest.skip("undertone-encoders is not installed")


def loaded(text_later: bool) -> Tuned:
    system = folder.load(MODEL, text_later=text_later).system
    assert isinstance(system, Tuned)
    return system


def batch(system: Tuned, *texts: str) -> Batch:
    vocabulary, generator = Subword.load(MODEL / "tokenizer.json"), torch.Generator().manual_seed(0)
    examples = []
    for index, text in enumerate(texts):
        frames = torch.randn(2, 40 + index, 512, generator=generator).numpy()
        ids, _ = vocabulary.encode(text)
        examples.append(Example(f"{index}", speech=frames, text=ids if len(ids) else None))
    return collate(examples, system.layout)


def test_answers_are_the_same_and_weights_come_with_the_first_words() -> None:
    whole, later = loaded(False), loaded(True)
    assert later.rest is not None and later.text_tower is not None
    for texts in (["", ""], ["I hate it", ""], ["", "so glad"]):
        with torch.inference_mode():
            one, other = (system(batch(system, *texts)).logits for system in (later, whole))
        torch.testing.assert_close(one, other)
        assert (later.rest is None) == any(texts)
    known = whole.state_dict()
    for name, tensor in later.state_dict().items():
        assert torch.equal(tensor, known[name]) and tensor.dtype == known[name].dtype, name
        assert not tensor.is_inference(), name


def test_threads_that_bring_the_first_words_together_get_the_same() -> None:
    later = loaded(True)

    @torch.inference_mode()
    def one(_: int) -> torch.Tensor:
        return later(batch(later, "I hate it")).logits.clone()  # type: ignore[no-any-return]

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(one, range(4))
    assert all(torch.equal(first, other) for other in others)


def test_what_exports_it_completes_it() -> None:
    later = loaded(True)
    later.complete()
    assert later.rest is None
    assert not any(parameter.is_meta for parameter in later.parameters())


def test_a_missing_weight_is_noticed_at_once(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in MODEL.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(MODEL / "model.safetensors")
    del tensors[next(name for name in tensors if name.startswith("text_tower."))]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="does not fit"):
        folder.load(tmp_path, text_later=True)


MEASURE = """
import resource, sys
import numpy as np
import torch
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
from undertone.judging.predictor import load
model = load(sys.argv[1])
model.predict(np.random.default_rng(0).normal(0, 0.05, 16_000 * 120).astype("f4"), explain=False)
assert not {"transformers", "tokenizers", "torch._dynamo"} & set(sys.modules)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow  # loads the starter in a process of its own: 8 s
def test_two_minutes_without_words_take_little_more_memory_than_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(MODEL)], check=True, capture_output=True, text=True
    )
    assert float(done.stdout) < 190  # 280 with the text encoder
