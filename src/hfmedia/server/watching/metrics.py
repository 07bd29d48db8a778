"""What the gateway counts, for Prometheus: requests, jobs, providers, money.

A registry of its own, so that two gateways in one process do not meet.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hfmedia._version import __version__
from hfmedia.core.wire import redact
from hfmedia.engine import (
    Accepted,
    Downloading,
    Event,
    JobFailed,
    MediaReady,
    Moved,
    Queued,
    Running,
    Started,
    Submitting,
)
from hfmedia.server.books.orders import Order
from hfmedia.server.entrance.gate import admitted
from hfmedia.server.errors import Refusal, answers
from hfmedia.server.here import gateway_of

if TYPE_CHECKING:
    from hfmedia.server.works import Works

router = APIRouter(tags=["watching"])
TYPE = "text/plain; version=0.0.4; charset=utf-8"
PLAIN: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
SECONDS = (0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
MOST_TIMED = 10_000  # jobs of which it is remembered when they were accepted, and where they stand
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})  # anybody can make more up
STATES: dict[type[Event], str] = {
    Started: "waiting",
    Submitting: "submitting",
    Accepted: "queued",
    Queued: "queued",
    Running: "running",
    Downloading: "downloading",
}


class Metrics:
    """Counts."""

    def __init__(self, works: Works) -> None:
        self.registry = CollectorRegistry()
        told: dict[str, Any] = {"registry": self.registry}
        self._requests = Counter("hfmedia_requests", "Requests answered.", ["route", "method", "status"], **told)
        self._seconds = Histogram(
            "hfmedia_request_seconds", "Seconds to an answer.", ["route"], buckets=SECONDS, **told
        )
        self._bytes = Counter("hfmedia_response_bytes", "Bytes sent in answers.", **told)
        self._jobs = Counter("hfmedia_jobs_ended", "Jobs that ended here.", ["provider", "kind", "result"], **told)
        self._failures = Counter("hfmedia_failures", "Failures by provider and error.", ["provider", "error"], **told)
        self._moves = Counter("hfmedia_moves", "Jobs that left a provider for another one.", ["before"], **told)
        self._provider = Histogram(
            "hfmedia_provider_seconds", "Seconds from acceptance to the file.", ["provider"], buckets=SECONDS, **told
        )
        self._cost = Counter("hfmedia_cost", "Costs as providers reported them.", ["provider", "unit"], **told)
        self._unknown = Counter("hfmedia_cost_unknown", "Results of which nobody told the cost.", ["provider"], **told)
        depth = Gauge("hfmedia_jobs_under_way", "Outputs that are being carried now.", **told)
        depth.set_function(works.under_way)
        Gauge("hfmedia_build", "The version that runs.", ["version"], **told).labels(__version__).set(1)
        self._standing = Gauge("hfmedia_jobs", "Jobs under way here, by state.", ["state"], **told)
        self._accepted: OrderedDict[str, float] = OrderedDict()
        self._states: OrderedDict[str, str] = OrderedDict()

    def request(self, method: str, route: str, status: int, seconds: float, sent: int) -> None:
        """One request was answered; ``route`` is the template of its path, so that there are few of them."""
        self._requests.labels(route, method if method in METHODS else "other", str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        self._bytes.inc(sent)

    def job_event(self, order: Order, event: Event) -> None:
        """One more event of a job."""
        if (state := STATES.get(type(event))) is not None:
            self._states[event.job_id] = state
            while len(self._states) > MOST_TIMED:
                self._states.popitem(last=False)
        elif isinstance(event, MediaReady | JobFailed):
            self._states.pop(event.job_id, None)
        match event:
            case Accepted():
                self._accepted[event.job_id] = time.monotonic()
                while len(self._accepted) > MOST_TIMED:
                    self._accepted.popitem(last=False)
            case Moved():
                self._moves.labels(event.before).inc()
            case MediaReady(media=media):
                self._jobs.labels(media.provider, order.kind, "completed").inc()
                if (began := self._accepted.pop(event.job_id, None)) is not None:
                    self._provider.labels(media.provider).observe(time.monotonic() - began)
                if media.cost is None:
                    self._unknown.labels(media.provider).inc()
                elif media.cost.amount > 0:
                    self._cost.labels(media.provider, media.cost.unit[:32]).inc(media.cost.amount)
            case JobFailed(error=error):
                provider = error.provider or "(none)"
                self._accepted.pop(event.job_id, None)
                self._failures.labels(redact(provider), type(error).__name__).inc()
            case _:
                pass

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        standing = Tally(self._states.values())
        for state in dict.fromkeys(STATES.values()):
            self._standing.labels(state).set(standing[state])
        return generate_latest(self.registry)


@router.get("/metrics", response_class=Response, responses={**PLAIN, **answers(401, 403, 429)})
async def metrics(request: Request) -> Response:
    """What it counts. It needs an admin's key, unless there are no keys or the operator opened it."""
    gateway = gateway_of(request)
    if not gateway.config.open_metrics:
        caller = await admitted(request)
        if caller.key and not caller.admin:
            raise Refusal(403, "this needs the key of an admin", code="admin_only", retry=False)
    return Response(gateway.metrics.text(), media_type=TYPE)
