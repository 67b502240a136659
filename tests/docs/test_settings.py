"""``docs/settings.md``: what it says of the embedded DynamoDB is so, and no page forgets it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from docs_site import settings
from sessions_dynamo.conf import AWS_VARIABLES
from tests.docs.fences import ROOT, Fence, fences, pages
from tests.docs.sites import clone, documented_variables

(ELSEWHERE,) = (fence.text for fence in fences(settings.PAGE))
ASKS: Final = "from sessions_dynamo.conf import conf; print(conf.DYNAMODB_EMBEDDED)"
NAMES_ANOTHER: Final = re.compile(rf"\b({'|'.join([*AWS_VARIABLES, 'DYNAMODB_EMBEDDED', 'DEBUG', 'SECRET_KEY'])})=")


@pytest.mark.parametrize(
    ("environment", "embedded"),
    [
        ("", "True"),
        ("export AWS_REGION=eu-west-1", "True"),
        (ELSEWHERE, "False"),
        ("export AWS_PROFILE=mine", "False"),
        ("export AWS_PROFILE=mine DYNAMODB_EMBEDDED=true", "True"),
    ],
)
def test_what_names_another_dynamodb_than_the_embedded_one_in_a_bare_clone(
    environment: str, embedded: str, tmp_path: Path
) -> None:
    bare = {name: value for name, value in os.environ.items() if name not in documented_variables()}
    bare |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    bare.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(
        ["bash", "-euc", f"{environment}\npython manage.py shell --verbosity 0 -c '{ASKS}'"],
        cwd=clone(tmp_path),
        env=bare,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == embedded, done.stderr


def _forgets(fence: Fence) -> bool:
    """Whether a block's commands look as if they went to AWS by their region alone."""
    regional = re.search(r"\bAWS_REGION=[^\n]*(\s|.*\n)*.*\bmanage\.py ", fence.text)
    return bool(regional) and not NAMES_ANOTHER.search(fence.text)


def test_no_page_sends_a_command_to_aws_by_a_region_alone() -> None:
    assert [fence.where for page in pages() for fence in fences(page) if _forgets(fence)] == []


def test_a_block_that_forgets_it_is_found() -> None:
    def block(text: str) -> Fence:
        return Fence("docs/none.md", 1, "", "bash", "", text, "")

    assert _forgets(block("AWS_REGION=eu-west-1 python manage.py dynamodb_status\n"))
    assert _forgets(block("export AWS_REGION=eu-west-1\npython manage.py dynamodb_status\n"))
    assert not _forgets(block("AWS_PROFILE=x AWS_REGION=eu-west-1 python manage.py dynamodb_status\n"))
    assert not _forgets(block("export AWS_REGION=eu-west-1\naws sts get-caller-identity\n"))


def test_the_page_of_django_says_which_are_settings_there() -> None:
    text = (ROOT / "docs" / "django.md").read_text()
    assert "from *The tables* to *Streams*" in text
    span = settings.PAGE.read_text().partition("\n## The tables\n")[2].partition("\n## gunicorn\n")[0]
    named = set(re.findall(r"^\| `([A-Z_0-9]+)` \|", span, re.MULTILINE))
    known = settings.variables()
    aliases = {name for name, variable in known.items() if variable.alias_of}
    assert named - aliases | {"AWS_REGION"} == {name for name, variable in known.items() if variable.is_setting}
