"""The pages that are written from the code have all of it, and what is described by hand is what the code does."""

from __future__ import annotations

import json
import re
from decimal import Decimal

import pytest

from docs_site import commands, items, policies, settings
from docs_site.markdown import PAGES, ROOT, for_site
from mcpsite.endpoint.conf import EndpointSettings
from sessions_dynamo import schema
from sessions_dynamo.conf import AppSettings
from sessions_dynamo.reading.item_kinds import SessionsKind
from sessions_dynamo.schema import EventKind
from sessions_dynamo.upkeep.pricing import HOURS_A_MONTH, PRICES, PUBLISHED

DECLARED = [s for s in (*AppSettings.declared(), *EndpointSettings.declared()) if s.variables]


def test_every_variable_has_its_row() -> None:
    page = settings.text()
    shown = set(re.findall(r"^\| <span id=\"(\w+)\"></span>`\1`", page, re.MULTILINE))
    assert shown == set(settings.variables()) == set(settings.described())
    assert {name for setting in DECLARED for name in setting.variables} <= shown


@pytest.mark.parametrize("name", [s.name for s in DECLARED if s.derived is None])
def test_a_default_that_the_page_names_is_the_codes(name: str) -> None:
    setting = next(one for one in DECLARED if one.name == name)
    if callable(setting.default) or name == "MCP_AUTH":
        assert name == "MCP_AUTH", "its default is the server object's"
        return
    assert settings.described()[name].default.strip("`") == settings.written(setting.default)


def test_types_have_the_unit_of_their_name() -> None:
    known = settings.variables()
    assert known["SESSION_TTL_HOURS"].type == "number of hours"
    assert known["STREAM_RETRY_MS"].type == "whole number of milliseconds"
    assert known["WEB_CONCURRENCY"].type == "whole number"
    assert known["DEBUG"].type == "`true` or `false`"
    assert known["DYNAMODB_TABLE"].alias_of == "DYNAMODB_SESSIONS_TABLE"


def test_every_command_and_option_has_its_row() -> None:
    page = commands.text()
    found = commands.commands()
    assert {"dynamodb_setup", "sessions_expire"} <= set(found)
    for name, command in found.items():
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert section, name
        whole = commands.parser_of(name, command)
        for parser in (whole, *commands.subcommands_of(whole).values()):
            for action in commands.options_of(parser):
                assert all(re.search(rf"{option}\b", section) for option in action.option_strings), (name, action)
                assert action.help, f"{name}: {action.dest} has no help"


def test_a_commands_guide_is_there() -> None:
    assert set(commands.GUIDES) <= set(commands.commands())
    for page in commands.GUIDES.values():
        assert (ROOT / "docs" / page).is_file()


def test_every_command_and_every_page_is_on_the_list_of_tasks() -> None:
    tasks = (ROOT / "docs" / "how-to.md").read_text()
    # Lists of this kind themselves, and what is for whoever changes this code.
    others = {"index.md", "how-to.md", "operate.md", "concepts.md", "storage.md", "loop-pitfalls.md"}
    assert {name for name in commands.commands() if not re.search(rf"`{name}\b", tasks)} == set()
    assert {path.name for path in (ROOT / "docs").glob("*.md") if f"]({path.name}" not in tasks} <= others


def test_every_kind_of_item_is_written_and_described() -> None:
    written = items.kinds()
    # What the version before wrote for all workers is written no more.
    assert set(written["events"]) == set(EventKind) - {EventKind.BUS}
    assert set(written["sessions"]) == {*SessionsKind, items.KEY_VALUE} - {SessionsKind.OTHER}
    assert {*written["sessions"], *written["events"]} == set(items.DESCRIBED) == set(items.MEANINGS)
    for kinds in written.values():
        for name, kind in kinds.items():
            assert set(kind.attributes) - set(items.EVERYWHERE) == set(items.MEANINGS[name]), name


def test_the_item_page_has_tables_keys_and_indexes() -> None:
    page = items.text()
    for table in (schema.SESSIONS, schema.EVENTS):
        for index in table.indexes:
            assert f"| `{index.name}` | `{index.partition.name}`" in page
    assert "Key: `<session>`, `<stream>.<sequence>`." in page
    assert "Key: `<session>#<key>#<random>`." in page
    assert "Key: `<session>`, `reply.<request>`." in page


def test_storage_names_every_kinds_key_as_the_item_page_does() -> None:
    storage = _without_words((ROOT / "docs" / "storage.md").read_text())
    for kinds in items.kinds().values():
        for kind in kinds.values():
            assert _without_words(kind.keys[-1]) in storage or kind.name == EventKind.PART, kind


