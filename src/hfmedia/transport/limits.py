"""The bounds of everything the transport does.

Each number has a name, a unit and a reason; nothing waits or grows without one.
"""

from __future__ import annotations

from msgspec import Struct


class TransportLimits(Struct, frozen=True, kw_only=True):
    """Seconds, bytes and counts. A request's own ``timeout`` comes on top; whichever ends first, ends it."""

    connect: float = 10.0  # s for DNS, TCP, proxy and TLS together; a live host needs well under one
    response_head: float = (
        60.0  # s from a question (GET) to the head of its answer, beside what the request asks to hold
    )
    submit_response_head: float = (
        300.0  # s from a POST to the head of its answer: a synchronous generation takes minutes
    )
    min_upload_rate: int = 32 * 1024  # bytes/s; a body gets the time that this slow a line would need
    body_idle: float = 60.0  # s without a byte in the middle of a reply
    body: float = 600.0  # s for a reply's body in all, so that a drip does not last forever
    download_idle: float = 60.0  # s without a byte in the middle of a download
    max_json_bytes: int = 128 * 1024 * 1024  # a reply after decompression: a 4K video in base64 fits
    max_media_bytes: int = 4 * 1024 * 1024 * 1024  # a download: beyond any video the providers make
    max_header_bytes: int = 32 * 1024  # one header line; the Hub's Link and policy headers run to several KiB
    max_redirects: int = 5  # a CDN needs one or two
    max_connections: int = 256  # at once for each kind of request: under the usual limit of 1,024 open files
    max_downloads: int = 32  # at once; each holds about half a MiB of buffers
    read_keepalive: float = 30.0  # s an idle connection is kept for the next GET, longer than the slowest poll
    submit_keepalive: float = 4.0  # s for the next POST: shorter than any server's own (5 s and up), see pools.py
