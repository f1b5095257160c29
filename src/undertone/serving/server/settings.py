"""The settings of a server, with its limits."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from shutil import which
from typing import Self

from pydantic import Field, field_validator, model_validator

from undertone.config import Config
from undertone.judging.settings import Segmenting

__all__ = ["ServerSettings", "is_loopback"]


class ServerSettings(Config):
    """Options of ``undertone serve``."""

    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback needs a token."""
    port: int = Field(8000, ge=0, le=65535)
    token: str | None = Field(None, repr=False)
    """What a client must send as ``Authorization: Bearer …``; never logged."""
    token_file: Path | None = None
    """A file with one token, or with lines ``name:token``; read again when it changes."""
    rate_limit: int = Field(0, ge=0)
    """Requests a minute for each token; 0: no limit."""
    insecure: bool = False
    """Listen beyond loopback without a token."""
    allow_hosts: tuple[str, ...] = ()
    """Names under which the server may be called, beside localhost, its own address and IP addresses."""
    cors_origins: tuple[str, ...] = ()
    """Other sites whose pages may call, as ``https://name``; none by default."""
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None

    max_bytes: int = Field(32 * 2**20, gt=0)
    """Longest request body; counted as it arrives."""
    max_seconds: float = Field(900.0, gt=0)
    """Longest recording."""
    max_total_seconds: float = Field(1800.0, gt=0)
    """Longest recordings of one request together."""
    max_text: int = Field(20_000, gt=0)
    """Longest transcript, in characters."""
    max_files: int = Field(64, gt=0)
    """Most recordings in one batch request."""
    max_waiting: int = Field(64, gt=0)
    """Requests under way at once; the next gets 503 and when to come back."""
    max_buffered: int = Field(256 * 2**20, gt=0)
    """Bytes of bodies held at once, over all requests."""
    max_streams: int = Field(8, gt=0)
    """WebSocket streams at once; one counts from its first message."""
    max_connections: int = Field(512, gt=0)
    """Connections at once; for one more, that which has waited longest without a request is closed."""
    max_head: int = Field(64 * 2**10, gt=0)
    """Longest request line and headers together, in bytes."""
    head_seconds: float = Field(10.0, gt=0)
    """The headers, or the first message of a stream, must have arrived within this time."""
    receive_seconds: float = Field(30.0, gt=0)
    """A body must have arrived within this time."""
    request_seconds: float = Field(120.0, gt=0)
    """An accepted request is answered within this time, if only by 503."""
    decode_seconds: float = Field(20.0, gt=0)
    """Decoding one upload may take this long."""
    decode_memory: int = Field(2**30, gt=0)
    """Address space of the decoding process, in bytes, above what it has at its start."""
    idle_seconds: float = Field(60.0, gt=0)
    """A stream that sends nothing for this long is closed."""
    drain_seconds: float = Field(1.0, ge=0)
    """On SIGTERM, ``/readyz`` refuses for this long before the port closes."""
    shutdown_seconds: float = Field(60.0, gt=0)
    """Then accepted requests and streams have this long to finish."""

    job_folder: Path | None = None
    """Where long jobs are kept; None: none are taken."""
    max_jobs: int = Field(100, gt=0)
    """Jobs that are not over yet."""
    max_job_bytes: int = Field(512 * 2**20, gt=0)
    """Longest upload of a job; it goes to the disk as it comes."""
    max_job_seconds: float = Field(7200.0, gt=0)
    """Longest recording of a job."""
    job_kept_seconds: float = Field(7 * 86400.0, gt=0)
    """A job that is over is deleted after this time."""
    job_decode_seconds: float = Field(300.0, gt=0)
    job_decode_memory: int = Field(4 * 2**30, gt=0)
    job_urls: tuple[str, ...] = ()
    """Places that jobs may be fetched from, as ``https://name/path/``; none by default."""
    job_webhooks: tuple[str, ...] = ()
    """Places that may be called when a job is over, likewise."""
    webhook_secret: str | None = Field(None, repr=False)
    """Signs the calls (UNDERTONE_WEBHOOK_SECRET)."""

    max_batch: int = Field(16, gt=0)
    """Clips the model is given at once; 1 switches batching off."""
    decoders: int = Field(2, gt=0)
    """Decoding processes; of several, requests with many recordings leave one to the others."""
    containers: bool = False
    """Also read m4a, mp4, webm and other formats, through ffmpeg in the decoding process."""
    explain: bool = True
    """Give each word's contribution (a request may choose otherwise)."""
    log_transcripts: bool = False
    """Write transcripts into the log; off, the log holds no words."""
    segmenting: Segmenting = Segmenting()

    @field_validator("token")
    @classmethod
    def _stripped(cls, token: str | None) -> str | None:
        """A header's value has no white space at its ends, so a token with some would never be matched."""
        return (token or "").strip() or None

    @property
    def guarded(self) -> bool:
        """Whether a token is needed."""
        return bool(self.token) or self.token_file is not None

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if not is_loopback(self.host) and not self.guarded and not self.insecure:
            raise ValueError(
                f"{self.host} can be reached from other machines: set a token (UNDERTONE_TOKEN or"
                " --token-file), or give --insecure"
            )
        if self.containers and not (which("ffmpeg") and which("ffprobe") and hasattr(os, "memfd_create")):
            raise ValueError("containers needs ffmpeg and ffprobe on the PATH, and Linux")
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise ValueError("ssl_certfile and ssl_keyfile go together")
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
