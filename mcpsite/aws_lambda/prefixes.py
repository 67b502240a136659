"""Which part of a request's path is the site's, and which belongs to the stage or domain before it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from mcpsite.door.base_path import below

_PARAMETER: Final = re.compile(r"{([^}+]+)\+?}")
_DEFAULT_STAGE: Final = "$default"


def placed(path: str, inner: str, base: str) -> tuple[str, str]:
    """The prefix, and the whole path, of a request that came by ``path``, of which ``inner`` is the site's own part.

    ``base`` is what ``MCP_BASE_PATH`` says; it wins over what an event tells.
    """
    if base:
        return base, f"{base}{below(path, base) or inner}"
    prefix = path.removesuffix(inner).rstrip("/") if path.endswith(inner) else ""
    return prefix, f"{prefix}{inner}"


def of_format_1(event: Mapping[str, Any]) -> tuple[str, str]:
    """The path and the site's part of it, by payload format 1.0 (REST APIs, and HTTP APIs that ask for it).

    The part is what the API's resource stands for: before it in ``requestContext.path`` is the stage, or a custom
    domain's base path, of which ``path`` has neither or the second.
    """
    context = event["requestContext"]
    path = event.get("path") or "/"
    whole = context.get("path") or path
    # An HTTP API, which names the format, has decoded the path; a REST API has it as it came.
    if "version" not in event:
        path = unquote(path)
    if whole != path:
        whole = unquote(whole)
    resource = event.get("resource") or ""
    if not resource.startswith("/"):
        # The catch-all route of an HTTP API has no path of its own.
        return whole, _without_stage(whole, context.get("stage"))
    parameters = event.get("pathParameters") or {}
    inner = _PARAMETER.sub(lambda match: str(parameters.get(match[1], match[0])), resource)
    if not whole.rstrip("/").endswith(inner.rstrip("/")):
        # Parameters come decoded, or not.
        inner = unquote(inner)
    # Slashes at the end are in no parameter.
    inner = inner.rstrip("/") + whole[len(whole.rstrip("/")) :]
    if not inner:
        # The stage's own URL.
        inner, whole = "/", f"{whole}/"
    if not whole.endswith(inner):
        inner = path
    return whole, inner


def of_format_2(event: Mapping[str, Any]) -> tuple[str, str]:
    """The path and the site's part of it, by payload format 2.0 (HTTP APIs and function URLs).

    A named stage begins the path, though on a custom domain no client has it in its URL. What a custom domain's API
    mapping begins with is told nowhere.
    """
    context = event["requestContext"]
    domain = context.get("domainName") or ""
    path = event.get("rawPath") or "/"
    if ".lambda-url." in domain:
        # As it came; an HTTP API has decoded it, though it is called raw.
        path = unquote(path)
    inner = _without_stage(path, context.get("stage"))
    return (path if not domain or ".execute-api." in domain else inner), inner


def _without_stage(path: str, stage: str | None) -> str:
    if not stage or stage == _DEFAULT_STAGE:
        return path
    return below(path, f"/{stage}") or path
