"""Static files under both kinds of handler: WhiteNoise's answers, read in pieces where there is a loop."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from pytest_django import Settings

from mcpsite.static_files import PIECE_BYTES, StaticFilesMiddleware
from tests.mcpsite import site

TEXT = b"body { color: teal }\n"
LARGE = bytes(range(256)) * 1024


@pytest.fixture(params=[True, False], ids=["autorefresh", "listed at start"])
def autorefresh(request: pytest.FixtureRequest) -> bool:
    is_on: bool = request.param
    return is_on


@pytest.fixture
def root(tmp_path: Path, settings: Settings, autorefresh: bool) -> Path:
    """The collected files, which are served below ``/static/``."""
    settings.STATIC_ROOT = str(tmp_path)
    settings.WHITENOISE_AUTOREFRESH = autorefresh
    settings.WHITENOISE_USE_FINDERS = False
    (tmp_path / "site.css").write_bytes(TEXT)
    (tmp_path / "large.bin").write_bytes(LARGE)
    (tmp_path / "empty.txt").write_bytes(b"")
    return tmp_path


class Answer:
    """What a client has of a response: its head, and the pieces of its body."""

    def __init__(self, response: Any, pieces: list[bytes]) -> None:
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.pieces = pieces
        self.body = b"".join(pieces)


def sync_answer(method: str, path: str, headers: Mapping[str, str]) -> Answer:
    def project(_: HttpRequest) -> HttpResponse:
        return HttpResponse("the project's", status=404)

    response = StaticFilesMiddleware(project)(RequestFactory().generic(method, path, headers=headers))
    answer = Answer(response, list(response))
    response.close()
    return answer


def async_answer(method: str, path: str, headers: Mapping[str, str]) -> Answer:
    async def project(_: HttpRequest) -> HttpResponse:
        return HttpResponse("the project's", status=404)

    async def serve() -> Answer:
        response = await StaticFilesMiddleware(project)(RequestFactory().generic(method, path, headers=headers))
        pieces = [piece async for piece in response] if response.streaming else list(response)
        response.close()
        return Answer(response, pieces)

    return anyio.run(serve)


@pytest.fixture(params=[sync_answer, async_answer], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest, root: Path) -> Any:
    """Send a request, and have the whole answer."""

    def asking(path: str, method: str = "GET", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer: Answer = request.param(method, path, named)
        return answer

    with warnings.catch_warnings():
        # Django's, of an iterator that is not of the handler's kind.
        warnings.simplefilter("error")
        yield asking


# --- What is answered -----------------------------------------------------------------------------------------


def test_a_file_is_served_with_its_type_and_length(ask: Any) -> None:
    answer = ask("/static/site.css")
    assert (answer.status, answer.body) == (200, TEXT)
    assert answer.headers["Content-Type"] == 'text/css; charset="utf-8"'
    assert answer.headers["Content-Length"] == str(len(TEXT))
    assert ask("/static/empty.txt").body == b""


def test_a_head_has_no_body(ask: Any) -> None:
    answer = ask("/static/site.css", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(TEXT))


def test_a_range_is_cut_from_the_file(ask: Any) -> None:
    answer = ask("/static/large.bin", Range="bytes=70000-200000")
    assert (answer.status, answer.body) == (206, LARGE[70000:200001])
    assert answer.headers["Content-Range"] == f"bytes 70000-200000/{len(LARGE)}"
    assert answer.headers["Content-Length"] == "130001"
    assert ask("/static/large.bin", Range="bytes=-5").body == LARGE[-5:]
    assert ask("/static/large.bin", Range="bytes=9999999-").status == 416


def test_what_the_client_has_is_not_sent_again(ask: Any) -> None:
    first = ask("/static/site.css")
    for headers in ({"If_None_Match": first.headers["ETag"]}, {"If_Modified_Since": first.headers["Last-Modified"]}):
        again = ask("/static/site.css", **headers)
        assert (again.status, again.body) == (304, b"")


def test_a_compressed_variant_goes_to_whom_it_suits(root: Path, ask: Any) -> None:
    (root / "site.css.gz").write_bytes(b"packed")
    answer = ask("/static/site.css", Accept_Encoding="gzip")
    assert (answer.body, answer.headers["Content-Encoding"]) == (b"packed", "gzip")
    assert ask("/static/site.css").body == TEXT


def test_another_method_is_not_allowed(ask: Any) -> None:
    assert ask("/static/site.css", "POST").status == 405


@pytest.mark.parametrize("path", ["/static/absent.css", "/static/", "/", "/site.css", "/static/../conftest.py"])
def test_a_path_without_a_file_is_the_projects(ask: Any, path: str) -> None:
    answer = ask(path)
    assert (answer.status, answer.body) == (404, b"the project's")


@pytest.mark.parametrize("autorefresh", [False], indirect=True)
def test_a_directory_that_is_not_there_is_told_where_files_are_listed_at_start(root: Path, settings: Settings) -> None:
    settings.STATIC_ROOT = str(root / "never-collected")

    with pytest.warns(UserWarning, match="No directory at: .*never-collected"):
        StaticFilesMiddleware(_project)


# --- On a loop ------------------------------------------------------------------------------------------------


async def _project(_: HttpRequest) -> HttpResponse:
    return HttpResponse("the project's")


@pytest.mark.parametrize("autorefresh", [True, False], indirect=True)
def test_a_file_made_later_is_found_only_where_each_request_looks(root: Path, autorefresh: bool) -> None:
    async def serve() -> bool:
        middleware = StaticFilesMiddleware(_project)
        (root / "later.txt").write_text("new")
        response = await middleware(RequestFactory().get("/static/later.txt"))
        response.close()
        return bool(response.streaming)

    assert anyio.run(serve) is autorefresh


def test_a_large_file_arrives_in_pieces_and_is_closed(root: Path) -> None:
    async def serve() -> None:
        response = await StaticFilesMiddleware(_project)(RequestFactory().get("/static/large.bin"))
        file = response._resource_closers[0].__self__
        pieces = [piece async for piece in response]
        assert b"".join(pieces) == LARGE
        assert {len(piece) for piece in pieces} == {PIECE_BYTES}
        assert not file.closed
        response.close()
        assert file.closed

    anyio.run(serve)


def test_a_file_that_nobody_reads_to_its_end_is_closed(root: Path) -> None:
    async def serve() -> None:
        response = await StaticFilesMiddleware(_project)(RequestFactory().get("/static/large.bin"))
        file = response._resource_closers[0].__self__
        async for _ in response:
            break
        response.close()
        assert file.closed

    anyio.run(serve)


def test_files_are_served_while_every_thread_of_the_sdks_handlers_is_busy(root: Path) -> None:
    async def serve() -> None:
        over = threading.Event()
        limiter = to_thread.current_default_thread_limiter()
        async with anyio.create_task_group() as busy:
            for _ in range(int(limiter.total_tokens)):
                busy.start_soon(to_thread.run_sync, lambda: over.wait())
            try:
                await anyio.wait_all_tasks_blocked()
                assert limiter.available_tokens == 0
                with anyio.fail_after(10):
                    response = await StaticFilesMiddleware(_project)(RequestFactory().get("/static/large.bin"))
                    assert b"".join([piece async for piece in response]) == LARGE
                response.close()
            finally:
                over.set()

    anyio.run(serve)


def test_the_site_serves_them_through_djangos_own_handler(root: Path) -> None:
    """By all its middleware: none of them may take the file into memory, or ask the loop to wait."""
    app = ASGIHandler()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        served = site.request("GET", "/static/large.bin", app=app)
        assert (served.status, b"".join(served.pieces)) == (200, LARGE)
        assert len(served.pieces) == len(LARGE) // PIECE_BYTES
        head = site.request("HEAD", "/static/large.bin", app=app)
        assert (head.status, head.pieces) == (200, [])
