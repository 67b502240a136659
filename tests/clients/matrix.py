"""Clients against servers: the site's processes, and the SDK's own server where a step failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.clients.catalogue import Client
from tests.clients.driving import drive
from tests.clients.environments import NotBuilt, prepared
from tests.clients.steps import STEPS, Reading
from tests.clients.tools import MARKS
from tests.conformance.processes import Children, Site, base_environment, serve_reference, serve_site

KEEPALIVE_SECONDS: Final = 1
"""A third of the silence that a client must bear."""
UNCOMPARED: Final = frozenset({"restart"})
"""The SDK's own server keeps its sessions in memory."""


@dataclass(frozen=True, slots=True)
class Servers:
    """What clients are driven against, until the context ends."""

    site: Site
    reference: str
    """The URL of the SDK's own server, with the same tools."""
    folder: Path

    @property
    def url(self) -> str:
        """One process is spoken to itself, so that connections live on; several through the balancer."""
        return f"http://127.0.0.1:{self.site.ports[0]}/mcp" if len(self.site.ports) == 1 else self.site.url

    def restart(self) -> None:
        """SIGKILL to every process, one after the other, and a new one in its place."""
        for port in self.site.ports:
            self.site.kill(port)
            self.site.replace(port)


@contextmanager
def serve(folder: Path, processes: int) -> Iterator[Servers]:
    """The site in so many processes on DynamoDB Local, and the SDK's own server."""
    marks = folder / "marks"
    marks.mkdir()
    settings = {
        "MCP_SERVER": "tests.clients.server:mcp",
        "STREAM_KEEPALIVE_SECONDS": str(KEEPALIVE_SECONDS),
        MARKS: str(marks),
    }
    children = Children()
    with ExitStack() as stack:
        stack.callback(children.close)
        site = stack.enter_context(serve_site(children, folder, count=processes, threads=16, settings=settings))
        reference = stack.enter_context(
            serve_reference(children, folder, module="tests.clients.reference", settings={MARKS: str(marks)})
        )
        yield Servers(site, reference, folder)


def readings(client: Client, servers: Servers, steps: Sequence[str] = tuple(STEPS)) -> dict[str, Reading]:
    """A client's reading of each step; what failed is tried on the SDK's own server, too."""
    command = prepared(client.name, client.recipe)
    wanted = [step for step in steps if step not in client.lacks]
    env = {**base_environment(), **client.settings}
    log = servers.folder / f"{client.name.replace(' ', '-').replace('/', '-')}.log"
    found = drive(command, servers.url, wanted, env=env, log=log, restart=servers.restart)
    failed = [step for step, reading in found.items() if reading.ok is False and step not in UNCOMPARED]
    if failed:
        compared = drive(command, servers.reference, failed, env=env, log=log, restart=lambda: None)
        if found["connect"].ok is False and compared["connect"].ok is False:
            raise NotBuilt(f"its driver reaches neither server: {found['connect'].detail}")
        for step in failed:
            if compared[step].ok is False:
                found[step] = replace(found[step], on_sdk=compared[step].detail)
    found |= {step: Reading(None, reason) for step, reason in client.lacks.items()}
    return {step: found[step] for step in STEPS if step in found}
