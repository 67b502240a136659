"""The policies of ``deploy/iam`` as AWS reads them, as far as they go: Allow, wildcards and string conditions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

DIRECTORY: Final = Path(__file__).resolve().parents[2] / "deploy" / "iam"
NOT_READ: Final = ("NotAction", "NotResource", "Principal", "NotPrincipal")

Context = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: what it allows, on what, under which conditions."""

    policy: str
    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    """Operator, key and the values of which one has to match."""

    def __str__(self) -> str:
        return f"{self.policy}.json, {self.sid}"

    def allows(self, action: str, resource: str, context: Context) -> bool:
        """Whether it allows this request. Actions are compared without case, as AWS does."""
        return (
            any(_matches(pattern.lower(), action.lower()) for pattern in self.actions)
            and any(_matches(pattern, resource) for pattern in self.resources)
            and all(_holds(operator, context.get(key), values) for operator, key, values in self.conditions)
        )


def _holds(operator: str, value: str | None, wanted: Sequence[str]) -> bool:
    # A key that the request does not have matches nothing.
    if value is None:
        return False
    return value in wanted if operator == "StringEquals" else any(_matches(pattern, value) for pattern in wanted)


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(letter) or re.escape(letter) for letter in text), re.DOTALL)


def _matches(pattern: str, text: str) -> bool:
    return _pattern(pattern).fullmatch(text) is not None


def parse(policy: str, document: Mapping[str, Any]) -> tuple[Statement, ...]:
    """The statements of a policy. Raises ``ValueError`` for what this module does not evaluate."""
    return tuple(_statement(policy, each) for each in document["Statement"])


def _statement(policy: str, given: Mapping[str, Any]) -> Statement:
    if given["Effect"] != "Allow" or any(name in given for name in NOT_READ):
        raise ValueError(f"{policy}.json, {given['Sid']}: only Allow with Action and Resource is evaluated here")
    conditions = []
    for operator, keys in given.get("Condition", {}).items():
        if operator not in ("StringEquals", "StringLike"):
            raise ValueError(f"{policy}.json, {given['Sid']}: condition {operator} is not evaluated here")
        conditions += [(operator, key, _several(values)) for key, values in keys.items()]
    return Statement(policy, given["Sid"], _several(given["Action"]), _several(given["Resource"]), tuple(conditions))


def _several(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def document(policy: str) -> dict[str, Any]:
    """The policy's JSON as it stands in ``deploy/iam``."""
    read: dict[str, Any] = json.loads((DIRECTORY / f"{policy}.json").read_text())
    return read


@cache
def statements(policy: str) -> tuple[Statement, ...]:
    """The statements of a policy of ``deploy/iam``."""
    return parse(policy, document(policy))
