"""Which addresses a URL out of a reply may lead to: public ones, and hosts that the user trusts by name.

Pure: it reads URLs and addresses, and resolves nothing. What it does not recognise as public, it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from msgspec import Struct
from yarl import URL

from ..core.errors import InvalidRequestError, UnsafeUrlError

# Sources: the IANA special-purpose address registries for IPv4 and IPv6, and the clouds' own documentation for the
# services that hand out machine credentials.
PRIVATE_V4: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(block), reason)
    for block, reason in (
        ("0.0.0.0/8", "this machine"),
        ("10.0.0.0/8", "a private network"),
        ("100.64.0.0/10", "a carrier's shared network"),  # 100.100.100.200 hands out credentials at Alibaba
        ("127.0.0.0/8", "this machine"),
        ("168.63.129.16/32", "a cloud's own service for its machines"),  # Azure's, though the address looks public
        ("169.254.0.0/16", "the local link"),  # 169.254.169.254 hands out credentials in most clouds
        ("172.16.0.0/12", "a private network"),
        ("192.0.0.0/24", "reserved for protocols"),  # 192.0.0.192 hands out credentials at Oracle
        ("192.0.2.0/24", "reserved for documentation"),
        ("192.88.99.0/24", "a retired relay"),
        ("192.168.0.0/16", "a private network"),
        ("198.18.0.0/15", "reserved for measurements"),
        ("198.51.100.0/24", "reserved for documentation"),
        ("203.0.113.0/24", "reserved for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
PRIVATE_V6: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(block), reason)
    for block, reason in (
        ("::/128", "this machine"),
        ("::1/128", "this machine"),
        ("64:ff9b:1::/48", "a local translation"),
        ("100::/64", "a black hole"),
        ("2001::/32", "a tunnel that hides an address"),  # Teredo
        ("2001::/23", "reserved for protocols"),
        ("2001:db8::/32", "reserved for documentation"),
        ("2002::/16", "a tunnel that hides an address"),  # 6to4
        ("3fff::/20", "reserved for documentation"),
        ("5f00::/16", "reserved for segment routing"),
        ("fc00::/7", "a private network"),  # fd00:ec2::254 hands out credentials at Amazon
        ("fe80::/10", "the local link"),
        ("fec0::/10", "a private network"),
        ("ff00::/8", "multicast"),
    )
)
PUBLIC_V6 = IPv6Network("2000::/3")  # all that has been given out so far
IPV4_EMBEDDING_PREFIXES = (
    IPv6Network("::ffff:0:0/96"),
    IPv6Network("64:ff9b::/96"),
)  # mapped, NAT64: the last 32 bits decide

# Names that mean "here" by RFC 6761, 6762, 8375 and 9476, or by the habit of routers and clouds.
LOCAL_NAMES = ("localhost", "localdomain", "local", "internal", "home.arpa", "lan", "intranet", "corp", "home")

WEB_PORTS = (80, 443)
MIN_UNPRIVILEGED_PORT = 1024  # below it live mail, shells and printers, none of which should hear from a downloader
REDIRECT_STATUSES = (301, 302, 303, 307, 308)
_HOSTNAME = re.compile(
    r"(?=.{1,253}\.?$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?"
)
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_INVALID_URL_CHARS = re.compile(r"[\x00-\x20\x7f\\]")


class AddressGuard(Struct, frozen=True):
    """What the user trusts although it is private: pairs of a host (name or address) and a port, None for any port."""

    trusted: frozenset[tuple[str, int | None]] = frozenset()

    def trusts(self, host: str, port: int | None) -> bool:
        """Whether the user named this host, with this port or with none."""
        name = host.lower().rstrip(".")
        return (name, None) in self.trusted or (name, port) in self.trusted

    def check(self, url: URL) -> None:
        """UnsafeAddressError when the URL itself, before any DNS, leads where a download must not go."""
        host, port = url.raw_host, url.port
        if url.scheme not in ("http", "https") or not host:
            raise UnsafeUrlError(f"media can only be fetched over http or https, not from a {url.scheme!r} URL")
        if "@" in url.raw_authority:
            raise UnsafeUrlError(f"the media's address at {host_label(url)} carries a user name; it was not fetched")
        if not port:
            raise UnsafeUrlError(f"the media's address at {host_label(url)} has no usable port")
        if self.trusts(canonical_host(host), port):
            return
        if reason := host_block_reason(host):
            raise blocked_error(host_label(url), reason)
        if port < MIN_UNPRIVILEGED_PORT and port not in WEB_PORTS:
            raise blocked_error(host_label(url), f"port {port} belongs to another service than the web")

    def check_addresses(self, host: str, port: int, addresses: Sequence[str]) -> None:
        """UnsafeAddressError when any address that a name resolved to is private, and the name is not trusted."""
        if self.trusts(host, port):
            return
        for address in addresses:
            if reason := address_block_reason(ip_address(address.partition("%")[0])):
                raise blocked_error(host, f"it resolves to {address}, which is {reason}")


def guard_for(trusted_hosts: Iterable[str]) -> AddressGuard:
    """A guard from entries such as ``cdn.lan``, ``10.0.0.5:9000`` or ``[::1]:8080``; InvalidRequestError for others."""
    return AddressGuard(frozenset(_parse_trusted_host(entry.strip()) for entry in trusted_hosts if entry.strip()))


def parse_url(text: str, *, base: URL | None = None) -> URL:
    """The URL exactly as it is written, so that its signature stays true; ValueError when it is none.

    ``base`` is what a relative address is relative to. Text outside of ASCII is encoded, host names by IDNA.
    """
    if _INVALID_URL_CHARS.search(text):
        raise ValueError("a URL holds no space, control character or backslash")
    url = URL(text, encoded=text.isascii())
    url = base.join(url) if base is not None else url
    if url.explicit_port == -1 or url.raw_host == "":  # yarl reads both late, and raises then: better here
        raise ValueError("the URL has no host")
    return url


def host_label(url: URL) -> str:
    """Host and port of a URL, for people: never its user, path or query."""
    host = url.raw_host or "an unnamed host"
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if url.explicit_port is None else f"{bracketed}:{url.explicit_port}"


def canonical_host(host: str) -> str:
    """A host as it is compared: lower case, without the root's dot, IPv6 in its shortest form."""
    host = host.lower().rstrip(".")
    try:
        return str(ip_address(host)) if ":" in host else host
    except ValueError:
        return host


