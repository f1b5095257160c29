"""Write ``docs/reference`` from the code itself: command line, Python, REST, JSON schemas; the tests compare.

Run by `make docs`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).parent / "reference"
CLI = "# The command line\n\nWritten by `make docs` from `--help`.\n"
PYTHON = """# Python

Written by `make docs`: what `import undertone` gives. Everything else may change between versions.
Importing is cheap; torch is loaded with the first model.
"""
REST = """# REST

Written by `make docs` from the server's own document, [openapi.json](openapi.json), which
`GET /openapi.json` gives too. What routes are for, with examples: [serving](../guides/serving.md#a-server).
A body in JSON has the fields below; a form has the same, with `file`.
"""


def help_of(*words: str) -> str:
    """The help text of a command, 100 columns wide and without colour."""
    env = {**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TERM": "dumb"}
    call = [sys.executable, "-m", "undertone", *words, "--help"]
    text = subprocess.run(call, env=env, capture_output=True, encoding="utf-8", check=True).stdout
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def commands() -> list[tuple[str, ...]]:
    """Every command and subcommand, in the order of the help."""
    import typer

    from undertone.cli.app import load

    found: list[tuple[str, ...]] = []

    def walk(command: object, path: tuple[str, ...]) -> None:
        inner = getattr(command, "commands", None)
        if path:
            found.append(path)
        for name, child in (inner or {}).items():
            walk(child, (*path, name))

    walk(typer.main.get_command(load()), ())
    return found


def command_line() -> str:
    """The page of the command line."""
    parts = [CLI, f"```text\n{help_of()}\n```\n"]
    parts += [f"## undertone {' '.join(words)}\n\n```text\n{help_of(*words)}\n```\n" for words in commands()]
    return "\n".join(parts)


def python() -> str:
    """The page of the Python names: a directive each, which `make site` replaces by the docstrings."""
    import undertone

    names = [name for name in undertone.__all__ if not name.startswith("__")]
    functions = sorted(names, key=lambda name: (name[0].isupper(), undertone.__all__.index(name)))
    return PYTHON + "".join(f"\n::: {undertone._WHERE[name]}.{name}\n" for name in functions)


def openapi() -> dict[str, Any]:
    """The server's document."""
    from undertone.judging.fakes import FakeModel
    from undertone.serving.server.app import build
    from undertone.serving.server.settings import ServerSettings

    document: dict[str, Any] = build(FakeModel(), ServerSettings()).app.openapi()
    return document


def rest(document: dict[str, Any]) -> str:
    """The page of the routes: what each takes and answers."""
    parts = [REST]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(f"## {method.upper()} {path}\n\n{operation.get('description', '').strip()}\n")
            if body := _bodies(operation):
                parts.append(f"Takes {', '.join(body)}.\n")
            if given := _parameters(operation):
                parts.append("| parameter | in | |\n|---|---|---|\n" + "\n".join(given) + "\n")
            parts.append(f"Answers {', '.join(_answers(operation))}.\n")
    parts.append("# Bodies and answers\n".replace("# ", "## "))
    for name, schema in sorted(document["components"]["schemas"].items()):
        rows = [_field(key, value, schema) for key, value in schema.get("properties", {}).items()]
        if rows:
            about = " ".join(schema.get("description", "").split())
            parts.append(
                f"### {name}\n\n{about}\n\n| field | type | |\n|---|---|---|\n" + "\n".join(rows) + "\n"
            )
    return "\n".join(parts)


def _bodies(operation: dict[str, Any]) -> list[str]:
    content = operation.get("requestBody", {}).get("content", {})
    return [f"`{kind}`" + _named(body.get("schema", {})) for kind, body in content.items()]


def _named(schema: dict[str, Any]) -> str:
    name = schema.get("$ref", "").rpartition("/")[2]
    return f" ([{name}](#{name.lower()}))" if name else ""


def _parameters(operation: dict[str, Any]) -> list[str]:
    return [
        f"| `{one['name']}` | {one['in']} | {_cell(one.get('description', ''))} |"
        for one in operation.get("parameters", [])
    ]


def _answers(operation: dict[str, Any]) -> list[str]:
    lines = []
    for status, answer in operation["responses"].items():
        schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
        lines.append(f"{status}{_named(schema) if status.startswith('2') else ''}")
    return lines


def _field(key: str, value: dict[str, Any], schema: dict[str, Any]) -> str:
    needed = " (needed)" if key in schema.get("required", []) and "default" not in value else ""
    return f"| `{key}` | {_type(value)}{needed} | {_cell(value.get('description', ''))} |"


def _type(value: dict[str, Any]) -> str:
    if name := value.get("$ref", "").rpartition("/")[2]:
        return f"[{name}](#{name.lower()})"
    if several := value.get("anyOf") or value.get("oneOf"):
        return " or ".join(_type(one) for one in several)
    kind = str(value.get("type", "const" if "const" in value else "any"))
    if kind == "array" and "items" in value:
        return f"list of {_type(value['items'])}"
    if kind == "object" and isinstance(value.get("additionalProperties"), dict):
        return f"object of {_type(value['additionalProperties'])}"
    return {
        "string": "text",
        "integer": "whole number",
        "null": "null",
        "const": repr(value.get("const")),
    }.get(kind, kind)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def schemas() -> dict[str, Any]:
    """JSON schemas of the formats, by file name."""
    from pydantic import TypeAdapter

    from undertone.manifest.meta import Meta
    from undertone.serving.server.schemas import Answer
    from undertone.splits import Split
    from undertone.types import Utterance

    answer = Answer.model_json_schema(mode="serialization")
    answer["properties"].pop("warnings")  # the server's alone
    answer["required"].remove("warnings")
    meta = TypeAdapter(Meta).json_schema(mode="serialization")
    meta["properties"]["schema"] = {"type": "string", "pattern": r"^\d+\.\d+$"}
    made = {
        "utterance": TypeAdapter(Utterance).json_schema(),
        "meta": meta,
        "prediction": answer,
        "recipe": recipe_schema(),
        "split": TypeAdapter(Split).json_schema(),
    }
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {f"{name}.schema.json": dialect | schema for name, schema in made.items()}


def recipe_schema() -> dict[str, Any]:
    """The schema of recipes: ``model`` has the keys of the system that is named."""
    from pydantic.json_schema import models_json_schema

    from undertone.experiment.recipe import Recipe
    from undertone.models.table import SYSTEMS

    options = {name: config for name, (_, config) in SYSTEMS.items()}
    models = [(one, "validation") for one in {Recipe, *options.values()}]
    refs, document = models_json_schema(sorted(models, key=lambda one: one[0].__name__))
    schema = document["$defs"].pop("Recipe")
    schema["properties"]["model"] = {"type": "object", "description": "Settings of the system."}
    schema["properties"]["system"]["enum"] = list(options)
    schema["allOf"] = [
        {
            "if": {"properties": {"system": {"const": name}}},
            "then": {"properties": {"model": refs[config, "validation"]}},
        }
        for name, config in options.items()
    ]
    return {"$defs": document["$defs"], **schema}


def reference() -> dict[str, str]:
    """Every file that is written, by its place below ``docs/reference``."""
    document = openapi()
    data = {"openapi.json": document, **{f"schemas/{name}": schema for name, schema in schemas().items()}}
    pages = {"cli.md": command_line(), "python.md": python(), "rest.md": rest(document)}
    return pages | {
        name: json.dumps(values, indent=1, ensure_ascii=False) + "\n" for name, values in data.items()
    }


if __name__ == "__main__":
    for name, text in reference().items():
        place = REFERENCE / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8", newline="\n")
