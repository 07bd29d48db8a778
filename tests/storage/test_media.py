"""Media and their facts: what a user holds, what lies beside the file, and what neither ever tells."""

from __future__ import annotations

import json
import os
import shutil
import stat
from base64 import b64decode
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from hfmedia.core.errors import StorageError
from hfmedia.core.protocol import Cost
from hfmedia.core.sizes import AspectRatio
from hfmedia.storage import Media
from hfmedia.storage import media as module
from hfmedia.storage.sanitize import to_plain_json

from .conftest import StorageHarness
from .samples import HEIGHT, WIDTH, sample

PNG = sample("png")
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"


def media(path: Path, data: bytes = PNG, mime: str = "image/png", **more: Any) -> Media:
    """A Media whose file lies at ``path``."""
    path.write_bytes(data)
    fields: dict[str, Any] = {
        "width": WIDTH, "height": HEIGHT, "bytes": len(data), "sha256": "ab" * 32, "provider": "fal-ai",
        "model": "org/name", "task": "text-to-image", "prompt": "a red fox", "seed": 7, "cost": Cost(0.003),
        "job_id": "job1", "created": 1795376765.5,
    }  # fmt: skip
    return Media(path=path, mime=mime, **{**fields, **more})


def test_a_media_is_its_file(tmp_path: Path) -> None:
    """Bytes, picture and path are those of the file, wherever a path is wanted."""
    made = media(tmp_path / "fox.png")
    assert made.data == PNG
    assert made.image().size == (WIDTH, HEIGHT)
    assert Path(made).read_bytes() == PNG
    assert os.fspath(made) == str(tmp_path / "fox.png")
    with Image.open(made) as picture:
        assert picture.format == "PNG"
    assert shutil.copy(made, tmp_path / "copy.png")
    assert repr(made) == f"<Media image {WIDTH}x{HEIGHT} by fal-ai: {tmp_path / 'fox.png'}>"


@pytest.mark.parametrize(("mime", "kind"), [("image/webp", "image"), ("video/mp4", "video"), ("video/webm", "video")])
def test_a_media_is_an_image_or_a_video(tmp_path: Path, mime: str, kind: str) -> None:
    """By what its bytes are."""
    assert media(tmp_path / "x", mime=mime).kind == kind


def test_a_media_cannot_be_changed(tmp_path: Path) -> None:
    """Facts are frozen."""
    with pytest.raises(AttributeError):
        media(tmp_path / "fox.png").seed = 8  # type: ignore[misc]


def test_a_video_is_no_picture_and_says_so(tmp_path: Path) -> None:
    """.image() on a video is a clear error, with the job in it."""
    made = media(tmp_path / "fox.mp4", sample("mp4"), "video/mp4")
    with pytest.raises(StorageError, match="is a video") as caught:
        made.image()
    assert caught.value.job_id == "job1"


@pytest.mark.parametrize("use", [lambda made: made.data, lambda made: made.image(), lambda made: made.save("x.png")])
def test_a_missing_file_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Any) -> None:
    """A deleted file is a StorageError, not a bare OSError; no partial copy is left."""
    monkeypatch.chdir(tmp_path)
    made = media(tmp_path / "fox.png")
    made.path.unlink()
    with pytest.raises(StorageError, match="no longer exists"):
        use(made)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wanted", "lies_at"),
    [
        ("copy.png", "copy.png"),
        ("new/sub/copy.png", "new/sub/copy.png"),
        ("folder", "folder/fox.png"),
        ("fresh/", "fresh/fox.png"),
        ("there.png", "there.png"),
        ("fox.png", "fox.png"),
    ],
)
@pytest.mark.parametrize("kind", [str, Path])
def test_saving_copies_to_the_name_or_into_the_folder(tmp_path: Path, wanted: str, lies_at: str, kind: Any) -> None:
    """A folder keeps the name, what the user names is replaced, and the original stays."""
    if kind is Path and wanted.endswith("/"):
        pytest.skip("a Path forgets its slash")
    made = media(tmp_path / "fox.png")
    (tmp_path / "folder").mkdir()
    (tmp_path / "there.png").write_bytes(b"old")
    path = made.save(kind(f"{tmp_path}/{wanted}"))
    assert path == tmp_path / lies_at
    assert path.read_bytes() == made.path.read_bytes() == PNG
    assert not list(tmp_path.rglob("*.part"))


