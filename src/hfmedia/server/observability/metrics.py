"""Prometheus metrics: requests, jobs, providers and costs.

Each gateway has its own registry, so that several can run in one process.
"""

from __future__ import annotations

import time
from collections import Counter as CollectionsCounter
from collections import OrderedDict
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hfmedia._version import __version__
from hfmedia.core.credentials import redact
from hfmedia.engine import (
    Accepted,
    Downloading,
    Event,
    FailedOver,
    JobFailed,
    MediaReady,
    Queued,
    Running,
    Started,
    Submitting,
)
from hfmedia.server.auth.authentication import require_caller
from hfmedia.server.db.generations import Generation
from hfmedia.server.dependencies import get_gateway
from hfmedia.server.errors import ApiError, error_responses
from hfmedia.server.jobs import GenerationRunner

router = APIRouter(tags=["observability"])
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TEXT_RESPONSES: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
DURATION_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
MAX_TRACKED_JOBS = 10_000  # jobs whose acceptance time and state are remembered
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})  # clients can invent others
EVENT_STATES: dict[type[Event], str] = {
    Started: "waiting",
    Submitting: "submitting",
    Accepted: "queued",
    Queued: "queued",
    Running: "running",
    Downloading: "downloading",
}


class Metrics:
    """Counters, histograms and gauges of one gateway."""

    def __init__(self, runner: GenerationRunner) -> None:
        self.registry = CollectorRegistry()
        options: dict[str, Any] = {"registry": self.registry}
        self._requests = Counter("hfmedia_requests", "HTTP requests.", ["route", "method", "status"], **options)
        self._seconds = Histogram(
            "hfmedia_request_seconds",
            "Seconds to the response's end.",
            ["route"],
            buckets=DURATION_BUCKETS,
            **options,
        )
        self._bytes = Counter("hfmedia_response_bytes", "Bytes sent in responses.", **options)
        self._jobs = Counter("hfmedia_jobs_ended", "Jobs that ended.", ["provider", "kind", "result"], **options)
        self._failures = Counter("hfmedia_failures", "Failed jobs.", ["provider", "error"], **options)
        self._failovers = Counter("hfmedia_failovers", "Failovers to another provider.", ["provider"], **options)
        self._provider_seconds = Histogram(
            "hfmedia_provider_seconds",
            "Seconds from acceptance to the stored file.",
            ["provider"],
            buckets=DURATION_BUCKETS,
            **options,
        )
        self._cost = Counter("hfmedia_cost", "Costs reported by providers.", ["provider", "unit"], **options)
        self._cost_unknown = Counter(
            "hfmedia_cost_unknown", "Results whose provider reported no cost.", ["provider"], **options
        )
        active_jobs = Gauge("hfmedia_jobs_active", "Outputs being generated.", **options)
        active_jobs.set_function(runner.active_count)
        Gauge("hfmedia_build", "Version of the gateway.", ["version"], **options).labels(__version__).set(1)
        self._jobs_by_state = Gauge("hfmedia_jobs", "Active jobs by state.", ["state"], **options)
        self._accepted_at: OrderedDict[str, float] = OrderedDict()
        self._states: OrderedDict[str, str] = OrderedDict()

    def request(self, method: str, route: str, status: int, seconds: float, sent_bytes: int) -> None:
        """Count a request; ``route`` is the template of its path, so that there are few label values."""
        self._requests.labels(route, method if method in METHODS else "other", str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        self._bytes.inc(sent_bytes)

    def job_event(self, generation: Generation, event: Event) -> None:
        """Count an event of a job."""
        if (state := EVENT_STATES.get(type(event))) is not None:
            self._states[event.job_id] = state
            while len(self._states) > MAX_TRACKED_JOBS:
                self._states.popitem(last=False)
        elif isinstance(event, MediaReady | JobFailed):
            self._states.pop(event.job_id, None)
        match event:
            case Accepted():
                self._accepted_at[event.job_id] = time.monotonic()
                while len(self._accepted_at) > MAX_TRACKED_JOBS:
                    self._accepted_at.popitem(last=False)
            case FailedOver():
                self._failovers.labels(event.previous_provider).inc()
            case MediaReady(media=media):
                self._jobs.labels(media.provider, generation.kind, "completed").inc()
                if (accepted_at := self._accepted_at.pop(event.job_id, None)) is not None:
                    self._provider_seconds.labels(media.provider).observe(time.monotonic() - accepted_at)
                if media.cost is None:
                    self._cost_unknown.labels(media.provider).inc()
                elif media.cost.amount > 0:
                    self._cost.labels(media.provider, media.cost.unit[:32]).inc(media.cost.amount)
            case JobFailed(error=error):
                provider = error.provider or "(none)"
                self._accepted_at.pop(event.job_id, None)
                self._failures.labels(redact(provider), type(error).__name__).inc()
            case _:
                pass

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        counts = CollectionsCounter(self._states.values())
        for state in dict.fromkeys(EVENT_STATES.values()):
            self._jobs_by_state.labels(state).set(counts[state])
        return generate_latest(self.registry)


@router.get("/metrics", response_class=Response, responses={**TEXT_RESPONSES, **error_responses(401, 403, 429)})
async def metrics(request: Request) -> Response:
    """Get Prometheus metrics. Requires an administrator's key, unless no keys exist or ``public_metrics`` is set."""
    gateway = get_gateway(request)
    if not gateway.config.public_metrics:
        caller = await require_caller(request)
        if caller.id and not caller.admin:
            raise ApiError(403, "metrics require the key of an administrator", code="admin_only", retry=False)
    recorded: Metrics = request.app.state.metrics
    return Response(recorded.text(), media_type=CONTENT_TYPE)
