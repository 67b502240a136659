"""Signature Version 4 for one shape of request: a POST to one URL with a JSON body and DynamoDB's target.

It knows neither where keys come from nor how a request travels.
"""

from __future__ import annotations

import hmac
import time
from hashlib import sha256
from typing import Final, Protocol
from urllib.parse import quote

from botocore.utils import normalize_url_path

CONTENT_TYPE: Final = "application/x-amz-json-1.0"


class Keys(Protocol):
    """What signs; an object never changes."""

    @property
    def access_key(self) -> str | None: ...
    @property
    def secret_key(self) -> str | None: ...
    @property
    def token(self) -> str | None: ...


class Signer:
    """Signs for one host and path; what stays the same for a second, or for a day, is made once in it."""

    def __init__(self, *, host: str, path: str, region: str, service: str = "dynamodb") -> None:
        """``host`` is the ``Host`` header, with the port that it names; ``path`` is the URL's, not empty."""
        self._host = host
        # Already encoded in the URL, and encoded again in the signature.
        self._path = quote(normalize_url_path(path), safe="/~")
        self._scope = f"{region}/{service}/aws4_request"
        self._parts = (region, service, "aws4_request")
        self._keys: Keys | None = None
        self._second = self._day = -1

    def headers(self, keys: Keys, target: str, body: bytes, now: float) -> dict[str, str]:
        """The headers of a signed request; ``now`` is in seconds since 1970."""
        second = int(now)
        if keys is not self._keys or second != self._second:
            self._turn(keys, second)
        canonical = f"{self._head}{target}{self._tail}{sha256(body).hexdigest()}"
        text = f"{self._preface}{sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key, text.encode(), "sha256").hex()
        return {**self._fixed, "X-Amz-Target": target, "Authorization": f"{self._authorization}{signature}"}

    def _turn(self, keys: Keys, second: int) -> None:
        """Make what lasts until the second or the keys change."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        if keys is not self._keys or second // 86400 != self._day:
            self._key = f"AWS4{keys.secret_key}".encode()
            for part in (stamp[:8], *self._parts):
                self._key = hmac.digest(self._key, part.encode(), "sha256")
        self._keys, self._second, self._day = keys, second, second // 86400
        fixed = {"Content-Type": CONTENT_TYPE, "Host": self._host, "X-Amz-Date": stamp}
        if keys.token:
            fixed["X-Amz-Security-Token"] = " ".join(keys.token.split())
        names = ";".join([*map(str.lower, fixed), "x-amz-target"])
        lines = "\n".join(f"{name.lower()}:{value}" for name, value in fixed.items())
        scope = f"{stamp[:8]}/{self._scope}"
        self._fixed = fixed
        self._head = f"POST\n{self._path}\n\n{lines}\nx-amz-target:"
        self._tail = f"\n\n{names}\n"
        self._preface = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n"
        self._authorization = (
            f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope}, SignedHeaders={names}, Signature="
        )
