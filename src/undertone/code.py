"""Which code a result depends on, as a hash: a result that is kept is of use as long as its code stands.

Sources are read, never run. Comments and docstrings decide nothing and are left out.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from itertools import chain
from pathlib import Path

__all__ = ["code_mark", "modules_of"]


@cache
def code_mark(*entries: str, without: tuple[str, ...] = ()) -> str:
    """A hash of the code of the modules ``entries`` and of all that they import of the same packages."""
    digest = sha256()
    for name, tree in sorted(_closure(entries, without).items()):
        digest.update(f"{name} {ast.dump(tree)}".encode())
    return digest.hexdigest()[:16]


def modules_of(*entries: str, without: tuple[str, ...] = ()) -> list[str]:
    """The modules that ``code_mark`` reads: imported anywhere, in functions too, but not for types alone.

    ``without``: modules, and packages with all that is in them, that are left out.
    """
    return sorted(_closure(entries, without))


def _closure(entries: tuple[str, ...], without: tuple[str, ...]) -> dict[str, ast.Module]:
    """The modules' trees by name, bare."""
    packages = {name.partition(".")[0] for name in (*entries, __name__)}
    trees: dict[str, ast.Module] = {}
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        path = _file(name) if name.partition(".")[0] in packages else None
        if path is None or name in trees or any(f"{name}.".startswith(f"{left}.") for left in without):
            continue
        trees[name] = _bare(path.read_bytes())
        waiting += _imported(trees[name])
    return trees


def _file(name: str) -> Path | None:
    """Where a module's source is; None for what is no module, and for the package at the root.

    That one's file is the door for users: what stands behind it is not used from within.
    """
    root, *inner = name.split(".")
    path = Path(sys.modules[root].__path__[0], *inner)
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if inner and file.is_file()), None)


def _bare(source: bytes) -> ast.Module:
    """The tree without what decides nothing: docstrings, of fields too, and imports for types alone."""
    tree = ast.parse(source)
    for block in _blocks(tree):
        block[:] = [node for node in block if not _is_text(node) and not _is_for_types(node)]
    return tree


def _blocks(node: ast.AST) -> Iterator[list[ast.AST]]:
    """Every list of statements in a statement; expressions, which are most of a tree, are not looked at."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        block = getattr(node, field, [])
        yield block
        for inner in block:
            yield from _blocks(inner)


def _is_text(node: ast.AST) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _imported(tree: ast.Module) -> Iterator[str]:
    """The names of what is imported, of which some are modules."""
    for node in chain.from_iterable(_blocks(tree)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, "imports name their modules in full"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
