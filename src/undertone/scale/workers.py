"""How a cluster is cut into workers."""

from __future__ import annotations

from pydantic import Field

from undertone.config import Config

__all__ = ["Workers"]


class Workers(Config):
    """How large a worker is, how many there are, and how many utterances one takes at once."""

    workers: int = Field(0, ge=0)
    """Most workers at once; 0: as many as the cluster has room for."""
    cpus: float = Field(1, gt=0)
    """Cores of a worker; a worker computes with as many threads."""
    gpus: float = Field(0, ge=0)
    """GPUs of a worker; 0.5 lets two share one."""
    rows: int = Field(64, ge=1)
    """Utterances of a part: the most that a lost worker has to do again. Packed shards bring their own."""
    retries: int = Field(3, ge=0)
    """How often a trial or a group that lost its machine is started again; parts always are."""

    @property
    def threads(self) -> int:
        """Threads of a worker."""
        return max(1, int(self.cpus))