def test_saving_where_it_cannot_be_is_a_store_error(tmp_path: Path) -> None:
    """One sentence about the place, and nothing half."""
    made = media(tmp_path / "fox.png")
    with pytest.raises(StorageError, match="not a directory"):
        made.save(tmp_path / "fox.png" / "copy.png")


# -- facts ------------------------------------------------------------------------------------------------------------


def test_the_facts_are_plain_json_and_complete(tmp_path: Path) -> None:
    """What ``--json`` prints and the file beside tells: every field, the time as people and programs read it."""
    made = media(
        tmp_path / "fox.png", parameters={"aspect_ratio": AspectRatio(16, 9), "steps": 4}, timings={"total": 1.5}
    )
    facts = json.loads(json.dumps(made.to_dict()))
    assert set(facts) == set(Media.__struct_fields__)
    assert facts["path"] == str(tmp_path / "fox.png")
    assert facts["created"] == "2026-11-22T19:46:05Z"
    assert facts["cost"] == {"amount": 0.003, "unit": "USD"}
    assert (facts["width"], facts["seed"], facts["warnings"], facts["timings"]) == (WIDTH, 7, [], {"total": 1.5})


def test_an_unknown_cost_is_unknown(tmp_path: Path) -> None:
    """null, never 0."""
    assert media(tmp_path / "fox.png", cost=None).to_dict()["cost"] is None


def test_no_secret_and_no_input_image_is_in_the_facts(tmp_path: Path) -> None:
    """Tokens, signatures and inline media stay out, wherever a provider or a user put them."""
    made = media(
        tmp_path / "fox.png",
        prompt="a red fox",
        parameters={
            "image_url": "https://cdn.example/in.png?X-Amz-Signature=feedbeef",
            "images": ["data:image/png;base64," + "QUJD" * 5_000],
            "mask": b"\x89PNG" * 500,
            "webhook": {"url": "https://user:pass@hook.example/x?key=topsecret", "api_key": "plainsecret"},
            "blob": "x" * 50_000,
        },
        warnings=(f"fal-ai said: bad token {TOKEN}",),
        attempts=("together refused https://t.example/?signature=feedbeef",),
        source="https://cdn.example/out.png?sig=feedbeef",
    )
    text = json.dumps(made.to_dict())
    for secret in ("feedbeef", "topsecret", "plainsecret", "pass@", TOKEN, "QUJDQUJD", "x" * 100):
        assert secret not in text
    assert len(text) < 3_000
    assert "https://cdn.example/in.png" in text
    assert "(20,022 characters)" in text


@pytest.mark.parametrize(
    "value",
    [
        "data:image/png;base64,AAAA",
        "https://a.example/b?c=d",
        "x" * 40_000,
        {"a": (1, 2.5, None, True)},
        b"abc",
        "\ud800",
    ],
)
def test_cleaning_twice_changes_nothing_more(value: Any) -> None:
    """Facts may pass through more than one hand; they are JSON after the first."""
    once = to_plain_json({"it": value})
    assert to_plain_json(once) == once
    assert msgspec.json.decode(msgspec.json.encode(once)) == once


