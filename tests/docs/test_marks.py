"""Every block of README and ``docs/`` is run by a test, or says why it is not.

The comment above a block says which:

* ``run: shell``: pasted, in the page's order, beside a site with the embedded DynamoDB; with ``after COMMAND`` behind
  it, that is pasted first, which the page leaves out;
* ``run: start``: starts a site for the blocks that follow; ``run: file``: is written there, as ``title=`` says;
* ``run: python``: runs, with the page's others, as one module; ``run: parse``: JSON, YAML or TOML;
* ``run by tests/…``; ``not run:`` and the reason.

README has words behind its backticks in their place: ``tests/test_readme.py``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.docs.fences import OUTPUT, ROOT, Fence, blocks_of, fences, pages

RUNS: Final = {
    "shell": {"bash"},
    "start": {"bash"},
    "file": None,
    "python": {"python"},
    "parse": {"json", "yaml", "toml"},
}
"""What can be run, by the languages that it can be."""
# By the language and the word behind it; tests/test_readme.py runs those without another name.
README_RUNS: Final = {
    "bash": "tests/test_readme.py",
    "bash start": "tests/test_readme.py",
    "bash npx": "tests/test_readme.py",
    "python": "tests/test_readme.py",
}

PAGES: Final = [pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in pages()]


def problem(fence: Fence) -> str:
    """What is wrong with a block's mark; empty if nothing is."""
    if not fence.language:
        return "has no language: text, for what a program prints"
    if fence.language in OUTPUT and not fence.mark:
        return ""
    kind, _, rest = fence.mark.partition(": ")
    if kind == "not run":
        return "" if len(rest.split()) > 2 else "says 'not run' without a reason"
    if kind == "run":
        return "" if fence.how in RUNS and _can_be(fence, fence.how) else f"is not run by 'run: {rest}'"
    if found := re.fullmatch(r"run by (tests/[\w/.-]+\.py)", fence.mark):
        return _proof(found[1], fence.page)
    if fence.page == "README.md" and f"{fence.language} {fence.tag}".strip() in README_RUNS:
        return _proof(README_RUNS[f"{fence.language} {fence.tag}".strip()], fence.page)
    return "has no mark: <!-- run: shell -->, <!-- run by tests/… --> or <!-- not run: reason -->"


def _can_be(fence: Fence, how: str) -> bool:
    languages = RUNS[how]
    return bool(fence.title) if languages is None else fence.language in languages


def _proof(test: str, page: str) -> str:
    """A test that exists and names the page."""
    path = ROOT / test
    if not path.is_file():
        return f"names {test}, which is not there"
    return "" if Path(page).name in path.read_text() else f"names {test}, which does not mention {Path(page).name}"


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    problems = {fence.where: problem(fence) for fence in fences(page)}
    assert {where: what for where, what in problems.items() if what} == {}


def test_a_block_without_a_mark_is_found() -> None:
    text = """\
# A page

```bash
unmarked
```

1. In a list:

    <!-- run: shell -->
    ```bash
    marked
    ```

<!-- not run: later -->
```bash
no reason
```

<!-- run: python -->
```json
{}
```

<!-- run by tests/docs/test_nowhere.py -->
```bash
```

<!-- run by tests/test_scheduling.py -->
```bash
```

```
no language
```

```text
# What a program prints.
```
"""
    found = [(fence.text, problem(fence)) for fence in blocks_of(text, "docs/unwritten.md")]
    assert [what.partition(" ")[0] for _, what in found] == ["has", "", "says", "is", "names", "names", "has", ""]
    assert found[1][0] == "marked\n"
