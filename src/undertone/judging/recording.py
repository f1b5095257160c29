"""One answer for a whole recording, from what was said of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from undertone.judging.clips import Model
from undertone.judging.timeline import overall
from undertone.types import Prediction, TimelineSegment

if TYPE_CHECKING:
    from undertone.judging.transcripts import Transcript

__all__ = ["recording"]


def recording(
    name: str,
    model: Model,
    whole: Prediction | None,
    cells: Sequence[TimelineSegment],
    words: Transcript | None = None,
) -> Prediction:
    """The prediction of the whole with its timeline.

    ``whole`` None: the recording was too long to be judged at once, its answer is the mean of its cells.
    A model whose card names a threshold abstains below it here as elsewhere. No cells means that no speech
    was found: no label, and no confidence.
    """
    if whole is not None:
        return replace(whole, segments=tuple(cells))
    if not cells:
        even = {label: 1 / len(model.labels) for label in model.labels}
        return Prediction(name, None, 0.0, even, {"fused": even}, model=model.name)
    mean = overall(cells)
    label = max(mean, key=mean.__getitem__)
    unsure = mean[label] < float(model.card.get("abstain", {}).get("threshold", 0.0))
    heard = words is not None and words.alignment is not None
    return Prediction(
        id=name,
        label=None if unsure else label,
        confidence=mean[label],
        probabilities=mean,
        perspectives={"fused": mean} if heard else {"fused": mean, "speech": mean},
        segments=tuple(cells),
        model=model.name,
        modalities=("speech", "text") if heard else ("speech",),
        text=words.text if words and heard else None,
        text_source=words.source if words and heard else None,
    )
