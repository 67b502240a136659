"""What is wanted of the tables besides ``schema.py``: a command's option, else a declaration in the environment.

What neither names is ``None`` and stays as it stands: nobody's billing mode or backups are flipped unasked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sessions_dynamo.conf import conf
from sessions_dynamo.errors import StorageError

DEFAULT_KEY: Final = "default"
"""Encryption with a key that AWS owns: DynamoDB's default, free of charge."""
MANAGED_KEY: Final = "alias/aws/dynamodb"
"""Encryption with the key that AWS manages in this account."""

_BILLING_FORM: Final = "on-demand, provisioned:READ:WRITE or provisioned:READ:WRITE:MIN:MAX"
_KEY_FORM: Final = "alias/NAME, a key's id or ARN, aws/dynamodb or default"
_KEY: Final = re.compile(
    r"alias/[\w/-]+|arn:[\w-]+:kms:[\w-]+:\d{12}:(key|alias)/[\w/-]+|mrk-[0-9a-f]{32}"
    r"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    re.ASCII,
)
_REGION: Final = re.compile(r"[a-z]{2,4}(-[a-z]+){1,3}-\d{1,2}", re.ASCII)
_BOOLEANS: Final = dict.fromkeys(("true", "on", "yes", "1"), True) | dict.fromkeys(("false", "off", "no", "0"), False)

BillingMode = Literal["PAY_PER_REQUEST", "PROVISIONED"]


class InvalidDeclaration(StorageError):
    """A setting or an option that cannot be meant; the message has the right form."""


@dataclass(frozen=True, slots=True)
class CapacityRange:
    """The capacity units between which Application Auto Scaling moves a table and each of its indexes."""

    minimum: int
    maximum: int

    def __str__(self) -> str:
        return f"{self.minimum} to {self.maximum}"

    def __contains__(self, units: int | None) -> bool:
        return units is not None and self.minimum <= units <= self.maximum


@dataclass(frozen=True, slots=True)
class Billing:
    """A billing mode, with the capacity units of the table and of each index where it is provisioned."""

    mode: BillingMode = "PAY_PER_REQUEST"
    read: int = 0
    write: int = 0
    scaling: CapacityRange | None = None

    def __post_init__(self) -> None:
        if self.mode == "PAY_PER_REQUEST":
            return
        if self.read < 1 or self.write < 1:
            raise InvalidDeclaration("Provisioned capacity is at least 1 read unit and 1 write unit.")
        if self.scaling and not 1 <= self.scaling.minimum <= self.scaling.maximum:
            raise InvalidDeclaration(f"{self.scaling} is no range of capacity units: give MIN:MAX, such as 5:100.")
        if self.scaling and not (self.read in self.scaling and self.write in self.scaling):
            raise InvalidDeclaration(
                f"Autoscaling between {self.scaling} units must begin there: {self.read} read and {self.write} write"
                " units lie outside."
            )

    @property
    def provisioned(self) -> bool:
        return self.mode == "PROVISIONED"

    def __str__(self) -> str:
        return f"PROVISIONED, {self.read} read, {self.write} write" if self.provisioned else self.mode


ON_DEMAND: Final = Billing()


@dataclass(frozen=True, slots=True)
class Desired:
    """What is wanted of both tables. ``None`` leaves an aspect as it stands; regions are added, never removed."""

    environment: str
    billing: Billing | None = None
    recovery: bool | None = None
    deletion_protection: bool | None = None
    kms_key: str | None = None
    replica_regions: tuple[str, ...] = ()


def declared() -> Desired:
    """What the settings declare. Raises ``InvalidDeclaration``, which names the variable."""
    values, problems = _read_settings()
    if problems:
        raise InvalidDeclaration(" ".join(problems))
    return Desired(conf.ENVIRONMENT, **values)


def problems() -> list[str]:
    """What the settings declare in a form that cannot be meant, each with its variable and the right form."""
    return _read_settings()[1]


def _read_settings() -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, variable, parse in _DECLARATIONS:
        value = getattr(conf, variable)
        if value not in ("", None, (), []):
            try:
                values[name] = parse(value)
            except InvalidDeclaration as exc:
                problems.append(f"{variable}: {exc}")
    return values, problems


def parse_billing(text: str) -> Billing:
    """A billing mode from ``on-demand`` or ``provisioned:READ:WRITE[:MIN:MAX]``."""
    mode, *numbers = text.strip().lower().split(":")
    if mode == "on-demand" and not numbers:
        return ON_DEMAND
    if mode != "provisioned" or len(numbers) not in (2, 4) or not all(_is_number(number) for number in numbers):
        raise InvalidDeclaration(f"{text!r} is no billing mode: give {_BILLING_FORM}.")
    read, write, *limits = map(int, numbers)
    return Billing("PROVISIONED", read, write, CapacityRange(*limits) if limits else None)


def parse_range(text: str) -> CapacityRange:
    """Capacity units from ``MIN:MAX``."""
    numbers = text.split(":")
    if len(numbers) != 2 or not all(_is_number(number) for number in numbers):
        raise InvalidDeclaration(f"{text!r} is no range of capacity units: give MIN:MAX, such as 5:100.")
    return CapacityRange(*map(int, numbers))


def parse_key(text: str) -> str:
    """A KMS key as AWS takes it, or ``DEFAULT_KEY``."""
    key = text.strip()
    if key == DEFAULT_KEY:
        return DEFAULT_KEY
    if key in ("aws/dynamodb", MANAGED_KEY):
        return MANAGED_KEY
    if not _KEY.fullmatch(key):
        raise InvalidDeclaration(f"{text!r} is no KMS key: give {_KEY_FORM}.")
    return key


def parse_regions(value: str | Sequence[str]) -> tuple[str, ...]:
    """Regions, each once, from a list or from a text with commas."""
    names = value.split(",") if isinstance(value, str) else value
    regions = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
    if wrong := [name for name in regions if not _REGION.fullmatch(name)]:
        raise InvalidDeclaration(f"{wrong[0]!r} is no AWS region: give names such as us-west-2,eu-west-1.")
    return regions


def _parse_boolean(text: str | bool) -> bool:
    if isinstance(text, bool):
        return text
    try:
        return _BOOLEANS[text.strip().lower()]
    except KeyError:
        raise InvalidDeclaration(f"{text!r} is neither true nor false; unset, it stays as it stands.") from None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9


_DECLARATIONS: Final[tuple[tuple[str, str, Callable[[Any], object]], ...]] = (
    ("billing", "DYNAMODB_BILLING", parse_billing),
    ("recovery", "DYNAMODB_PITR", _parse_boolean),
    ("deletion_protection", "DYNAMODB_DELETION_PROTECTION", _parse_boolean),
    ("kms_key", "DYNAMODB_KMS_KEY", parse_key),
    ("replica_regions", "DYNAMODB_REPLICA_REGIONS", parse_regions),
)
