"""How a system is trained: every option of the loop, with its default."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from undertone.config import Config

__all__ = ["Sampling", "TrainingConfig"]

Sampling = Literal["shuffle", "balanced", "undersampled"]


class TrainingConfig(Config):
    """Options of ``training.loop.fit``."""

    epochs: PositiveInt = 30
    """Passes over the training part, at most."""
    patience: PositiveInt = 8
    """Epochs without a better validation score (of any member) after which training stops."""
    batch: PositiveInt = 32
    """Utterances (at dialogue level: dialogues) of one step, over all processes and accumulated parts."""
    accumulate: PositiveInt = 1
    """Parts that a process cuts its share of a batch into, so that less memory is needed."""
    pool: PositiveInt = 16
    """Batches' worth of shuffled utterances that are sorted by length together; 1: no length buckets."""
    sampling: Sampling = "shuffle"
    """``balanced`` draws with replacement, every class as often as the others; ``undersampled`` takes of each
    class, and of the utterances without one, as many as the rarest class has, others in every epoch."""
    second_stage: int = Field(default=0, ge=0)
    """Epochs after which a second stage begins: classes are undersampled and not weighted, the rate is
    ``second_rate``, and every epoch has a fresh optimizer. 0: there is none."""
    second_rate: PositiveFloat = 1e-6
    """The rate of the second stage."""

    optimizer: Literal["adamw", "adam"] = "adamw"
    """``adam`` couples the weight decay to the gradient, as some published recipes do."""
    rate: PositiveFloat = 1e-3
    """Peak learning rate."""
    encoder_rate: PositiveFloat = 2e-5
    """Peak learning rate of the uppermost block of a tuned encoder; low-rank maps want twenty times it."""
    layer_decay: float = Field(default=1.0, gt=0.0, le=1.0)
    """Factor of that rate from each block to the one below it."""
    warm: str = ""
    """Where encoders are tuned: the run of the same recipe with ``tune = "frozen"``. The system begins
    with the weights that it has there after the same fold and seed; empty: with fresh ones."""
    weight_decay: float = Field(default=1e-2, ge=0.0)
    """Pull of the weights towards zero."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """The rate after the warm-up: down to zero along a cosine, or held."""
    warmup: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of all steps in which the rate rises from zero."""
    clip: float = Field(default=1.0, ge=0.0)
    """Largest gradient norm of each member; 0: not clipped."""
    keep: Literal["best", "last"] = "best"
    """Whose weights a fit ends with: those of the best epoch by the validation part, or of the last. Where
    few speakers validate, the best is chosen by chance, and early, while the rate is still high."""
    averaging: float = Field(default=0.0, ge=0.0)
    """Evaluate and keep the mean of the weights so far, step t counting about as t to this power (8: mostly
    the last tenth of training); 0: the weights of the last step."""

    class_weights: bool = False
    """Weight classes against their frequency, to a mean of 1 over the training part."""
    effective: float = Field(default=1.0, gt=0.0, le=1.0)
    """Of ``class_weights``, β of the effective number of samples, as 0.999; 1: the number itself."""
    weight_power: float = Field(default=1.0, gt=0.0, le=1.0)
    """Of ``class_weights``: 0.5 takes the square roots of the inverse frequencies."""
    adjustment: float = Field(default=0.0, ge=0.0)
    """τ of logit adjustment: in training τ log of the class' share is added to its logit."""
    scaling: float = Field(default=0.0, ge=0.0)
    """γ of vector scaling: in training a logit is multiplied by (n of its class / largest n)^γ."""
    focal: float = Field(default=0.0, ge=0.0)
    """The focal loss's gamma; 0 is plain cross-entropy."""
    smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of each target, a label or the fractions of votes, spread evenly over all classes."""
    standardise: bool = True
    """Bring each dimension of the frames to mean 0 and deviation 1 over the training part."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """``auto``: bf16 on an accelerator that has it, else fp32. The weights stay fp32."""
    tracker: Literal["none", "tensorboard", "mlflow", "wandb"] = "none"
    """Where to send the metrics of each epoch, beside the run's own history."""
