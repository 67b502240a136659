"""One action on several sessions: the question, the work, what became of each, and the admin log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Final

from django.contrib import messages
from django.contrib.admin.models import CHANGE, DELETION
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from sessions_dynamo import models
from sessions_dynamo.errors import StorageError, StorageUnavailable
from sessions_dynamo.staff import shell
from sessions_dynamo.staff.sessions import endings
from sessions_dynamo.store import batches

MAX_SESSIONS: Final = batches.GET_SIZE
"""As many as a page of the list shows."""
WORKERS: Final = 8
NAMED: Final = 5
"""Ids of failures in a message."""


@dataclass(frozen=True, slots=True)
class Action:
    """What is done to each session, and how it is told."""

    verb: str
    done: str
    not_needed: str
    consequences: str
    flag: int
    act: Callable[[str], bool]
    """Whether there was anything to do."""


TERMINATE: Final = Action(
    verb="Terminate",
    done="Terminated",
    not_needed="had ended already",
    consequences="Clients are told that the session does not exist and have to begin a new one; open streams close."
    " What is stored stays readable here until it expires.",
    flag=CHANGE,
    act=lambda session_id: endings.terminate(session_id),
)
DELETE: Final = Action(
    verb="Delete",
    done="Deleted",
    not_needed="did not exist any more",
    consequences="State, large values, events and recorded calls are deleted at once. This cannot be undone.",
    flag=DELETION,
    act=lambda session_id: endings.delete(session_id),
)


@dataclass(slots=True)
class Outcome:
    """Ids by what became of them, each in the order in which they were chosen."""

    done: list[str]
    not_needed: list[str]
    failed: dict[str, StorageError]
    """A part of it may be done."""
    untried: list[str]

    @property
    def not_done(self) -> list[str]:
        return [*self.failed, *self.untried]


def carry_out(request: HttpRequest, action: Action, *, back: str) -> HttpResponse:
    """Ask, act, record and return to the list, with a sentence of what became of the chosen sessions."""
    if request.method != "POST":
        reason = f"To {action.verb.lower()} several sessions, choose them in the list of sessions."
        return shell.problem(request, "Nothing chosen", reason, status=405)
    chosen = list(dict.fromkeys(request.POST.getlist("session")))
    if not chosen:
        return shell.done(request, f"Choose the sessions to {action.verb.lower()} first.", back, level=messages.WARNING)
    if len(chosen) > MAX_SESSIONS:
        return shell.problem(
            request,
            "Too many sessions",
            f"{len(chosen)} sessions were chosen; one action takes {MAX_SESSIONS}.",
            remedy="Choose fewer. To remove many by age, run 'manage.py sessions_expire'.",
        )
    noun = _sessions(len(chosen))
    answer = shell.ask(
        request,
        title=f"{action.verb} {noun}",
        question=f"{action.verb} {'this session' if len(chosen) == 1 else f'these {noun}'}?",
        targets=chosen,
        consequences=action.consequences,
        button=f"{action.verb} {noun}",
        back=back,
        fields={"session": chosen, "query": back.partition("?")[2]},
    )
    if answer is not None:
        return answer
    outcome = _act(action, chosen)
    with transaction.atomic():
        for session_id in outcome.done:
            shell.record(request, models.Session, session_id, action.flag, f"{action.done} with {noun} chosen.")
        for session_id, error in outcome.failed.items():
            tried = f"Tried to {action.verb.lower()} it with {noun} chosen. {error}"
            shell.record(request, models.Session, session_id, action.flag, tried)
    return shell.done(request, _sentence(action, outcome), back, level=_level(outcome))


def _act(action: Action, session_ids: Sequence[str]) -> Outcome:
    """Act on each; once DynamoDB does not answer, the rest is not tried."""
    stopped = Event()

    def act(session_id: str) -> bool | StorageError | None:
        if stopped.is_set():
            return None
        try:
            return action.act(session_id)
        except StorageError as exc:
            if isinstance(exc, StorageUnavailable):
                stopped.set()
            return exc

    with ThreadPoolExecutor(WORKERS) as pool:
        results = dict(zip(session_ids, pool.map(act, session_ids), strict=True))
    return Outcome(
        done=[session_id for session_id, result in results.items() if result is True],
        not_needed=[session_id for session_id, result in results.items() if result is False],
        failed={session_id: result for session_id, result in results.items() if isinstance(result, StorageError)},
        untried=[session_id for session_id, result in results.items() if result is None],
    )


def _sentence(action: Action, outcome: Outcome) -> str:
    parts = [f"{action.done} {_sessions(len(outcome.done))}."]
    if number := len(outcome.not_needed):
        parts.append(f"{number} {action.not_needed}.")
    if number := len(outcome.not_done):
        named = ", ".join(outcome.not_done[:NAMED])
        more = f" and {number - NAMED} more" if number > NAMED else ""
        parts.append(f"Not {action.done.lower()}: {named}{more}. {next(iter(outcome.failed.values()))}")
    return " ".join(parts)


def _level(outcome: Outcome) -> int:
    if outcome.not_done:
        return messages.ERROR
    return messages.SUCCESS if outcome.done else messages.WARNING


def _sessions(number: int) -> str:
    return "1 session" if number == 1 else f"{number} sessions"
