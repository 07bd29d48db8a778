"""The app: routers, middleware and exception handlers of a gateway."""

from __future__ import annotations

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

from . import openapi, studio
from .api import sdapi
from .api.native import jobs, usage
from .api.openai import images, models, videos
from .config import Config
from .errors import INTERNAL_ERROR, ApiError, to_api_error
from .gateway import Gateway
from .media import routes
from .media.janitor import Janitor
from .middleware.access_log import AccessLogMiddleware
from .middleware.proxy_headers import ProxyHeadersMiddleware
from .middleware.rate_limit import RateLimitHeadersMiddleware, TokenBucketLimiter
from .observability import health
from .observability import metrics as metrics_routes
from .observability.metrics import Metrics

DESCRIPTION = """Images and videos from the models on Hugging Face Inference Providers, behind OpenAI's API.

Send `Authorization: Bearer hfm_…` (a gateway key). Results carry `provider`, `model`, `seed`, `cost`, `job_id` and
`warnings` as extra fields. A job continues when its connection is lost; `/v1/jobs` returns its status."""
RATE_HEADERS = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")
ROUTERS = (images.router, videos.router, models.router, jobs.router, usage.router, routes.router, sdapi.router,
           health.router, metrics_routes.router, openapi.router, studio.router)  # fmt: skip


def create_app(config: Config, environ: Mapping[str, str], *, sandbox: bool = False) -> FastAPI:
    """Return a gateway as an ASGI app. Its lifespan starts the gateway, and detaches from all jobs at its end."""
    gateway = Gateway(config, environ, sandbox=sandbox)
    metrics = Metrics(gateway.runner)
    gateway.runner.add_listener(metrics.job_event)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        janitor = Janitor(gateway)
        await gateway.start()
        janitor.start()
        try:
            yield
        finally:
            await janitor.close()
            await gateway.close()

    app = FastAPI(
        title="hfmedia gateway",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.gateway = gateway
    app.state.metrics = metrics
    app.state.rate_limiter = TokenBucketLimiter()
    for router in ROUTERS:
        app.include_router(router)
    openapi.patch_openapi(app)
    for exception_class, handler in EXCEPTION_HANDLERS.items():
        app.add_exception_handler(exception_class, handler)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(config.cors_origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
        expose_headers=["x-request-id", "x-should-retry", "retry-after", "openai-poll-after-ms", *RATE_HEADERS],
    )
    app.add_middleware(RateLimitHeadersMiddleware)
    app.add_middleware(AccessLogMiddleware, metrics=metrics)
    app.add_middleware(ProxyHeadersMiddleware, config=config)
    return app


async def _api_error(request: Request, error: ApiError) -> Response:
    return JSONResponse(error.body(), error.status, error.response_headers())


async def _hfmedia_error(request: Request, error: HfmediaError) -> Response:
    return await _api_error(request, to_api_error(error))


async def _validation_error(request: Request, error: RequestValidationError) -> Response:
    """Respond to an invalid query or path parameter, rejected by FastAPI."""
    first_error = error.errors()[0]
    name = str(first_error["loc"][-1])
    return await _api_error(request, ApiError(400, f"{name}: {first_error['msg']}", code="invalid_value", param=name))


async def _http_error(request: Request, error: HTTPException) -> Response:
    """Respond to an unknown path or an unsupported method."""
    headers = dict(error.headers or {})
    if error.status_code == 404:
        return await _api_error(request, ApiError(404, f"{request.url.path[:200]} not found", code="not_found"))
    if error.status_code == 405:
        message = f"{request.method} is not supported at {request.url.path[:200]}"
        return await _api_error(request, ApiError(405, message, code="method_not_allowed", headers=headers))
    return await _api_error(request, ApiError(error.status_code, str(error.detail), headers=headers))


async def _internal_error(request: Request, error: Exception) -> Response:
    """Respond to a bug in the gateway; its details are in the log only."""
    return await _api_error(request, INTERNAL_ERROR)


# Starlette types every handler as one of any Exception, and calls each with its own class only.
EXCEPTION_HANDLERS: dict[type[Exception], Any] = {
    ApiError: _api_error,
    HfmediaError: _hfmedia_error,
    RequestValidationError: _validation_error,
    HTTPException: _http_error,
    Exception: _internal_error,
}
