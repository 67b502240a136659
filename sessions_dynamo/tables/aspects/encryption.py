"""Encryption at rest: a key that AWS owns, the one that it manages in this account, or one of the customer's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from sessions_dynamo.client import aws_client, is_aws
from sessions_dynamo.errors import StorageError, StorageUnavailable, boto_errors, error_code
from sessions_dynamo.tables.aspects.change import RUN_AGAIN, Change, Subject
from sessions_dynamo.tables.descriptions import Encryption, TableDescription
from sessions_dynamo.tables.desired import DEFAULT_KEY, MANAGED_KEY
from sessions_dynamo.tables.steps import Outcome

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kms.type_defs import KeyMetadataTypeDef

ASPECT: Final = "encryption"
_OWNED: Final = "AWS_OWNED_KEY"
_SETTLED: Final = (None, "ENABLED", "DISABLED")
_NO_SUCH_KEY: Final = ("NotFoundException", "InvalidArnException", "ValidationException")


class UnusableKey(StorageError):
    """A KMS key that does not exist in a region, or that DynamoDB cannot use there."""


def plan(subject: Subject) -> Iterator[Change]:
    """As declared. On a global table every region has its own key, of the same type."""
    live, key = subject.live, subject.desired.kms_key
    if not is_aws(subject.client):
        if key:
            yield Change(ASPECT, Outcome.UNSUPPORTED, "This DynamoDB engine does not encrypt.")
        elif live and live.encryption:
            yield Change(ASPECT, Outcome.UNCHANGED, _detail(live.encryption))
        return
    try:
        if live is None or live.encryption is None:
            if key:
                yield Change(ASPECT, Outcome.CREATE, _wanted(key, _arn(key, subject.region)))
        elif key is None or live.encryption.status not in _SETTLED:
            yield _standing(live.encryption)
        elif key == DEFAULT_KEY:
            yield _to_default(live.name, live.encryption)
        else:
            yield _to_key(subject, live, live.encryption, key)
    except UnusableKey as exc:
        yield Change(ASPECT, Outcome.CANNOT_CHANGE, str(exc))


def specification(key: str | None) -> dict[str, Any]:
    """The ``SSESpecification`` of CreateTable and UpdateTable for a declared key."""
    if key in (None, DEFAULT_KEY):
        return {"Enabled": False}
    # AWS asks for no key's name where its own managed one is meant.
    return {"Enabled": True, "SSEType": "KMS"} | ({} if key == MANAGED_KEY else {"KMSMasterKeyId": key})


def replica_key(subject: Subject, region: str) -> str | None:
    """The customer's key that a replica in this region needs, by its ARN; ``None`` for a key of AWS's.

    Raises ``UnusableKey``.
    """
    key = subject.desired.kms_key
    if key is None and subject.live and subject.live.encryption and subject.live.encryption.key_arn:
        found = _describe(subject.live.encryption.key_arn, subject.region)
        key = found["Arn"] if found.get("KeyManager") == "CUSTOMER" else None
    if key in (None, DEFAULT_KEY, MANAGED_KEY):
        return None
    return _arn(_elsewhere(str(key)), region)


def _standing(found: Encryption) -> Change:
    if found.status not in _SETTLED:
        return Change(ASPECT, Outcome.PENDING, f"{found.status}: {RUN_AGAIN}")
    return Change(ASPECT, Outcome.UNCHANGED, _detail(found))


def _to_default(table: str, found: Encryption) -> Change:
    if found.type == _OWNED or found.status == "DISABLED":
        return Change(ASPECT, Outcome.UNCHANGED, _OWNED)
    detail = f"{_OWNED}, was {_detail(found)}"
    return Change(ASPECT, Outcome.CHANGE, detail, partial(_update, table, {"SSESpecification": specification(None)}))


def _to_key(subject: Subject, live: TableDescription, found: Encryption, key: str) -> Change:
    arn = _arn(key, subject.region)
    keys = {subject.region: (found.key_arn, arn)}
    if key != MANAGED_KEY:
        for replica in live.replicas:
            keys[replica.region] = (replica.kms_key, _arn(_elsewhere(key), replica.region))
    if all(_is_key(standing, wanted, region) for region, (standing, wanted) in keys.items()):
        return Change(ASPECT, Outcome.UNCHANGED, _detail(found))
    if key == MANAGED_KEY or not live.replicas:
        request: dict[str, Any] = {"SSESpecification": specification(key)}
    else:
        # A global table takes the keys of all of its regions at once, its own among them.
        updates = [{"Update": {"RegionName": at, "KMSMasterKeyId": wanted}} for at, (_, wanted) in keys.items()]
        request = {"ReplicaUpdates": updates}
    detail = f"{_wanted(key, arn)}, was {_detail(found)}"
    return Change(ASPECT, Outcome.CHANGE, detail, partial(_update, live.name, request))


def _is_key(standing: str | None, wanted: str, region: str) -> bool:
    """Whether a replica's key, as AWS describes it (an ARN, an id, an alias), is the one of this ARN."""
    if standing is None:
        return False
    return _arn(standing, region) == wanted if "alias/" in standing else wanted.endswith(standing)


def _update(table: str, request: dict[str, Any], client: DynamoDBClient) -> None:
    client.update_table(TableName=table, **request)


def _wanted(key: str, arn: str) -> str:
    return f"KMS {arn}" if key in (arn, MANAGED_KEY) else f"KMS {key} ({arn})"


def _detail(found: Encryption) -> str:
    return f"{found.type} {found.key_arn or ''}".rstrip()


def _elsewhere(key: str) -> str:
    """How a key is called in every region: by an alias, or as a multi-Region key. Raises ``UnusableKey``."""
    name = key.partition(":alias/")[2]
    if name or key.startswith("alias/"):
        return f"alias/{name}" if name else key
    name = key.rpartition("/")[2]
    if name.startswith("mrk-"):
        return name
    raise UnusableKey(
        f"KMS key {key} exists in one region alone. A global table needs a key in each of its regions: give"
        " --kms-key an alias that exists in all of them, or a multi-Region key."
    )


def _arn(key: str, region: str) -> str:
    """The ARN of a key that DynamoDB can use in this region. Raises ``UnusableKey``."""
    if key == DEFAULT_KEY:
        return _OWNED
    found = _describe(key, region)
    if found.get("KeyState", "Enabled") != "Enabled":
        raise UnusableKey(f"KMS key {key} in {region} is {found['KeyState']}: enable it, or give another.")
    if found.get("KeySpec", "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT":
        raise UnusableKey(f"KMS key {key} in {region} is a {found['KeySpec']} key: DynamoDB needs a symmetric one.")
    return str(found["Arn"])


def _describe(key: str, region: str) -> KeyMetadataTypeDef:
    try:
        with boto_errors(f"KMS key {key}"):
            found: KeyMetadataTypeDef = aws_client("kms", region).describe_key(KeyId=key)["KeyMetadata"]
            return found
    except StorageUnavailable as exc:
        if isinstance(exc.__cause__, ClientError) and error_code(exc.__cause__) in _NO_SUCH_KEY:
            raise UnusableKey(f"There is no KMS key {key} in {region}: make it there, or give another.") from exc
        raise
