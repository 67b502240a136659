"""A long import over two processes: its client's connection breaks, its process is killed, and it is repeated."""

from __future__ import annotations

import csv
from typing import Final

import anyio
import pytest

from tests.conformance.processes import ROOT
from tests.examples.callers import EVERY_KIND, Caller, CallFailed, Kind, connected, every_kind_connected
from tests.live.stream_sites import StreamSite

EXAMPLE = "long_import"
SETTINGS = {"ROWS_A_SECOND": "60"}

CATALOGUE: Final = ROOT / "examples" / "long_import" / "catalogues" / "spring.csv"
ROWS: Final = [*csv.DictReader(CATALOGUE.read_text().splitlines())]
SKIPPED: Final = [17, 29]
FEW: Final = 5


async def _until_begun(*callers: Caller) -> None:
    with anyio.fail_after(20):
        while any(len(caller.progress) < FEW for caller in callers):
            await anyio.sleep(0.01)


async def _imported(caller: Caller) -> None:
    last = ROWS[-1]
    assert await caller.call("find_product", sku=last["sku"]) == last
    with pytest.raises(CallFailed, match="The shop has no SP-017"):
        await caller.call("find_product", sku="SP-017")


@pytest.mark.parametrize("kind", [kind for kind in EVERY_KIND if kind[1] == "legacy"], ids="-".join)
def test_a_client_whose_connection_broke_is_told_the_rest(site: StreamSite, kind: Kind) -> None:
    async def use() -> None:
        async with connected(kind, site.url) as caller:
            assert (await caller.call("plan_import", catalogue="spring"))["rows"] == len(ROWS)
            async with anyio.create_task_group() as tasks:

                async def break_it() -> None:
                    await _until_begun(caller)
                    site.balancer.cut()

                tasks.start_soon(break_it)
                outcome = await caller.call("run_import")
            assert outcome == {
                "catalogue": "spring",
                "imported": len(ROWS) - len(SKIPPED),
                "skipped": SKIPPED,
                "began_at_row": 1,
            }
            with anyio.fail_after(5):
                while len(caller.progress) < len(ROWS):
                    await anyio.sleep(0.01)
            assert sorted(caller.progress) == [*range(1, len(ROWS) + 1)]
            await _imported(caller)

    anyio.run(use)


def test_an_import_whose_process_was_killed_goes_on_where_it_stopped(site: StreamSite) -> None:
    first, second = site.ports

    async def run(caller: Caller, failures: list[str]) -> None:
        with pytest.raises(CallFailed) as failed:
            await caller.call("run_import")
        failures.append(str(failed.value))

    async def go_on(caller: Caller) -> None:
        outcome = await caller.call("run_import")
        assert FEW <= outcome["began_at_row"] <= len(ROWS)
        assert outcome["imported"] == len(ROWS) - len(SKIPPED)
        await _imported(caller)

    async def use() -> None:
        async with every_kind_connected(site.url) as callers:
            for caller in callers:
                await caller.call("plan_import", catalogue="spring")
            site.balancer.remove(second)
            failures: list[str] = []
            async with anyio.create_task_group() as tasks:
                for caller in callers:
                    tasks.start_soon(run, caller, failures)
                await _until_begun(*callers)
                site.balancer.add(second)
                await anyio.to_thread.run_sync(site.kill, first)
            # With a session a client resumes elsewhere, and is told when the dead process's lease has lapsed.
            ended = [text for text in failures if "The server process that ran this request ended" in text]
            assert len(ended) == 2, failures
            async with anyio.create_task_group() as tasks:
                for caller in callers:
                    tasks.start_soon(go_on, caller)
            await anyio.to_thread.run_sync(site.start, first)
            for caller in callers:
                # Nothing is left to do, whoever is asked.
                assert (await caller.call("run_import"))["began_at_row"] == len(ROWS) + 1

    anyio.run(use)


def test_a_repeated_import_takes_over_from_one_that_still_runs(site: StreamSite) -> None:
    async def use() -> None:
        async with connected(("mcp", "legacy"), site.url) as caller:
            await caller.call("plan_import", catalogue="spring")
            refused: list[str] = []

            async def run_on() -> None:
                with pytest.raises(CallFailed) as failed:
                    await caller.call("run_import")
                refused.append(str(failed.value))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run_on)
                await _until_begun(caller)
                outcome = await caller.call("run_import")
            assert outcome["began_at_row"] >= FEW
            assert "A later run_import has taken over." in refused[0]

    anyio.run(use)


def test_a_catalogue_is_planned_before_it_is_imported(site: StreamSite) -> None:
    async def use() -> None:
        async with connected(("mcp", "auto"), site.url) as caller:
            with pytest.raises(CallFailed, match="call plan_import first"):
                await caller.call("run_import")
            with pytest.raises(CallFailed, match="There is no catalogue autumn"):
                await caller.call("plan_import", catalogue="autumn")

    anyio.run(use)
