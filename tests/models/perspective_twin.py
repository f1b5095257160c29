"""``perspective`` a second time, from its formulas alone: one utterance or dialogue at a time, so that there
is neither padding nor a mask, with loops over time and attention weights laid out.

Nothing of ``undertone`` is used. Parameters are those of a system's state, by name; ``rates`` switches
dropout on, as the factor 1 - p in place of a random mask.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True)
class Form:
    """What of the study is computed."""

    level: str
    stage: str
    operator: str
    context: str = "full"
    activation: str = "relu"
    heads: int = 0
    """0: 4 for dialogues, 1 for utterances."""
    rates: bool = False

    @property
    def dialogue(self) -> bool:
        return self.level == "dialogue"


def forward(p: Parameters, form: Form, speech: Tensor | None, text: Tensor | None) -> dict[str, Tensor]:
    """Logits (C,) of an utterance or (U, C) of a dialogue: fused, speech, text. None: a missing side."""
    x = {"speech": None if speech is None else speech, "text": text}
    if speech is not None and not form.dialogue and len(speech) > 1:
        x["speech"] = (speech - speech.mean(0)) / torch.sqrt(speech.var(0, unbiased=True) + 1e-5)
    x = {side: None if v is None else _input(p, side, v) for side, v in x.items()}
    if form.stage == "early":
        assert x["speech"] is not None and x["text"] is not None
        whole = _classified(
            p, "fused", _branch(p, "fused", form, _early(p, form, x["speech"], x["text"])), form
        )
        pooled = {side: v if form.dialogue else v.mean(0) for side, v in x.items() if v is not None}
        return {"fused": whole} | {s: _linear(p, f"{s}_classifier.last", v) for s, v in pooled.items()}
    branches = {side: _branch(p, side, form, v) for side, v in x.items() if v is not None}
    single = {side: _classified(p, f"{side}_classifier", v, form) for side, v in branches.items()}
    if form.stage == "middle":
        return {"fused": _classified(p, "fused", sum(branches.values()), form)} | single  # type: ignore[arg-type]
    return {"fused": _late(p, form, single)} | single


def loss(logits: Mapping[str, Tensor], labels: Tensor) -> Tensor:
    """Three cross-entropies fed with probabilities, so that softmax is applied twice, summed over turns."""
    total = torch.zeros((), dtype=torch.float64)
    for z in logits.values():
        for row, label in zip(z.reshape(-1, z.shape[-1]), labels.reshape(-1).tolist(), strict=True):
            if label >= 0:
                probabilities = row.exp() / row.exp().sum()
                total = total - torch.log(probabilities.exp()[label] / probabilities.exp().sum())
    return total


def _linear(p: Parameters, name: str, x: Tensor) -> Tensor:
    y = x @ p[f"{name}.weight"].T
    return y + p[f"{name}.bias"] if f"{name}.bias" in p else y


def _dropped(x: Tensor, rate: float, form: Form) -> Tensor:
    return x * (1 - rate) if form.rates else x


def _input(p: Parameters, side: str, x: Tensor) -> Tensor:
    name = f"{side}_input.project"
    return _linear(p, name, x) if f"{name}.weight" in p else x


def _bend(form: Form, x: Tensor) -> Tensor:
    return x.tanh() if form.activation == "tanh" else x.clamp(min=0)


def _branch(p: Parameters, side: str, form: Form, x: Tensor) -> Tensor:
    """(U, D) of a dialogue, (D,) of an utterance."""
    name = f"{side}_branch"
    if form.dialogue and form.context == "none":
        alone = Form(form.level, form.stage, form.operator, "full", form.activation, form.heads, form.rates)
        return torch.cat([_branch(p, side, alone, x[t : t + 1]) for t in range(len(x))])
    if form.dialogue or side != "text":
        states = [_gru(p, f"{name}.gru.ahead", x)]
        if form.context != "past" or not form.dialogue:
            states.append(_gru(p, f"{name}.gru.back", x.flip(0)).flip(0))
        x = torch.cat(states, -1)
        x = _dropped(x, 0.2 if form.dialogue else 0.3, form)
    y = _attention(p, f"{name}.attention", form, x, x, form.dialogue and form.context == "past")
    return y if form.dialogue else y.mean(0)


def _gru(p: Parameters, name: str, x: Tensor) -> Tensor:
    size = p[f"{name}.weight_hh_l0"].shape[1]
    h, states = x.new_zeros(size), []
    for frame in x:
        a = p[f"{name}.weight_ih_l0"] @ frame + p[f"{name}.bias_ih_l0"]
        b = p[f"{name}.weight_hh_l0"] @ h + p[f"{name}.bias_hh_l0"]
        r = 1 / (1 + torch.exp(-(a[:size] + b[:size])))
        z = 1 / (1 + torch.exp(-(a[size : 2 * size] + b[size : 2 * size])))
        n = torch.tanh(a[2 * size :] + r * b[2 * size :])
        h = (1 - z) * n + z * h
        states.append(h)
    return torch.stack(states)


def _attention(
    p: Parameters, name: str, form: Form, x: Tensor, memory: Tensor, causal: bool = False, rate: float = 0.2
) -> Tensor:
    q, k, v = (_linear(p, f"{name}.{m}", y) for m, y in (("query", x), ("key", memory), ("value", memory)))
    heads = form.heads or (4 if form.dialogue else 1)
    d = q.shape[1] // heads
    parts = []
    for h in range(heads):
        cut = slice(h * d, (h + 1) * d)
        scores = q[:, cut] @ k[:, cut].T / math.sqrt(d)
        if causal:
            scores = scores + torch.full_like(scores, float("-inf")).triu(1)
        weights = scores.exp() / scores.exp().sum(1, keepdim=True)
        parts.append(_dropped(weights, rate, form) @ v[:, cut])
    return _linear(p, f"{name}.out", torch.cat(parts, 1))


def _classified(p: Parameters, name: str, x: Tensor, form: Form) -> Tensor:
    if form.dialogue:
        x = _dropped(_bend(form, _linear(p, f"{name}.hidden.0", x)), 0.2, form)
    return _linear(p, f"{name}.last", x)


def _early(p: Parameters, form: Form, speech: Tensor, text: Tensor) -> Tensor:
    if not form.dialogue and form.operator in ("attention", "gate"):
        text = _attention(p, "early.reads", form, speech, text, rate=0.0)
    elif not form.dialogue:
        text = text.mean(0).expand_as(speech)
    return _operated(p, "early", form, speech, text)


def _late(p: Parameters, form: Form, z: Mapping[str, Tensor]) -> Tensor:
    if len(z) == 2:
        return _operated(p, "late", form, z["speech"], z["text"])
    side, left = next(iter(z.items()))
    if form.operator == "attention":  # one side has all the weight
        return _linear(p, "late.shared", left)
    if form.operator == "concat":
        zeros = torch.zeros_like(left)
        return _operated(p, "late", form, *((left, zeros) if side == "speech" else (zeros, left)))
    return left


def _operated(p: Parameters, name: str, form: Form, speech: Tensor, text: Tensor) -> Tensor:
    if form.operator == "add":
        return speech + text
    if form.operator == "product":
        return speech * text
    both = torch.cat([speech, text], -1)
    if form.operator == "concat":
        return both @ p[f"{name}.join.weight"].T
    if form.operator == "gate":
        scores, u = _linear(p, f"{name}.gate", both), (speech, text)
    else:
        u = tuple(x @ p[f"{name}.shared.weight"].T for x in (speech, text))  # type: ignore[assignment]
        bent = [_dropped(_bend(form, x), 0.2, form) @ p[f"{name}.omega"] for x in u]
        scores = torch.stack(bent, -1)
    weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
    return weights[..., :1] * u[0] + weights[..., 1:] * u[1]
