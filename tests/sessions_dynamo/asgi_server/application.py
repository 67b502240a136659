"""A small ASGI application for a server's tests; what it lived through it prints, a word at a time."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import resource
import time
from collections.abc import Callable, Coroutine
from typing import Any

from django.conf import settings

from sessions_dynamo import conf
from sessions_dynamo.asgi_server.lifespan import RELEASE_CLIENTS, STOP_AT

settings.configure(
    **{
        setting.name: type(setting.of(object()))(os.environ[setting.name])
        for setting in (
            conf.AppSettings.REQUEST_READ_SECONDS,
            conf.AppSettings.SEND_SECONDS,
            conf.AppSettings.MAX_CONNECTIONS,
        )
        if setting.name in os.environ
    }
)

released = asyncio.Event()
seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="nothing")


def say(text: str) -> None:
    print(f"{os.getpid()} {text}", flush=True)


atexit.register(say, "atexit")


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    if "FAIL" in os.environ:
        raise RuntimeError("this application does not start")

    def release() -> None:
        say("released")
        if "DEAF" not in os.environ:
            released.set()

    scope["state"][RELEASE_CLIENTS] = release
    await send({"type": "lifespan.startup.complete"})
    say("started")
    await receive()
    left = scope["state"][STOP_AT] - asyncio.get_running_loop().time()
    say(f"shutdown with {'time' if left > 0 else 'no time'} left")
    await send({"type": "lifespan.shutdown.complete"})


async def answer(send: Any, text: object, status: int = 200) -> None:
    body = str(text).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def body_of(receive: Any) -> bytes | None:
    """The whole body; ``None`` if the client left."""
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += bytes(message["body"])
        if not message["more_body"]:
            return body


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, f"hello {scope['client'][0]} {scope['scheme']}")


async def stream(scope: Any, receive: Any, send: Any) -> None:
    """Events until either side ends."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    await send({"type": "http.response.body", "body": b": open\n\n", "more_body": True})
    await body_of(receive)
    left = asyncio.ensure_future(receive())
    end = asyncio.ensure_future(released.wait())
    await asyncio.wait({left, end}, return_when=asyncio.FIRST_COMPLETED)
    say("left" if left.done() else "ended")
    await send({"type": "http.response.body", "body": b": over\n\n"})


async def large(scope: Any, receive: Any, send: Any) -> None:
    """100 MB."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    chunk = b"x" * 100_000
    for _ in range(1000):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    say("sent")


async def endless(scope: Any, receive: Any, send: Any) -> None:
    """What a careless generator does: it never asks whether anybody listens."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(5_000_000):
        await send({"type": "http.response.body", "body": b"x", "more_body": True})


async def events(scope: Any, receive: Any, send: Any) -> None:
    """Small ones, of so many bytes in all, then silence until the client leaves."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    await body_of(receive)
    left = asyncio.ensure_future(receive())
    sent, event = 0, b": %s\n\n" % (b"x" * 60)
    while sent < int(scope["query_string"]) and not left.done():
        await send({"type": "http.response.body", "body": event, "more_body": True})
        sent += len(event)
    await left
    say(f"left after {sent}")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body = await body_of(receive)
    if body is None:
        say("disconnect")
    else:
        await answer(send, len(body))


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    """An answer before the body has come."""
    await answer(send, "too large", 413)


async def block(scope: Any, receive: Any, send: Any) -> None:
    time.sleep(float(scope["query_string"]))
    await answer(send, "blocked")


async def slow(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(float(scope["query_string"]))
    await answer(send, "slow")


async def in_thread(scope: Any, receive: Any, send: Any) -> None:
    """As a synchronous view runs: in a thread that nobody can end."""
    say("in a thread")
    await asyncio.to_thread(time.sleep, 60)


async def stubborn(scope: Any, receive: Any, send: Any) -> None:
    """Does not ask whether the client is still there."""
    try:
        say("working")
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.2)
        say("cleaned up")


async def remember(scope: Any, receive: Any, send: Any) -> None:
    """Whether a variable of the request before is seen."""
    before = seen.get()
    seen.set("the request before")
    body = await body_of(receive)
    await answer(send, f"{before} {len(body or b'')}")


async def values(scope: Any, receive: Any, send: Any) -> None:
    """The values of the headers whose names begin with x-."""
    await answer(send, repr([value for name, value in scope["headers"] if name.startswith(b"x-")]))


async def headers(scope: Any, receive: Any, send: Any) -> None:
    await body_of(receive)
    await answer(send, " ".join(name.decode() for name, _ in scope["headers"]))


async def broken(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("broken")


async def files(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


Handler = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]
HANDLERS: dict[str, Handler] = {
    handler.__name__: handler
    for handler in (
        *(hello, stream, large, events, endless, echo, refuse, block, slow, in_thread, stubborn),
        *(remember, headers, values, broken, files),
    )
}


async def application(scope: Any, receive: Any, send: Any) -> None:
    handler = lifespan if scope["type"] == "lifespan" else HANDLERS[scope["path"].strip("/")]
    await handler(scope, receive, send)
