"""Do 95 % intervals hold the planted value in 95 % of cases? Simulated speakers × class effects.

    python benchmarks/coverage.py [--quick]

Each simulated speaker has an ability of their own, an ability per class of their own, and their own mix
of classes and number of utterances; the planted value is the UA (or WA) over endlessly many such speakers.
One JSON line a setting: how many of the 95 % intervals hold it, ours beside a percentile bootstrap over
speakers and one over utterances. ``ratio`` is our coverage over the percentile bootstrap's.

Then dyads: two speakers a session, who share part of their ability and part of the difference between two
systems that are equal on average. One JSON line a setting: how many 95 % intervals hold the planted UA
(``coverage``) and how often the two systems come out different at p <= 0.05 (``size``), with the session
as unit, the default, and with the speaker, which must be named. ``ratio`` is the sessions' coverage over
the speakers'.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

import numpy as np

from undertone.evaluation.significance import interval, paired, statistic

MEANS = np.array([0.9, 0.3, 1.1, 0.6])
"""Log-odds of a right answer, by class."""
MIX = np.array([0.2, 0.3, 0.2, 0.3])
UNITS = (5, 8, 10, 18)
EFFECTS = {
    "even": (0.4, 0.4, 20.0),
    "classes": (0.2, 0.6, 8.0),
    "speakers": (0.7, 0.3, 20.0),
    "wild": (0.3, 1.0, 5.0),
}
"""Spread between speakers, between classes within a speaker, and evenness of the speakers' class mixes."""

DYADS = {
    "even": (0.4, 0.3, 0.2, 0.2, 20.0, 0.25, 0.15),
    "sessions": (0.6, 0.3, 0.3, 0.3, 8.0, 0.4, 0.15),
    "speakers": (0.2, 0.4, 0.1, 0.3, 20.0, 0.15, 0.15),
    "wild": (0.3, 0.3, 0.7, 0.5, 5.0, 0.4, 0.4),
}
"""Spread between sessions, between the speakers of one, between classes within a session and within a
speaker; evenness of the class mixes; of the difference of two systems: between sessions, within them."""
SESSIONS = (5, 8, 12)


def draw(
    rng: np.random.Generator, units: int, effect: tuple[float, float, float], size: int = 100
) -> np.ndarray:
    """Tallies ``(U, 4, 5)`` of one simulated experiment; wrong answers all fall on one other class."""
    speaker, by_class, even = effect
    ability = MEANS + rng.normal(0, speaker, (units, 1)) + rng.normal(0, by_class, (units, 4))
    totals = np.maximum(20, rng.lognormal(np.log(size), 0.3, units)).astype(int)
    mixes = rng.dirichlet(MIX * even, units)
    counts = np.array([rng.multinomial(n, mix) for n, mix in zip(totals, mixes, strict=True)])
    right = rng.binomial(counts, 1 / (1 + np.exp(-ability)))
    tallies = np.zeros((units, 4, 5))
    for c in range(4):
        tallies[:, c, c] = right[:, c]
        tallies[:, c, (c + 1) % 4] = (counts - right)[:, c]
    return tallies


def planted(name: str, effect: tuple[float, float, float]) -> float:
    """The score over endlessly many speakers: every class' mean, or their mix."""
    normal = np.random.default_rng(1).normal(0, np.hypot(effect[0], effect[1]), (400_000, 1))
    recalls = (1 / (1 + np.exp(-(MEANS + normal)))).mean(axis=0)
    return float(recalls.mean() if name == "ua" else recalls @ MIX)


def percentiles(
    rng: np.random.Generator, tallies: np.ndarray, name: str, draws: int = 400
) -> tuple[float, float]:
    """The usual bootstrap over units, the opponent."""
    units = len(tallies)
    weights = rng.multinomial(units, np.full(units, 1 / units), size=draws).astype(float)
    low, high = np.quantile(statistic(name)(np.tensordot(weights, tallies, axes=1)), [0.025, 0.975])
    return float(low), float(high)


