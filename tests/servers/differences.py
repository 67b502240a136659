"""What this site answers otherwise than the SDK's own app, on purpose: the declared list, and why.

Each rewrites the SDK's answer into ours. What no difference explains fails the run, and so does a difference which no
server shows any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND

from mcpsite.endpoint.serving.errors import RESOURCE_NOT_FOUND
from tests.servers.asking import Asked, Seen

Rewrite = Callable[[Asked, Seen, Seen], Seen]
"""Of what was asked, the SDK's answer and ours: what ours is to be."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: what it is, why, and the rewriting."""

    what: str
    why: str
    rewrite: Rewrite


def explained(asked: Asked, theirs: Seen, ours: Seen) -> list[Difference] | None:
    """The differences that make theirs ours; ``None`` where they do not."""
    used: list[Difference] = []
    expected = theirs
    if expected == ours:
        return used
    for difference in DIFFERENCES:
        rewritten = difference.rewrite(asked, expected, ours)
        if rewritten != expected:
            used.append(difference)
            expected = rewritten
    return used if expected == ours else None


def _error(seen: Seen, asked: Asked, code: int, message: str | None = None) -> Seen:
    """The same answer as an error of this code; where there is no session, with its status."""
    error: dict[str, Any] = {**seen.error, "code": code}
    if message is not None:
        error["message"] = message
    final = {"jsonrpc": "2.0", "id": seen.final.get("id"), "error": error}
    status = 400 if asked.era == "modern" and code == INVALID_PARAMS else None
    return seen.ending(final, status)


def _prompt(asked: Asked, theirs: Seen, ours: Seen) -> Seen:
    if asked.method != "prompts/get" or theirs.error.get("code") not in (0, INTERNAL_ERROR):
        return theirs
    texts = {
        "unknown prompt": f"Unknown prompt: {asked.named}",
        "missing argument": "Missing required arguments: <set>",
    }
    text = texts.get(asked.kind)
    is_told = text is not None and theirs.error["message"] in (text, "Internal server error")
    # A low-level server's own error is no -32602.
    return (
        _error(theirs, asked, INVALID_PARAMS, text) if is_told and ours.error.get("code") != INTERNAL_ERROR else theirs
    )


def _unknown_resource(asked: Asked, theirs: Seen, ours: Seen) -> Seen:
    is_it = asked.era == "legacy" and asked.method == "resources/read" and theirs.error.get("code") == INVALID_PARAMS
    # The SDK's own refusals name the URI; an author's error keeps its code.
    is_sdks = is_it and "uri" in (theirs.error.get("data") or {})
    return _error(theirs, asked, RESOURCE_NOT_FOUND) if is_sdks else theirs


def _code(asked: Asked, theirs: Seen, ours: Seen) -> Seen:
    return _error(theirs, asked, INTERNAL_ERROR) if theirs.error.get("code") == 0 else theirs


def _text(asked: Asked, theirs: Seen, ours: Seen) -> Seen:
    withheld = {"code": INTERNAL_ERROR, "message": "Internal server error"}
    if asked.era != "modern" or theirs.error != withheld or ours.error.get("code") != INTERNAL_ERROR:
        return theirs
    return _error(theirs, asked, INTERNAL_ERROR, ours.error["message"])


def _capabilities(asked: Asked, theirs: Seen, ours: Seen) -> Seen:
    result = theirs.final.get("result")
    if not isinstance(result, dict) or "capabilities" not in result:
        return theirs
    capabilities: dict[str, Any] = {"logging": {}, **result["capabilities"]}
    resources = ours.final.get("result", {}).get("capabilities", {}).get("resources", {})
    if "resources" in capabilities and resources.get("subscribe"):
        capabilities["resources"] = {**capabilities["resources"], "subscribe": True}
    return theirs.ending({**theirs.final, "result": {**result, "capabilities": capabilities}})


def _remembered(asked: Asked, theirs: Seen, ours: Seen) -> Seen:
    if asked.kind not in ("level", "subscribe") or theirs.error.get("code") != METHOD_NOT_FOUND:
        return theirs
    accepted: Mapping[str, Any] = {"jsonrpc": "2.0", "id": theirs.final.get("id"), "result": {}}
    return theirs.ending(accepted) if "result" in ours.final else theirs


DIFFERENCES: Final = (
    Difference(
        "an unknown prompt and a prompt's missing argument are -32602, not 0 or -32603",
        'the specification, "Prompts", "Error Handling"',
        _prompt,
    ),
    Difference(
        "an unknown resource is -32002 up to 2025-11-25, not -32602",
        'those revisions, "Resources", "Error Handling"; -32602 is 2026-07-28\'s',
        _unknown_resource,
    ),
    Difference(
        "any other exception is -32603 up to 2025-11-25, not 0; its text is the same",
        "JSON-RPC's code for it",
        _code,
    ),
    Difference(
        "a `ValueError`, and that a prompt failed, keep their text with 2026-07-28, where the SDK's app has"
        ' "Internal server error"',
        "one server answers both eras alike, and an author's text is for whoever asked",
        _text,
    ),
    Difference(
        "`logging` and `resources.subscribe` are among the capabilities",
        "the session remembers both, for every worker",
        _capabilities,
    ),
    Difference(
        "`logging/setLevel` and `resources/subscribe` are accepted where the server has no handler for them",
        "the session remembers both, for every worker",
        _remembered,
    ),
)
