"""Model folders that were written before ``perspective`` had its authors' form give what they gave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from undertone.models.batch import collate
from undertone.models.example import Example
from undertone.models.folder import load, save

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
"""Settings, weights, one utterance or dialogue and its logits, of folders of schema 1."""
CONFIGS: dict[str, str] = json.loads((GOLDEN / "first-form.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_folder_of_schema_1_gives_what_it_gave(name: str, tmp_path: Path) -> None:
    stored = load_file(GOLDEN / "first-form.safetensors")
    weights, inputs, logits = (
        {k.removeprefix(start): v for k, v in stored.items() if k.startswith(start)}
        for start in (f"{name}/weights/", f"{name}/inputs/", f"{name}/logits/")
    )
    (tmp_path / "config.toml").write_text(CONFIGS[name], encoding="utf-8")
    (tmp_path / "card.json").write_text('{"labels": ["a", "b", "c", "d"]}', encoding="utf-8")
    save_file(weights, tmp_path / "model.safetensors")
    model = load(tmp_path)
    turns = {"labels": np.arange(5) % 4, "ids": tuple("abcde"), "speakers": np.arange(5) % 2}
    given = turns if name.startswith("turns") else {}
    item = Example("u", inputs["speech"].numpy(), inputs["text"].numpy(), **given)  # type: ignore[arg-type]
    with torch.no_grad():
        output = model.system(collate([item], model.dimensions))
    assert output.sides().keys() == logits.keys()
    for side, expected in logits.items():
        torch.testing.assert_close(output.sides()[side], expected, rtol=0, atol=1e-6)
    save(tmp_path / "again", model.system, model.card)
    assert load(tmp_path / "again").config == model.config
