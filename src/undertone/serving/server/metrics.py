"""What Prometheus reads at ``/metrics``: counts and durations, nothing of any transcript."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from undertone.serving.server.logs import Record

__all__ = ["Metrics"]

ROUTES = (
    "/v1/predict",
    "/v1/predict/batch",
    "/v1/stream",
    "/v1/jobs",
    "/v1/audio/transcriptions",
    "/v1/model",
    "/v1/models",
    "/v1/examples",
    "/metrics",
    "/healthz",
    "/readyz",
    "/",
)
CLOSES = frozenset({403, *range(1000, 1016)})
"""How streams end, as far as that is counted: a client may close with any number."""
SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The counters of one server, in a registry of their own."""

    CONTENT_TYPE = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        kept = {"registry": self._registry}
        self._requests = Counter(
            "undertone_requests", "Requests answered.", ["method", "route", "status"], **kept
        )
        self._seconds = Histogram(
            "undertone_request_seconds",
            "From the first byte to the last.",
            ["route"],
            buckets=SECONDS,
            **kept,
        )
        self._refused = Counter("undertone_refused", "Requests refused before any route.", ["reason"], **kept)
        self._waiting = Gauge(
            "undertone_requests_under_way", "Requests accepted and not yet answered.", **kept
        )
        self._audio = Counter("undertone_audio_seconds", "Seconds of audio judged.", **kept)
        self._batch = Histogram(
            "undertone_batch_clips",
            "Clips the model got at once.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            **kept,
        )
        self._model = Histogram("undertone_model_seconds", "One call of the model.", buckets=SECONDS, **kept)
        self._decode = Histogram("undertone_decode_seconds", "Decoding one upload.", buckets=SECONDS, **kept)
        self._streams = Gauge("undertone_streams", "Open WebSocket streams.", **kept)

    def answered(self, record: Record) -> None:
        route = record.path if record.path in ROUTES else "other"
        method = (
            record.method if record.method in ("GET", "POST", "HEAD", "OPTIONS", "DELETE", "WS") else "other"
        )
        status = record.status if method != "WS" or record.status in CLOSES else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(record.seconds)
        self._audio.inc(record.audio)

    def refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def waiting(self, requests: int) -> None:
        self._waiting.set(requests)

    def batch(self, clips: int, seconds: float) -> None:
        self._batch.observe(clips)
        self._model.observe(seconds)

    def decoded(self, seconds: float) -> None:
        self._decode.observe(seconds)

    def streams(self, change: int) -> None:
        self._streams.inc(change)

    def render(self) -> bytes:
        text: bytes = generate_latest(self._registry)
        return text
