"""``dynamodb_setup``'s options, and what they ask for over what the environment declares."""

from __future__ import annotations

import os
from argparse import BooleanOptionalAction
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from sessions_dynamo.client import is_aws
from sessions_dynamo.conf import AppSettings, conf
from sessions_dynamo.tables.desired import ON_DEMAND, Billing, Desired, declared, parse_key, parse_range, parse_regions

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def add_arguments(parser: CommandParser) -> None:
    """What the tables shall have. An option left out stands for its declaration, if there is one."""
    wishes = parser.add_argument_group("what the tables shall have (left out: as declared, else as it stands)")
    wishes.add_argument(
        "--regions",
        metavar="REGION,...",
        help="add a replica in each of these regions (global tables); default: DYNAMODB_REPLICA_REGIONS. None is"
        " removed here: that is dynamodb_teardown's.",
    )
    wishes.add_argument(
        "--billing", choices=("on-demand", "provisioned"), help="default: DYNAMODB_BILLING, and on-demand when new"
    )
    wishes.add_argument("--read", type=int, metavar="N", help="read capacity units of the table and of each index")
    wishes.add_argument("--write", type=int, metavar="N", help="write capacity units of the table and of each index")
    wishes.add_argument(
        "--autoscale", metavar="MIN:MAX", help="let AWS move the capacity between these units, aiming at 70 %% use"
    )
    wishes.add_argument(
        "--pitr", action=BooleanOptionalAction, help="point-in-time recovery, on or off; default: DYNAMODB_PITR"
    )
    wishes.add_argument(
        "--deletion-protection",
        action=BooleanOptionalAction,
        help="deletion protection, on or off; default: DYNAMODB_DELETION_PROTECTION",
    )
    wishes.add_argument(
        "--kms-key",
        metavar="KEY",
        help="encryption: alias/NAME, a key's id or ARN, aws/dynamodb (managed by AWS) or default (owned by AWS);"
        " default: DYNAMODB_KMS_KEY",
    )
    wishes.add_argument("--environment", metavar="TAG", help="value of the Environment tag; default: ENVIRONMENT")


def desired(options: dict[str, Any]) -> Desired:
    """What the options ask for, else the environment. Raises ``InvalidDeclaration`` and ``CommandError``."""
    given: dict[str, Any] = {
        "environment": options["environment"],
        "billing": _billing(options),
        "recovery": options["pitr"],
        "deletion_protection": options["deletion_protection"],
        "kms_key": None if options["kms_key"] is None else parse_key(options["kms_key"]),
        "replica_regions": None if options["regions"] is None else parse_regions(options["regions"]),
    }
    return replace(declared(), **{name: value for name, value in given.items() if value is not None})


def environment_warning(options: dict[str, Any], client: DynamoDBClient) -> str:
    """That the tables would be tagged as nobody has said, where this looks like production; empty where all is well."""
    default = AppSettings.ENVIRONMENT.default
    named = options["environment"] or os.environ.get("ENVIRONMENT") or default != conf.ENVIRONMENT
    if named or (settings.DEBUG and not is_aws(client)):
        return ""
    looks = "this is AWS itself" if is_aws(client) else "DEBUG is off"
    return (
        f"{looks}, and ENVIRONMENT is not set: the tables' Environment tag would be {default!r}. Set"
        " ENVIRONMENT=production for this and every later run, or give --environment production."
    )


def _billing(options: dict[str, Any]) -> Billing | None:
    read, write, limits = options["read"], options["write"], options["autoscale"]
    if options["billing"] != "provisioned":
        if (read, write, limits) != (None, None, None):
            raise CommandError("--read, --write and --autoscale need --billing provisioned.")
        return ON_DEMAND if options["billing"] else None
    if read is None or write is None:
        raise CommandError("--billing provisioned needs --read N and --write N, in capacity units.")
    return Billing("PROVISIONED", read, write, parse_range(limits) if limits is not None else None)
