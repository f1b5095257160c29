"""``bayesian``: divergences by integration, draws by their mean, attention by loops, the list of the fold."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models.synthetic import IDS, VECTORS, batch_of, make
from undertone.models.attention import CoAttention
from undertone.models.bayesian import (
    Bayesian,
    BayesianCoAttention,
    BayesianConfig,
    Intensity,
    Stochastic,
    lognormal_kl,
    weibull_kl,
)
from undertone.training.objective import losses


@pytest.mark.parametrize(
    ("a", "pi", "k", "beta"), [(0.3, 0.2, 2.0, 1.0), (0.05, 0.6, 10.0, 2.5), (0.9, 0.9, 1.0, 0.5)]
)
def test_weibulls_divergence_is_its_integral(a: float, pi: float, k: float, beta: float) -> None:
    scale, alpha = a / math.gamma(1 + 1 / k), beta * pi
    x = np.exp(np.linspace(-60, 4, 400_001))  # even in the logarithm, where the integral is smooth
    log_p = math.log(k / scale) + (k - 1) * np.log(x / scale) - (x / scale) ** k
    log_q = alpha * math.log(beta) - math.lgamma(alpha) + (alpha - 1) * np.log(x) - beta * x
    slow = float(np.trapezoid(np.exp(log_p) * (log_p - log_q) * x, np.log(x)))
    fast = weibull_kl(torch.tensor(a).log().double(), torch.tensor(pi).log().double(), k, beta)
    assert float(fast) == pytest.approx(slow, rel=1e-4, abs=1e-5)


def test_lognormals_divergence_is_torchs() -> None:
    logs, prior = torch.randn(7).double(), torch.randn(7).double()
    ours = lognormal_kl(logs, prior, 0.4, 1.3)
    theirs = torch.distributions.kl_divergence(
        torch.distributions.LogNormal(logs - 0.4**2 / 2, 0.4), torch.distributions.LogNormal(prior, 1.3)
    )
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("draw", ["weibull", "lognormal"])
def test_the_mean_of_the_draws_is_the_weight_itself(draw: str) -> None:
    layer = Stochastic(4, 2, BayesianConfig.parse({"draw": draw, "shape": 3.0, "sigma": 0.5, "heads": 2}))
    logs = torch.tensor([0.7, 0.2, 0.1]).log()
    noisy = layer._noisy(logs.expand(200_000, 3), torch.Generator().manual_seed(0)).exp()
    torch.testing.assert_close(noisy.mean(0), logs.exp(), rtol=0.01, atol=0.0)
    assert float(noisy.std(0).min()) > 0.02


def _layer(draw: str = "weibull", **more: object) -> BayesianCoAttention:
    torch.manual_seed(0)
    config = BayesianConfig.parse({"draw": draw, "width": 8, "heads": 2, "dropout": 0.0, **more})
    return BayesianCoAttention(8, config).requires_grad_(False)


def _inputs() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    x = torch.randn(3, 5, 8), torch.randn(3, 4, 8)
    masks = (
        torch.ones(3, 5, dtype=torch.bool),
        torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]).bool(),
    )
    return x, masks


def test_at_test_it_is_plain_co_attention() -> None:
    drawn, (x, masks) = _layer().eval(), _inputs()
    plain = CoAttention(8, 2, 0.0)
    plain.load_state_dict({n: p for n, p in drawn.state_dict().items() if ".prior." not in n})
    made, _ = drawn.drawn(x, masks, None, (torch.zeros(3, 5), torch.zeros(3, 4)), None)
    for ours, theirs in zip(made, plain(x, masks), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_weights_and_prior_are_those_of_loops() -> None:
    layer, (x, masks) = _layer(knowledge=2.0).eval(), _inputs()
    intensity = torch.rand(3, 4)
    reads = layer.speech_reads
    assert isinstance(reads, Stochastic) and reads.prior is not None
    _, made = reads.drawn(x, masks, None, intensity, None)
    assert made is not None
    first, second = reads.prior
    for b, h, i in ((0, 0, 0), (0, 1, 3), (1, 1, 2)):
        keys = [j for j in range(4) if masks[1][b, j]]
        q = reads.query(x[0][b, i])[4 * h : 4 * h + 4]
        k = {j: reads.key(x[1][b, j])[4 * h : 4 * h + 4] for j in keys}
        scores = {j: math.exp(float(q @ k[j]) / 2.0) for j in keys}
        prior = {}
        for j in keys:
            bent = [v if v > 0 else 0.1 * v for v in first(k[j]).tolist()]
            prior[j] = math.exp(float(second(torch.tensor(bent))) + 2.0 * float(intensity[b, j]))
        for j in keys:
            assert float(made.logs[b, h, i, j].exp()) == pytest.approx(
                scores[j] / sum(scores.values()), rel=1e-4
            )
            assert float(made.prior[b, h, 0, j].exp()) == pytest.approx(
                prior[j] / sum(prior.values()), rel=1e-4
            )
    assert int(made.real.sum()) == 5 * 4 + 5 * 2


@pytest.mark.parametrize("draw", ["weibull", "lognormal"])
def test_the_loss_is_the_mean_over_real_pairs(draw: str) -> None:
    system, batch = (
        make("bayesian", VECTORS, draw=draw, knowledge=0.0).requires_grad_(False),
        batch_of(3, VECTORS),
    )
    output = system(batch)
    slow = []
    for way in range(2):
        logs, prior, real = (output.extra[f"{name} {way}"] for name in ("logs", "prior", "real"))
        values = []
        B, H, Q, M = logs.shape
        for b in range(B):
            for q in range(Q):
                for m in range(M):
                    if real[b, 0, q, m]:
                        kl = weibull_kl if draw == "weibull" else lognormal_kl
                        size = 10.0 if draw == "weibull" else 0.3
                        values += [
                            float(kl(logs[b, h, q, m], prior[b, h, 0, m], size, 1.0)) for h in range(H)
                        ]
        slow.append(sum(values) / len(values))
    assert float(system.terms(output, batch)["kl"]) == pytest.approx(sum(slow) / 2, rel=1e-4)


def test_draws_are_fixed_by_their_generator_and_off_at_test() -> None:
    system, batch = make("bayesian", IDS, dropout=0.0), batch_of(4)
    assert isinstance(system, Bayesian)
    with torch.no_grad():
        assert torch.equal(system(batch).logits, system(batch).logits)
        system.train()

        def drawn(seed: int) -> Tensor:
            system.generator = torch.Generator().manual_seed(seed)
            return system(batch).logits

        assert torch.equal(drawn(0), drawn(0)) and not torch.allclose(drawn(0), drawn(1))


@pytest.mark.parametrize("dims", [IDS, VECTORS], ids=["ids", "vectors"])
def test_the_list_of_the_fold_finds_what_a_class_alone_has(dims: object) -> None:
    torch.manual_seed(0)
    part, batch = Intensity(dims), batch_of(32, dims)
    if dims is IDS:
        text = torch.where(batch.text == 5, 6, batch.text)
        text[:, 0] = torch.where(batch.labels == 1, 5, 6)
    else:
        text = batch.text.clone()
        text[:, 0] += 8.0 * (batch.labels == 1)[:, None] * torch.eye(12)[3]
    batch = replace(batch, text=text)
    assert not part(batch).any()
    part.observe(batch)
    e = part(batch)
    assert float(e.min()) >= 0.0 and float(e.max()) <= 1.0
    first = e[:, 0]
    own, rest = first[batch.labels == 1], e[:, 1:][batch.text_mask[:, 1:]]
    assert float(own.min()) > 1.5 * float(rest.mean())
    assert not e[~batch.text_mask].any()


def test_the_intensity_of_ids_is_that_of_a_loop() -> None:
    part, batch = Intensity(IDS), batch_of(12)
    batch = replace(batch, labels=torch.where(torch.arange(12) == 3, -1, batch.labels))
    for rows in (slice(0, 5), slice(5, 12)):
        part.observe(replace(batch, ids=batch.ids[rows], text=batch.text[rows], labels=batch.labels[rows],
                             text_lengths=batch.text_lengths[rows]))  # fmt: skip
    counts = np.zeros((4, 30))
    for b in range(12):
        for position in range(int(batch.text_lengths[b])):
            if batch.labels[b] >= 0:
                counts[batch.labels[b], batch.text[b, position]] += 1
    overall = counts.sum(1) / counts.sum()
    for v in range(30):
        shares = (counts[:, v] + 5 * overall) / (counts[:, v].sum() + 5)
        slow = float((shares * np.log(shares / overall)).sum() / math.log(4))
        assert float(part.table[v]) == pytest.approx(slow, abs=1e-5)


def test_a_frame_has_the_intensity_of_its_word_and_knowledge_moves_the_prior_alone() -> None:
    system, batch = make("bayesian", IDS).requires_grad_(False), batch_of(4)
    assert isinstance(system, Bayesian) and system.intensity is not None
    before, loss = system(batch).logits, losses(system, batch)["kl"]
    system.intensity.table.copy_(torch.rand(30))
    torch.testing.assert_close(system(batch).logits, before, rtol=0, atol=0)
    assert not torch.allclose(losses(system, batch)["kl"], loss)
    tokens = system.intensity(batch)
    frames, _ = system._intensity(batch, system._speech(batch)[2])
    for b in range(4):
        for word, (start, end) in enumerate(batch.segments["word"].spans[b].tolist()):
            own = [
                float(t) for t, w in zip(tokens[b], batch.token_word[b].tolist(), strict=True) if w == word
            ]
            assert all(float(v) == pytest.approx(max(own, default=0.0)) for v in frames[b, start:end])