async def test_facts_lie_beside_the_file(keeping: StorageHarness) -> None:
    """Readable JSON of the same mode as the file, written whole."""
    kept = await keeping.keep(PNG, file=keeping.folder / "fox.png")
    kept.path.chmod(0o640)
    beside = await keeping.store.write_sidecar(kept, {"prompt": "狐 ünd so", "job_id": "job1", "sha256": kept.sha256})
    assert beside == keeping.folder / "fox.png.json"
    text = beside.read_text(encoding="utf-8")
    assert "狐 ünd so" in text
    assert text.startswith('{\n  "prompt"')
    assert json.loads(text)["sha256"] == kept.sha256
    assert stat.S_IMODE(beside.stat().st_mode) == 0o640
    assert keeping.files() == ["fox.png", "fox.png.json"]


async def test_facts_are_replaced_by_newer_ones_but_never_a_strangers_file(keeping: StorageHarness) -> None:
    """A JSON file that we did not write is left alone; ours gives way."""
    kept = await keeping.keep(PNG, file=keeping.folder / "fox.png")
    ours = {"job_id": "job1", "sha256": kept.sha256}
    await keeping.store.write_sidecar(kept, ours)
    beside = await keeping.store.write_sidecar(kept, {**ours, "seed": 8})
    assert json.loads(beside.read_text())["seed"] == 8
    for foreign in ('{"mine": 1}', "[1, 2]", "not json", "\xff"):
        (keeping.folder / "fox.png.json").write_bytes(foreign.encode("latin-1"))
        other = await keeping.store.write_sidecar(kept, ours)
        assert other.name == "fox.png.hfmedia.json"
        assert (keeping.folder / "fox.png.json").read_bytes() == foreign.encode("latin-1")


async def test_facts_that_cannot_be_written_are_a_store_error(keeping: StorageHarness) -> None:
    """The folder went away: a sentence, not a traceback of the system's."""
    kept = await keeping.keep(PNG, file=keeping.folder / "sub" / "fox.png")
    kept.path.unlink()
    kept.path.parent.rmdir()
    (keeping.folder / "sub").write_text("a file now")
    with pytest.raises(StorageError, match="cannot write"):
        await keeping.store.write_sidecar(kept, {})


# -- in a notebook ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "mime"), [("png", "image/png"), ("jpeg", "image/jpeg")])
def test_a_picture_shows_itself_in_a_notebook(tmp_path: Path, form: str, mime: str) -> None:
    """As its own bytes, once."""
    made = media(tmp_path / "fox", sample(form), mime)
    bundle = made._repr_mimebundle_()
    assert b64decode(bundle[mime]) == sample(form)
    assert bundle["text/plain"] == repr(made)
    assert made._repr_html_() is None


@pytest.mark.parametrize(
    ("form", "mime", "tag"), [("webp", "image/webp", "<img "), ("mp4", "video/mp4", "<video controls ")]
)
def test_what_a_notebook_cannot_show_by_itself_comes_as_html(tmp_path: Path, form: str, mime: str, tag: str) -> None:
    """A player for a video, a tag for a picture; a prompt cannot break out of it."""
    made = media(tmp_path / "fox", sample(form), mime, prompt='"><script>alert(1)</script>')
    html = made._repr_html_()
    assert html is not None
    assert html.startswith(tag)
    assert "<script>" not in html
    assert b64decode(html.partition("base64,")[2].partition('"')[0]) == sample(form)
    assert made._repr_mimebundle_()["text/html"] == html


@pytest.mark.parametrize("mime", ["video/mp4", "image/png"])
def test_what_is_too_large_for_a_notebook_is_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mime: str) -> None:
    """A notebook stays openable."""
    monkeypatch.setattr(module, "MAX_INLINE_BYTES", 10)
    html = media(tmp_path / "fox", mime=mime)._repr_html_()
    assert html == f'<a href="{(tmp_path / "fox").as_uri()}">a red fox</a>'


def test_a_media_whose_file_is_gone_still_has_a_line(tmp_path: Path) -> None:
    """A notebook opened later shows the text, not a traceback."""
    made = media(tmp_path / "fox.png")
    made.path.unlink()
    assert made._repr_mimebundle_() == {"text/plain": repr(made)}
    assert made._repr_html_() is None
