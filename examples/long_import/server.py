"""A long import: it says how far it is, runs on while its client is away, and a repeat goes on where it stopped."""

from __future__ import annotations

import csv
import hashlib
import logging
import os
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import anyio
from mcp.server.mcpserver import Context, MCPServer, Resolve
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field
from typing_extensions import TypedDict

from mcpsite.endpoint.tools import Session, current_session
from sessions_dynamo.key_value.store import DynamoDBKeyValue

logger = logging.getLogger(__name__)

mcp = MCPServer(
    "catalogue-import",
    instructions="plan_import first, then run_import; where run_import fails or is cut off, call it again.",
)

FOLDER = Path(os.environ.get("CATALOGUES", Path(__file__).parent / "catalogues"))
ROWS_A_SECOND = float(os.environ.get("ROWS_A_SECOND", "5"))
"""What the shop takes from one importer."""
KEPT_SECONDS = 30 * 24 * 3600

Import = Annotated[Session, Resolve(current_session)]
Catalogue = Annotated[str, Field(pattern=r"^[a-z0-9-]+$", description="The catalogue's name, such as spring.")]

shop = DynamoDBKeyValue(default_collection="products")
"""Where products go: any worker writes and reads it. In its place yours has a database or somebody's API."""


class Plan(TypedDict):
    """What will be imported; the digest tells a file that was changed meanwhile."""

    catalogue: str
    rows: int
    digest: str


class Outcome(TypedDict):
    """What came of an import; ``skipped`` are the rows that could not be read, by their numbers."""

    catalogue: str
    imported: int
    skipped: list[int]
    began_at_row: int


class Product(TypedDict):
    """A product of the shop's."""

    sku: str
    name: str
    price: str


@mcp.tool()
async def plan_import(catalogue: Catalogue, importing: Import) -> Plan:
    """Look at a catalogue and remember it for run_import."""
    rows, digest = await open_catalogue(catalogue)
    plan = Plan(catalogue=catalogue, rows=len(rows), digest=digest)
    importing.state["plan"] = plan
    return plan


@mcp.tool()
async def run_import(importing: Import, ctx: Context) -> Outcome:
    """Import the catalogue that was planned. It takes a while; repeated, it goes on where the last run stopped."""
    plan: Plan | None = importing.state.get("plan")
    if plan is None:
        raise ToolError("Nothing is planned: call plan_import first.")
    rows, digest = await open_catalogue(plan["catalogue"])
    if digest != plan["digest"]:
        raise ToolError(f"The catalogue {plan['catalogue']} has changed: call plan_import again.")

    # State is saved when a call succeeds; a counter is written at once, so it outlives this call and its process. Each
    # run has one of its own: a former one, which may still be running somewhere, cannot move it.
    run = await importing.aincr(f"{digest}.runs")
    done = began = await importing.aincr(f"{digest}.done.{run - 1}", 0)
    await importing.aincr(f"{digest}.done.{run}", done)
    logger.info("Run %d of %s begins after row %d of %d", run, plan["catalogue"], began, len(rows))
    for row in rows[began:]:
        if await importing.aincr(f"{digest}.runs", 0) != run:
            raise ToolError("A later run_import has taken over.")
        # A row that was not counted yet is imported again, so it goes where it was before.
        if (product := read(row)) is not None:
            await shop.put(product["sku"], product, ttl=KEPT_SECONDS)
        done = await importing.aincr(f"{digest}.done.{run}")
        await ctx.report_progress(done, len(rows), row["name"])
        await anyio.sleep(1 / ROWS_A_SECOND)
    skipped = [number for number, row in enumerate(rows, 1) if read(row) is None]
    logger.info("Imported %s: %d rows, %d skipped", plan["catalogue"], len(rows), len(skipped))
    return Outcome(
        catalogue=plan["catalogue"], imported=len(rows) - len(skipped), skipped=skipped, began_at_row=began + 1
    )


@mcp.tool()
async def find_product(sku: str) -> Product:
    """A product of the shop's."""
    if (found := await shop.get(sku)) is None:
        raise ToolError(f"The shop has no {sku}.")
    return Product(sku=found["sku"], name=found["name"], price=found["price"])


async def open_catalogue(name: str) -> tuple[list[dict[str, str]], str]:
    """A catalogue's rows, and a digest of the file."""
    path = anyio.Path(FOLDER / f"{name}.csv")
    if not await path.is_file():
        raise ToolError(f"There is no catalogue {name}.")
    text = await path.read_text()
    return list(csv.DictReader(text.splitlines())), hashlib.sha256(text.encode()).hexdigest()[:12]


def read(row: dict[str, str]) -> Product | None:
    """A row as a product; ``None`` for one without a number or a price."""
    try:
        price = Decimal(row["price"])
    except InvalidOperation:
        return None
    return Product(sku=row["sku"], name=row["name"], price=f"{price:.2f}") if row["sku"] else None
