"""Autoscaling of provisioned capacity: target tracking for the table and each of its indexes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from sessions_dynamo.errors import AccessDenied, StorageUnavailable, Unsupported
from sessions_dynamo.tables import autoscaling
from sessions_dynamo.tables.aspects.change import Change, Subject
from sessions_dynamo.tables.autoscaling import Policy, Target
from sessions_dynamo.tables.desired import CapacityRange
from sessions_dynamo.tables.steps import Outcome

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling.literals import MetricTypeType
    from mypy_boto3_dynamodb import DynamoDBClient

ASPECT: Final = "autoscaling"
UTILIZATION: Final = 70.0
"""Per cent of the provisioned capacity that is aimed at."""

_READ: Final = "ReadCapacityUnits"
_WRITE: Final = "WriteCapacityUnits"
_METRICS: Final[dict[str, MetricTypeType]] = {
    _READ: "DynamoDBReadCapacityUtilization",
    _WRITE: "DynamoDBWriteCapacityUtilization",
}


@dataclass(frozen=True, slots=True)
class _Gap:
    """What a target lacks: its range, its policy, or both."""

    target: Target
    range: CapacityRange | None
    policy: Policy | None


def plan(subject: Subject) -> Iterator[Change]:
    """As the declared billing says. Where none is declared, and on demand, nothing is asked of the service."""
    live, billing = subject.live, subject.desired.billing
    wanted = billing.scaling if billing else None
    detail = f"{wanted} units at {UTILIZATION:.0f} %, for the table and each index"
    if live is None:
        if wanted:
            yield Change(ASPECT, Outcome.CREATE, detail)
        return
    provisioned = live.billing_mode == "PROVISIONED"
    if not billing and not provisioned:
        return
    possible = targets(subject.name, _indexes(subject))
    try:
        ranges = _ranges(subject, possible)
        gaps = list(_gaps(subject, possible, ranges, wanted)) if wanted else []
    except Unsupported as exc:
        yield Change(ASPECT, Outcome.UNSUPPORTED, str(exc))
    except StorageUnavailable as exc:
        if not (wanted or (billing and provisioned)):
            # A network may reach DynamoDB alone, through its VPC endpoint.
            yield Change(ASPECT, Outcome.UNCHANGED, f"not read. {exc}")
        elif isinstance(exc, AccessDenied):
            yield Change(ASPECT, Outcome.DENIED, str(exc))
        else:
            raise
    else:
        standing = ", ".join(sorted({f"{found} units" for found in ranges.values()}))
        if wanted and gaps:
            yield Change(ASPECT, Outcome.CHANGE if ranges else Outcome.CREATE, detail, partial(_close, gaps))
        elif billing and not wanted and ranges:
            yield Change(ASPECT, Outcome.CHANGE, f"off, was {standing}", partial(_deregister, tuple(ranges)))
        else:
            yield Change(ASPECT, Outcome.UNCHANGED, standing or "off")


def scales_writes(subject: Subject) -> bool:
    """Whether the table's write capacity is autoscaled now. Raises as the service does."""
    return autoscaling.target(subject.name, _WRITE) in autoscaling.registered(subject.name, (), subject.client)


def _indexes(subject: Subject) -> list[str]:
    """The declared indexes, and others that stand."""
    standing = [index.name for index in subject.live.indexes] if subject.live else []
    return list(dict.fromkeys([*(index.name for index in subject.table.schema.indexes), *standing]))


def targets(table: str, indexes: Iterable[str]) -> dict[Target, MetricTypeType]:
    """Every capacity of a table and its indexes, with the metric to track."""
    return {
        autoscaling.target(table, units, index): metric
        for units, metric in _METRICS.items()
        for index in (None, *indexes)
    }


def _ranges(subject: Subject, of: Iterable[Target]) -> dict[Target, CapacityRange]:
    """The registered ones of these targets."""
    found = autoscaling.registered(subject.name, _indexes(subject), subject.client)
    return {target: found[target] for target in of if target in found}


def _gaps(
    subject: Subject,
    of: dict[Target, MetricTypeType],
    ranges: dict[Target, CapacityRange],
    wanted: CapacityRange,
) -> Iterator[_Gap]:
    for target, metric in of.items():
        limits = None if ranges.get(target) == wanted else wanted
        policy = _lacking(subject, target, metric) if target in ranges else tracking(target, metric)
        if limits or policy:
            yield _Gap(target, limits, policy)


def _lacking(subject: Subject, target: Target, metric: MetricTypeType) -> Policy | None:
    """The policy that a registered target needs yet; AWS allows one for a metric, which keeps its name."""
    for policy in autoscaling.policies(target, subject.client):
        if policy.metric == metric:
            aims = policy.configuration["TargetValue"] == UTILIZATION
            return None if aims else tracking(target, metric, policy.name)
    return tracking(target, metric)


def tracking(target: Target, metric: MetricTypeType, name: str | None = None) -> Policy:
    """The policy that a target shall have."""
    return Policy(
        name or f"{metric}:{target.resource}",
        {"TargetValue": UTILIZATION, "PredefinedMetricSpecification": {"PredefinedMetricType": metric}},
    )


def _close(gaps: Iterable[_Gap], dynamodb: DynamoDBClient) -> None:
    for gap in gaps:
        if gap.range:
            autoscaling.register(gap.target, gap.range, dynamodb)
        if gap.policy:
            autoscaling.put_policy(gap.target, gap.policy, dynamodb)


def _deregister(targets: Iterable[Target], dynamodb: DynamoDBClient) -> None:
    for target in targets:
        autoscaling.deregister(target, dynamodb)
