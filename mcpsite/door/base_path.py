"""The path under which clients reach the site, where something before it has a part of their URLs to itself."""

from __future__ import annotations

from mcpsite.door.request import Receive
from mcpsite.door.short_door import Application, Scope, Send


def normalised(text: str) -> str:
    """A base path with a slash before it and none behind; empty for the root."""
    inner = text.strip("/")
    return f"/{inner}" if inner else ""


def below(path: str, base: str) -> str | None:
    """What of a path lies below a base path, with its slash; ``None`` where it does not lie there."""
    if path == base:
        return "/"
    return path.removeprefix(base) if path.startswith(f"{base}/") else None


class BasePath:
    """An ASGI application before the site's: it tells the site of its base path (``root_path``, SCRIPT_NAME).

    A proxy may pass the base path on or have removed it, and a health check knows none: a path that does not begin
    with it is taken for what is below. A scope that has a ``root_path`` is left as its server made it.
    """

    def __init__(self, site: Application, base: str) -> None:
        self._site = site
        self._base = normalised(base)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's scope (ASGI 3.0)."""
        if self._base and scope["type"] == "http" and not scope.get("root_path"):
            path = f"{self._base}{below(scope['path'], self._base) or scope['path']}"
            scope = {**scope, "root_path": self._base, "path": path}
        await self._site(scope, receive, send)
