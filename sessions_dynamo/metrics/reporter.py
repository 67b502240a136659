"""Sends what was counted once a minute from a background thread, and at the end of the process.

What cannot be sent is dropped and logged; no request waits for it.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from django.core.signals import request_finished

from sessions_dynamo.conf import conf
from sessions_dynamo.metrics import emf, put
from sessions_dynamo.metrics.samples import Metric, Samples, reading

logger = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 60.0
LOG_SECONDS: Final = 600.0
"""A CloudWatch that stays away is logged this often."""

SENDERS: Final[Mapping[str, Callable[[Sequence[Metric]], None]]] = {"emf": emf.send, "put": put.send}
"""What ``METRICS`` may be, besides ``off``."""


class Reporter:
    """A process's samples and the thread that sends them. The thread starts with the first sample: after any fork."""

    def __init__(self) -> None:
        self.samples = Samples()
        self.gauges: dict[object, tuple[str, Callable[[], int]]] = {}
        self._waiting: queue.SimpleQueue[threading.Event] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._dropped = 0
        self._logged_at = float("-inf")
        self._failing: set[object] = set()
        """The gauges that fail, which was logged once."""

    def start(self) -> None:
        """Start the thread, unless it runs."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
                    self._thread.start()

    def flush(self, timeout: float) -> None:
        """Have everything sent that was counted so far; wait at most ``timeout`` seconds."""
        if self._thread is not None:
            sent = threading.Event()
            self._waiting.put(sent)
            sent.wait(timeout)

    def _run(self) -> None:
        while True:
            try:
                sent = self._waiting.get(timeout=INTERVAL_SECONDS)
            except queue.Empty:
                sent = None
            # Once a minute, and no more often: a mean over processes would lean to those that flush.
            self._send(self._readings() if sent is None else [])
            if sent is not None:
                sent.set()

    def _readings(self) -> list[Metric]:
        totals: Counter[str] = Counter()
        gauges = self.gauges.copy()
        self._failing &= gauges.keys()
        for key, (name, read) in gauges.items():
            try:
                totals[name] += read()
            except Exception:  # Whatever it was, the others are sent, now and in the next minute.
                if key not in self._failing:
                    self._failing.add(key)
                    logger.exception("the metric %s could not be read", name)
            else:
                self._failing.discard(key)
        return [reading(name, total) for name, total in totals.items()]

    def _send(self, readings: Sequence[Metric]) -> None:
        metrics = [*self.samples.take(), *readings]
        sender = SENDERS.get(conf.METRICS)
        if not metrics or sender is None:
            return
        try:
            sender(metrics)
        except Exception as exc:  # Whatever it was, the next minute is sent.
            self._dropped += len(metrics)
            if time.monotonic() - self._logged_at >= LOG_SECONDS:
                logger.warning("%d metrics were dropped: %s", self._dropped, exc)
                self._dropped, self._logged_at = 0, time.monotonic()


_reporter = Reporter()


def enabled() -> bool:
    """Whether anything is counted."""
    return conf.METRICS in SENDERS


def count(name: str, value: int = 1, *, tool: str | None = None) -> None:
    """Add to a count; ``tool`` must be a tool of the server's, not any name that a client sent."""
    if enabled() and value:
        _reporter.samples.count(name, value, tool)
        _reporter.start()


def timing(name: str, ms: float, *, tool: str | None = None) -> None:
    """Add a measured time, in milliseconds."""
    if enabled():
        _reporter.samples.time(name, ms, tool)
        _reporter.start()


@contextmanager
def gauge(name: str, read: Callable[[], int]) -> Iterator[None]:
    """Send once a minute what ``read`` says meanwhile, 0 too; of several of a name in this process, the sum.

    ``read`` is called by another thread. While it raises, which is logged once, its part is missing.
    """
    reporter, key = _reporter, object()
    reporter.gauges[key] = (name, read)
    if enabled():
        reporter.start()
    try:
        yield
    finally:
        del reporter.gauges[key]


def flush(timeout: float = 5.0) -> None:
    """Have everything sent that was counted so far; wait at most ``timeout`` seconds."""
    _reporter.flush(timeout)


def _begin_anew() -> None:
    """In a forked child: the parent's thread does not run there, and its samples are the parent's to send."""
    global _reporter
    _reporter = Reporter()


def _flush_on_lambda(**_: Any) -> None:
    """Lambda freezes the process between requests, and ends it unasked."""
    if conf.METRICS == "emf" and "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        flush()


os.register_at_fork(after_in_child=_begin_anew)
request_finished.connect(_flush_on_lambda)
# Exit handlers run last first: this one comes after the event loop's, whose last handlers still count.
atexit.register(flush)
