"""Every system by name: its class and the class of its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from undertone.errors import ConfigError, no_such
from undertone.models.baselines import BaselineConfig, Concat, Score, ScoreConfig, SpeechOnly, TextOnly
from undertone.models.bayesian import Bayesian, BayesianConfig
from undertone.models.clap import Clap, ClapConfig
from undertone.models.compact import Compact, CompactConfig
from undertone.models.deepser import DeepSer, DeepSerConfig
from undertone.models.example import Dimensions
from undertone.models.mgcma import Mgcma, MgcmaConfig
from undertone.models.mmer import Mmer, MmerConfig
from undertone.models.multilevel import Multilevel, MultilevelConfig
from undertone.models.paired import PairedConfig, PairedTasks
from undertone.models.perspective import Perspective, PerspectiveConfig
from undertone.models.pooled import AttentionPooled, PooledConfig
from undertone.models.probe import Probe, ProbeConfig
from undertone.models.sides import Sides, SidesConfig
from undertone.models.system import System, SystemConfig
from undertone.models.timnet import Timnet, TimnetConfig
from undertone.models.unison import Unison, UnisonConfig

__all__ = ["ASSEMBLED", "SYSTEMS", "build", "preferred"]

SYSTEMS: dict[str, tuple[type[System], type[SystemConfig]]] = {
    "probe": (Probe, ProbeConfig),
    "speech": (SpeechOnly, BaselineConfig),
    "text": (TextOnly, BaselineConfig),
    "score": (Score, ScoreConfig),
    "concat": (Concat, BaselineConfig),
    "multilevel": (Multilevel, MultilevelConfig),
    "perspective": (Perspective, PerspectiveConfig),
    "mgcma": (Mgcma, MgcmaConfig),
    "mmer": (Mmer, MmerConfig),
    "pooled": (AttentionPooled, PooledConfig),
    "bayesian": (Bayesian, BayesianConfig),
    "clap": (Clap, ClapConfig),
    "timnet": (Timnet, TimnetConfig),
    "paired": (PairedTasks, PairedConfig),
    "deepser": (DeepSer, DeepSerConfig),
    "unison": (Unison, UnisonConfig),
    "compact": (Compact, CompactConfig),
}
"""In the order of the report's table: one modality, simple fusion, the published systems, ours."""

ASSEMBLED: dict[str, tuple[type[System], type[SystemConfig]]] = {"sides": (Sides, SidesConfig)}
"""Systems that are put together by ``undertone fuse``, not trained from a recipe."""


def preferred() -> str:
    """The name of the system that ranks highest: others are compared with it by default."""
    return max(SYSTEMS, key=lambda name: SYSTEMS[name][0].rank)


def build(name: str, settings: Mapping[str, Any], dimensions: Dimensions, where: str = "") -> System:
    """A system with fresh weights; ``where`` (a recipe's name) goes in front of messages."""
    known = SYSTEMS | ASSEMBLED
    if name not in known:
        prefix = f"{where}: " if where else ""
        raise ConfigError(prefix + no_such("system", name, SYSTEMS))
    system, config = known[name]
    return system(config.parse(settings, where), dimensions)
