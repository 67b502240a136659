"""A backup as the commands print it: for people, and for scripts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import UTC
from typing import TYPE_CHECKING, Any

from django.template.defaultfilters import filesizeformat

from sessions_dynamo.backups.descriptions import Backup, BackupDetails, BackupSet

if TYPE_CHECKING:
    from django.core.management.color import Style


def row(backup: Backup, style: Style) -> str:
    """One line of a list."""
    status = f"{backup.status:9}"
    if backup.status != "AVAILABLE":
        status = style.WARNING(status)
    created = backup.created_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{created}  {status}  {backup.type:10}  {shown_size(backup.size_bytes):>9}  {backup.name}"


def of_former(former: BackupSet) -> str:
    """What somebody has to know who would restore the newest set, where an older one is of a former table."""
    return (
        f"A table was made anew, or restored, since set {former.stamp}: newer sets hold what it has had since, perhaps"
        f" nothing. What the former had: python manage.py dynamodb_restore --set {former.stamp}"
    )


def described(detail: BackupDetails) -> Iterable[tuple[str, Any]]:
    """What the engine told of a backup, label by label."""
    backup, ttl = detail.backup, detail.time_to_live
    capacity = None
    if detail.read_capacity is not None:
        capacity = f"{detail.read_capacity} read, {detail.write_capacity} write"
    lines: dict[str, Any] = {
        "name": backup.name,
        "ARN": backup.arn,
        "status": backup.status,
        "type": backup.type,
        "made": backup.created_at.astimezone(UTC).isoformat(sep=" "),
        "expires": backup.expires_at.astimezone(UTC).isoformat(sep=" ") if backup.expires_at else None,
        "size": shown_size(backup.size_bytes) if backup.size_bytes is not None else None,
        "table": f"{backup.table}, created {detail.table_created_at.astimezone(UTC).isoformat(sep=' ')}",
        "key": ", ".join(detail.keys),
        "items": detail.item_count,
        "table's size": shown_size(detail.table_size_bytes) if detail.table_size_bytes is not None else None,
        "billing": detail.billing_mode,
        "capacity": capacity,
        "indexes": ", ".join(detail.indexes) if detail.indexes else None,
        "stream": detail.stream_view_type,
        "ttl": f"{ttl.status} on {ttl.attribute}" if ttl and ttl.attribute else ttl and ttl.status,
        "KMS key": detail.encryption_key_arn,
    }
    return ((label, value) for label, value in lines.items() if value is not None)


def shown_size(size: int | None) -> str:
    """A size for people; empty where it is not known."""
    return "" if size is None else filesizeformat(size).replace("\xa0", " ")


def plain(value: Any) -> dict[str, Any]:
    """A value's fields, without what the engine did not tell."""
    return dataclasses.asdict(
        value, dict_factory=lambda pairs: {name: field for name, field in pairs if field is not None}
    )
