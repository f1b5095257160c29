"""A recipe: one typed object that holds everything that determines an experiment.

A file in ``recipes/`` holds only what differs from the defaults::

    system = "mgcma"
    manifest = "data/iemocap.jsonl"

    [speech]
    name = "facebook/wav2vec2-base"

    [model]
    width = 128
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, SerializeAsAny, field_validator

from undertone import splits
from undertone.config import Config, apply_overrides, fingerprint, load_toml
from undertone.errors import ConfigError, UsageError, nearest_name, no_such
from undertone.features.config import SpeechConfig, TextConfig
from undertone.models.system import SystemConfig
from undertone.models.table import SYSTEMS
from undertone.models.targets import DimensionsLoss, Target, TargetKind
from undertone.models.towers import TuneConfig
from undertone.training.config import TrainingConfig
from undertone.types import Utterance

__all__ = [
    "ProtocolConfig",
    "Recipe",
    "SearchedConfig",
    "SpeechSide",
    "TextSide",
    "load_recipe",
    "parse_recipe",
    "recipes_folder",
    "shipped_recipes",
]

SUBWORD = "subword"


class Learning(Config):
    """How much of an encoder learns with the system."""

    tune: Literal["frozen", "top-k", "full", "lora"] = "frozen"
    """``frozen``: features are computed once and stored. Else blocks of the encoder are part of the network;
    of a speech encoder what lies below them is frozen, and its hidden states are stored."""
    top: PositiveInt = 2
    """Uppermost blocks that learn with ``top-k``."""
    checkpointing: bool = False
    """Compute blocks again in the backward pass: a third more time, much less memory."""
    rank: PositiveInt = 8
    """Of ``lora``."""
    dropout: float | None = Field(default=None, ge=0.0, lt=1.0)
    """Within the blocks that learn; None: as in the network's own settings."""

    @property
    def tuned(self) -> bool:
        """Whether the encoder is part of the network."""
        return self.tune != "frozen"

    @property
    def tuning(self) -> TuneConfig:
        """The settings of the encoder's tower."""
        return TuneConfig.parse({name: getattr(self, name) for name in TuneConfig.model_fields})


class SpeechSide(SpeechConfig, Learning):
    """The speech encoder, and what the system takes of it."""

    copies: int = Field(0, ge=0, le=20)
    """Copies of each training recording that the system learns from too: each at another speed, every second
    one with noise. Parts that choose or test have none."""

    @property
    def encoder(self) -> SpeechConfig:
        """The encoder whose features are stored: where blocks are tuned, the frozen part below them."""
        own = {name: getattr(self, name) for name in SpeechConfig.model_fields}
        return SpeechConfig(**own | ({"layer": self.tuning.given} if self.tuned else {}))


class TextSide(TextConfig, Learning):
    """The text encoder. ``subword`` is learned with the system, from the training part of each fold."""

    name: str = SUBWORD
    """``subword``, or a pretrained network's folder or hub name."""
    vocabulary: PositiveInt = 1000
    """Pieces that ``subword`` learns at most."""
    width: PositiveInt = 64
    """Width of the vectors of ``subword``'s pieces."""

    @property
    def learned(self) -> bool:
        """Whether the pieces are fitted inside the fold."""
        return self.name == SUBWORD

    @property
    def encoder(self) -> TextConfig:
        """The encoder's own part."""
        return TextConfig(**{name: getattr(self, name) for name in TextConfig.model_fields})


