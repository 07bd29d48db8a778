"""FastAPI dependencies of the routers: the gateway that serves a request, and its authenticated caller."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from .auth.authentication import require_caller
from .auth.caller import Caller
from .gateway import Gateway


def get_gateway(connection: HTTPConnection) -> Gateway:
    """Return the gateway that serves a request."""
    gateway: Gateway = connection.app.state.gateway
    return gateway


GatewayDep = Annotated[Gateway, Depends(get_gateway)]
CallerDep = Annotated[Caller, Depends(require_caller)]
