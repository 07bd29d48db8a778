"""Every row of the parameter table is accepted and documented by every API that generates images or videos."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hfmedia.core.parameters import PARAMETERS, Parameter
from hfmedia.server.api.native.requests import parse_create
from hfmedia.server.api.openai.image_requests import parse_image_request
from hfmedia.server.api.openai.video_requests import parse_video_request
from hfmedia.server.api.sdapi import parse_txt2img
from hfmedia.server.app import create_app
from hfmedia.server.config import Config
from hfmedia.server.db.generations import GenerationSpec
from hfmedia.server.errors import ApiError

NAMES = [row.name for row in PARAMETERS]
IMAGE = "https://example.org/fox.png"
BASE64_IMAGE = "iVBORw0KGgo="
Parse = Callable[[dict[str, Any]], GenerationSpec]
APIS: dict[str, Parse] = {
    "/v1/images/generations": lambda fields: parse_image_request(fields, Config(), edits=False).spec,
    "/v1/images/edits": lambda fields: parse_image_request({**fields, "image": IMAGE}, Config(), edits=True).spec,
    "/v1/videos": lambda fields: parse_video_request(fields, Config(), uploaded=False).spec,
    "/v1/jobs": lambda fields: parse_create(fields)[0],
    "/sdapi/v1/txt2img": lambda fields: parse_txt2img(fields, Config(), from_image=False)[0],
    "/sdapi/v1/img2img": lambda fields: parse_txt2img(
        {**fields, "init_images": [BASE64_IMAGE]}, Config(), from_image=True
    )[0],
}
WEB_UI_WORDS = {"scheduler"}  # the web UI sends its own words under this name: documented there, but ignored


def legal_value(row: Parameter) -> Any:
    """Return a legal value of a parameter, as JSON has it."""
    if row.kind == "aspect_ratio":
        return "16:9"
    if row.choices:
        return row.choices[-1]
    if row.minimum is None:
        return "some text"
    return int(max(row.minimum, 1)) if row.kind == "integer" else float(max(row.minimum, 0.5))


def as_option(spec: GenerationSpec, name: str) -> Any:
    """Return a parameter of a spec."""
    return spec.seed if name == "seed" else spec.options.get(name)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("row", PARAMETERS, ids=NAMES)
def test_every_api_accepts_every_parameter(api: str, row: Parameter) -> None:
    """As JSON, and as the text of a form. The images API checks the parameters of videos, and ignores them."""
    is_ignored = (api.startswith("/sdapi") and row.name in WEB_UI_WORDS) or (
        api.startswith("/v1/images") and row.video_only
    )
    expected = None if is_ignored else legal_value(row)
    for value in (legal_value(row), str(legal_value(row))):
        assert as_option(APIS[api]({"prompt": "a fox", row.name: value}), row.name) == expected


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("row", [row for row in PARAMETERS if row.maximum is not None], ids=lambda row: row.name)
def test_every_api_rejects_a_number_beyond_its_range(api: str, row: Parameter) -> None:
    """With the name of the field."""
    assert row.maximum is not None
    with pytest.raises(ApiError) as caught:
        APIS[api]({"prompt": "a fox", row.name: int(row.maximum) + 1})
    assert (caught.value.status, caught.value.param) == (400, row.name)


def test_every_body_in_the_openapi_document_has_every_parameter() -> None:
    """With its range, its choices and its help."""
    paths = create_app(Config(port=0), {}, sandbox=True).openapi()["paths"]
    for api in [*APIS, "/v1/jobs/preview"]:
        content = paths[api]["post"]["requestBody"]["content"]
        for media_type, body in content.items():
            properties = body["schema"]["properties"]
            assert set(NAMES) <= set(properties), (api, media_type)
            for row in PARAMETERS:
                if row.name not in ("seconds", "seed"):  # text is legal there, too; -1 is a random seed in sdapi
                    assert properties[row.name] == row.json_schema(), (api, media_type)


def test_the_web_ui_s_strength_is_ours() -> None:
    """Under its own name, for images made from an image."""
    spec, _, warnings = parse_txt2img(
        {"prompt": "a fox", "init_images": [BASE64_IMAGE], "denoising_strength": 0.5, "steps": 20, "cfg_scale": 7},
        Config(),
        from_image=True,
    )
    assert spec.options == {"strength": 0.5, "num_inference_steps": 20, "guidance_scale": 7.0}
    assert not warnings