class ProtocolConfig(Config):
    """Which speakers are trained on, which choose the epoch, which are tested, and how often."""

    split: Literal[
        "loso", "emosuperb", "lospo", "kfold-speaker", "emobox", "fixed", "leaky-random-utterance"
    ] = "loso"
    """A key of ``splits.PROTOCOLS``."""
    folds: PositiveInt = 5
    """Of ``kfold-speaker``."""
    strict: bool = False
    """``lospo``: leave the test speaker's partner out altogether."""
    split_seed: int = 0
    """Which groups validate."""
    level: Literal["utterance", "dialogue"] = "utterance"
    """``dialogue``: a sample is a conversation, and a turn one vector of each modality."""
    context_turns: Literal["labelled", "all"] = "labelled"
    """Which turns a conversation holds: those with a label, as published, or every turn of the manifest, the
    others as context alone."""
    selection: Literal["validation", "test"] = "validation"
    """What chooses the epoch. ``test`` is what several published codes do: all but the test part trains, and
    the test part chooses the epoch, the temperature and the weights of members: optimistic, and stamped."""
    refit: bool = False
    """Train once more on the training and validation parts, for as many epochs as validation chose."""
    no_agreement: Literal["train", "drop"] = "train"
    """What is done with utterances that have votes or ratings but no label, where these are targets."""
    seeds: PositiveInt = 1
    """Seeds 0, 1, … of each fold."""
    unit: Literal["corpus", "session", "speaker"] = "corpus"
    """The unit of intervals and tests. ``corpus``: the session where its speakers talk with each other, else
    the speaker. ``speaker`` of speakers who talk with each other is stamped."""
    transcripts: str = "gold"
    """Where the manifest's texts come from: ``gold``, or the recogniser that wrote them."""

    def split_of(self, utterances: Sequence[Utterance]) -> splits.Split:
        """The folds of these utterances."""
        return splits.make(
            utterances,
            self.split,
            seed=self.split_seed,
            strict=self.strict,
            folds=self.folds,
            level=self.level,
            selection=self.selection,
        )


