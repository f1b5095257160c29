"""Words that were spoken come in other proportions of classes than those that were only written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.judging.test_contributions import LABELS, Planted
from tests.models.synthetic import IDS, examples, make
from undertone.judging.clip import Clip, Transcript, excerpt, share
from undertone.judging.fakes import FakeModel
from undertone.judging.model import TrainedModel
from undertone.judging.networks import TorchNetwork
from undertone.judging.predictor import Predictor
from undertone.types import Alignment, Prediction, Segment

MORE = [2.0, 0.0, 0.0, -1.0]


def judged(spoken: bool, sides: tuple[str, ...], card: dict[str, Any]) -> Prediction:
    torch.manual_seed(0)
    (item,) = examples(1, IDS)
    encoders: Any = Planted([item])
    if sides != ("speech", "text"):
        whole = encoders.encode
        encoders.encode = lambda clips: [one.only(sides[0]) for one in whole(clips)]
    system = make("score").eval()
    model = TrainedModel("tiny", {"labels": LABELS} | card, encoders, TorchNetwork(system), system.tiers)
    words = Transcript("so glad", spoken=spoken) if "text" in sides else None
    (prediction,) = model.predict([Clip(item.id, None, words)], explain=True)
    return prediction


def shares(prediction: Prediction, side: str) -> np.ndarray:
    return np.array([prediction.perspectives[side][label] for label in LABELS])


def test_words_alone_are_moved_as_the_card_has_it_where_they_were_spoken() -> None:
    written, spoken = (judged(one, ("text",), {"spoken": MORE}) for one in (False, True))
    expected = shares(written, "fused") * np.exp(MORE)
    assert shares(spoken, "fused") == pytest.approx(expected / expected.sum(), rel=1e-5)
    assert shares(spoken, "text") == pytest.approx(shares(spoken, "fused"))
    assert spoken.confidence == pytest.approx(max(spoken.probabilities.values()))
    plain = judged(True, ("text",), {})
    assert shares(plain, "fused") == pytest.approx(shares(written, "fused")), (
        "a card without it moves nothing"
    )


def test_what_is_fused_stays_and_the_words_own_answer_is_moved() -> None:
    written, spoken = (judged(one, ("speech", "text"), {"spoken": MORE}) for one in (False, True))
    assert shares(spoken, "fused") == pytest.approx(shares(written, "fused"))
    assert shares(spoken, "speech") == pytest.approx(shares(written, "speech"))
    assert shares(spoken, "text")[0] > shares(written, "text")[0]
    alone = judged(True, ("speech",), {"spoken": MORE})
    assert shares(alone, "fused") == pytest.approx(shares(spoken, "speech"), abs=1e-5)


class Noting(FakeModel):
    """Keeps the words that it was given."""

    def predict(self, clips: Any, explain: bool = False) -> list[Prediction]:
        self.words = [clip.words for clip in clips]
        return super().predict(clips, explain)


@pytest.mark.parametrize(
    ("audio", "given", "expected"),
    [(None, None, False), (None, True, True), (np.ones(16_000, np.float32), None, True)],
)
def test_words_of_a_recording_are_spoken_and_others_only_by_request(
    audio: np.ndarray | None, given: bool | None, expected: bool
) -> None:
    model = Noting()
    Predictor(model).predict(audio, text="so glad", spoken=given)
    assert [words.spoken for words in model.words] == [expected]


def test_a_part_of_words_is_of_the_same_kind() -> None:
    timed = Alignment((Segment("so", 0.0, 0.4, chars=(0, 2)), Segment("glad", 0.5, 1.0, chars=(3, 7))))
    for part in (
        excerpt(Transcript("so glad", alignment=timed, spoken=False), 0.0, 0.45),
        share(Transcript("so glad", spoken=False), 0.0, 0.4, 0.0),
    ):
        assert part is not None and part.words.text == "so" and not part.words.spoken
