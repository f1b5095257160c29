"""``perspective`` and its second implementation agree: logits, loss and gradients, in double precision.

python -m tests.models.test_perspective_parity     the largest differences, a JSON line each
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.models import perspective_twin as twin
from tests.models.perspective_twin import Form
from undertone.models import attention
from undertone.models.batch import Batch, collate
from undertone.models.example import Dimensions, Example
from undertone.models.perspective import OPERATORS
from undertone.models.system import System
from undertone.models.table import build

WIDTH = 8
LEVELS = ("utterance", "dialogue")
FORMS = [
    Form(level, stage, operator)
    for level in LEVELS
    for stage, operators in OPERATORS.items()
    for operator in operators
]
FORMS += [
    Form("dialogue", stage, operator, context=context)
    for context in ("past", "none")
    for stage, operator in (("early", "attention"), ("middle", "add"), ("late", "add"))
]
FORMS += [
    Form("dialogue", stage, operator, activation="tanh", heads=1)
    for stage, operator in (("late", "add"), ("late", "attention"))
]
"""Every stage, operator and level; other contexts; the state in which the study was run."""
BAR = 1e-6


def _system(form: Form, speech: int) -> System:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"width": WIDTH, "level": form.level, "stage": form.stage}
    settings |= {"operator": form.operator, "activation": form.activation}
    settings |= {"context": form.context} if form.dialogue else {}
    settings |= {"heads": form.heads} if form.heads else {}
    system = build("perspective", settings, Dimensions(classes=4, speech=speech, text=5)).double().eval()
    for parameter in system.parameters():  # biases start at 0, where a wrong one would not show
        nn.init.normal_(parameter, std=0.5)
    if "omega" in "".join(system.state_dict()):  # so small that both sides would weigh the same
        (system.early if form.stage == "early" else system.late).omega.mul_(100.0)  # type: ignore[union-attr]
    return system


def _examples(form: Form, speech: int, missing: bool) -> list[Example]:
    """Of several lengths, one of them 1; without a modality in the last two where that is wanted."""
    rng = np.random.default_rng(0)
    items = []
    for i, (frames, tokens) in enumerate([(6, 4), (1, 2), (9, 1), (4, 6), (5, 3)]):
        long = frames if form.dialogue else tokens
        values = rng.normal(size=(frames, speech)), rng.normal(size=(long, 5))
        turns = {"labels": rng.integers(-1, 4, frames), "ids": tuple("abcdefghi"[:frames])}
        turns["speakers"] = np.arange(frames) % 2
        items.append(
            Example(
                f"u{i}",
                None if missing and i == 3 else values[0],
                None if missing and i == 4 else values[1],
                label=i % 4,
                **(turns if form.dialogue else {}),  # type: ignore[arg-type]
            )
        )
    return items


def _ours(system: System, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
    output = system(batch)
    terms = system.terms(output, batch)
    return output.sides(), torch.stack([system.weights[k] * v for k, v in terms.items()]).sum()


def _theirs(system: System, form: Form, batch: Batch) -> tuple[list[dict[str, Tensor]], Tensor]:
    state = dict(system.named_parameters()) | dict(system.named_buffers())
    rows, total = [], torch.zeros((), dtype=torch.float64)
    for i in range(len(batch)):
        sides: list[Tensor | None] = [
            x[i, :n] if n else None
            for x, n in ((batch.speech, batch.speech_lengths[i]), (batch.text, batch.text_lengths[i]))
        ]
        rows.append(twin.forward(state, form, *sides))
        turns = len(rows[-1]["fused"]) if form.dialogue else 1
        total = total + twin.loss(rows[-1], batch.labels.reshape(len(batch), -1)[i, :turns])
    return rows, total


def differences(form: Form, missing: bool = False, speech: int = 6) -> dict[str, float]:
    """The largest difference in logits, in the loss and in gradients by parameters and by inputs."""
    system = _system(form, speech)
    if form.rates:
        system.train()
    batch = collate(_examples(form, speech, missing), system.dimensions).to("cpu", torch.float64)
    wanted = [*system.parameters(), batch.speech.requires_grad_(), batch.text.requires_grad_()]
    logits, ours = _ours(system, batch)
    rows, theirs = _theirs(system, form, batch)
    gaps = []
    for i, row in enumerate(rows):
        for side, expected in row.items():
            value = logits[side][i, : len(expected)] if form.dialogue else logits[side][i]
            gaps.append((value - expected).abs().max().item())
    one, other = (torch.autograd.grad(x, wanted, allow_unused=True) for x in (ours, theirs))
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    assert len(pairs) == len(wanted)
    assert form.context == "none" or all(a.any() for a, _ in pairs)  # a GRU of one step has no state before
    steps = [(a - b).abs().max().item() for a, b in pairs]
    return {"logits": max(gaps), "loss": abs(ours.item() - theirs.item()), "gradients": max(steps)}


def _name(form: Form) -> str:
    return " ".join(str(v) for v in asdict(form).values() if v)


@pytest.mark.parametrize("form", FORMS, ids=_name)
def test_every_stage_operator_and_level_is_that_of_the_formulas(form: Form) -> None:
    assert max(differences(form).values()) < BAR


@pytest.mark.parametrize(
    "form", [f for f in FORMS if f.stage != "early" and f.level == "utterance"], ids=_name
)
def test_a_missing_modality_is_as_if_there_were_no_such_branch(form: Form) -> None:
    assert max(differences(form, missing=form.operator != "gate").values()) < BAR


def test_speech_as_wide_as_a_branch_is_not_mapped_in_dialogues() -> None:
    form = Form("dialogue", "late", "add")
    assert "speech_input.project.weight" not in _system(form, WIDTH).state_dict()
    assert "speech_input.project.weight" in _system(Form("utterance", "late", "add"), WIDTH).state_dict()
    assert max(differences(form, speech=WIDTH).values()) < BAR


@pytest.mark.parametrize("form", [f for f in FORMS if f.operator != "gate"], ids=_name)
def test_each_dropout_has_its_place_and_its_rate(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout as a factor of 1 - p, wherever it is: layers, attention over turns, mean attention."""
    plain = attention.F.scaled_dot_product_attention

    def scaled(*args: Any, dropout_p: float = 0.0, **named: Any) -> Tensor:
        return plain(*args, **named) * (1 - dropout_p)

    monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: x * (1 - self.p))
    monkeypatch.setattr(attention._Factors, "like", lambda self, x: torch.full_like(x, self.left))
    monkeypatch.setattr(attention, "F", mock.Mock(scaled_dot_product_attention=scaled))
    with_rates = Form(**asdict(form) | {"rates": True})
    assert max(differences(with_rates).values()) < BAR


def main() -> None:
    for form in FORMS:
        about = {k: v for k, v in asdict(form).items() if k != "rates"}
        print(json.dumps({"benchmark": "parity/perspective", **about, **differences(form)}))


if __name__ == "__main__":
    main()
