"""The policies of ``deploy/iam`` as templates have them: narrowed to the tables, the account and the key of a stack."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DIRECTORY: Final = Path(__file__).resolve().parent / "iam"

_SESSIONS: Final = "table/mcp-sessions"
_EVENTS: Final = "table/mcp-session-events"
_BOTH: Final = "table/mcp-session*"
"""Both tables in one pattern, which other names have no form for."""


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What stands in a template for what ``deploy/iam`` leaves open: texts with the template's own references.

    ``text`` makes a value of a text that has such references, as ``Fn::Sub`` does.
    """

    partition: str
    region: str
    account: str
    sessions_table: str
    events_table: str
    key: str
    text: Callable[[str], Any] = str


def document(policy: str, narrowing: Narrowing) -> dict[str, Any]:
    """The document of ``serve``, ``backup`` or any other of ``deploy/iam`` for the tables of one stack."""
    found: dict[str, Any] = json.loads((DIRECTORY / f"{policy}.json").read_text())
    return found | {"Statement": [_statement(statement, narrowing) for statement in found["Statement"]]}


def _statement(statement: dict[str, Any], narrowing: Narrowing) -> dict[str, Any]:
    resources: str | Sequence[str] = statement["Resource"]
    listed = [resources] if isinstance(resources, str) else resources
    narrowed = [narrowing.text(each) for resource in listed for each in _resources(resource, narrowing)]
    return statement | {"Resource": narrowed if len(narrowed) > 1 else narrowed[0]}


def _resources(resource: str, narrowing: Narrowing) -> Iterator[str]:
    if not resource.startswith("arn:"):
        yield resource
    elif ":kms:" in resource:
        yield narrowing.key
    elif _BOTH in resource:
        yield from (
            _narrowed(resource.replace(_BOTH, f"table/{name}*"), narrowing)
            for name in (narrowing.sessions_table, narrowing.events_table)
        )
    else:
        yield _narrowed(resource, narrowing)


def _narrowed(resource: str, narrowing: Narrowing) -> str:
    _, _, service, region, account, rest = resource.split(":", 5)
    for table, name in ((_SESSIONS, narrowing.sessions_table), (_EVENTS, narrowing.events_table)):
        if rest == table or rest.startswith((f"{table}/", f"{table}-restored-")):
            rest = f"table/{name}{rest.removeprefix(table)}"
    return ":".join(
        (
            "arn",
            narrowing.partition,
            service,
            narrowing.region if region == "*" else region,
            narrowing.account if account == "*" else account,
            rest,
        )
    )
