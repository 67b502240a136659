"""WhiteNoise's files under ASGI: read in threads piece by piece, where Django would take a whole file into memory.

And their URLs, which begin with the prefix that a request came by: Django makes them once, with that of the first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, BinaryIO, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.http import FileResponse, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import get_script_prefix
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.storage import CompressedManifestStaticFilesStorage

from mcpsite.blocking.threads import in_thread

PIECE_BYTES: Final = 64 * 1024


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]
    """WhiteNoise's middleware, for both kinds of handler."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        super().__init__(get_response)
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """The file at the request's path, or what the project answers."""
        return self._on_the_loop(request) if iscoroutinefunction(self) else super().__call__(request)

    async def _on_the_loop(self, request: HttpRequest) -> HttpResponseBase:
        file = await in_thread(self._file, request) if self._may_be(request) else None
        if file is None:
            response: HttpResponseBase = await self.get_response(request)
            return response
        file.streaming_content = _pieces(file.file_to_stream)
        return file

    def _may_be(self, request: HttpRequest) -> bool:
        return self.autorefresh or request.path_info in self.files

    def _file(self, request: HttpRequest) -> FileResponse | None:
        found = self.find_file(request.path_info) if self.autorefresh else self.files[request.path_info]
        response: FileResponse | None = None if found is None else self.serve(found, request)
        return response


async def _pieces(file: BinaryIO | None) -> AsyncIterator[bytes]:
    """What the file holds; nothing where there is only a head to send."""
    while file is not None and (piece := await in_thread(file.read, PIECE_BYTES)):
        yield piece


class _BelowThePrefix:
    """The URL that files are below, for each request; ``STATIC_URL`` begins with a slash, or Django does it once."""

    @property
    def base_url(self) -> str:
        url = settings.STATIC_URL or ""
        # One with a host is of another server, and no request's.
        return url if "//" in url else f"{get_script_prefix()}{url.lstrip('/')}"


class StaticFiles(_BelowThePrefix, StaticFilesStorage):
    """Django's storage of static files, for development."""


class HashedStaticFiles(_BelowThePrefix, CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """WhiteNoise's storage of static files, whose names change with their contents."""
