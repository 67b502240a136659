"""``make templates``: what is committed is what the tool writes, and how it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from deploy import stack_resources, write
from deploy.narrowing import document
from deploy.write import MarkerMissing, Part, Region, Whole
from tests.deploy.templates import BODY_BYTES, DEPLOY, lint, load
from tests.iam import policies as iam

FILE = """\
a: 1
list:
  # begin: part (make templates)
  old: [1,
    2]
  # end: part
  # begin: partial
  # end: partial
z: 2
"""


def test_what_is_committed_is_what_the_tool_writes() -> None:
    assert [str(path) for path in write.stale()] == [], "run 'make templates'"


def test_a_region_is_written_between_its_markers_and_nothing_else_is() -> None:
    region = Region("file.yaml", "part", lambda: "new:\n- 1\n")

    once = write.replaced(FILE, region)

    assert once == FILE.replace("  old: [1,\n    2]\n", "  new:\n  - 1\n")
    assert write.replaced(once, region) == once
    empty = Region("file.yaml", "partial", lambda: "x: 1\n")
    assert "  # begin: partial\n  x: 1\n  # end: partial\nz: 2" in write.replaced(once, empty)


def test_a_file_without_the_markers_is_refused_with_what_to_write() -> None:
    with pytest.raises(MarkerMissing, match=r"file.yaml needs the lines '# begin: other' and '# end: other'"):
        write.replaced(FILE, Region("file.yaml", "other", lambda: ""))


def test_writes_what_is_stale_and_leaves_the_rest(tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text(FILE)
    parts: list[Part] = [
        Whole("made.json", lambda: "{}\n"),
        Region("file.yaml", "part", lambda: "x: 1\n"),
        Region("file.yaml", "partial", lambda: "y: 1\n"),
    ]

    stale = write.stale(parts, tmp_path)

    assert stale.keys() == {tmp_path / "made.json", tmp_path / "file.yaml"}
    # Both regions of one file.
    assert yaml.safe_load(stale[tmp_path / "file.yaml"]) == {"a": 1, "list": {"x": 1, "y": 1}, "z": 2}
    for path, text in stale.items():
        path.write_text(text)
    assert write.stale(parts, tmp_path) == {}


@pytest.mark.parametrize("policy", ["backup", "kms-key", "operate", "read-only", "schedule", "serve"])
def test_a_policy_keeps_its_actions_and_gets_the_stacks_own_tables(policy: str) -> None:
    before = iam.document(policy)["Statement"]

    made = document(policy, stack_resources.NARROWING)["Statement"]

    for written, narrowed in zip(before, made, strict=True):
        assert written | {"Resource": ""} == narrowed | {"Resource": ""}
    text = json.dumps([each["Resource"] for each in made])
    assert "mcp-session" not in text
    assert ":*:*:" not in text


NAMES = ("BucketName", "LogGroupName", "Name", "TableName")


@pytest.mark.parametrize("path", ["cloudformation/tables.json", "ecs/template.yaml", "sam/template.yaml"])
def test_what_outlives_a_creation_that_failed_is_in_no_retrys_way(path: str) -> None:
    resources = load(path)["Resources"].values()
    kept = [each for each in resources if each.get("DeletionPolicy") == "Retain"]
    named = [each for each in resources if any(name in each["Properties"] for name in NAMES)]

    assert len(named) >= 2
    assert [each for each in kept if each in named] == []


@pytest.mark.parametrize("path", ["tables.json", "monitoring.json"])
def test_the_linter_has_no_word_to_say_and_no_bucket_is_needed(path: str) -> None:
    text = (DEPLOY / "cloudformation" / path).read_text()

    assert lint(text) == []
    assert len(text.encode()) < BODY_BYTES
    assert json.loads(text)["Resources"]
