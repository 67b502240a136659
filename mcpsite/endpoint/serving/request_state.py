"""``requestState`` as any worker seals and opens it, though their clocks differ."""

from __future__ import annotations

import json
import time
from typing import Final

from mcp.server.request_state import AESGCMRequestStateCodec

CLOCK_DIFFERENCE: Final = 300.0
"""Seconds, at most, of two workers' clocks."""


class SharedRequestStateCodec(AESGCMRequestStateCodec):
    """The SDK's own, whose envelope says when it was made (``iat``) and is refused where that is over a minute ahead.

    One that a worker with a clock ahead of this one's has sealed is opened as one of now.
    """

    def unseal(self, token: str) -> bytes:
        """What was sealed. Raises ``InvalidRequestState``."""
        payload = super().unseal(token)
        try:
            claims = json.loads(payload)
            made, now = claims["iat"], time.time()
            is_ahead = now < made <= now + CLOCK_DIFFERENCE
        except (ValueError, KeyError, TypeError):
            # The SDK says what is wrong with it.
            return payload
        if not is_ahead:
            return payload
        return json.dumps({**claims, "iat": now}).encode()
