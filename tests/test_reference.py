"""What the reference states of formats is so: real files fit their schemas, and wrong ones do not."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

import undertone
from trees.sound import noise
from undertone import manifest, splits
from undertone.experiment.recipe import recipes_folder, shipped_recipes
from undertone.judging.fakes import FakeModel
from undertone.judging.predictor import Predictor
from undertone.manifest.meta import Meta
from undertone.types import BESIDE, Alignment, Segment, Utterance

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((REFERENCE / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def wrong(check: Draft202012Validator, values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        check.validate(values)


def test_a_manifest_and_its_split_fit_their_schemas(tmp_path: Path) -> None:
    times = Alignment(word=(Segment("so", 0.1, 0.2, 0.9, (0, 2)),))
    people = [
        Utterance(f"u{i}", f"{i}.wav", speaker=f"s{i % 6}", session=f"{i % 3}", label="sad", alignment=times)
        for i in range(12)
    ]
    manifest.write(tmp_path / "m.jsonl", people, Meta(corpus="own", classes=("sad",)).after("prepare"))
    for line in (tmp_path / "m.jsonl").read_text(encoding="utf-8").splitlines():
        validator("utterance").validate(json.loads(line))
    validator("meta").validate(json.loads((tmp_path / "m.meta.json").read_text(encoding="utf-8")))
    splits.write(tmp_path / "split.json", splits.make(people, "loso"))
    written = json.loads((tmp_path / "split.json").read_text(encoding="utf-8"))
    validator("split").validate(written)
    wrong(validator("split"), written | {"folds": [{"name": "1"}]})
    wrong(validator("utterance"), {"id": "a"})
    wrong(validator("meta"), {"schema": "one"})


def test_a_prediction_fits_its_schema(tmp_path: Path) -> None:
    noise(tmp_path / "call.wav")
    answer = json.loads(
        json.dumps(Predictor(FakeModel()).predict(tmp_path / "call.wav", text="so glad").plain())
    )
    validator("prediction").validate(answer)
    assert set(answer) | set(BESIDE) == set(validator("prediction").schema["properties"])
    scale = {"arousal": {"low": 1.0, "high": 7.0}}
    validator("prediction").validate(answer | {"dimensions": {"arousal": 4.0}, "scales": scale})
    wrong(validator("prediction"), answer | {"schema": 1})


def test_every_shipped_recipe_fits_its_schema() -> None:
    check = validator("recipe")
    names = shipped_recipes()
    assert len(names) > 20
    for name in names:
        check.validate(tomllib.loads((recipes_folder() / f"{name}.toml").read_text(encoding="utf-8")))
    wrong(check, {"system": "speech", "manifest": "m.jsonl", "traning": {}})


def test_the_page_of_formats_links_every_schema() -> None:
    page = (REFERENCE / "formats.md").read_text(encoding="utf-8")
    for path in (REFERENCE / "schemas").iterdir():
        assert f"(schemas/{path.name})" in page


def test_the_page_of_python_has_every_public_name() -> None:
    page = (REFERENCE / "python.md").read_text(encoding="utf-8")
    for name in undertone.__all__:
        assert name.startswith("__") or f".{name}\n" in page
