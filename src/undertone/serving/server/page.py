"""The page's files, by a fixed table: nothing a client sends becomes a path."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

__all__ = ["FILES", "router"]

WEB = Path(__file__).parent.parent / "web"

SCRIPTS = "app elements live recorder results server sound stretches tasks timeline wording worklet".split()
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8") for name in SCRIPTS},
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}

router = APIRouter(include_in_schema=False)


def _add(route: str, name: str, kind: str) -> None:
    async def file() -> Response:
        return FileResponse(WEB / name, media_type=kind, headers={"cache-control": "no-cache"})

    router.add_api_route(route, file, methods=["GET", "HEAD"])


for _route, (_name, _kind) in FILES.items():
    _add(_route, _name, _kind)
