from __future__ import annotations

import fcntl
import io
import os
import struct
import termios

import pytest
from django.core.management.base import OutputWrapper

from sessions_dynamo.management.progress import ProgressBar, duration


class Screen(io.StringIO):
    """What a terminal of 100 columns is sent."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    return screen_of(100, monkeypatch)


def screen_of(columns: int, monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((columns, 24)))
    return Screen()


def test_on_a_terminal_one_line_shows_items_rate_and_time_left(screen: Screen) -> None:
    bar = ProgressBar(OutputWrapper(screen), "mcp-sessions", 100_000)

    bar(25_000, 5.0)
    bar(50_000, 10.0)

    before, after = screen.getvalue().split("\r")[1:]
    assert before == "mcp-sessions: [######..................] 25,000 of about 100,000 items, 5,000 a second, 15 s left"
    assert after == "mcp-sessions: [############............] 50,000 of about 100,000 items, 5,000 a second, 10 s left"


@pytest.mark.parametrize(
    ("what", "done", "expected", "line"),
    [
        (
            "imported",
            50_000,
            100_000,
            "imported: [#####.....] 50,000 of about 100,000 items, 5,000 a second, 10 s left",
        ),
        (
            "imported",
            5_000_000,
            10_000_000,
            "imported: 5,000,000 of about 10,000,000 items, 500,000 a second, 10 s left",
        ),
        (
            "mcp-session-events",
            5_000_000,
            10_000_000,
            "mcp-session-events: [#####......] 5,000,000 of 10,000,000, 500,000/s, 10 s left",
        ),
    ],
)
def test_80_columns_hold_all_of_it_and_the_bar_is_as_wide_as_they_leave_it(
    monkeypatch: pytest.MonkeyPatch, what: str, done: int, expected: int, line: str
) -> None:
    screen = screen_of(80, monkeypatch)

    ProgressBar(OutputWrapper(screen), what, expected)(done, 10.0)

    assert screen.getvalue() == f"\r{line}"
    assert len(line) < 80


def test_the_columns_are_those_of_its_own_terminal_whatever_standard_output_is() -> None:
    controller, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))

    with os.fdopen(controller, "rb", buffering=0) as seen, os.fdopen(terminal, "w") as stream:
        ProgressBar(OutputWrapper(stream), "imported", 100_000)(50_000, 10.0)
        shown = seen.read(200).decode()

    assert shown == "\rimported: [####.....] 50,000 of 100,000, 5,000/s, 10 s left"
    assert len(shown) == 60  # the carriage return, and 59 columns


def test_a_shorter_line_covers_a_longer_one_and_none_is_left(screen: Screen) -> None:
    bar = ProgressBar(OutputWrapper(screen), "t", 10_000)

    bar(1, 500.0)
    bar(10_000, 501.0)
    bar.clear()

    first, second, blank, end = screen.getvalue().split("\r")[1:]
    assert len(second) == len(first)
    assert (blank.strip(), end) == ("", "")
    assert len(blank) >= len(second.rstrip())


def test_no_line_is_longer_than_the_terminal(screen: Screen) -> None:
    ProgressBar(OutputWrapper(screen), "x" * 120, 100)(50, 1.0)

    assert len(screen.getvalue()) == 100  # the carriage return, and 99 columns


@pytest.mark.parametrize("expected", [None, 0, 10])
def test_without_a_believable_number_nothing_is_said_of_the_time_left(screen: Screen, expected: int | None) -> None:
    ProgressBar(OutputWrapper(screen), "t", expected)(11, 2.0)

    assert screen.getvalue() == "\rt: 11 items, 6 a second"


def test_off_a_terminal_there_is_a_line_every_half_minute() -> None:
    log = io.StringIO()
    bar = ProgressBar(OutputWrapper(log), "t", 1000)

    for seconds in range(0, 65, 5):
        bar(seconds * 10, float(seconds))
    bar.clear()

    assert log.getvalue().splitlines() == [
        "t: 300 of about 1,000 items, 10 a second, 70 s left",
        "t: 600 of about 1,000 items, 10 a second, 40 s left",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (99.4, "99 s"), (120, "2 min"), (5940, "99 min"), (12_000, "3 h 20 min")]
)
def test_a_duration_is_said_as_people_do(seconds: float, words: str) -> None:
    assert duration(seconds) == words
