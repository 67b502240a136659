"""``make servers``: every server object of the SDK's documents and examples, each answer beside the SDK's own app's,
and the SDK's interaction tests over this site.

``--write`` puts the table of what differs into docs/servers.md; ``--only TEXT`` takes the servers whose path has it.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
import warnings
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from typing import Final

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from tests.servers import interaction, source  # noqa: E402
from tests.servers.comparing import Tally, compare, this_site  # noqa: E402
from tests.servers.differences import DIFFERENCES  # noqa: E402

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "servers.md"
BEGIN: Final = "<!-- make servers: begin -->"
END: Final = "<!-- make servers: end -->"
DIRECTORY: Final = ROOT / ".servers"
NOT_FETCHED: Final = 3


def main() -> int:
    """0 where every answer is equal or differs as declared, and each declared difference still occurs; 1 where not."""
    parser = argparse.ArgumentParser(prog="make servers", description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="servers whose path has this text; may be repeated")
    parser.add_argument("--write", action="store_true", help="write the table into docs/servers.md")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    DIRECTORY.mkdir(exist_ok=True)
    try:
        root = source.fetch(DIRECTORY)
    except source.NotFetched as exc:
        print(f"The SDK's source distribution could not be fetched: {exc}", file=sys.stderr)
        return NOT_FETCHED
    tally, left_out, broken = Tally(), Counter[str](), list[str]()
    warnings.simplefilter("ignore")
    # Servers print, too.
    with this_site() as url, redirect_stdout(io.StringIO()):
        for found in source.servers(root, arguments.only):
            if isinstance(found, source.LeftOut):
                left_out[found.why] += 1
                continue
            try:
                compare(found, url, tally)
            except Exception as exc:
                broken.append(f"{found.name}: {type(exc).__name__}: {exc}")
    outcome = None if arguments.only else interaction.run(root, DIRECTORY)
    surprises = [] if outcome is None else [f"interaction test {one}" for one in outcome.surprises]
    for line in (*map(str, tally.unexplained), *broken, *surprises):
        print(line)
    gone = [one.what for one in DIFFERENCES if not tally.occurred[one.what]] if not arguments.only else []
    for what in gone:
        print(f"declared, and shown by no server any more: {what}")
    shown = table(tally, left_out, outcome)
    print(shown)
    if arguments.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{shown}\n{END}{rest.partition(END)[2]}")
    return 1 if tally.unexplained or broken or gone or surprises else 0


def table(tally: Tally, left_out: Counter[str], outcome: interaction.Outcome | None) -> str:
    """What was compared and what differs, as the page has it."""
    asked = ", ".join(f"{number} {era}" for era, number in sorted(tally.answers.items()))
    lines = [
        f"{tally.servers} servers of the SDK's documents and examples, {asked} answers.",
        "",
        "| differs | answers | because |",
        "|---|---|---|",
        *(f"| {one.what} | {tally.occurred[one.what]} | {one.why} |" for one in DIFFERENCES),
    ]
    if left_out:
        lines += ["", "Left out:", "", *(f"* {number}: {why}" for why, number in sorted(left_out.items()))]
    if outcome is not None:
        reasons = Counter(interaction.EXPECTED.get(name, "not foreseen") for name in outcome.failed)
        lines += ["", f"{outcome.passed} of the SDK's interaction tests pass over this site. Of the others:", ""]
        lines += [f"* {number}: {why}" for why, number in sorted(reasons.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
