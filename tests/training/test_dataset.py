import numpy as np
import pytest
import torch

from undertone.errors import ProtocolError, TrainingError
from undertone.models.example import Dimensions, Example
from undertone.training.dataset import Dataset, frame_statistics, labelled


def examples(*ids: str) -> list[Example]:
    return [Example(i, np.full((n + 1, 2), n, np.float32)) for n, i in enumerate(ids)]


def test_swapped_ids_are_refused() -> None:
    with pytest.raises(ProtocolError, match="features of 'b' stand where the label of 'a' is"):
        labelled(examples("b", "a"), ["a", "b"], [0, 1])


def test_a_missing_label_is_refused() -> None:
    with pytest.raises(ProtocolError, match="do not match"):
        labelled(examples("a", "b"), ["a", "b"], [0])


def test_labels_land_on_their_examples() -> None:
    assert [e.label for e in labelled(examples("a", "b"), ["a", "b"], [2, 1])] == [2, 1]


def test_nothing_to_train_on_is_said() -> None:
    with pytest.raises(TrainingError, match="nothing to train on"):
        Dataset([], Dimensions(classes=2))


def test_frame_statistics_are_those_of_all_frames_stacked() -> None:
    random = np.random.default_rng(0)
    frames = [random.normal(3, 2, (n, 4)).astype(np.float32) for n in (5, 17, 30)]
    frames = [np.concatenate([x, np.full((len(x), 1), 7, np.float32)], 1) for x in frames]
    examples = [Example(str(i), x) for i, x in enumerate(frames)] + [Example("none")]
    found = frame_statistics(Dataset(examples, Dimensions(classes=2, speech=5)))
    assert found is not None
    stacked = torch.from_numpy(np.concatenate(frames))
    torch.testing.assert_close(found[0], stacked.mean(0))
    torch.testing.assert_close(found[1][:4], stacked[:, :4].std(0, correction=0))
    assert found[1][4] == 1, "a constant dimension keeps its scale"


def test_dialogues_are_counted_by_turns() -> None:
    dialogue = Example("d", np.zeros((3, 2), np.float32), labels=np.array([1, -1, 1]), ids=("d1", "d2", "d3"))
    data = Dataset([dialogue], Dimensions(classes=2, speech=2))
    assert data.turns == ["d1", "d2", "d3"]
    assert (
        data.targets.tolist() == [1, -1, 1] and data.counts.tolist() == [2] and data.classes.tolist() == [1]
    )


def test_statistics_are_of_the_turns_that_have_speech() -> None:
    speech = np.array([[1.0, 2.0], [0.0, 0.0], [3.0, 6.0]], np.float32)
    present = np.array([[True, True], [False, True], [True, True]])
    dialogue = Example("d", speech, labels=np.zeros(3, np.int64), ids=("a", "b", "c"), turn_present=present)
    statistics = frame_statistics(Dataset([dialogue], Dimensions(classes=2, speech=2)))
    assert statistics is not None
    assert [x.tolist() for x in statistics] == [[2.0, 4.0], [1.0, 2.0]]
