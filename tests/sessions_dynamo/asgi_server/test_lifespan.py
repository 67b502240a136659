"""Which applications are served: those without a lifespan, but none whose startup failed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sessions_dynamo.asgi_server.lifespan import Lifespan
from sessions_dynamo.asgi_server.server import Config


async def without(scope: Any, receive: Any, send: Any) -> None:
    """As Django's own handler is."""
    raise ValueError(f"Django can only handle ASGI/HTTP connections, not {scope['type']}.")


async def raising(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    raise RuntimeError("no database")


async def failing(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no tables"})


async def returning(scope: Any, receive: Any, send: Any) -> None:
    await receive()


async def whole(scope: Any, receive: Any, send: Any) -> None:
    for event in ("startup", "shutdown"):
        assert await receive() == {"type": f"lifespan.{event}"}
        scope["state"][event] = True
        await send({"type": f"lifespan.{event}.complete"})


async def at_an_end(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    raise RuntimeError("it ended by itself")


async def failing_later(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.failed", "message": "still busy"})


def _lived(application: Any, kind: str) -> Lifespan:
    """A lifespan that was entered, and left where the application serves."""

    async def live() -> Lifespan:
        config = Config(application, lifespan=kind)
        config.load()
        lifespan = Lifespan(config)
        async with asyncio.timeout(10):
            await lifespan.startup()
            if not lifespan.should_exit:
                await lifespan.shutdown()
        return lifespan

    return asyncio.run(live())


@pytest.mark.parametrize("kind", ["on", "auto"])
def test_startup_and_shutdown_are_said_and_the_state_is_the_applications(kind: str) -> None:
    lifespan = _lived(whole, kind)
    assert not lifespan.should_exit
    assert lifespan.state["startup"]
    assert lifespan.state["shutdown"]


def test_an_application_without_a_lifespan_is_served_where_one_may_be_missing(caplog: pytest.LogCaptureFixture) -> None:
    assert not _lived(without, "auto").should_exit
    assert caplog.records == []
    assert _lived(without, "on").should_exit


@pytest.mark.parametrize("kind", ["on", "auto"])
@pytest.mark.parametrize(
    ("application", "said"),
    [(raising, "no database"), (failing, "no tables"), (returning, "it ended at once")],
    ids=["raises", "says so", "returns"],
)
def test_an_application_whose_startup_failed_is_not_served(
    application: Any, said: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert _lived(application, kind).should_exit
    assert said in caplog.text


@pytest.mark.parametrize(("application", "said"), [(at_an_end, "it ended by itself"), (failing_later, "still busy")])
def test_an_end_that_goes_wrong_is_logged(application: Any, said: str, caplog: pytest.LogCaptureFixture) -> None:
    assert not _lived(application, "on").should_exit
    assert said in caplog.text
