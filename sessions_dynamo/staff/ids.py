"""Ids in URLs: any string DynamoDB can hold, as one path segment."""

from __future__ import annotations

import re
from typing import Final

_PLAIN: Final = re.compile(rb"[A-Za-z0-9_-]")
MAX_BYTES: Final = 2048
"""Of a partition key: DynamoDB refuses to be asked for a longer one."""
_ENCODED: Final = re.compile(rb"~([0-9A-F]{2})")


class IdConverter:
    """Every byte but letters, digits, ``-`` and ``_`` as ``~XX``.

    Percent-encoding would not do: servers and browsers resolve encoded dots and slashes before Django sees them.
    """

    regex = r"(?:[A-Za-z0-9_-]|~[0-9A-F]{2})+"

    def to_python(self, value: str) -> str:
        # ValueError, of these and of bytes that are no UTF-8, means to Django that no URL matches.
        found = _ENCODED.sub(lambda match: bytes.fromhex(match[1].decode()), value.encode())
        if len(found) > MAX_BYTES:
            raise ValueError("No key is so long.")
        return found.decode()

    def to_url(self, value: str) -> str:
        return "".join(chr(byte) if _PLAIN.fullmatch(bytes([byte])) else f"~{byte:02X}" for byte in str(value).encode())
