"""The address rules: public addresses and trusted hosts, nothing else, however an address is dressed up."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfmedia.core.errors import InvalidRequestError, UnsafeUrlError
from hfmedia.transport.ssrf import PRIVATE_V4, PRIVATE_V6, AddressGuard, address_block_reason, guard_for, parse_url

PUBLIC = [
    "8.8.8.8",
    "93.184.216.34",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]
PRIVATE = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "168.63.129.16", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.168.1.1", "198.18.0.1", "224.0.0.1",
    "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:808:808::", "2001:0:4136:e378::1", "2001:db8::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "4000::1", "::ffff:0:127.0.0.1",
]  # fmt: skip
SAFE_URLS = [
    "http://example.com/a.png",
    "https://example.com:8443/a.png?X-Amz-Signature=abc%2Fdef",
    "https://EXAMPLE.com./a.png",
    "https://a_b.r2.example-storage.com/x",
    "http://8.8.8.8/a",
    "https://[2606:4700::1111]/a",
    "https://bücher.example/a",
    "https://127.0.0.1.example.com/",
    "https://local.example.com/",
]
UNSAFE_URLS = [
    "http://127.0.0.1/", "http://127.1/", "http://127.0.1/", "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/",
    "http://0177.0.0.1/", "http://017700000001/", "http://127.0.0.1./", "http://0/", "http://127.0.0.01/",
    "http://134744072/", "http://1.2.3.4.5/", "http://256.1.1.1/", "http://0x/", "http://[::1]/", "http://[::]/",
    "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[64:ff9b::127.0.0.1]/", "http://[2002:7f00:1::]/",
    "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[fd00:ec2::254]/latest/meta-data/",
    "http://169.254.169.254/latest/meta-data/", "http://metadata.google.internal/", "http://localhost/",
    "http://LOCALHOST/", "http://localhost./", "http://a.localhost/", "http://printer.local/", "http://db/",
    "http://nas.home.arpa/", "http://router.lan/", "http://\uff11\uff12\uff17.0.0.1/", "http://127\u30020\u30020\u30021/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", "http://%31%32%37.0.0.1/", "http://user@example.com/", "http://user:pw@example.com/",
    "http://@example.com/", "http://example.com:0/", "http://example.com:22/", "http://example.com:25/",
    "ftp://example.com/a", "file:///etc/passwd", "//example.com/a", "/a", "javascript:alert(1)", "http:///a",
    "http://exa!mple.com/", "http://-/", "http://..example.com/",
]  # fmt: skip
NOT_URLS = [
    "http://[::1/",
    "http://h:99999/",
    "http://h:port/",
    "http://a b/",
    "http://a\tb/",
    "http://a\\b/",
    "http://a\n/",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    """Also when it is an IPv4 address in its IPv6 coat."""
    assert address_block_reason(ip_address(address)) is None


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_refused_with_a_reason(address: str) -> None:
    """Every sort of private, and every coat."""
    assert address_block_reason(ip_address(address))


@given(st.ip_addresses())
def test_what_we_call_public_python_never_calls_private(address: object) -> None:
    """Our table is at least as strict as the standard library's."""
    parsed = ip_address(str(address))
    if address_block_reason(parsed) is None and not str(parsed).startswith(("64:ff9b:", "::ffff:")):
        assert not (parsed.is_private or parsed.is_loopback or parsed.is_multicast or parsed.is_link_local)


@pytest.mark.parametrize(("block", "reason"), PRIVATE_V4 + PRIVATE_V6)
def test_both_ends_of_every_private_block_are_refused(block: object, reason: str) -> None:
    """The table means what it says, and each row has a reason in words."""
    assert reason
    for end in (block[0], block[-1]):  # type: ignore[index]
        assert address_block_reason(end)


@pytest.mark.parametrize("url", SAFE_URLS)
def test_an_ordinary_url_passes(url: str) -> None:
    """Public hosts pass the guard."""
    AddressGuard().check(parse_url(url))


