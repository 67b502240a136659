"""JSON that clients sent, on the staff pages: escaped and cut to size."""

from __future__ import annotations

from django import template

from sessions_dynamo.staff import json_tree

register = template.Library()


@register.filter
def indented(text: str | None, limit: int = 2_000) -> json_tree.Shown:
    """A JSON text with line breaks, at most so many characters of it; ``is_cut`` where that is not all."""
    return json_tree.indented(text or "", limit)


@register.filter
def gist(text: str) -> str:
    """What a JSON-RPC message carries, on one line: its params, its result, or its error's message."""
    return json_tree.gist(text)
