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
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from undertone.errors import ConfigError

__all__ = ["Config", "apply_overrides", "dump_toml", "fingerprint", "load_toml"]


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
            raise ConfigError(prefix + "; ".join(_explain(cls, e) for e in error.errors())) from None

    def plain(self) -> dict[str, Any]:
        """Plain JSON-able values, defaults included."""
        return self.model_dump(mode="json")


def _explain(cls: type[BaseModel], error: Mapping[str, Any]) -> str:
    path = [str(part) for part in error["loc"]]
    if error["type"] != "extra_forbidden":
        return f"{'.'.join(path) or 'value'}: {error['msg']}"
    known = _fields_at(cls, path[:-1])
    near = get_close_matches(path[-1], known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(sorted(known))}"
    return f"unknown key '{'.'.join(path)}': {hint}"


def _fields_at(cls: type[BaseModel], path: Iterable[str]) -> list[str]:
    for part in path:
        field = cls.model_fields.get(part)
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        cls = inner
    return list(cls.model_fields)


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
