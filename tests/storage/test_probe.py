"""What bytes are: real files of every form pass, whatever is cut, foreign or too large does not."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hfmedia.core.errors import DownloadError
from hfmedia.storage.probe.sniff import FORMATS, probe, sniff

from .samples import FILMS, HEIGHT, IMAGES, MIMES, MOVING, WIDTH, sample

# Fragments are made to be played before the next one is there: a cut between two of them cannot be detected.
TELLING = tuple(form for form in MIMES if form != "mp4-fragmented")


def look(data: bytes, makes: str) -> object:
    """The kind of some bytes."""
    return probe(io.BytesIO(data), makes)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", MIMES)
def test_a_real_file_is_detected_by_its_bytes_with_its_size(form: str) -> None:
    """Every form that Pillow and PyAV write is recognised, and its header read."""
    kind = probe(io.BytesIO(sample(form)), "video" if form in FILMS else "image")
    assert (kind.mime, kind.width, kind.height) == (MIMES[form], WIDTH, HEIGHT)
    assert kind.suffix == FORMATS[kind.mime].suffix
    if form in ("mp4", "mp4-faststart", "mov"):
        assert kind.seconds == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("form", TELLING)
def test_every_strict_prefix_of_a_real_file_is_refused(form: str) -> None:
    """Wherever a file is cut, it is no longer one."""
    data, makes = sample(form), "video" if form in FILMS else "image"
    step = max(1, len(data) // 700)
    places = {*range(min(len(data), 700)), *range(700, len(data), step), *range(len(data) - 40, len(data))}
    passed = []
    for end in sorted(places):
        try:
            look(data[:end], makes)
        except DownloadError:
            continue
        passed.append(end)
    assert passed == []


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_cut_picture_is_refused_wherever_it_is_cut(data: st.DataObject) -> None:
    """The same, at random places."""
    whole = sample(data.draw(st.sampled_from(["png", "jpeg", "jpeg-progressive", "webp", "gif-moving", "mp4"])))
    end = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(DownloadError):
        look(whole[:end], "image" if whole[4:8] != b"ftyp" else "video")


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_bytes_are_a_kind_or_a_download_error(data: st.DataObject) -> None:
    """No bytes, however malformed, raise anything else or loop."""
    whole = bytearray(sample(data.draw(st.sampled_from(sorted(MIMES)))))
    for _ in range(data.draw(st.integers(1, 12))):
        whole[data.draw(st.integers(0, min(len(whole), 600) - 1))] = data.draw(st.integers(0, 255))
    for makes in ("image", "video"):
        try:
            look(bytes(whole), makes)
        except DownloadError:
            continue


@given(st.binary(max_size=200), st.sampled_from([*(sample(form)[:12] for form in MIMES), b""]))
@settings(max_examples=300, deadline=None)
def test_noise_behind_a_true_beginning_is_refused(noise: bytes, start: bytes) -> None:
    """A magic number does not make a picture."""
    with pytest.raises(DownloadError):
        look(start[:8] + noise, "image")


@pytest.mark.parametrize("form", ["png", "jpeg", "gif", "webp", "bmp", "mp4", "mov", "webm"])
def test_a_few_zeros_after_the_end_do_no_harm(form: str) -> None:
    """Some encoders pad; the media before are whole, and paid."""
    look(sample(form) + b"\0" * 16, "video" if form in FILMS else "image")


@pytest.mark.parametrize("form", ["jpeg", "jpeg-progressive", "jpeg-with-thumbnail"])
@pytest.mark.parametrize(
    "tail", [b"made by a tool\n", b"\xff\xd8\xff\xe0 a second one, cut", bytes(60_000), b"\xff" * 9], ids=len
)
def test_what_stands_behind_a_whole_jpeg_does_no_harm(form: str, tail: bytes) -> None:
    """Cameras and encoders leave notes there; what comes before them is whole all the same."""
    kind = probe(io.BytesIO(sample(form) + tail), "image")
    assert (kind.mime, kind.width, kind.height) == ("image/jpeg", WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("form", "makes", "passes"),
    [
        *((form, "image", True) for form in IMAGES),
        *((form, "video", True) for form in MOVING),
        ("png", "video", False),
        ("gif", "video", False),
        ("webp", "video", False),
        ("mp4", "image", False),
        ("webm", "image", False),
    ],
)
def test_a_picture_is_no_video_unless_it_moves(form: str, makes: str, passes: bool) -> None:
    """A moving GIF, WebP or PNG passes as a video; a still does not, and a film is no picture."""
    if passes:
        look(sample(form), makes)
        return
    with pytest.raises(DownloadError, match=f"not an? {makes}"):
        look(sample(form), makes)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "an HTML page"),
        (b"\xef\xbb\xbf \n<html lang=en>", "an HTML page"),
        (b"<!-- cached -->\n<HTML>", "an HTML page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML document"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b'{"detail": "not found"}', "JSON"),
        (b"[1, 2]", "JSON"),
        (b"the free trial is over, please pay", "text"),
        ("Zugriff verweigert: läuft nicht".encode(), "text"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + b"\0\xff" * 50, "something else"),
        (bytes(range(128, 256)) * 4, "of an unknown kind"),
        (b"\0" * 100, "not an image"),
        (b"\0\0\0\x20ftypM4A \0\0\0\0" + b"\0" * 64, "not an image"),
    ],
)
def test_what_is_no_media_is_called_by_its_name(data: bytes, said: str) -> None:
    """A page, an error or a document is refused, in words that tell what it is."""
    with pytest.raises(DownloadError, match=said):
        look(data, "image")


def test_the_beginning_of_a_foreign_result_is_quoted_without_secrets() -> None:
    """A person sees what came, but never a token or a signature in it."""
    body = b'{"error": "bad key hf_abcdefghijklmnop", "url": "https://cdn.example/a.png?X-Amz-Signature=feedbeef"}'
    with pytest.raises(DownloadError) as caught:
        look(body, "image")
    assert "bad key" in str(caught.value)
    assert "hf_abc" not in str(caught.value)
    assert "feedbeef" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (0, 10), (2**31 - 1, 2**31 - 1)])
def test_an_absurd_size_is_refused_without_decoding(width: int, height: int) -> None:
    """A decompression bomb does not go off, because nothing is ever decoded."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    packed = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    with pytest.raises(DownloadError, match="claims"):
        look(b"\x89PNG\r\n\x1a\n" + packed, "image")


def test_sizes_agree_with_pillow() -> None:
    """Our own reading of headers says what Pillow says, for odd sizes, too."""
    for size in ((1, 1), (16, 9), (1023, 3), (300, 257)):
        for form, options in (("PNG", {}), ("JPEG", {}), ("GIF", {}), ("WEBP", {}), ("WEBP", {"lossless": True})):
            out = io.BytesIO()
            Image.new("RGB", size, "red").save(out, form, **options)
            kind = probe(out, "image")
            assert (kind.width, kind.height) == size, form


def test_every_sign_leads_to_a_form_that_can_be_checked() -> None:
    """Nothing is recognised that could not be checked for wholeness."""
    assert {sniff(sample(form)) for form in MIMES} <= set(FORMATS)
