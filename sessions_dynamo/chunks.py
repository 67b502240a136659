"""Lists of a size that a request takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any


def chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of ``size``, the last one shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
