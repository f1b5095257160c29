"""Serves the fake model: ``python fake_server.py '{"model": {"seconds": 0.1}, "max_waiting": 4}'``."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

from undertone.judging.fakes import FakeModel
from undertone.serving.server.examples import find_examples
from undertone.serving.server.run import serve
from undertone.serving.server.settings import ServerSettings


def main() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s %(message)s")
    values = json.loads(sys.argv[1])
    model = FakeModel(**values.pop("model", {}))
    examples = values.pop("examples", None)
    for name, limit in json.loads(os.environ.get("LIMITS", "{}")).items():
        import resource

        resource.setrlimit(getattr(resource, name), (limit, limit))
    settings = ServerSettings.parse({"port": 0, "drain_seconds": 0.0, **values})
    serve(model, settings, examples=find_examples(Path(examples)) if examples else None)


if __name__ == "__main__":
    main()
