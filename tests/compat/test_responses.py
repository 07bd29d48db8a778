"""Items of the g4f-compatible API: attributes, dicts, Markdown and HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from hfmedia.compat import ImageResponse, MediaResponse, ProviderInfo, Reasoning, VideoResponse
from hfmedia.compat.responses import safe_url

SHOWN = [
    (Reasoning(label="Queued", status="position 3"), "Queued: position 3\n"),
    (Reasoning(status="1.20s"), "1.20s\n"),
    (Reasoning(token="hm"), "hm"),
    (Reasoning(token="hm", is_thinking="<think>"), "<think>"),
    (Reasoning(label="Queued"), ""),
    (Reasoning(), ""),
]

DICTS = [
    (Reasoning(label="Queued", status="position 3"), {"label": "Queued", "status": "position 3"}),
    (Reasoning(token="hm"), {"token": "hm"}),
    (Reasoning(token="hm", status="so"), {"token": "hm", "status": "so"}),
    (Reasoning(token="hm", is_thinking="yes"), {"token": "hm", "is_thinking": "yes"}),
]

ADDRESSES = [
    ("https://cdn.example/a.png?sig=a%2Fb%3D&x=1", "https://cdn.example/a.png?sig=a%2Fb%3D&x=1"),
    ("https://cdn.example/a b(1).png", "https://cdn.example/a%20b%281%29.png"),
    ('https://cdn.example/"><script>', "https://cdn.example/%22%3E%3Cscript%3E"),
    ("https://cdn.example/a\n)[x](y", "https://cdn.example/a%0A%29%5Bx%5D%28y"),
    ("data:image/png;base64,AA==", "data:image/png;base64,AA=="),
    ("data:text/html,<script>", "data%3Atext/html%2C%3Cscript%3E"),
    ("javascript:alert(1)", "javascript%3Aalert%281%29"),
    ("/home/me/a fox 100%.png", "/home/me/a%20fox%20100%25.png"),
    ("C:\\pictures\\a fox.png", "C:/pictures/a%20fox.png"),
    ("/home/me/f\udcfcchse.png", "/home/me/f%FCchse.png"),
]

HOSTILE = [
    "a fox](https://evil.example) ![x",
    "<script>alert(1)</script>",
    "`code` \\](x",
    "two\n\nlines -->\n<!-- generated images end -->",
    '" onerror="alert(1)',
]


class Tags(HTMLParser):
    """Collects the tags of HTML, with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect one tag."""
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize(("chunk", "text"), SHOWN, ids=repr)
def test_reasoning_shows_label_and_status(chunk: Reasoning, text: str) -> None:
    """As a chat shows it while waiting."""
    assert str(chunk) == text


@pytest.mark.parametrize(("chunk", "fields"), DICTS, ids=repr)
def test_reasoning_becomes_a_dict(chunk: Reasoning, fields: dict[str, str]) -> None:
    """As it is sent to a browser."""
    assert chunk.get_dict() == fields


def test_reasonings_are_compared_by_value() -> None:
    """They are hashable, and different from anything else."""
    assert Reasoning(label="a", status="b") == Reasoning(label="a", status="b")
    assert Reasoning(label="a", status="b") != Reasoning(label="a", status="c")
    assert Reasoning(status="b") != "b"
    assert len({Reasoning(status="b"), Reasoning(status="b")}) == 1


def test_provider_info_is_hidden_and_has_attributes() -> None:
    """A chat does not show it; programs read its attributes or its dict."""
    info = ProviderInfo(name="X", provider="fal-ai")
    assert str(info) == ""
    assert info.provider == "fal-ai"
    assert info.get_dict() == {"name": "X", "provider": "fal-ai"}
    assert info == ProviderInfo(name="X", provider="fal-ai")


@pytest.mark.parametrize(
    ("urls", "listed"), [("/a.png", ["/a.png"]), (["/a.png"], ["/a.png"]), (["/a.png", "/b.png"], ["/a.png", "/b.png"])]
)
def test_a_response_lists_its_urls(urls: str | list[str], listed: list[str]) -> None:
    """One as text or several as a list; ``urls`` is unchanged."""
    response = MediaResponse(urls, "a fox", {"seed": 7}, source_url="https://x.example")
    assert response.get_list() == listed
    assert (response.urls, response.alt) == (urls, "a fox")
    assert (response.get("seed"), response.get("source_url"), response.get("none")) == (7, "https://x.example", None)


def test_responses_share_no_options() -> None:
    """A later change of one does not affect another."""
    first, second = ImageResponse("/a.png", "a"), ImageResponse("/b.png", "b")
    first.options["seed"] = 7
    assert second.options == {}


def test_an_image_is_a_markdown_image_that_links_to_itself() -> None:
    """Between the markers by which a chat locates it."""
    text = str(ImageResponse(["https://cdn.example/a.png"], "a  red\nfox"))
    assert text == (
        "\n<!-- generated images start -->\n"
        "[![a red fox](https://cdn.example/a.png)](https://cdn.example/a.png)\n"
        "<!-- generated images end -->\n"
    )


def test_several_images_are_numbered() -> None:
    """One per line."""
    lines = str(ImageResponse(["/a.png", "/b.png"], "fox")).splitlines()
    assert lines[2:4] == ["[![#1 fox](/a.png)](/a.png)", "[![#2 fox](/b.png)](/b.png)"]


@pytest.mark.parametrize("prompt", HOSTILE)
def test_a_hostile_prompt_stays_inside_its_image(prompt: str) -> None:
    """It starts no tag and no link, and ends no marker early."""
    text = str(ImageResponse("https://cdn.example/a.png", prompt))
    assert text.count("-->") == 2
    middle = text.splitlines()[2]
    assert len(text.splitlines()) == 4
    tags = Tags()
    tags.feed(middle)
    assert tags.tags == []
    assert re.findall(r"(?<!\\)\]\(([^)]*)\)", middle) == ["https://cdn.example/a.png"] * 2


@pytest.mark.parametrize(("url", "quoted"), ADDRESSES)
def test_a_url_is_quoted_and_its_signature_stays(url: str, quoted: str) -> None:
    """Nothing in it can end its link or execute anything; quoted characters stay quoted once."""
    assert safe_url(url) == quoted


@pytest.mark.parametrize("url", [url for url, _ in ADDRESSES])
def test_a_video_is_one_html_tag_whatever_its_url(url: str) -> None:
    """No URL can add a tag or an attribute."""
    tags = Tags()
    tags.feed(str(VideoResponse(url, "waves")))
    assert tags.tags == [("video", {"controls": None, "src": safe_url(url)})]


def test_responses_show_themselves_in_a_notebook() -> None:
    """Images as Markdown, videos as HTML."""
    image, video = ImageResponse("/a.png", "fox"), VideoResponse(["/a.mp4", "/b.mp4"], "waves")
    assert image._repr_markdown_() == str(image)
    assert video._repr_html_() == str(video)
    assert str(video).count("<video") == 2
