"""What a restored table lacks: its source's settings, read there to be made again.

AWS restores items, keys, indexes, capacity and encryption; not tags, point-in-time recovery, deletion protection and
autoscaling. Nothing here touches the source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sessions_dynamo.errors import AccessDenied, StorageError, StorageUnavailable, Unsupported
from sessions_dynamo.tables import autoscaling
from sessions_dynamo.tables.aspects import recovery, scaling, tags
from sessions_dynamo.tables.aspects.change import Change
from sessions_dynamo.tables.autoscaling import Policy, Target
from sessions_dynamo.tables.descriptions import TableDescription
from sessions_dynamo.tables.desired import ON_DEMAND, Billing, CapacityRange, Desired
from sessions_dynamo.tables.names import NamedTable
from sessions_dynamo.tables.steps import Outcome

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling.literals import ScalableDimensionType
    from mypy_boto3_dynamodb import DynamoDBClient

_ENVIRONMENT: Final = "Environment"
# Convergence makes these itself.
_DECLARED_TAGS: Final = frozenset({_ENVIRONMENT, "Application", "Purpose"})


@dataclass(frozen=True, slots=True)
class Scaling:
    """Autoscaling of one capacity of the table (``resource`` is empty) or of an index (``/index/<name>``)."""

    resource: str
    dimension: ScalableDimensionType
    limits: CapacityRange
    policies: tuple[Policy, ...]
    """Target tracking policies; in their names ``{table}`` stands for the table's."""

    def __str__(self) -> str:
        what = self.resource.removeprefix("/index/") or "table"
        return f"{what}, {'read' if 'Read' in self.dimension else 'write'} {self.limits}"


@dataclass(frozen=True, slots=True)
class Settings:
    """A table's settings that a restore loses. ``unread`` says, aspect by aspect, why one could not be read."""

    tags: Mapping[str, str]
    """Without those that every table of ours has."""
    environment: str | None
    billing_mode: str
    read_capacity: int | None
    write_capacity: int | None
    recovery_days: int | None
    """How far back point-in-time recovery reaches; ``None`` where it is off."""
    deletion_protection: bool
    scaling: tuple[Scaling, ...]
    replica_regions: tuple[str, ...]
    unread: Mapping[str, StorageError]

    def lines(self) -> Iterator[str]:
        """What will be made again besides what every table has, for people."""
        if self.tags:
            yield "tags " + _tags_detail(self.tags)
        if self.recovery_days:
            yield f"point-in-time recovery of {self.recovery_days} days"
        if self.deletion_protection:
            yield "deletion protection"
        for limits, targets in Counter(one.limits for one in self.scaling).items():
            yield f"autoscaling from {limits} units ({targets} scalable target{'s' * (targets > 1)})"


def read(live: TableDescription, client: DynamoDBClient) -> Settings:
    """The settings of a table that stands."""
    unread: dict[str, StorageError] = {}
    if live.tags is None:
        unread[tags.ASPECT] = live.unanswered.get("tags", StorageUnavailable(f"Table {live.name} is {live.status}."))
    if unanswered := live.unanswered.get("point_in_time_recovery"):
        unread[recovery.ASPECT] = unanswered
    scalings: tuple[Scaling, ...] = ()
    if live.billing_mode == "PROVISIONED":
        try:
            scalings = tuple(_scaling(live, client))
        except Unsupported:
            pass
        except StorageUnavailable as exc:
            # No reason to restore nothing: the items cannot wait for it.
            unread[scaling.ASPECT] = exc
    found = live.tags or {}
    return Settings(
        # AWS alone sets tags that begin with 'aws:'.
        tags={name: value for name, value in found.items() if name not in _DECLARED_TAGS and name[:4] != "aws:"},
        environment=found.get(_ENVIRONMENT),
        billing_mode=live.billing_mode,
        read_capacity=live.read_capacity,
        write_capacity=live.write_capacity,
        recovery_days=_recovery_days(live),
        deletion_protection=bool(live.deletion_protection),
        scaling=scalings,
        replica_regions=tuple(replica.region for replica in live.replicas),
        unread=unread,
    )


