"""/docs: the documentation of every route, without files from other hosts.

Swagger UI's files come with the package fastapi-offline. It uses inline styles, so only this page allows them.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import FileResponse

from .errors import ApiError, error_responses

router = APIRouter(include_in_schema=False)
VALIDATION_ERROR_SCHEMA = "HTTPValidationError"
FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>hfmedia gateway: the API</title>
<link rel="icon" href="docs/static/favicon.png">
<link rel="stylesheet" href="docs/static/swagger-ui.css">
<div id="api"></div>
<script src="docs/static/swagger-ui-bundle.js"></script>
<script src="docs/static/init.js"></script>
</html>
"""
INIT_SCRIPT = """SwaggerUIBundle({url: "openapi.json", dom_id: "#api", deepLinking: true, tryItOutEnabled: true});
"""


def patch_openapi(app: FastAPI) -> None:
    """Remove FastAPI's response for invalid parameters, which this app never sends, from the OpenAPI document."""
    original_openapi = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = original_openapi()
            for operations in document["paths"].values():
                for operation in operations.values():
                    if VALIDATION_ERROR_SCHEMA in str(operation["responses"].get("422")):
                        del operation["responses"]["422"]
            for name in (VALIDATION_ERROR_SCHEMA, "ValidationError"):
                document["components"]["schemas"].pop(name, None)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI's own documentation shows


@router.get("/docs")
async def docs_page() -> Response:
    """Return the page; its URLs are relative, so that it works under a path prefix."""
    headers = {"content-security-policy": CONTENT_SECURITY_POLICY, "x-content-type-options": "nosniff"}
    return Response(PAGE, headers=headers, media_type="text/html")


@router.get("/docs/static/{name}", responses=error_responses(404))
async def docs_file(name: str) -> Response:
    """Return a file of the page."""
    if name == "init.js":
        return Response(INIT_SCRIPT, media_type="text/javascript")
    module_spec = find_spec("fastapi_offline")
    folder = Path(module_spec.origin).parent / "static" if module_spec and module_spec.origin else None
    if name not in FILES or folder is None or not (folder / name).is_file():
        raise ApiError(404, f"{name[:80]!r} not found", code="not_found")
    headers = {"cache-control": "public, max-age=86400", "x-content-type-options": "nosniff"}
    return FileResponse(folder / name, media_type=FILES[name], headers=headers)
