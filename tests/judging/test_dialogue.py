"""Models of conversations: a turn is judged by those before it, as in training."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from undertone.cli.app import load
from undertone.errors import ModelError
from undertone.features.assemble import functionals
from undertone.judging.clip import Recording
from undertone.judging.dialogue import DialogueNetwork
from undertone.judging.encoders import Encoders
from undertone.judging.model import TrainedModel
from undertone.judging.networks import load_torch
from undertone.judging.predictor import Predictor
from undertone.models import folder
from undertone.models.batch import collate
from undertone.models.example import Dimensions, Example, as_turn, dialogue
from undertone.models.system import System
from undertone.models.table import build

LABELS = ("angry", "happy", "sad")
CARD: dict[str, Any] = {
    "labels": list(LABELS),
    "encoders": {"speech": {"name": "acoustic", "settings": {"name": "acoustic"}}},
}


def system(context: str, speech: int) -> System:
    torch.manual_seed(0)
    sizes = Dimensions(classes=3, speech=speech, text=8)
    made = build("perspective", {"level": "dialogue", "context": context, "width": 16}, sizes, "")
    return made.eval()


@pytest.fixture
def waves() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    time = np.arange(40_000) / 16_000
    return [
        (np.sin(2 * np.pi * (120 + 60 * n) * time[: 24_000 + 4_000 * n]) * rng.uniform(0.05, 0.4)).astype(
            np.float32
        )
        for n in range(4)
    ]


def test_each_turn_equals_its_place_in_the_whole_conversation(waves: list[np.ndarray]) -> None:
    encoders = Encoders(CARD, None)
    assert encoders.speech is not None
    turns = [
        as_turn(Example(str(n), speech=x), functionals) for n, x in enumerate(encoders.speech.encode(waves))
    ]
    assert turns[0].speech is not None
    network = system("past", turns[0].speech.shape[1])
    with torch.inference_mode():
        logits = network(collate([dialogue("all", turns, [None] * 4)], network.layout)).logits
        expected = network.posteriors(logits)[0].numpy()
    judge = Predictor(TrainedModel("talk@0", CARD, encoders, DialogueNetwork(network), tiers=()))
    before: list[Any] = []
    for wave, wanted in zip(waves, expected, strict=True):
        found = judge.judge(Recording("turn", wave), before=before)
        assert list(found.probabilities.values()) == pytest.approx(wanted.tolist(), abs=1e-5)
    alone = judge.judge(Recording("turn", waves[3]), before=[])
    assert np.abs(np.array(list(alone.probabilities.values())) - expected[3]).max() > 1e-4


def test_a_model_that_needs_later_turns_is_refused_and_one_of_past_turns_is_not(
    tmp_path: Path, waves: list[np.ndarray]
) -> None:
    size = Encoders(CARD, None).speech.dim * 2  # type: ignore[union-attr]
    for context in ("past", "full"):
        folder.save(tmp_path / context, system(context, size), CARD)
    with pytest.raises(ModelError, match=r"later ones too; .* context = 'past'"):
        load_torch(tmp_path / "full")
    model = load_torch(tmp_path / "past")
    assert model.contextual
    assert Predictor(model).predict(waves[0]).probabilities.keys() == set(LABELS)


def test_a_manifests_turns_are_judged_in_the_order_of_their_conversation(
    tmp_path: Path, waves: list[np.ndarray]
) -> None:
    size = Encoders(CARD, None).speech.dim * 2  # type: ignore[union-attr]
    folder.save(tmp_path / "model", system("past", size), CARD)
    rows = []
    for n, wave in enumerate(waves):
        soundfile.write(tmp_path / f"{n}.wav", wave, 16_000, subtype="FLOAT")
        rows.append({"audio": f"{n}.wav", "id": f"t{n}", "dialogue": "d", "turn": n, "label": LABELS[n % 3]})
    for order in (rows, rows[::-1]):
        csv_table = io.StringIO()
        csv_table.write("audio,id,dialogue,turn,label\n")
        csv_table.writelines(",".join(str(v) for v in row.values()) + "\n" for row in order)
        (tmp_path / "turns.csv").write_text(csv_table.getvalue(), encoding="utf-8")
        ran = CliRunner().invoke(
            load(), ["predict", str(tmp_path / "turns.csv"), "--model", str(tmp_path / "model")]
        )
        assert ran.exit_code == 0, ran.output
        answers = [json.loads(line) for line in ran.stdout.splitlines()]
        assert [answer["id"] for answer in answers] == ["t0", "t1", "t2", "t3"]
        assert "of 4 with labels" in ran.stderr
        judge, before = Predictor(load_torch(tmp_path / "model")), []  # type: ignore[var-annotated]
        wanted = [judge.judge(Recording("x", wave), before=before).probabilities for wave in waves]
        for answer, probabilities in zip(answers, wanted, strict=True):
            assert answer["probabilities"] == pytest.approx(probabilities, abs=1e-5)


def test_a_turn_without_speech_is_missing_and_no_vector_of_zeros() -> None:
    speech = Example("a", speech=np.ones((5, 3), np.float32))
    made = dialogue("d", [as_turn(speech, functionals), Example("b")], ["x", "y"])
    assert made.turn_present is not None and made.turn_present.tolist() == [[True, False], [False, False]]