def coverage(
    name: str, effect: str, units: int, repeats: int, *, seed: int = 0, opponents: bool = True
) -> dict[str, float]:
    """Shares of intervals that hold the planted value."""
    rng = np.random.default_rng([seed, units])
    value = planted(name, EFFECTS[effect])
    held = {"ours": 0, "percentile": 0, "utterances": 0}
    for repeat in range(repeats):
        tallies = draw(rng, units, EFFECTS[effect])
        ours = interval(tallies, name, draws=400, seed=repeat)
        held["ours"] += ours.low <= value <= ours.high
        if not opponents:
            continue
        low, high = percentiles(rng, tallies, name)
        held["percentile"] += low <= value <= high
        everyone = rng.multinomial(int(tallies.sum()), tallies.sum(axis=0).ravel() / tallies.sum(), size=400)
        low, high = np.quantile(statistic(name)(everyone.reshape(-1, 4, 5).astype(float)), [0.025, 0.975])
        held["utterances"] += low <= value <= high
    return {who: count / repeats for who, count in held.items()}


def draw_dyads(
    rng: np.random.Generator, sessions: int, effect: tuple[float, ...], size: int = 100
) -> tuple[np.ndarray, np.ndarray]:
    """Tallies ``(S, 2, 4, 5)`` of two systems, equal on average, on the same utterances."""
    session, speaker, class_session, class_speaker, even, gap_session, gap_speaker = effect
    ability = MEANS + rng.normal(0, session, (sessions, 1, 1)) + rng.normal(0, speaker, (sessions, 2, 1))
    ability = ability + rng.normal(0, class_session, (sessions, 1, 4))
    ability = ability + rng.normal(0, class_speaker, (sessions, 2, 4))
    totals = np.maximum(20, rng.lognormal(np.log(size), 0.3, (sessions, 2))).astype(int)
    mixes = rng.dirichlet(MIX * even, (sessions, 2))
    counts = np.array(
        [[rng.multinomial(totals[i, j], mixes[i, j]) for j in range(2)] for i in range(sessions)]
    )
    gap = rng.normal(0, gap_session, (sessions, 1, 1)) + rng.normal(0, gap_speaker, (sessions, 2, 4))
    both = []
    for sign in (0.5, -0.5):
        right = rng.binomial(counts, 1 / (1 + np.exp(-(ability + sign * gap))))
        tallies = np.zeros((sessions, 2, 4, 5))
        for c in range(4):
            tallies[..., c, c] = right[..., c]
            tallies[..., c, (c + 1) % 4] = (counts - right)[..., c]
        both.append(tallies)
    return both[0], both[1]


def in_dyads(effect: str, sessions: int, repeats: int, *, seed: int = 0) -> dict[str, dict[str, float]]:
    """By unit, ``session`` and ``speaker``: coverage of the UA's interval, and size of the paired test."""
    rng = np.random.default_rng([seed, sessions])
    spread = float(
        np.sqrt(sum(x * x for x in DYADS[effect][:4]) + sum((x / 2) ** 2 for x in DYADS[effect][5:]))
    )
    value = planted("ua", (spread, 0.0, 0.0))
    counts = {unit: {"coverage": 0, "size": 0} for unit in ("session", "speaker")}
    for repeat in range(repeats):
        ours, theirs = draw_dyads(rng, sessions, DYADS[effect])
        for unit, count in counts.items():
            one, two = (t.sum(1) if unit == "session" else t.reshape(-1, 4, 5) for t in (ours, theirs))
            around = interval(one, draws=400, seed=repeat)
            count["coverage"] += around.low <= value <= around.high
            count["size"] += paired(one, two, draws=400, seed=repeat).p <= 0.05
    return {unit: {k: n / repeats for k, n in count.items()} for unit, count in counts.items()}


def settings() -> Iterator[tuple[str, str, int]]:
    """Every score × effect × number of units."""
    yield from ((name, effect, units) for name in ("ua", "wa") for effect in EFFECTS for units in UNITS)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="200 experiments a setting instead of 1,000")
    repeats = 200 if parser.parse_args().quick else 1000
    for name, effect, units in settings():
        held = coverage(name, effect, units, repeats)
        line = {
            "name": f"coverage/{name}-{effect}-{units}-units vs percentile-bootstrap",
            "ratio": round(held["ours"] / held["percentile"], 3),
            "ours": round(held["ours"], 4),
            "percentile": round(held["percentile"], 4),
            "utterance_bootstrap": round(held["utterances"], 4),
            "repeats": repeats,
        }
        print(json.dumps(line), flush=True)
    for effect in DYADS:
        for sessions in SESSIONS:
            units = in_dyads(effect, sessions, repeats)
            line = {
                "name": f"coverage/dyads-{effect}-{sessions}-sessions vs speakers-as-units",
                "ratio": round(units["session"]["coverage"] / units["speaker"]["coverage"], 3),
                **{unit: {k: round(v, 4) for k, v in both.items()} for unit, both in units.items()},
                "repeats": repeats,
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