class SearchedConfig(Config):
    """The settings that ``undertone search`` chose; it writes them into a recipe."""

    on: str = ""
    """On what, and how: in words, for the card."""
    shared: bool = False
    """One search for all folds: test parts of some had a vote. Stamped."""
    split: str = ""
    """Hash of the folds that it was made for."""
    folds: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Fold, or ``final`` → the ``KEY=VALUE`` that are laid over the recipe in it."""


class Recipe(Config):
    """Everything that determines a run."""

    system: str
    """A key of ``models.table.SYSTEMS``."""
    name: str = ""
    """What the run is called; by default as the system."""
    manifest: str
    """The utterances, made by ``undertone prepare``; relative to where the command runs."""
    speech: SpeechSide = SpeechSide()
    text: TextSide = TextSide()
    protocol: ProtocolConfig = ProtocolConfig()
    model: SerializeAsAny[SystemConfig] = SystemConfig()
    """Settings of the system, of its own class."""
    training: TrainingConfig = TrainingConfig()
    target: tuple[TargetKind, ...] = Field(default=("class",), min_length=1)
    """What is learned: ``class``, ``distribution`` of the raters' votes, ``dimensions`` (arousal, valence,
    dominance), ``multilabel`` (several emotions at once); one or several of them over one trunk. Without the
    class, the distribution or else the emotions give the posterior."""
    target_weights: dict[TargetKind, PositiveFloat] = Field(default_factory=dict)
    """How much each target's loss counts; 1 where it is not named."""
    target_trunk: Literal["shared", "detached"] = "shared"
    """``detached``: the targets beside the class are read off what the class alone has learned."""
    target_error: DimensionsLoss = "ccc"
    """The loss of the dimensions: 1 - CCC over a batch, or the ``squared`` error of ratings in 0…1."""
    thresholds: Literal["even", "fitted"] = "even"
    """Above which probability one of several emotions is present: 1/C, as EMO-SUPERB has it, or for each
    class the value with the best F1 on the validation part."""
    scales: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """The least and the largest rating of a dimension, where the manifest does not state them."""
    notes: tuple[str, ...] = Field(default=())
    """For the reader of the result: differences from the published settings."""
    searched: SearchedConfig = SearchedConfig()

    @field_validator("target", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        kinds = [value] if isinstance(value, str) else value
        if isinstance(kinds, list | tuple) and len(set(kinds)) < len(kinds):
            raise ValueError("should name no target twice")
        return kinds

    @property
    def rated(self) -> str:
        """Whether votes and ratings count: empty where the class is the only target, else what is done with
        utterances that raters did not agree on."""
        return "" if self.target == ("class",) else self.protocol.no_agreement

    def target_of(self, dimensions: Iterable[str]) -> Target:
        """The targets and their weights, over these dimensions of the corpus."""
        weights = {kind: self.target_weights.get(kind, 1.0) for kind in self.target}
        named = tuple(dimensions) if "dimensions" in weights else ()
        return Target(weights=weights, trunk=self.target_trunk, dimensions=named, error=self.target_error)

    @property
    def title(self) -> str:
        """The run's name."""
        return self.name or self.system

    @property
    def sides(self) -> tuple[str, ...]:
        """The modalities that the system judges by."""
        chosen = getattr(self.model, "sides", "both")
        return SYSTEMS[self.system][0].sides if chosen == "both" else (chosen,)

    @property
    def uses_speech(self) -> bool:
        """Whether speech features are needed at all."""
        return "speech" in self.sides

    @property
    def uses_text(self) -> bool:
        """Whether transcripts are needed at all."""
        return "text" in self.sides

    @property
    def every_turn(self) -> bool:
        """Whether utterances without a label are used, as context."""
        return self.protocol.level == "dialogue" and self.protocol.context_turns == "all"

    def mark(self) -> str:
        """A hash of what determines one training: not how many there are, nor where the corpus lies."""
        values = self.plain()
        del values["name"], values["notes"], values["manifest"], values["protocol"]["seeds"]
        del values["protocol"]["unit"]
        values["searched"] = values["searched"]["folds"]
        values["speech"].pop("device"), values["text"].pop("device")
        return fingerprint(values)

    def differences(self) -> dict[str, Any]:
        """What differs from the defaults, as in a recipe's file."""
        bare = parse_recipe({"system": self.system, "manifest": self.manifest}).plain()
        return _differences(self.plain(), bare) | {"system": self.system, "manifest": self.manifest}

    def in_fold(self, fold: str) -> Self:
        """This recipe with the settings that a search chose inside a fold."""
        settings = self.searched.folds.get(fold, ())
        return self.but(settings).model_copy(update={"searched": SearchedConfig()})

    def changes(self, other: Recipe) -> list[str]:
        """The settings of another recipe that differ from this one's: ``training.epochs = 5``."""
        ours, theirs = self.plain(), other.plain()
        return [f"{key} = {value}" for key, value in _flat(_differences(theirs, ours))]

    def but(self, overrides: Iterable[str]) -> Self:
        """This recipe with ``key=value`` laid over it."""
        changed = list(overrides)
        values = apply_overrides(self.differences(), changed)
        return type(self).parse(_typed(values, "--set")) if changed else self


def parse_recipe(values: Mapping[str, Any], where: str = "") -> Recipe:
    """A recipe from plain values; what is unknown or contradictory is refused."""
    recipe = Recipe.parse(_typed(values, where), where)
    _refuse_contradictions(recipe, where)
    return recipe


def load_recipe(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """A recipe with ``key=value`` over it: a file, or one undertone brings (``[recipes/]demo/unison``)."""
    file, named = path, Path(path.as_posix().removeprefix("recipes/"))
    if not path.exists() and (named != path or not path.suffix):
        file = recipes_folder() / named.with_suffix(".toml")
        if not file.is_file():
            raise UsageError(_no_recipe(path.as_posix()))
    return parse_recipe(apply_overrides(load_toml(file), overrides), str(path))


def shipped_recipes() -> list[str]:
    """The names of the recipes that undertone brings: ``demo/unison`` …"""
    root = recipes_folder()
    recipes = [path for path in sorted(root.rglob("*.toml")) if "system" in load_toml(path)]
    return [path.relative_to(root).with_suffix("").as_posix() for path in recipes]


def _no_recipe(name: str) -> str:
    """The message for a name that is neither a file nor a recipe: those that were probably meant."""
    known = shipped_recipes()
    near = nearest_name(name.removeprefix("recipes/").removesuffix(".toml"), known)
    meant = [one for one in known if one.rpartition("/")[2] == name] or ([near] if near else [])
    hint = f"did you mean {' or '.join(meant)}?" if meant else "`undertone list recipes` shows them"
    return f"{name}: no such file, and no recipe of that name; {hint}"


def recipes_folder() -> Path:
    """Where the recipes are: in the installed package, or at the root of a checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "recipes", package.parents[1] / "recipes"):
        if (folder / "demo").is_dir():
            return folder
    raise ConfigError(f"{package}: the recipes are not installed with this copy of undertone")


def _typed(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values with [model] parsed by the system's own class."""
    name = values.get("system")
    prefix = f"{where}: " if where else ""
    if name not in SYSTEMS:
        raise ConfigError(prefix + no_such("system", str(name), SYSTEMS))
    model = values.get("model", {})
    if isinstance(model, Mapping):
        model = SYSTEMS[name][1].parse(model, f"{prefix}[model]")
    return {**values, "model": model}


def _refuse_contradictions(recipe: Recipe, where: str) -> None:
    prefix = f"{where}: " if where else ""
    dialogue = recipe.protocol.level == "dialogue"
    if dialogue and recipe.uses_text and recipe.text.learned:
        raise ConfigError(
            f"{prefix}protocol.level = 'dialogue' needs a text.name with vectors, not 'subword'"
        )
    if recipe.protocol.context_turns == "all" and not dialogue:
        raise ConfigError(f"{prefix}protocol.context_turns = 'all' needs protocol.level = 'dialogue'")
    if recipe.speech.copies and dialogue:
        raise ConfigError(f"{prefix}speech.copies needs protocol.level = 'utterance'")
    both: tuple[tuple[str, bool, SpeechSide | TextSide], ...] = (
        ("speech", recipe.uses_speech, recipe.speech),
        ("text", recipe.uses_text, recipe.text),
    )
    for name, used, side in both:
        if not (used and side.tuned):
            continue
        if side.name in (SUBWORD, "acoustic", "egemaps"):
            raise ConfigError(f"{prefix}{name}.tune needs a pretrained {name}.name, not '{side.name}'")
        if dialogue:
            raise ConfigError(f"{prefix}{name}.tune needs single utterances with their own frames and tokens")
        if "-" in str(side.layer).lstrip("-"):
            way = "'weighted', 'last' or a number"
            raise ConfigError(
                f"{prefix}{name}.layer = '{side.layer}' is for a frozen encoder: to tune, {way}"
            )
        if isinstance(side, SpeechSide) and side.average > 1:
            raise ConfigError(f"{prefix}speech.average = {side.average} is for a frozen encoder")
        lowest = side.top if side.tune == "top-k" else 1
        if isinstance(side.layer, int) and 0 <= side.layer < lowest:
            raise ConfigError(f"{prefix}{name}.layer = {side.layer} has no {lowest} blocks below it to tune")
    if recipe.training.warm and not any(used and side.tuned for _, used, side in both):
        raise ConfigError(f"{prefix}training.warm is for recipes that tune an encoder")
    if recipe.target_trunk == "detached" and "class" not in recipe.target:
        raise ConfigError(f"{prefix}target_trunk = 'detached' needs the class, which the trunk learns from")
    if wrong := sorted(set(recipe.target_weights) - set(recipe.target)):
        raise ConfigError(
            f"{prefix}target_weights.{wrong[0]}: no such target; target = {list(recipe.target)}"
        )
    if recipe.protocol.refit and recipe.protocol.selection == "test":
        raise ConfigError(f"{prefix}protocol.refit and protocol.selection = 'test' exclude each other")
    level = getattr(recipe.model, "level", "utterance")
    if level != recipe.protocol.level:
        raise ConfigError(
            f"{prefix}model.level = '{level}' and protocol.level = '{recipe.protocol.level}' differ"
        )


def _differences(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    differing: dict[str, Any] = {}
    for key, value in values.items():
        default = defaults.get(key)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            if inner := _differences(value, default):
                differing[key] = inner
        elif value != default and value is not None:
            differing[key] = value
    return differing


def _flat(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value
