"""Write what ``deploy/`` repeats of the code (``make templates``): whole files, and regions between two markers.

A region is between ``# begin: NAME`` and ``# end: NAME``, indented as the first; people write all around it.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from deploy import ecs_resources, policies, terraform_resources
from sessions_dynamo import schema
from sessions_dynamo.cloudformation import alarms, dashboard, tables, template
from sessions_dynamo.tables.desired import ON_DEMAND, Desired
from sessions_dynamo.tables.names import NamedTable

HERE: Final = Path(__file__).parent
TABLES: Final = (NamedTable("mcp-sessions", schema.SESSIONS), NamedTable("mcp-session-events", schema.EVENTS))
DESIRED: Final = Desired("production", ON_DEMAND, recovery=True, deletion_protection=False)
"""What every template here wants of the tables, before it stands; ``manage.py dynamodb_template`` prints others."""


_SERVERLESS: Final = {
    "SessionsTableName": "${self:custom.sessionsTable}",
    "EventsTableName": "${self:custom.eventsTable}",
    "Environment": "${sls:stage}",
    "DeletionProtection": "${param:deletionProtection, 'false'}",
}
"""The parameters of a stack of ``serverless.yml``, as that framework's own variables.

They are defaults, for it hands values to the stack that holds its bucket as well, which has no parameters.
"""


@dataclass(frozen=True, slots=True)
class Whole:
    """A file that the code alone writes."""

    path: str
    text: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a file that people write."""

    path: str
    name: str
    text: Callable[[], str]


Part = Whole | Region


def as_json(value: Any) -> str:
    """JSON as this tool writes it."""
    return json.dumps(value, indent=2) + "\n"


def as_yaml(value: Any) -> str:
    """YAML without anchors, which CloudFormation does not take, and with texts unbroken."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def parameters() -> dict[str, Any]:
    """The parameters that tables, policies, alarms and dashboard name."""
    return (
        template.parameters(TABLES, DESIRED.environment)
        | template.protection_parameter(default=False)
        | alarms.parameters()
    )


def conditions() -> dict[str, Any]:
    """The conditions of tables and alarms."""
    return template.protection_condition() | alarms.conditions()


def table_resources() -> dict[str, Any]:
    """Both tables."""
    return tables.resources(TABLES, DESIRED, template.REFERENCES)


def monitoring_resources() -> dict[str, Any]:
    """The alarms and the dashboard."""
    return alarms.resources() | dashboard.resources()


def role_policies(*names: str) -> list[dict[str, Any]]:
    """Inline policies of a SAM function, from ``deploy/iam``."""
    return [{"Version": "2012-10-17", "Statement": policies.statements(name)} for name in names]


def yaml_regions(path: str, **texts: Callable[[], Any]) -> Iterator[Region]:
    """A YAML file's regions, by name."""
    for name, value in texts.items():
        yield Region(path, name, lambda value=value: as_yaml(value()))  # type: ignore[misc]


def _serverless_parameters() -> dict[str, Any]:
    asked = parameters()
    return {name: asked[name] | {"Default": default} for name, default in _SERVERLESS.items()}


def _serverless_policies() -> list[dict[str, Any]]:
    """The statements of both policies in one list, as that framework has them, under names that do not clash."""
    return [
        statement | {"Sid": f"{name.capitalize()}{statement['Sid']}"}
        for name in ("serve", "schedule")
        for statement in policies.statements(name)
    ]


PARTS: Final[Sequence[Part]] = (
    Whole("cloudformation/tables.json", lambda: as_json(template.template(TABLES, DESIRED))),
    Whole("cloudformation/monitoring.json", lambda: as_json(template.monitoring(TABLES, DESIRED.environment))),
    *yaml_regions(
        "sam/template.yaml",
        parameters=parameters,
        conditions=conditions,
        tables=table_resources,
        monitoring=monitoring_resources,
        policies=partial(role_policies, "serve", "schedule"),
    ),
    *yaml_regions(
        "serverless/serverless.yml",
        parameters=_serverless_parameters,
        conditions=template.protection_condition,
        tables=table_resources,
        policies=_serverless_policies,
    ),
    *yaml_regions(
        "ecs/template.yaml",
        alarm_parameters=alarms.parameters,
        conditions=alarms.conditions,
        policies=ecs_resources.policies,
        tables=ecs_resources.tables,
        monitoring=monitoring_resources,
    ),
    Whole("terraform/tables.tf.json", lambda: as_json(terraform_resources.tables())),
    Whole("terraform/policies.tf.json", lambda: as_json(terraform_resources.policies())),
    Whole("terraform/monitoring.tf.json", lambda: as_json(terraform_resources.monitoring())),
)


class MarkerMissing(LookupError):
    """A file has no region of this name; the message says what to write there."""


def files(parts: Sequence[Part] = PARTS, directory: Path = HERE) -> dict[Path, str]:
    """What each file shall hold. Raises ``MarkerMissing``."""
    found: dict[Path, str] = {}
    for part in parts:
        path = directory / part.path
        if isinstance(part, Whole):
            found[path] = part.text()
        else:
            found[path] = replaced(found.get(path) or path.read_text(), part)
    return found


def replaced(text: str, region: Region) -> str:
    """The file's text with a region's own put between its markers."""
    name = re.escape(region.name)
    pattern = re.compile(
        rf"^(?P<indent> *)# begin: {name}\b(?P<note>[^\n]*)\n(?:.*?\n)??(?P=indent)# end: {name}$", re.M | re.S
    )
    match = pattern.search(text)
    if match is None:
        raise MarkerMissing(f"{region.path} needs the lines '# begin: {region.name}' and '# end: {region.name}'.")
    indent = match["indent"]
    begin, end = f"{indent}# begin: {region.name}{match['note']}\n", f"{indent}# end: {region.name}"
    return text[: match.start()] + begin + textwrap.indent(region.text(), indent) + end + text[match.end() :]


def stale(parts: Sequence[Part] = PARTS, directory: Path = HERE) -> dict[Path, str]:
    """The files that do not hold what they shall, with what that is."""
    return {
        path: text for path, text in files(parts, directory).items() if not path.is_file() or path.read_text() != text
    }


def main() -> None:
    """Write what is stale, and say so."""
    changed = stale()
    for path, text in changed.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        sys.stdout.write(f"written: {path.relative_to(HERE.parent)}\n")
    if not changed:
        sys.stdout.write("deploy/ is as the code has it.\n")


if __name__ == "__main__":
    main()
