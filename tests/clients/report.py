"""The table in ``docs/clients.md``, made of readings that are kept beside the catalogue from run to run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.clients.catalogue import CLIENTS, Client
from tests.clients.environments import ROOT
from tests.clients.steps import HEADINGS, STEPS, Reading

PAGE: Final = ROOT / "docs" / "clients.md"
KEPT: Final = Path(__file__).parent / "readings.json"
BEGIN: Final = "<!-- The rest is written by 'make clients'. -->"

Readings = dict[str, dict[str, dict[str, Reading]]]
"""By client and version, by the number of processes, by step."""


def identity(client: Client) -> str:
    """What a client's readings are kept under: those of another version are not this row's."""
    return f"{client.name} ({client.package} {client.version})"


def kept() -> Readings:
    """The readings of earlier runs; those of clients that the catalogue no longer has are left out."""
    if not KEPT.exists():
        return {}
    known = {identity(client) for client in CLIENTS}
    readings: Readings = {}
    for name, count, steps in json.loads(KEPT.read_text()):
        if name in known:
            counts = readings.setdefault(name, {})
            counts[count] = {step: Reading(**reading) for step, reading in steps.items()}
    return readings


def write(readings: Readings) -> None:
    """Keep all readings, and make the page of them."""
    # A run a line, so that a difference shows whose it is.
    runs = [
        json.dumps([name, count, {step: _plain(reading) for step, reading in steps.items()}], ensure_ascii=False)
        for name, counts in sorted(readings.items())
        for count, steps in sorted(counts.items())
    ]
    KEPT.write_text("[\n" + ",\n".join(runs) + "\n]\n")
    PAGE.write_text(PAGE.read_text().partition(BEGIN)[0] + rendered(readings))


def _plain(reading: Reading) -> dict[str, object]:
    return {name: value for name, value in asdict(reading).items() if value != ""}


def rendered(readings: Readings) -> str:
    """The page from the marker on."""
    rows = [(client, readings[identity(client)]) for client in CLIENTS if identity(client) in readings]
    lines = [BEGIN, "", _row(["client", "version", *(HEADINGS.get(step, step) for step in STEPS)])]
    lines.append(_row(["---"] * (len(STEPS) + 2)))
    lines += [
        _row([client.name, f"`{client.package}` {client.version}", *(cell(counts, step) for step in STEPS)])
        for client, counts in rows
    ]
    faults = [note for client, counts in rows for note in _notes(client, counts, False)]
    missing = [note for client, counts in rows for note in _notes(client, counts, None)]
    lines += [
        "",
        "### What failed",
        "",
        *(faults or ["Nothing."]),
        "",
        "### What a client does not offer",
        "",
        *missing,
    ]
    return "\n".join(lines) + "\n"


def cell(counts: Mapping[str, Mapping[str, Reading]], step: str) -> str:
    """One sign where all numbers of processes agree, else each with its own."""
    signs = {count: sign(steps.get(step)) for count, steps in sorted(counts.items())}
    if len(set(signs.values())) == 1:
        return next(iter(signs.values()))
    return " ".join(f"{count}:&nbsp;{one}" for count, one in signs.items())


def sign(reading: Reading | None) -> str:
    """A tick, a dash for what the client does not offer, a cross, in brackets if the SDK's own server gets it too."""
    if reading is None:
        return ""
    if reading.ok is None:
        return "\N{EN DASH}"
    if reading.ok:
        return "✓"
    return "(✗)" if reading.is_clients_own else "✗"


def _notes(client: Client, counts: Mapping[str, Mapping[str, Reading]], ok: bool | None) -> list[str]:
    notes: dict[str, list[str]] = {}
    for count, steps in sorted(counts.items()):
        for step, reading in steps.items():
            if reading.ok is ok:
                text = f"{HEADINGS.get(step, step)}: {_one_line(reading.detail)}"
                if reading.on_sdk:
                    text += f" On the SDK's own server: {_one_line(reading.on_sdk)}"
                notes.setdefault(text, []).append(count)
    return [f"- {client.name}, {text}{_where(where, counts)}" for text, where in notes.items()]


def _where(where: Sequence[str], counts: Mapping[str, object]) -> str:
    if len(where) == len(counts):
        return ""
    return " (in one process)" if where == ["1"] else f" (over {' and '.join(where)} processes)"


def _one_line(text: str) -> str:
    line = " ".join(text.split()).replace("|", "\\|")
    line = line if len(line) <= 240 else line[:240] + "…"
    return line if line.endswith((".", "…")) else line + "."


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