def _without_words(key: str) -> str:
    """A key's pattern, whatever its places are called."""
    return re.sub(r"<\w+>", "<>", key)


def test_the_table_of_policies_names_those_that_there_are() -> None:
    table = (ROOT / "deploy" / "iam" / "README.md").read_text()
    named = set(re.findall(r"^\| \[[\w.-]+\]\(([\w-]+\.json)\)", table, re.MULTILINE))
    assert named == {path.name for path in (ROOT / "deploy" / "iam").glob("*.json")}


def test_every_policy_is_on_its_page() -> None:
    page = policies.text()
    for path in (ROOT / "deploy" / "iam").glob("*.json"):
        assert f"\n### {path.stem}\n" in page
        assert path.read_text() in page


def test_links_of_the_repository_lead_to_pages_or_name_the_file() -> None:
    readme = (
        "[a](docs/state.md#x) [b](deploy/iam/serve.json) [c](LICENSE) [d](#tools) [e](https://mcp.example/x)"
        " ![f](docs/pictures/session.png) [g](nowhere.md)\n\n<!-- run: x -->\n```bash x\n[h](docs/state.md)\n```\n"
    )
    assert for_site(readme, "README.md", PAGES["README.md"]) == (
        "[a](state.md#x) [b](reference/policies.md#serve) c (`LICENSE`) [d](#tools) [e](https://mcp.example/x)"
        " ![f](pictures/session.png) [g](nowhere.md)\n\n```bash\n[h](docs/state.md)\n```\n"
    )
    assert for_site("[a](../deploy/iam/README.md)", "docs/setup.md", "setup.md") == "[a](reference/policies.md)"
    assert for_site("[a](serve.json)", "deploy/iam/README.md", PAGES["deploy/iam/README.md"]) == "[a](#serve)"


@pytest.mark.parametrize("page", ["capacity.md", "sam.md"])
def test_prices_of_dynamodb_are_those_that_status_takes(page: str) -> None:
    text, prices = (ROOT / "docs" / page).read_text(), PRICES["us-east-1"]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    named = {
        "write units": prices.write_requests,
        "read units": prices.read_requests,
        "recovery": prices.recovery,
    }
    for words, price in named.items():
        assert any(words in row and re.search(rf"\b{price}\b", row) for row in rows), words
    published = f"{PUBLISHED.day} {PUBLISHED:%B %Y}"
    assert f"DynamoDB's of {published}" in text


def test_the_alarms_look_at_as_many_metrics_as_are_paid_for() -> None:
    template = json.loads((ROOT / "deploy" / "cloudformation" / "monitoring.json").read_text())
    alarms = [each["Properties"] for each in template["Resources"].values() if each["Type"] == "AWS::CloudWatch::Alarm"]
    looked_at = sum(sum("MetricStat" in one for one in alarm.get("Metrics", [])) or 1 for alarm in alarms)
    assert f"{looked_at} here" in (ROOT / "docs" / "metrics.md").read_text()
    alone = looked_at * Decimal("0.1")
    assert f"{alone:.2f}, {alone + 3:.2f} with the dashboard" in (ROOT / "docs" / "capacity.md").read_text()


def test_what_a_million_calls_cost_follows_from_the_prices() -> None:
    text, prices = (ROOT / "docs" / "capacity.md").read_text(), PRICES["us-east-1"]
    recorded = prices.read_requests + 3 * prices.write_requests
    plain = prices.read_requests + prices.write_requests
    assert f"{recorded:.2f}; {plain:.2f} with `RECORD_CALLS=false`" in text
    looks = 120 * 60 * HOURS_A_MONTH / Decimal(1_000_000)
    assert f"{looks:.1f} million, {looks * prices.read_requests:.2f}" in text
    leases = 12 * 60 * HOURS_A_MONTH / Decimal(1_000_000)
    assert f"all month: {leases * prices.write_requests:.2f}" in text


def test_where_provisioned_capacity_is_cheaper_is_what_the_prices_say() -> None:
    said = re.search(r"in `([\w-]+)` from some (\d+) % average use", (ROOT / "docs" / "capacity.md").read_text())
    assert said
    prices = PRICES[said[1]]
    for requests, capacity in (
        (prices.read_requests, prices.read_capacity),
        (prices.write_requests, prices.write_capacity),
    ):
        # A unit of capacity serves a request a second; a consistent read of 4 KB is one unit either way.
        assert round(100 * capacity / (requests * 3600 / 1_000_000)) == int(said[2])