def desired(settings: Settings, declared: Desired, live: TableDescription) -> Desired:
    """What convergence shall make of the restored table: what is declared, else as the source has it.

    What ``changes`` makes is left out, and so nobody undoes it. AWS has restored the capacity of the backup's time:
    it stays, unless the source is billed by the other mode now.
    """
    billing = declared.billing
    if not billing and settings.billing_mode != live.billing_mode:
        billing = ON_DEMAND
        if settings.billing_mode == "PROVISIONED":
            billing = Billing("PROVISIONED", settings.read_capacity or 1, settings.write_capacity or 1)
    return replace(
        declared,
        environment=settings.environment or declared.environment,
        billing=billing,
        recovery=None if settings.recovery_days else declared.recovery,
        deletion_protection=settings.deletion_protection or declared.deletion_protection,
    )


def changes(
    settings: Settings, declared: Desired, target: NamedTable, live: TableDescription, client: DynamoDBClient
) -> Iterator[Change]:
    """What convergence cannot make, because nothing declares it: each as a change, or as unchanged."""
    for aspect, reason in settings.unread.items():
        yield Change(aspect, _outcome(reason), f"the source's could not be read. {reason}")
    if settings.tags:
        has = live.tags or {}
        lacking = {key: value for key, value in settings.tags.items() if has.get(key) != value}
        call = partial(tags.put, live.arn or "", lacking) if lacking else None
        yield _change("further tags", _tags_detail(lacking or settings.tags), call)
    if days := settings.recovery_days:
        same = _recovery_days(live) == days
        yield _change(recovery.ASPECT, f"on, {days} days", None if same else partial(_recover, target.name, days))
    # Declared billing has its own.
    if settings.scaling and not declared.billing:
        standing = tuple(_scaling(live, client))
        for one in settings.scaling:
            call = None if one in standing else partial(_set_scaling, target.name, one)
            yield _change(scaling.ASPECT, str(one), call)


def _outcome(unread: StorageError) -> Outcome:
    """Denied stays so until somebody mends it; what did not answer may do so at the next run."""
    if isinstance(unread, Unsupported):
        return Outcome.UNSUPPORTED
    return Outcome.DENIED if isinstance(unread, AccessDenied) else Outcome.PENDING


def _change(aspect: str, detail: str, call: Any) -> Change:
    return Change(aspect, Outcome.CREATE if call else Outcome.UNCHANGED, detail, call)


def _tags_detail(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in found.items())


def _recovery_days(live: TableDescription) -> int | None:
    found = live.point_in_time_recovery
    if found is None or found.status != "ENABLED":
        return None
    # AWS's default, and all that there was before the period could be chosen.
    return found.days or 35


def _recover(name: str, days: int, client: DynamoDBClient) -> None:
    client.update_continuous_backups(
        TableName=name,
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": days},
    )


# --- Autoscaling ----------------------------------------------------------------------------------------------


def _scaling(live: TableDescription, client: DynamoDBClient) -> Iterator[Scaling]:
    found = autoscaling.registered(live.name, [index.name for index in live.indexes], client)
    for target, limits in found.items():
        yield Scaling(
            target.resource.removeprefix(f"table/{live.name}"),
            target.dimension,
            limits,
            tuple(
                replace(policy, name=policy.name.replace(live.name, "{table}"))
                for policy in autoscaling.policies(target, client)
            ),
        )


def _set_scaling(name: str, scaling: Scaling, client: DynamoDBClient) -> None:
    target = Target(f"table/{name}{scaling.resource}", scaling.dimension)
    autoscaling.register(target, scaling.limits, client)
    for policy in scaling.policies:
        autoscaling.put_policy(target, replace(policy, name=policy.name.replace("{table}", name)), client)
