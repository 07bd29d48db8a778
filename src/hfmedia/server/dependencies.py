"""Where a request has come to. Apart from the gateway itself, so that its parts may have routes of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

if TYPE_CHECKING:
    from .gateway import Gateway


def get_gateway(connection: HTTPConnection) -> Gateway:
    """The gateway that a request came to."""
    gateway: Gateway = connection.app.state.gateway
    return gateway
