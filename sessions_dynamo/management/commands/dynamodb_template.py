"""Print CloudFormation of both tables, from what ``dynamodb_setup`` would bring them to. Asks AWS nothing."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser

from sessions_dynamo.checks import DYNAMODB
from sessions_dynamo.cloudformation.template import template
from sessions_dynamo.management import arguments, setup_options
from sessions_dynamo.management.base import SessionsCommand
from sessions_dynamo.management.console import both_tables, command_errors, interruptible


class Command(SessionsCommand):
    help = (
        "Prints a CloudFormation template of both tables, as dynamodb_setup would make them with these options. JSON,"
        " which is YAML as well: CloudFormation, SAM and cfn-lint take it as either."
    )
    requires_system_checks = (DYNAMODB,)

    def add_arguments(self, parser: CommandParser) -> None:
        arguments.add_tables(parser)
        setup_options.add_arguments(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        with interruptible("Interrupted."), command_errors():
            document = template(both_tables(options), setup_options.desired(options))
        self.stdout.write(json.dumps(document, indent=2))
