"""The script of the demo corpus: its words, its sentences, and their order and speakers.

Every sentence has four places for an adjective. The words there, and which one is stressed, depend on how
the utterance carries its emotion (its *kind*):

    prosody   four blank words; the tone of voice has the emotion
    words     one emotion word among blanks, in an even tone
    both      one emotion word, and the tone of voice
    stress    one word of every class, in an even tone: the *stressed* one means its opposite

In every kind just one of the four is stressed, each place equally often, and never a lone emotion word. So
stress alone has no information, words alone have none in ``stress`` utterances, and only a system that
finds out *which word* is stressed can classify those.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from undertone.corpora.demo.prosody import SPEAKER, Prosody, draw

if TYPE_CHECKING:
    import numpy as np

__all__ = ["BLANKS", "CLASSES", "KINDS", "OPPOSITE", "PRIOR", "RELIABILITY", "WORDS", "Line", "write"]

CLASSES = ("angry", "happy", "sad", "neutral")
PRIOR = {"angry": 1103 / 5531, "happy": 1636 / 5531, "sad": 1084 / 5531, "neutral": 1708 / 5531}
"""The class shares of IEMOCAP's 5,531 utterances."""
KINDS = {"prosody": 0.24, "words": 0.24, "both": 0.18, "stress": 0.34}
"""How an utterance carries its emotion, and how often; independent of the class."""
RELIABILITY = 0.94
"""How often a lone emotion word belongs to the class; else it is of another class, each equally often."""
OPPOSITE = {"angry": "neutral", "neutral": "angry", "happy": "sad", "sad": "happy"}
"""What a stressed emotion word means."""

WORDS = {
    "angry": ("bitter", "hostile", "savage", "livid"),
    "happy": ("merry", "sunny", "jolly", "cheerful"),
    "sad": ("gloomy", "weary", "lonely", "mournful"),
    "neutral": ("normal", "common", "typical", "standard"),
}
BLANKS = ("wooden", "local", "silver", "narrow", "second", "yellow", "northern", "modern")

SENTENCES = (
    (  # the harbour
        "a {} baker met a {} sailor by the {} {} boat",
        "my {} {} captain sold the {} net to a {} pilot",
        "the {} ferry took {} fish and {} salt to a {} island",
        "seven {} gulls watched the {} {} harbour from a {} rock",
        "that {} rope and this {} anchor came with a {} {} ship",
        "we saw a {} wave a {} beach and two {} {} divers",
    ),
    (  # the school
        "a {} teacher gave the {} class a {} {} lesson",
        "our {} {} student read a {} book to her {} friend",
        "the {} desk and the {} chair stood in a {} {} room",
        "three {} pupils drew a {} {} map for the {} master",
        "this {} {} story has a {} start and a {} end",
        "his {} pencil made a {} line on my {} {} paper",
    ),
    (  # the farm
        "a {} farmer led the {} horse through a {} {} field",
        "her {} {} sheep found the {} gate near a {} barn",
        "the {} cow and a {} goat drank from the {} {} pond",
        "four {} dogs chased a {} {} rabbit down the {} hill",
        "that {} {} tractor cut the {} corn with a {} noise",
        "some {} rain fell on a {} roof and a {} {} garden",
    ),
    (  # the theatre
        "a {} singer wore the {} hat in a {} {} play",
        "the {} {} dancer took a {} bow before the {} crowd",
        "their {} song had a {} tune and a {} {} chorus",
        "nine {} actors shared a {} {} stage with the {} band",
        "this {} drum and that {} piano made {} {} music",
        "one {} {} critic wrote a {} note about the {} show",
    ),
    (  # the journey
        "a {} driver stopped the {} bus at a {} {} bridge",
        "your {} {} ticket was for the {} train to a {} town",
        "the {} road and the {} river cross a {} {} valley",
        "five {} tourists lost a {} {} suitcase in the {} hotel",
        "that {} {} journey began on a {} day in the {} month",
        "another {} guide showed us the {} tower and {} {} walls",
    ),
)  # fmt: skip
"""By session: no sentence, and hardly a noun, is in two sessions; the adjectives are in all."""

