"""One client of each language, where its toolchain is found, over three processes; ``make clients`` drives them all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.clients import report
from tests.clients.catalogue import CLIENTS, Client
from tests.clients.environments import NotBuilt
from tests.clients.matrix import Servers, readings, serve
from tests.conftest import NOT_TESTED
from tests.engines import EngineMissing

CHOSEN: Final = (
    "Python SDK 1.22",
    "Python SDK 2.3, 2026-07-28",
    "TypeScript SDK 1.32",
    "go-sdk, with sessions",
    "Java SDK 2.0.1",
)
ALWAYS_IN_CI: Final = ("Python", "TypeScript")
"""What .ci/run installs."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    try:
        with serve(tmp_path_factory.mktemp("clients"), 3) as started:
            yield started
    except EngineMissing as missing:
        _leave_out(f"{NOT_TESTED} with clients that others wrote: {missing}", must=True)


def _leave_out(reason: str, *, must: bool) -> None:
    """Skip, and name it again at the end; on CI fail, if ``must``."""
    if must and os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.mark.parametrize("client", [client for client in CLIENTS if client.name in CHOSEN], ids=lambda one: one.name)
def test_a_client_is_served_by_three_processes(client: Client, servers: Servers) -> None:
    try:
        found = readings(client, servers)
    except NotBuilt as error:
        _leave_out(f"{NOT_TESTED} with {client.name}: {error}", must=client.language in ALWAYS_IN_CI)
    else:
        assert {step: reading for step, reading in found.items() if reading.ok is False} == {}
        assert sum(bool(reading.ok) for reading in found.values()) >= len(found) - 2


def test_every_chosen_client_is_in_the_catalogue() -> None:
    assert set(CHOSEN) <= {client.name for client in CLIENTS}


def test_the_page_says_what_the_kept_readings_say() -> None:
    page = Path(report.PAGE).read_text()
    assert page.partition(report.BEGIN)[1:] == (report.BEGIN, report.rendered(report.kept()).removeprefix(report.BEGIN))
