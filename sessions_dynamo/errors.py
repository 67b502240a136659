"""The one family of storage errors: each message says what happened and what to do about it.

Callers map these to a tool error, an HTTP status or a ``CommandError``; nothing outside this app needs
to know botocore's exceptions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)


class StorageError(Exception):
    """Base of every error that the store raises on purpose."""


class SessionNotFound(StorageError):
    """No live session of that id belongs to the caller: unknown, expired, terminated or another principal's."""


class SessionExists(StorageError):
    """``create`` was given an id that is already taken."""


class StateConflict(StorageError):
    """A key that the call had read was changed by another call before this one was saved; retrying is safe."""


class InvalidState(StorageError):
    """A key or value that cannot be stored: no JSON value, a bad key, a lone surrogate."""


class StateTooLarge(StorageError):
    """A limit of the session or of DynamoDB would be exceeded; nothing was written."""


class EventTooLarge(StorageError):
    """An event that does not fit even when it is cut into parts."""


class StorageUnavailable(StorageError):
    """DynamoDB did not do its part: unreachable, throttled, or misconfigured. The message names the remedy."""


class TableMissing(StorageUnavailable):
    """A table does not exist in this account and region."""


class IndexMissing(StorageUnavailable):
    """A table lacks an index that a list needs."""


class AccessDenied(StorageUnavailable):
    """The credentials lack an IAM action, which the message names."""


class CredentialsMissing(StorageUnavailable):
    """No usable AWS credentials or no region."""


class Unsupported(StorageError):
    """This engine (an emulator, usually) does not know the operation."""


THROTTLES = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "ThrottledException",
        "RequestLimitExceeded",
        "LimitExceededException",
    }
)
_DENIED = frozenset({"AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "KMSAccessDeniedException"})
_BAD_CREDENTIALS = frozenset(
    {
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "ExpiredTokenException",
        "ExpiredToken",
        "IncompleteSignature",
        "IncompleteSignatureException",
    }
)
_UNKNOWN = frozenset({"UnknownOperationException", "NotImplemented"})


def error_code(exc: ClientError) -> str:
    """The service's error code, such as ``ConditionalCheckFailedException``; empty when it gave none."""
    return str(exc.response.get("Error", {}).get("Code", ""))


def is_conditional_failure(exc: ClientError) -> bool:
    """Whether a conditional write, or a transaction of them, found a condition false."""
    if error_code(exc) == "TransactionCanceledException":
        reasons: list[dict[str, str]] = exc.response.get("CancellationReasons", [])  # type: ignore[assignment]
        return any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons)
    return error_code(exc) == "ConditionalCheckFailedException"


@contextmanager
def boto_errors(where: str = "DynamoDB") -> Iterator[None]:
    """Turn botocore's exceptions into this family; ``where`` names the table or service in the message.

    A false condition is a result, not a failure: its ``ClientError`` passes through for the caller to read.
    """
    try:
        yield
    except (ClientError, BotoCoreError) as exc:
        if isinstance(exc, ClientError) and is_conditional_failure(exc):
            raise
        raise from_botocore(exc, where) from exc


def from_botocore(exc: ClientError | BotoCoreError, where: str) -> StorageError:
    """The error of this family that stands for one of botocore's."""
    match exc:
        case ClientError():
            return from_client_error(exc, where)
        case NoCredentialsError() | PartialCredentialsError() | ProfileNotFound():
            return CredentialsMissing(
                f"No usable AWS credentials: {exc}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, run"
                " 'aws configure', or attach an IAM role; for local work set DEBUG=true and DYNAMODB_EMBEDDED=true."
            )
        case NoRegionError():
            return CredentialsMissing("No AWS region: set AWS_REGION, for example AWS_REGION=eu-west-1.")
        case ConnectionError() | HTTPClientError():
            return StorageUnavailable(
                f"Cannot reach {where}: {exc}. Check AWS_REGION, AWS_ENDPOINT_URL and the network path;"
                " the embedded server runs only beside 'manage.py runserver'."
            )
        case _:
            return StorageUnavailable(f"The AWS client failed on {where}: {exc}")


def from_client_error(exc: ClientError, where: str) -> StorageError:
    """The error of this family that stands for a service's answer."""
    code, operation = error_code(exc), exc.operation_name
    message = str(exc.response.get("Error", {}).get("Message", "")) or code
    # moto answers "Invalid index", as for a table that is not there.
    if "specified index" in message or message.startswith("Invalid index"):
        return IndexMissing(f"{where} lacks an index: run 'manage.py dynamodb_setup'. AWS said: {message}")
    if code in ("ResourceNotFoundException", "TableNotFoundException"):
        return TableMissing(
            f"{where} does not exist in this account and region ({operation}): run 'manage.py dynamodb_setup',"
            " or check AWS_REGION and the table names."
        )
    if code in _DENIED:
        # AWS names the action it missed, which may be another than the operation: tags at CreateTable, for one.
        named = re.search(r"not authorized to perform: (\S+)", message)
        action = named[1] if named else f"dynamodb:{operation}"
        return AccessDenied(f"Access denied: the IAM action {action} is needed on {where}. AWS said: {message}")
    if code in _BAD_CREDENTIALS:
        return CredentialsMissing(f"AWS refused the credentials ({code}): {message}. Renew them and try again.")
    if code in THROTTLES:
        return StorageUnavailable(
            f"DynamoDB throttled {operation} on {where} ({code}): try again; raise the table's capacity if it lasts."
        )
    if code in _UNKNOWN:
        return Unsupported(f"This DynamoDB engine does not support {operation}.")
    if code == "ValidationException" and "item size" in message.lower():
        return StateTooLarge("The item would exceed DynamoDB's limit of 400 KB: remove keys or store less.")
    return StorageUnavailable(f"{operation} on {where} failed ({code}): {message}")