_TURNS = 20


@dataclass(frozen=True, slots=True)
class Line:
    """One utterance before it is synthesised."""

    id: str
    speaker: int
    """0..9; speakers 2s and 2s + 1 hold session s."""
    session: int
    dialogue: int
    turn: int
    label: str
    kind: str
    words: tuple[str, ...]
    places: tuple[int, int, int, int]
    """Indices in ``words`` of the four places."""
    meanings: tuple[str, str, str, str]
    """The class of each, ``"blank"`` for none."""
    stressed: int
    """Index in ``words`` of the stressed one."""
    prosody: Prosody


def write(size: int, rng: np.random.Generator) -> list[Line]:
    """The whole script of ``size`` utterances, dialogue by dialogue, turn by turn."""
    cells = _cells(size, rng)
    speakers = len(SPEAKER)
    lines: list[Line] = []
    for session in range(len(SENTENCES)):
        parts = [cells[2 * session :: speakers], cells[2 * session + 1 :: speakers]]
        parts = [[part[i] for i in rng.permutation(len(part))] for part in parts]
        for turn in range(sum(map(len, parts))):
            who = turn % 2 if len(parts[turn % 2]) > turn // 2 else 1 - turn % 2
            label, kind = parts[who].pop()
            lines.append(_line(session, who, turn, label, kind, rng))
    return lines


def _cells(size: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """``size`` pairs (label, kind) in their shares, grouped: dealt in turn, all speakers get the same."""
    shares = {(label, kind): p * q for label, p in PRIOR.items() for kind, q in KINDS.items()}
    counts = {cell: int(share * size) for cell, share in shares.items()}
    rest = sorted(shares, key=lambda cell: counts[cell] - shares[cell] * size)
    for cell in rest[: size - sum(counts.values())]:
        counts[cell] += 1
    order = [list(shares)[i] for i in rng.permutation(len(shares))]
    return [cell for cell in order for _ in range(counts[cell])]


def _line(session: int, who: int, turn: int, label: str, kind: str, rng: np.random.Generator) -> Line:
    meanings, place = place_words(label, kind, rng)
    frame = str(rng.choice(SENTENCES[session])).split()
    places = tuple(i for i, word in enumerate(frame) if word == "{}")
    used: list[str] = []
    for index, meaning in zip(places, meanings, strict=True):
        choice = [w for w in WORDS.get(meaning, BLANKS) if w not in used]
        used.append(str(rng.choice(choice)))
        frame[index] = used[-1]
    speaker = 2 * session + who
    dialogue, at = divmod(turn, _TURNS)
    return Line(
        id=f"s{session + 1}d{dialogue + 1:02d}t{at + 1:02d}{'fm'[who]}",
        speaker=speaker,
        session=session,
        dialogue=dialogue,
        turn=at,
        label=label,
        kind=kind,
        words=tuple(frame),
        places=places,  # type: ignore[arg-type]
        meanings=meanings,
        stressed=places[place],
        prosody=draw(label if kind in ("prosody", "both") else "neutral", rng),
    )


def place_words(label: str, kind: str, rng: np.random.Generator) -> tuple[tuple[str, str, str, str], int]:
    """The classes of the four words, and the index of the stressed one."""
    if kind == "stress":
        order = [CLASSES[i] for i in rng.permutation(4)]
        return (order[0], order[1], order[2], order[3]), order.index(OPPOSITE[label])
    meanings = ["blank"] * 4
    free = list(range(4))
    if kind != "prosody":
        others = [name for name in CLASSES if name != label]
        own = rng.random() < RELIABILITY
        meanings[free.pop(rng.integers(4))] = label if own else str(rng.choice(others))
    return (meanings[0], meanings[1], meanings[2], meanings[3]), int(rng.choice(free))
