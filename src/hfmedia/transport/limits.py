"""Limits of the transport: timeouts, sizes and counts, each with its unit and its reason."""

from __future__ import annotations

from msgspec import Struct


class TransportLimits(Struct, frozen=True, kw_only=True):
    """Seconds, bytes and counts. A request's own ``timeout`` applies as well; whichever ends first counts."""

    connect: float = 10.0  # s for DNS, TCP, proxy and TLS together; a live host needs well under one
    response_head: float = 60.0  # s from a GET to the head of its response, on top of the request's server_wait
    submit_response_head: float = 300.0  # s from a POST to the head of its response: generating in sync takes minutes
    min_upload_rate: int = 32 * 1024  # bytes/s; a body gets the time that a connection this slow would need
    body_idle: float = 60.0  # s without a byte within a response body
    body: float = 600.0  # s for a whole response body, so that a trickle does not last forever
    download_idle: float = 60.0  # s without a byte within a download
    max_json_bytes: int = 128 * 1024 * 1024  # a response after decompression: a 4K video in base64 fits
    max_media_bytes: int = 4 * 1024 * 1024 * 1024  # a download: larger than any video of the providers
    max_header_bytes: int = 32 * 1024  # one header line; the Hub's Link and policy headers run to several KiB
    max_redirects: int = 5  # a CDN needs one or two
    max_connections: int = 256  # concurrent, per kind of request: under the usual limit of 1,024 open files
    max_downloads: int = 32  # concurrent; each holds about half a MiB of buffers
    read_keepalive: float = 30.0  # s an idle connection is kept for the next GET, longer than the slowest poll
    submit_keepalive: float = 4.0  # s for the next POST: shorter than any server's own (5 s and up), see sessions.py
