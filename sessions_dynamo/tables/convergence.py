"""Carrying out one table's plan: each change, its wait, and what became of it.

Nothing is kept between runs: what stands is read again, so a run that was ended anywhere is completed by the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from sessions_dynamo.errors import AccessDenied, StorageUnavailable, TableMissing, Unsupported, boto_errors
from sessions_dynamo.tables.aspects.change import RUN_AGAIN, Change
from sessions_dynamo.tables.describing import describe_table
from sessions_dynamo.tables.plans import TABLE, TO_DO, TablePlan, plan_table
from sessions_dynamo.tables.steps import Outcome, Step
from sessions_dynamo.tables.waiting import Progress, passes_soon, polls, retry_later, wait_until_active

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def converge(
    planned: TablePlan, client: DynamoDBClient, *, patience: float, progress: Progress | None = None
) -> Iterator[Step]:
    """Carry out a plan, one step at a time; of a table with something that cannot be changed, nothing is.

    ``patience`` is how many seconds each change may take; once one took longer, the rest is only looked at.
    """
    return _Convergence(planned, client, patience, progress).steps()


class _Convergence:
    """One table on its way; ``_patience`` falls to 0 when a wait ran out."""

    def __init__(self, planned: TablePlan, client: DynamoDBClient, patience: float, progress: Progress | None) -> None:
        self._planned, self._client, self._patience, self._progress = planned, client, patience, progress
        self._name = planned.table.name

    def steps(self) -> Iterator[Step]:
        if self._planned.blocked:
            yield from map(self._step, self._planned.blocked)
            return
        head = self._planned.changes[0]
        created: set[str] = set()
        if head.outcome is Outcome.CREATE:
            step = self._create(head)
            yield step
            if step.outcome not in (Outcome.CREATED, Outcome.UNCHANGED):
                return
            if step.outcome is Outcome.CREATED:
                created = {change.aspect for change in self._planned.to_do}
            if not self._settled():
                yield Step(self._name, "ttl", Outcome.PENDING, f"the table is not ACTIVE: {RUN_AGAIN}")
                return
            # Look again rather than believe: an emulator may have taken a tag and dropped it.
            self._plan_again()
            if self._planned.blocked:
                yield from map(self._step, self._planned.blocked)
                return
        elif head.outcome is not Outcome.UNCHANGED:
            yield self._step(head)
            return
        else:
            if self._patience and self._planned.live and self._planned.live.unsettled:
                self._settled()
                self._plan_again()
            yield self._step(self._planned.changes[0])
        yield from self._rest(created)

    def _rest(self, created: set[str]) -> Iterator[Step]:
        """What follows the table itself. ``created``: the aspects that came with it, or are to."""
        later = set()
        for change in self._planned.changes[1:]:
            if change.outcome in TO_DO and change.apply is None:
                # It needs what a change before it makes.
                later.add(change.aspect)
                continue
            step = self._carry_out(change)
            if change.aspect in created and step.outcome in (Outcome.UNCHANGED, Outcome.CHANGED):
                step = replace(step, outcome=Outcome.CREATED)
            yield step
        if later:
            self._plan_again()
            for change in self._planned.changes[1:]:
                if change.aspect in later:
                    yield self._carry_out(change)

    def _plan_again(self) -> None:
        self._planned = plan_table(self._planned.table, self._planned.desired, self._client)

    def _create(self, head: Change) -> Step:
        """CreateTable, again while AWS is busy with others; a table that another process made meanwhile will do."""
        for elapsed in polls(self._patience):
            step = self._send(head)
            if step.outcome is not Outcome.PENDING:
                break
            if self._exists():
                return Step(self._name, TABLE, Outcome.UNCHANGED, "another process created it")
            if self._progress:
                self._progress(f"AWS to create {self._name}", elapsed)
        return step

    def _exists(self) -> bool:
        try:
            describe_table(self._client, self._name)
        except TableMissing:
            return False
        return True

    def _carry_out(self, change: Change) -> Step:
        if change.outcome not in TO_DO:
            return self._step(change)
        if change.apply is None:
            return self._pending(change, "it needs what is not ready yet")
        if not self._settled():
            return self._pending(change, "the table is busy")
        for elapsed in polls(self._patience):
            try:
                step = self._send(change)
            except _Busy as busy:
                step = self._pending(change, str(busy))
                if self._progress:
                    self._progress(f"{self._name} to take its {change.aspect}", elapsed)
            else:
                break
        if step.outcome in (Outcome.CREATED, Outcome.CHANGED) and not self._settled():
            return self._pending(change, "it was begun, and takes its time")
        return step

    def _send(self, change: Change) -> Step:
        """Send the change's requests. Raises ``_Busy`` for what is worth another try at once, but not for a table."""
        assert change.apply
        try:
            with boto_errors(self._name):
                change.apply(self._client)
        except AccessDenied as exc:
            return Step(self._name, change.aspect, Outcome.DENIED, str(exc))
        except Unsupported as exc:
            return Step(self._name, change.aspect, Outcome.UNSUPPORTED, str(exc))
        except StorageUnavailable as exc:
            reason = retry_later(exc)
            if reason is None:
                raise
            if passes_soon(exc) and change.aspect != TABLE:
                raise _Busy(reason) from exc
            return self._pending(change, reason)
        return self._step(change)

    def _settled(self) -> bool:
        settled = wait_until_active(self._name, client=self._client, patience=self._patience, progress=self._progress)
        if not settled:
            self._patience = 0
        return settled

    def _step(self, change: Change) -> Step:
        return Step(self._name, change.aspect, change.outcome.done, change.detail)

    def _pending(self, change: Change, reason: str) -> Step:
        reason = reason.rstrip(".")
        return Step(self._name, change.aspect, Outcome.PENDING, f"{reason}: {RUN_AGAIN}")


class _Busy(Exception):
    """AWS's words for a refusal that passes within seconds."""


def refusals(steps: Iterable[Step]) -> list[Step]:
    """The steps that no further run mends by itself."""
    return [step for step in steps if step.outcome in (Outcome.CANNOT_CHANGE, Outcome.DENIED)]
