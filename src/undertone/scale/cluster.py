"""The door to Ray: connect, disconnect and leave nothing behind."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from undertone.errors import ConfigError, MissingExtra
from undertone.scale.workers import Workers

__all__ = ["connected", "most", "quiet", "require"]

QUIET = {
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
}
STORE_BYTES = 256 << 20
"""Object store of a cluster that we start ourselves: it carries parts and summaries, no recordings."""


def require(feature: str) -> Any:
    """The library; a MissingExtra with the install line where it is not installed."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise MissingExtra(feature, "scale") from None
    return ray


@contextmanager
def connected(address: str | None = None, feature: str = "--engine ray") -> Iterator[Any]:
    """Ray: the cluster at ``address``, else at RAY_ADDRESS, else one of this machine's own cores.

    A connection that is open already is used and left open.
    """
    ray = require(feature)
    if ray.is_initialized():
        yield ray
        return
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    # a cluster that Ray starts itself requires a token unless RAY_AUTH_MODE is set otherwise
    own = {"include_dashboard": False, "object_store_memory": STORE_BYTES} if where == "local" else {}
    quietly = {"log_to_driver": False, "logging_level": logging.WARNING, "configure_logging": False}
    try:
        ray.init(address=where, namespace="undertone", **own, **quietly)
    except (ConnectionError, RuntimeError, ValueError) as error:
        why = str(error).strip().splitlines()[0]
        raise ConfigError(f"no Ray cluster at '{where}': {why}; `ray start --head` starts one") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def quiet() -> None:
    """Keep Ray Data's own progress bars and messages off the screen; they go to its log files."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def most(ray: Any, workers: Workers) -> int:
    """How many workers to use: the number given, else what fits now; a ConfigError where none fits."""
    have = ray.cluster_resources()
    room = have.get("CPU", 0.0) / workers.cpus
    if workers.gpus:
        room = min(room, have.get("GPU", 0.0) / workers.gpus)
    if room < 1 and not workers.workers:
        wanted = f"{workers.cpus:g} cores" + (f" and {workers.gpus:g} GPUs" if workers.gpus else "")
        raise ConfigError(
            f"the cluster has no room for one worker of {wanted}: it has {have.get('CPU', 0):g} cores and "
            f"{have.get('GPU', 0):g} GPUs; where machines are added later, give --ray workers=N"
        )
    return workers.workers or int(room)
