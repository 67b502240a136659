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

from deploy import stack_resources, terraform_resources
from deploy.narrowing import document
from sessions_dynamo.cloudformation import alarms, dashboard, template
from sessions_dynamo.tables.names import named_tables

HERE: Final = Path(__file__).parent
TABLES: Final = named_tables(stack_resources.SESSIONS, stack_resources.EVENTS)
DESIRED: Final = stack_resources.DESIRED

_OF_A_STAGE: Final = {
    "SessionsTableName": "${self:custom.sessionsTable}",
    "EventsTableName": "${self:custom.eventsTable}",
    "Environment": "${sls:stage}",
}
"""Parameters that follow from a service's stage in ``serverless.yml``."""


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
    return stack_resources.parameters() | stack_resources.staff_parameter() | alarms.parameters()


def conditions() -> dict[str, Any]:
    """The conditions of tables, policies and alarms."""
    return stack_resources.conditions() | stack_resources.staff_condition() | alarms.conditions()


def monitoring_resources() -> dict[str, Any]:
    """The alarms and the dashboard."""
    return alarms.resources() | dashboard.resources()


def yaml_regions(path: str, **texts: Callable[[], Any]) -> Iterator[Region]:
    """A YAML file's regions, by name."""
    for name, value in texts.items():
        yield Region(path, name, lambda value=value: as_yaml(value()))  # type: ignore[misc]


def _serverless_parameters() -> dict[str, Any]:
    """The same with defaults of that framework's own variables, such as ``--param="createTables=false"``.

    As defaults, for it hands values to the stack that holds its bucket as well, which has no parameters.
    """
    return {
        name: parameter | {"Default": _OF_A_STAGE.get(name) or _asked(name, parameter["Default"])}
        for name, parameter in parameters().items()
    }


def _asked(name: str, default: str | int) -> str:
    return f"${{param:{name[0].lower()}{name[1:]}, '{default}'}}"


def _serverless_policies() -> list[dict[str, Any]]:
    """The statements of all policies in one list, as that framework has them, under names that do not clash."""
    return [
        statement | {"Sid": f"{name.capitalize()}{statement['Sid']}"}
        for name in ("serve", "schedule", "backup")
        for statement in document(name, stack_resources.NARROWING)["Statement"]
    ]


PARTS: Final[Sequence[Part]] = (
    Whole("cloudformation/tables.json", lambda: as_json(template.template(TABLES, DESIRED))),
    Whole("cloudformation/monitoring.json", lambda: as_json(template.monitoring(TABLES, DESIRED.environment))),
    *yaml_regions(
        "sam/template.yaml",
        parameters=parameters,
        conditions=conditions,
        tables=stack_resources.tables,
        monitoring=monitoring_resources,
        policies=stack_resources.inline_policies,
    ),
    *yaml_regions(
        "serverless/serverless.yml",
        parameters=_serverless_parameters,
        conditions=conditions,
        tables=stack_resources.tables,
        monitoring=monitoring_resources,
        policies=_serverless_policies,
        look_policy=partial(stack_resources.inline_policy, "read-only"),
        key_policy=partial(stack_resources.inline_policy, "kms-key"),
    ),
    *yaml_regions(
        "ecs/template.yaml",
        alarm_parameters=alarms.parameters,
        conditions=alarms.conditions,
        policies=stack_resources.managed_policies,
        tables=stack_resources.tables,
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
