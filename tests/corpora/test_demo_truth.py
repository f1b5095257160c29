"""What is planted in the demo corpus is there, and its ceilings are what a learner finds."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise, permutations

import numpy as np
import pytest

from undertone.corpora.demo.prosody import HABIT, JITTER, SPEAKER, STYLES, habits
from undertone.corpora.demo.script import (
    BLANKS,
    CLASSES,
    KINDS,
    OPPOSITE,
    PRIOR,
    SENTENCES,
    WORDS,
    place_words,
    write,
)
from undertone.corpora.demo.truth import TEXTS, Draws, ceilings, draw_many, text_table

STRESS = list(KINDS).index("stress")


@pytest.fixture(scope="module")
def lines():
    return write(1000, np.random.default_rng(0))


@pytest.fixture(scope="module")
def limits() -> dict[str, dict[str, float]]:
    return ceilings()


def test_classes_and_kinds_come_in_their_shares(lines) -> None:
    labels, kinds = Counter(u.label for u in lines), Counter(u.kind for u in lines)
    assert all(abs(labels[name] - 1000 * share) <= 4 for name, share in PRIOR.items())
    assert all(abs(kinds[name] - 1000 * share) <= 4 for name, share in KINDS.items())
    assert len({u.id for u in lines}) == 1000
    assert set(Counter(u.speaker for u in lines).values()) == {100}


def test_dialogues_are_two_speakers_taking_turns(lines) -> None:
    dialogues = defaultdict(list)
    for line in lines:
        dialogues[line.session, line.dialogue].append(line)
    for (session, _), turns in dialogues.items():
        assert [t.turn for t in turns] == list(range(len(turns)))
        assert {t.speaker for t in turns} == {2 * session, 2 * session + 1}
        assert all(a.speaker != b.speaker for a, b in pairwise(turns))


def test_sentences_belong_to_one_session_and_emotion_words_to_all(lines) -> None:
    frames = defaultdict(set)
    sessions_of = defaultdict(set)
    for line in lines:
        frame = tuple("_" if i in line.places else w for i, w in enumerate(line.words))
        frames[frame].add(line.session)
        for place, meaning in zip(line.places, line.meanings, strict=True):
            if meaning != "blank":
                sessions_of[line.words[place]].add(line.session)
    assert all(len(sessions) == 1 for sessions in frames.values())
    assert set(sessions_of) == {word for words in WORDS.values() for word in words}
    assert all(sessions == set(range(5)) for sessions in sessions_of.values())


def test_every_sentence_has_four_places_and_numerals_are_spelled_out() -> None:
    for sentence in (s for session in SENTENCES for s in session):
        assert sentence.split().count("{}") == 4
        assert not any(c.isdigit() for c in sentence) and not sentence.endswith("}")
    words = [word for group in (*WORDS.values(), BLANKS) for word in group]
    assert len(words) == len(set(words))
    assert not {w for w in words if w[0] in "aeiou"}, "the sentences have 'a', not 'an'"
    assert not set(words) & {w for session in SENTENCES for s in session for w in s.split()}


def test_the_script_says_what_the_tables_say(lines) -> None:
    for line in lines:
        index = line.places.index(line.stressed)
        real = [m for m in line.meanings if m != "blank"]
        if line.kind == "stress":
            assert sorted(line.meanings) == sorted(CLASSES)
            assert OPPOSITE[line.meanings[index]] == line.label
        else:
            assert len(real) == (line.kind != "prosody") and line.meanings[index] == "blank"


def stress_table() -> dict[tuple[str, tuple[str, ...], int], float]:
    """P(label, order of the four words, stressed place) in the stress part, by enumeration."""
    return {
        (label, order, order.index(OPPOSITE[label])): PRIOR[label] / 24
        for label in CLASSES
        for order in permutations(CLASSES)
    }


def test_the_enumerated_stress_part_is_the_one_that_is_drawn() -> None:
    rng = np.random.default_rng(0)
    drawn = Counter((label, *place_words(label, "stress", rng)) for label in CLASSES for _ in range(5000))
    assert set(drawn) == set(stress_table())
    assert all(abs(count / 5000 - 1 / 24) < 0.015 for count in drawn.values())


def posterior(table, seen) -> dict[object, dict[str, float]]:
    posteriors: dict[object, dict[str, float]] = defaultdict(lambda: dict.fromkeys(CLASSES, 0.0))
    for (label, order, place), p in table.items():
        posteriors[seen(order, place)][label] += p
    return {key: {c: p / sum(ps.values()) for c, p in ps.items()} for key, ps in posteriors.items()}


def test_in_the_stress_part_prosody_words_and_their_product_are_at_chance_and_the_match_decides() -> None:
    table = stress_table()
    by_tone = posterior(table, lambda order, place: place)
    by_words = posterior(table, lambda order, place: order)
    by_match = posterior(table, lambda order, place: order[place])
    for shares in (*by_tone.values(), *by_words.values()):
        assert shares == pytest.approx(PRIOR)
    for tone in by_tone.values():
        for words in by_words.values():
            product = {c: tone[c] * words[c] / PRIOR[c] for c in CLASSES}
            assert product == pytest.approx(PRIOR)
    assert all(max(shares.values()) == pytest.approx(1.0) for shares in by_match.values())


def test_in_every_kind_each_place_is_stressed_equally_often() -> None:
    rng = np.random.default_rng(1)
    for kind in KINDS:
        for label in CLASSES:
            places = Counter(place_words(label, kind, rng)[1] for _ in range(4000))
            assert all(abs(places[i] / 4000 - 0.25) < 0.035 for i in range(4)), (kind, label)


def test_the_text_table_is_the_distribution_that_is_drawn() -> None:
    table = text_table()
    assert table.sum((2, 3)) == pytest.approx(np.ones((4, 4)))
    draws = draw_many(200_000, np.random.default_rng(2))
    counts = np.zeros_like(table)
    np.add.at(counts, (draws.kind, draws.label, draws.text, draws.stressed), 1)
    assert counts / counts.sum((2, 3), keepdims=True) == pytest.approx(table, abs=0.01)


def test_the_drawn_prosody_is_the_scripts(lines) -> None:
    for style in CLASSES:
        toned = [u.prosody for u in lines if u.kind in ("prosody", "both") and u.label == style]
        for name in HABIT.__slots__:
            values = np.array([getattr(p, name) for p in toned])
            off = abs(values.mean() - getattr(STYLES[style], name))
            assert off < 4 * getattr(JITTER, name) / len(values) ** 0.5


def test_raw_average_pitch_does_not_tell_the_emotion_but_movement_does(lines) -> None:
    from sklearn.naive_bayes import GaussianNB

    ways = habits(np.random.default_rng(1))
    voices = np.array([12.0 if "f" in v or v.endswith(("steph", "linda", "aunty")) else 0.0 for v in SPEAKER])
    toned = [u for u in lines if u.kind in ("prosody", "both")]
    label = np.array([CLASSES.index(u.label) for u in toned])
    session = np.array([u.session for u in toned])
    raw = np.array([[u.prosody.pitch + ways[u.speaker].pitch + voices[u.speaker]] for u in toned])
    moves = np.array([[u.prosody.spread + ways[u.speaker].spread, u.prosody.slope] for u in toned])

    def unseen_ua(features: np.ndarray) -> float:
        guess = np.empty_like(label)
        for held in range(5):
            model = GaussianNB(priors=[0.25] * 4).fit(features[session != held], label[session != held])
            guess[session == held] = model.predict(features[session == held])
        return ua(guess, label)

    assert unseen_ua(raw) < 0.40
    assert unseen_ua(moves) > unseen_ua(raw) + 0.25


def ua(guess: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([(guess[truth == c] == c).mean() for c in range(4)]))


def test_ceilings_are_ordered_as_knowledge_is(limits) -> None:
    scores = {name: values["ua"] for name, values in limits.items()}
    assert max(scores["speech"], scores["text"]) + 0.10 < scores["late_fusion"]
    assert scores["late_fusion"] + 0.15 < scores["full_knowledge"] < 1.0
    assert abs(scores["late_fusion"] - scores["fusion_without_alignment"]) < 0.01
    assert scores["speech"] <= scores["speech_known_speaker"]
    for name in ("speech", "text", "late_fusion", "fusion_without_alignment"):
        assert limits[name]["ua_stress"] == pytest.approx(0.25, abs=0.01)
    assert limits["full_knowledge"]["ua_stress"] > 0.99


def test_the_text_ceiling_by_enumeration(limits) -> None:
    likelihood = np.einsum("kcts,k->tc", text_table(), list(KINDS.values()))
    best = likelihood.argmax(1)
    exact = sum(likelihood[t, best[t]] for t in range(len(TEXTS))) / 4
    assert limits["text"]["ua"] == pytest.approx(exact, abs=0.005)


@pytest.mark.slow  # three networks learn from 100,000 draws each
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_flexible_learner_on_the_observables_ends_at_the_ceilings(limits) -> None:
    train, held = (draw_many(100_000, np.random.default_rng(s)) for s in (11, 12))
    scale = train.prosody.std(0)
    posteriors = {
        name: learn(observables(train, name, scale), train.label, observables(held, name, scale))
        for name in ("speech", "text", "full_knowledge")
    }
    posteriors["late_fusion"] = posteriors["speech"] * posteriors["text"]
    for name, likelihood in posteriors.items():
        assert ua(likelihood.argmax(1), held.label) == pytest.approx(limits[name]["ua"], abs=0.01), name


def learn(inputs: np.ndarray, label: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Posteriors over the prior that a network learns."""
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        network = MLPClassifier((48,), batch_size=500, learning_rate_init=3e-3, max_iter=12, random_state=0)
        return network.fit(inputs, label).predict_proba(unseen) / np.bincount(label)


def observables(draws: Draws, name: str, scale: np.ndarray) -> np.ndarray:
    words = np.eye(len(TEXTS))[draws.text]
    match = np.eye(5)[draws.stressed]
    return {
        "speech": draws.prosody / scale,
        "text": words,
        "full_knowledge": np.hstack([draws.prosody / scale, words, match]),
    }[name]
