"""On the path of processes under libfaketime, which refuses how Python sleeps: until a time of the monotonic clock."""

import select
import time


def _sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = _sleep  # type: ignore[assignment]
