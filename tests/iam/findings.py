"""The policies held against what was recorded: what they refuse, and what they allow that nothing used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.iam import policies, roles
from tests.iam.policies import Statement
from tests.iam.requests import Request, requests

KEY_POLICY: Final = "kms-key"
"""Beside any role's own, where the tables have a KMS key of the account."""
POLICIES: Final = (*roles.ROLES, KEY_POLICY)


@dataclass(slots=True)
class Findings:
    """What the policies refuse, as sentences; and what they were needed for."""

    refused: set[str] = field(default_factory=set)
    used: set[tuple[Statement, str]] = field(default_factory=set)
    """A statement and one of its actions."""
    calls: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Different calls of each role."""

    def unused(self) -> Iterator[str]:
        """Every action that a policy allows and nothing needed, as a sentence."""
        for policy in POLICIES:
            for statement in policies.statements(policy):
                for action in statement.actions:
                    if (statement, action) not in self.used:
                        yield f"{statement}: nothing in its role used {action}"


def find(calls: Iterable[Mapping[str, Any]]) -> Findings:
    """Hold recorded calls against the policies. Raises ``LookupError`` that says what to add where."""
    found = Findings()
    for call in calls:
        caller = roles.caller(call["stacks"])
        needed = list(requests(call))
        allowing = {role: [_allowing(role, request) for request in needed] for role in caller.roles}
        if not caller.is_certain:
            if not any(all(by_request) for by_request in allowing.values()):
                found.refused.add(f"{_described(call, caller)}: no policy allows {_first_refused(needed, allowing)}")
            continue
        for role, by_request in allowing.items():
            found.calls[role] += 1
            for request, by in zip(needed, by_request, strict=True):
                found.used |= {(statement, request.action) for statement in by}
                if not by:
                    found.refused.add(f"{_described(call, caller)}: {role}.json refuses {_shown(request)}")
    return found


def _allowing(role: str, request: Request) -> list[Statement]:
    names = (role, KEY_POLICY) if request.action.startswith("kms:") else (role,)
    return [
        statement
        for name in names
        for statement in policies.statements(name)
        if statement.allows(request.action, request.resource, request.context)
    ]


def _first_refused(needed: list[Request], allowing: Mapping[str, list[list[Statement]]]) -> str:
    refused = (request for by in allowing.values() for request, each in zip(needed, by, strict=True) if not each)
    return _shown(next(refused))


def _described(call: Mapping[str, Any], caller: roles.Caller) -> str:
    return f"{caller.frame} calls {call['service']}:{call['operation']} on {call['named']}"


def _shown(request: Request) -> str:
    beside = f", which AWS checks beside {request.needed_by}" if request.needed_by else ""
    return f"{request.action} on {request.resource}{beside}"