@pytest.mark.parametrize("url", UNSAFE_URLS)
def test_a_url_that_leads_inside_is_refused_before_dns(url: str) -> None:
    """Whatever its spelling."""
    with pytest.raises(UnsafeUrlError):
        AddressGuard().check(parse_url(url))


@pytest.mark.parametrize("text", NOT_URLS)
def test_what_is_no_url_is_a_value_error(text: str) -> None:
    """And not something that another parser may read in another way."""
    with pytest.raises(ValueError):
        parse_url(text)


def test_a_signed_url_stays_exactly_as_it_was_written() -> None:
    """Requoting would break its signature."""
    text = "https://cdn.example/a%7Eb%2Fc.png?Signature=a%2Bb%3D&x=~%28"
    assert str(parse_url(text)) == text


@pytest.mark.parametrize(
    ("addresses", "safe"),
    [
        (["93.184.216.34"], True),
        (["93.184.216.34", "2606:4700::1111"], True),
        (["93.184.216.34", "10.0.0.1"], False),
        (["::1", "93.184.216.34"], False),
        (["fe80::1%eth0"], False),
    ],
)
def test_one_private_address_among_the_answers_is_enough_to_refuse(addresses: list[str], safe: bool) -> None:
    """Else the connection could be made to that one."""
    if safe:
        AddressGuard().check_addresses("cdn.example", 443, addresses)
    else:
        with pytest.raises(UnsafeUrlError, match=r"cdn\.example"):
            AddressGuard().check_addresses("cdn.example", 443, addresses)


@pytest.mark.parametrize(
    ("entry", "url", "trusted"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/a", True),
        ("127.0.0.1:8000", "http://127.0.0.1:8000/a", True),
        ("127.0.0.1:8000", "http://127.0.0.1:8001/a", False),
        ("127.0.0.1", "http://127.1/", False),
        ("[::1]:8080", "http://[::1]:8080/", True),
        ("[::1]", "http://[0:0:0:0:0:0:0:1]:9/", True),
        ("::1", "http://[::1]/", True),
        ("CDN.lan", "http://cdn.lan./a", True),
        ("cdn.lan:80", "http://cdn.lan/a", True),
        ("cdn.lan:80", "https://cdn.lan/a", False),
        ("lan", "http://cdn.lan/a", False),
        (" ", "http://127.0.0.1/", False),
    ],
)
def test_a_trusted_host_is_named_exactly(entry: str, url: str, trusted: bool) -> None:
    """By its name or address, with its port or with any; trusting one spelling trusts no other."""
    guard = guard_for([entry])
    if trusted:
        guard.check(parse_url(url))
    else:
        with pytest.raises(UnsafeUrlError):
            guard.check(parse_url(url))


def test_trusting_an_address_does_not_trust_a_name_that_resolves_to_it() -> None:
    """A stranger's name may resolve to anything."""
    with pytest.raises(UnsafeUrlError):
        guard_for(["10.0.0.5"]).check_addresses("cdn.example", 80, ["10.0.0.5"])


@pytest.mark.parametrize(
    "entry", ["http://host", "user@host", "host/path", "host:0", "host:99999", "host?x", ":80", "[::1"]
)
def test_a_senseless_trusted_host_is_a_clear_error(entry: str) -> None:
    """It is said at once, and not when a download fails."""
    with pytest.raises(InvalidRequestError, match="trusted host"):
        guard_for([entry])


@given(st.text(max_size=40))
def test_no_host_however_strange_passes_as_something_else(host: str) -> None:
    """A URL is refused, or its host is a plain name or a public address."""
    try:
        url = parse_url(f"http://{host}/")
        AddressGuard().check(url)
    except (ValueError, UnsafeUrlError):
        return
    raw = url.raw_host or ""
    assert raw.isascii()
    assert "." in raw or ":" in raw
