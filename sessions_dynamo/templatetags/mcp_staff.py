"""The formats of the staff pages, as tags and filters of their templates."""

from __future__ import annotations

from typing import Any

from django import template

from sessions_dynamo.staff import formats

register = template.Library()

for tag in (formats.when, formats.at, formats.status_badge, formats.badge, formats.copyable):
    register.simple_tag(tag)
for filter_ in (formats.short_id, formats.size, formats.span, formats.client_text):
    register.filter(filter_)


@register.simple_tag(takes_context=True)
def url_with(context: dict[str, Any], **changes: Any) -> str:
    """This page's URL with some query parameters changed; an empty value removes one."""
    request = context["request"]
    query = request.GET.copy()
    for name, value in changes.items():
        if value in (None, ""):
            query.pop(name, None)
        else:
            query[name] = value
    return f"{request.path}?{query.urlencode()}" if query else str(request.path)
