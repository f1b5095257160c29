"""Typed, frozen configuration: TOML in, one object out, nothing unknown let through.

A component's options are a subclass of ``Config`` beside it, a docstring under each field:

>>> class Loop(Config):
...     epochs: int = 15
...     '''Passes over the training part.'''
>>> Loop.parse({"epochs": 3}).epochs
3
>>> Loop.parse({"epoch": 3})
Traceback (most recent call last):
    ...
undertone.errors.ConfigError: unknown key 'epoch': did you mean 'epochs'?
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from undertone.errors import ConfigError, nearest_name

__all__ = ["Config", "apply_overrides", "dump_toml", "explain", "fingerprint", "load_toml", "plainly"]


class Config(BaseModel):
    """Base of every options class: frozen, and an unknown key is an error that names the nearest."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True
    )

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "") -> Self:
        """Build from plain values; ``where`` (a file's name) goes in front of the message."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            prefix = f"{where}: " if where else ""
            raise ConfigError(prefix + explain(error, _tree(cls, values))) from None

    def plain(self) -> dict[str, Any]:
        """Plain JSON-able values, defaults included."""
        return self.model_dump(mode="json")


Tree = dict[str, Any]
"""The keys that there are: a table's keys in their turn, None for a value."""

PLAIN = {
    r"String should match pattern '^\d+-\d+$'": "should be several, as '2-4'",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid string": "text",
    "a valid boolean": "true or false",
    "a valid list": "a list",
    "a valid tuple": "a list",
    "a valid dictionary": "a table",
}
"""Pydantic's words and ours."""


def explain(error: ValidationError, known: Tree | None = None) -> str:
    """What is wrong with some values, in one line: each key, what it should be, what it is."""
    unknown: list[str] = []
    wrong: dict[str, tuple[list[str], Any]] = {}
    for one in error.errors():
        path = [str(part) for part in one["loc"]]
        if one["type"] == "extra_forbidden":
            unknown.append(_unknown(path, known or {}))
            continue
        key = ".".join(_placed(path, known or {})) or "value"
        wrong.setdefault(key, ([], one["input"]))[0].append(plainly(one["msg"]))
    return "; ".join([*unknown, *(_wrong(key, wanted, value) for key, (wanted, value) in wrong.items())])


def plainly(message: str) -> str:
    """Pydantic's message as ``should be …``, without what went on inside.

    >>> plainly("Input should be a valid integer, unable to parse string as an integer")
    'should be a whole number'
    """
    text = message.removeprefix("Input ").removeprefix("Value error, ").partition(", unable to parse")[0]
    text = "is missing" if text == "Field required" else text
    for theirs, ours in PLAIN.items():
        text = text.replace(theirs, ours)
    return text.partition(", got a number with")[0]


def _wrong(key: str, wanted: list[str], value: Any) -> str:
    """``key: should be a or b, not value``: of a union's branches, one line."""
    if not all(text.startswith("should ") for text in wanted):
        return f"{key}: {'; '.join(dict.fromkeys(wanted))}"
    first, *more = dict.fromkeys(wanted)
    text = " or ".join([first, *(one.removeprefix("should be ") for one in more)])
    return f"{key}: {text}" + (f", not {value!r}" if isinstance(value, str | int | float) else "")


def _placed(path: list[str], known: Tree) -> list[str]:
    """A key's path without the branches of a union, which pydantic writes behind it."""
    for index, part in enumerate(path):
        if part not in known:
            more = takewhile(str.isdecimal, path[index:])
            return [*path[:index], *more] if index else path
        known = known[part] or {}
    return path


def _unknown(path: list[str], known: Tree) -> str:
    """An unknown key, and the key that was meant: of the same name in another table, or the most alike."""
    *above, last = path
    level = known
    for part in above:
        level = level.get(part) or {}
    elsewhere = [place for place in _places(known) if place[-1] == last]
    near = nearest_name(last, level)
    meant = elsewhere or ([[*above, near]] if near else [])
    hint = " or ".join(f"'{'.'.join(place)}'" for place in meant)
    keys = ", ".join(sorted(level))
    return f"unknown key '{'.'.join(path)}': " + (f"did you mean {hint}?" if hint else f"known keys: {keys}")


def _places(known: Tree, above: tuple[str, ...] = ()) -> Iterable[list[str]]:
    for key, inner in known.items():
        yield [*above, key]
        yield from _places(inner or {}, (*above, key))


def _tree(cls: type[BaseModel], values: Mapping[str, Any]) -> Tree:
    """The keys of a class and of the classes inside it; of a value that is built already, those it has."""
    tree: Tree = {}
    for name, field in cls.model_fields.items():
        given = values.get(name)
        inner = type(given) if isinstance(given, BaseModel) else field.annotation
        table = isinstance(inner, type) and issubclass(inner, BaseModel)
        below = given if isinstance(given, Mapping) else {}
        tree[name] = _tree(inner, below) if table else None  # type: ignore[arg-type]
    return tree


def load_toml(path: Path) -> dict[str, Any]:
    """The plain values of a TOML file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def apply_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Lay ``key.inner=value`` over plain values; the value is TOML, or else text as it stands.

    >>> apply_overrides({"loop": {"epochs": 15}}, ["loop.epochs=3", "system=mgcma"])
    {'loop': {'epochs': 3}, 'system': 'mgcma'}
    """
    result: dict[str, Any] = json.loads(json.dumps(values))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"override '{override}' is not of the form key=value")
        *path, last = key.strip().split(".")
        table = result
        for part in path:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError(f"override '{override}': '{part}' is not a table")
        table[last] = _toml_value(text.strip())
    return result


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def dump_toml(values: Mapping[str, Any]) -> str:
    """Plain values as TOML, scalars before tables; None is left out (TOML has no null).

    >>> print(dump_toml({"a": 1, "b": {"c": [1.5, "x"], "d": None}}), end="")
    a = 1
    <BLANKLINE>
    [b]
    c = [1.5, "x"]
    """
    lines: list[str] = []
    _dump_table(values, (), lines)
    return "\n".join(lines).strip("\n") + "\n"


def _dump_table(values: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    tables = {k: v for k, v in values.items() if isinstance(v, Mapping)}
    if path:
        lines.extend(["", f"[{'.'.join(map(_toml_key, path))}]"])
    for key, value in values.items():
        if key not in tables and value is not None:
            lines.append(f"{_toml_key(key)} = {_toml_text(value)}")
    for key, table in tables.items():
        _dump_table(table, (*path, key), lines)


def _toml_key(key: str) -> str:
    bare = key and all(c.isascii() and (c.isalnum() or c in "-_") for c in key)
    return key if bare else json.dumps(key, ensure_ascii=False)


def _toml_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_text(v) for v in value) + "]"
    if isinstance(value, Mapping):
        inner = (f"{_toml_key(k)} = {_toml_text(v)}" for k, v in value.items() if v is not None)
        return "{ " + ", ".join(inner) + " }"
    if isinstance(value, float):
        return repr(value)  # nan, inf and -inf are TOML as Python writes them
    return json.dumps(value, ensure_ascii=False)


def fingerprint(values: Any) -> str:
    """A short stable hash of plain values, independent of the order of keys."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
