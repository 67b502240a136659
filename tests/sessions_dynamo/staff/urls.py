"""Every URL of the staff pages, read from the URLconf, so that a page that is added is tested as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.urls import URLPattern, URLResolver, get_resolver, reverse

NAMESPACE = "mcp_staff"
OWN_PAGES = "try-it"
"""Names of pages beside the namespace begin with this."""


def names() -> list[str]:
    """The full names of all staff URLs, sorted."""
    return sorted(_patterns())


def url(name: str, arguments: Mapping[str, str]) -> str:
    """The URL of a name; of the arguments those that it takes."""
    converters = _patterns()[name].pattern.converters
    unknown = converters.keys() - arguments.keys()
    assert not unknown, f"{name} takes {unknown}: give these tests a value for it"
    return reverse(name, kwargs={parameter: arguments[parameter] for parameter in converters})


def _patterns() -> dict[str, URLPattern]:
    return dict(_walk(get_resolver().url_patterns, ""))


def _walk(patterns: list[URLPattern | URLResolver], namespace: str) -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            if NAMESPACE in (namespace, pattern.namespace):
                yield from _walk(pattern.url_patterns, NAMESPACE)
        elif namespace:
            assert pattern.name, f"{pattern} has no name"
            yield f"{namespace}:{pattern.name}", pattern
        elif (pattern.name or "").startswith(OWN_PAGES):
            yield str(pattern.name), pattern
