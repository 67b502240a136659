"""The options that commands share, and the types of others: what argparse calls to read one, or to refuse it."""

from __future__ import annotations

import argparse
from datetime import timedelta


def add_tables(parser: argparse.ArgumentParser) -> None:
    """Which tables; ``console.both_tables`` reads the names."""
    parser.add_argument("--sessions-table", metavar="NAME", help="default: DYNAMODB_SESSIONS_TABLE")
    parser.add_argument("--events-table", metavar="NAME", help="default: DYNAMODB_EVENTS_TABLE")


def add_where(parser: argparse.ArgumentParser) -> None:
    """Which tables, in which region."""
    add_tables(parser)
    parser.add_argument("--region", help="default: AWS_REGION")


def hours(text: str) -> timedelta:
    """A span over 0, in hours, fractions too."""
    try:
        span = timedelta(hours=float(text))
    except (ValueError, OverflowError):
        span = timedelta(0)
    if span <= timedelta(0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of hours over 0, such as 12 or 0.5")
    return span


def seconds(text: str) -> float:
    """Seconds over 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds over 0, such as 300")
    return value


def count(text: str) -> int:
    """A whole number over 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number over 0, such as 1000")
    return int(text)
