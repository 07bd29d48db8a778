"""The app: routes, middleware, and the shape of every answer that is an error, put together. It owns no state."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from hfmedia._version import __version__
from hfmedia.core.errors import HfmediaError

from . import docs, sdapi, studio
from .config import Config
from .entrance.forwarded import Forwarded
from .entrance.pace import RateHeaders
from .errors import SERVER, Refusal, refusal_of
from .gateway import Gateway
from .media import files
from .media.janitor import Janitor
from .openai import images, models, videos
from .own import jobs, usage
from .watching import health
from .watching import metrics as metrics_routes
from .watching.logs import Access

log = logging.getLogger("hfmedia.server")
ABOUT = """Images and videos from the models on Hugging Face Inference Providers, behind OpenAI's API.

Send `Authorization: Bearer hfm_…` (a gateway key). Results carry `provider`, `model`, `seed`, `cost`, `job_id` and
`warnings` as extra fields. A job goes on when its connection is lost; `/v1/jobs` tells how it stands."""
RATES = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")
ROUTERS = (images.router, videos.router, models.router, jobs.router, usage.router, files.router, sdapi.router,
           health.router, metrics_routes.router, docs.router, studio.router)  # fmt: skip


def create_app(config: Config, environ: Mapping[str, str], *, sandbox: bool = False) -> FastAPI:
    """The gateway as an ASGI app. It opens with its lifespan, and lets go of its jobs at the end of it."""
    gateway = Gateway(config, environ, sandbox=sandbox)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        janitor = Janitor(gateway)
        await gateway.open()
        janitor.start()
        try:
            yield
        finally:
            await janitor.close()
            await gateway.close()

    app = FastAPI(
        title="hfmedia gateway",
        version=__version__,
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.gateway = gateway
    for router in ROUTERS:
        app.include_router(router)
    docs.describe_truly(app)
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(config.cors_origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
        expose_headers=["x-request-id", "x-should-retry", "retry-after", "openai-poll-after-ms", *RATES],
    )
    app.add_middleware(RateHeaders)
    app.add_middleware(Access, gateway=gateway)
    app.add_middleware(Forwarded, config=config)
    return app


async def _refused(request: Request, refusal: Refusal) -> Response:
    return JSONResponse(refusal.body(), refusal.status, refusal.all_headers())


async def _failed(request: Request, error: HfmediaError) -> Response:
    return await _refused(request, refusal_of(error))


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    """FastAPI's own checks of queries and paths."""
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return await _refused(request, Refusal(400, f"{name}: {first['msg']}", code="invalid_value", param=name))


async def _unrouted(request: Request, error: HTTPException) -> Response:
    """No such path, or not with this method."""
    headers = dict(error.headers or {})
    if error.status_code == 404:
        return await _refused(request, Refusal(404, f"there is nothing at {request.url.path[:200]}", code="not_found"))
    if error.status_code == 405:
        words = f"{request.method} is not understood at {request.url.path[:200]}"
        return await _refused(request, Refusal(405, words, code="method_not_allowed", headers=headers))
    return await _refused(request, Refusal(error.status_code, str(error.detail), headers=headers))


async def _crashed(request: Request, error: Exception) -> Response:
    """A defect of ours. What it was stands in the log alone."""
    refusal = Refusal(500, "unexpected; the log has the rest", type=SERVER, code="internal_error", retry=False)
    return await _refused(request, refusal)


# Starlette types every handler as one of any Exception, and calls each with its own kind alone.
HANDLERS: dict[type[Exception], Any] = {
    Refusal: _refused,
    HfmediaError: _failed,
    RequestValidationError: _invalid,
    HTTPException: _unrouted,
    Exception: _crashed,
}
