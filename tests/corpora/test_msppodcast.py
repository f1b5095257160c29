"""MSP-Podcast's layout: letters, no agreement, others, unknown speakers, five partitions."""

from __future__ import annotations

from pathlib import Path

import pytest

from trees.sound import noise
from undertone import manifest as manifests
from undertone.corpora.msppodcast import MspPodcast
from undertone.errors import CorpusError
from undertone.experiment.prepare import prepare

CONSENSUS = """\
FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set
MSP-PODCAST_0001_0008.wav,N,2.6,3.8,3.0,127,Female,Train
MSP-PODCAST_0001_0019.wav,X,4.0,4.2,3.5,128,Male,Train
MSP-PODCAST_0002_0033.wav,A,5.4,2.0,5.2,Unknown,Male,Train
MSP-PODCAST_0003_0039.wav,H,5.0,6.0,4.8,129,Female,Development
MSP-PODCAST_0004_0040.wav,S,2.0,1.8,2.8,130,Female,Test1
MSP-PODCAST_0004_0041.wav,C,4.0,2.8,4.8,131,Male,Test2
MSP-PODCAST_0005_0001.wav,O,4.0,3.8,4.8,132,Male,Test1
MSP-PODCAST_0009_0001.wav,N,4.0,3.8,4.8,132,Male,Train
"""
DETAILED = """\
FileName,Worker,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom
MSP-PODCAST_0001_0008.wav,w1,Neutral,"Neutral,Happy",2,4,3
MSP-PODCAST_0001_0008.wav,w2,Neutral,Neutral,3,4,3
MSP-PODCAST_0001_0008.wav,w3,Happy,Happy,3,4,3
MSP-PODCAST_0001_0019.wav,w1,Happy,Happy,4,5,3
MSP-PODCAST_0001_0019.wav,w2,Other-proud,Other,4,5,3
MSP-PODCAST_0001_0019.wav,w3,Surprise,Surprise,4,5,3
"""


def release(root: Path, detailed: bool = True) -> Path:
    (root / "Labels").mkdir(parents=True)
    (root / "Labels" / "labels_consensus.csv").write_text(CONSENSUS)
    if detailed:
        (root / "Labels" / "labels_detailed.csv").write_text(DETAILED)
    for n, line in enumerate(CONSENSUS.splitlines()[1:-1]):
        noise(root / "Audios" / line.split(",")[0], 0.3, seed=n)
    (root / "Transcripts").mkdir()
    (root / "Transcripts" / "MSP-PODCAST_0001_0008.txt").write_text("so we\nwent home\n")
    return root


def test_every_clip_is_read_with_what_its_raters_said(tmp_path: Path) -> None:
    corpus = MspPodcast(release(tmp_path))
    read = {u.id: u for u in corpus.read()}
    assert len(read) == 6
    first = read["MSP-PODCAST_0001_0008"]
    assert (first.label, first.speaker, first.text) == ("N", "127", "so we went home")
    assert dict(first.votes) == {"N": 2.0, "H": 1.0}
    assert (first.extra["arousal"], first.extra["valence"], first.extra["dominance"]) == (2.6, 3.8, 3.0)
    assert dict(read["MSP-PODCAST_0001_0019"].votes) == {"H": 1.0, "O": 1.0, "U": 1.0}
    assert read["MSP-PODCAST_0002_0033"].speaker is None
    assert [u.extra["split"] for u in read.values()] == [
        "train", "train", "train", "validation", "test", "test",
    ]  # fmt: skip
    assert sum("1 clips" in note for note in corpus.notes) == 2
    (second,) = (u for u in MspPodcast(tmp_path, test="test2").read() if u.extra["split"] == "test")
    assert second.id == "MSP-PODCAST_0004_0041"


def test_its_label_set_leaves_out_others_and_no_agreement_but_keeps_their_votes(tmp_path: Path) -> None:
    root = release(tmp_path / "r")
    prepare("msppodcast", root, tmp_path / "m.jsonl")
    labels = [u.label for u in manifests.read(tmp_path / "m.jsonl").utterances]
    assert labels == ["neutral", "angry", "happy", "sad"]
    prepare("msppodcast", root, tmp_path / "all.jsonl", labels="all")
    everything = {u.id: u for u in manifests.read(tmp_path / "all.jsonl").utterances}
    assert len(everything) == 6
    unsure = everything["MSP-PODCAST_0001_0019"]
    assert unsure.label is None
    assert dict(unsure.votes) == {"happy": 1.0, "surprised": 1.0}


def test_without_detailed_labels_there_are_no_votes_and_it_is_noted(tmp_path: Path) -> None:
    corpus = MspPodcast(release(tmp_path, detailed=False))
    assert not any(u.votes for u in corpus.read())
    assert any("no votes" in note for note in corpus.notes)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [(",N,2.6", ",Q,2.6", "'Q' is no emotion"), (",Test2", ",Test9", "'Test9' is no partition")],
)
def test_a_letter_or_partition_that_nobody_defined_is_named(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    table = release(tmp_path) / "Labels" / "labels_consensus.csv"
    table.write_text(CONSENSUS.replace(before, after, 1))
    with pytest.raises(CorpusError, match=message):
        list(MspPodcast(tmp_path).read())


def test_what_each_rater_gave_is_kept(tmp_path: Path) -> None:
    first = next(iter(MspPodcast(release(tmp_path)).read()))
    assert first.extra["raters"] == {
        "arousal": [2, 3, 3],
        "valence": [4, 4, 4],
        "dominance": [3, 3, 3],
    }