def host_block_reason(host: str) -> str | None:
    """Why a host must not be fetched from, as far as its spelling tells; None when DNS has the last word."""
    host = host.lower()
    if ":" in host or "%" in host:
        try:
            address = IPv6Address(host)
        except ValueError:
            return "it is not a plain IPv6 address"
        return "it has a zone of this machine" if address.scope_id else _block_reason(address)
    if not _HOSTNAME.fullmatch(host):
        return "it is not a host name"
    labels = host.rstrip(".").split(".")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        # The C library reads 2130706433, 0177.0.0.1 and 0x7f.1 as 127.0.0.1. Nobody honest writes so.
        try:
            return _block_reason(IPv4Address(host))
        except ValueError:
            return "it is an address in disguise"
    if len(labels) == 1 or any(labels[-local.count(".") - 1 :] == local.split(".") for local in LOCAL_NAMES):
        return "it is a name of this network"
    return None


def address_block_reason(address: IPv4Address | IPv6Address) -> str | None:
    """Why an address is not public, None when it is."""
    if isinstance(address, IPv4Address):
        return next((reason for block, reason in PRIVATE_V4 if address in block), None)
    if any(address in block for block in IPV4_EMBEDDING_PREFIXES):
        return address_block_reason(IPv4Address(int(address) & 0xFFFFFFFF))
    private_reason = next((reason for block, reason in PRIVATE_V6 if address in block), None)
    return private_reason or (None if address in PUBLIC_V6 else "not given out to anyone")


def blocked_error(host: str, reason: str) -> UnsafeUrlError:
    """The error for an address that is refused, and what to do when it is right after all."""
    return UnsafeUrlError(
        f"a reply pointed to {host}, and {reason}; nothing was fetched "
        "(name the host in HFMEDIA_TRUSTED_HOSTS if that is meant)"
    )


def _block_reason(address: IPv4Address | IPv6Address) -> str | None:
    reason = address_block_reason(address)
    return reason and f"that is {reason}"


def _parse_trusted_host(entry: str) -> tuple[str, int | None]:
    try:
        url = URL(f"//{f'[{entry}]' if entry.count(':') > 1 and '[' not in entry else entry}")
    except ValueError:
        url = URL()
    host = url.raw_host
    if not host or url.raw_user is not None or url.path not in ("", "/") or url.raw_query_string or url.port == 0:
        raise InvalidRequestError(
            f"{entry!r} is not a trusted host; write host or host:port, an IPv6 address in brackets"
        )
    return canonical_host(host), url.explicit_port
