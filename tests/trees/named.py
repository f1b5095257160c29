"""Corpora whose labels are in the names of files: RAVDESS, EmoDB, CREMA-D."""

from __future__ import annotations

from pathlib import Path

from trees.sound import noise

RAVDESS = (
    "Actor_01/03-01-01-01-01-01-01.wav",
    "Actor_01/03-01-05-02-02-01-01.wav",
    "Actor_02/03-01-02-01-01-02-02.wav",
    "Actor_02/03-01-08-01-02-02-02.wav",
    "Actor_02/03-02-05-01-01-01-02.wav",  # a song
    "Actor_02/01-01-05-01-01-01-02.wav",  # the sound of a video
    "Actor_02/._03-01-08-01-02-02-02.wav",
)
EMODB = ("03a01Fa.wav", "03a02Wb.wav", "16b10Lb.wav", "16b01Ta.wav", "08a07N.wav", "._03a01Fa.wav")
CREMAD = (
    "1001_DFA_ANG_XX",
    "1001_IEO_HAP_LO",
    "1002_TIE_NEU_XX",
    "1002_WSI_SAD_HI",
    "1091_ITH_FEA_MD",
    "1076_MTI_SAD_XX",
)


def write_ravdess(root: Path) -> Path:
    return _write(root, RAVDESS)


def write_emodb(root: Path) -> Path:
    return _write(root / "wav", EMODB).parent


def write_cremad(root: Path, votes: bool = True) -> Path:
    """The repository: wav and mp3 of each clip, tables; a clip that is only listed, an actor unknown."""
    _write(root / "AudioWAV", tuple(f"{name}.wav" for name in CREMAD))
    _write(root / "AudioMP3", tuple(f"{name}.mp3" for name in CREMAD))
    listed = [*CREMAD, "1091_ITH_FEA_HI"]
    rows = [f'{i},"{name}"' for i, name in enumerate(listed, 1)]
    (root / "SentenceFilenames.csv").write_text("\n".join(['"Stimulus_Number","Filename"', *rows, ""]))
    (root / "VideoDemographics.csv").write_text(
        "ActorID,Age,Sex,Race,Ethnicity\n"
        "1001,51,Male,Caucasian,Not Hispanic\n1002,21,Female,Caucasian,Not Hispanic\n"
    )
    if votes:
        (root / "processedResults").mkdir()
        voted = zip(CREMAD, ("A", "N", "N", "A:S", "F", "N"), strict=True)
        table = [f'"{i}","{name}","{vote}","60","H","50","A","40"' for i, (name, vote) in enumerate(voted, 1)]
        head = (
            '"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"'
        )
        (root / "processedResults" / "summaryTable.csv").write_text("\n".join([head, *table, ""]))
        counted = [
            f'"{kind}{n:05}",{n},0,0,1,0,2,"{name}",3,0.5,"A"'
            for kind in "123"
            for n, name in enumerate(CREMAD, 1)
        ]
        head = '"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote"'
        (root / "processedResults" / "tabulatedVotes.csv").write_text("\n".join([head, *counted, ""]))
    return root


def _write(root: Path, names: tuple[str, ...]) -> Path:
    for seed, name in enumerate(names):
        if Path(name).name.startswith("._"):
            (root / name).write_bytes(b"\0\5\x16\7")
        else:
            noise(root / name, 0.3, seed=seed)
    return root
