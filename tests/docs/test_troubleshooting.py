"""``docs/troubleshooting.md`` has every check, every status and every message that the code has, and no other.

``python -m tests.docs.messages`` prints the rows that it lacks.
"""

from __future__ import annotations

import re
from typing import Final

from tests.docs import messages

FROM_OTHERS: Final = {429, 502, 504}
"""Statuses of what may stand in front, which the page says, too."""


def test_every_check_is_there_and_no_other() -> None:
    assert {row[0].strip("`") for row in messages.rows("check")} == messages.check_ids()


def test_every_status_is_there_and_no_other() -> None:
    listed = {int(number) for row in messages.rows("status") for number in re.findall(r"\d{3}", row[0])}
    assert listed == messages.statuses() | FROM_OTHERS


def test_each_message_that_it_quotes_is_in_the_code() -> None:
    said = [messages.normal(text) for text in messages.texts()]
    assert [quote for quote in dict.fromkeys(messages.quoted()) if not any(quote in text for text in said)] == []


def test_each_message_of_the_code_is_there() -> None:
    assert messages.missing() == {}


def test_a_message_that_was_changed_is_noticed() -> None:
    said = [messages.normal(text) for text in messages.texts()]
    quote = "Invalid Host header: add the name to ALLOWED_HOSTS if it is this site's."
    assert quote in said
    assert quote.replace("add", "put") not in said
