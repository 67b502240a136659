"""``requestState`` of a worker whose clock is ahead, and what is refused all the same."""

from __future__ import annotations

import json
import time

import pytest
from mcp.server.request_state import AESGCMRequestStateCodec, InvalidRequestState

from mcpsite.endpoint.serving.request_state import CLOCK_DIFFERENCE, SharedRequestStateCodec

KEY = b"k" * 32


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [(-3600, -3600), (-1, -1), (30, 0), (CLOCK_DIFFERENCE - 5, 0), (CLOCK_DIFFERENCE + 5, CLOCK_DIFFERENCE + 5)],
)
def test_what_a_clock_ahead_has_sealed_is_of_now_up_to_the_difference(ahead: float, expected: float) -> None:
    now = time.time()
    sealed = SharedRequestStateCodec([KEY]).seal(json.dumps({"v": 1, "iat": now + ahead, "s": "\u00fc"}).encode())
    claims = json.loads(SharedRequestStateCodec([KEY]).unseal(sealed))
    assert claims["iat"] == pytest.approx(now + expected, abs=4)
    assert (claims["v"], claims["s"]) == (1, "\u00fc")


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"iat":"x"}', b'{"iat":NaN}', b"\xff"])
def test_what_is_no_envelope_is_left_as_it_is(payload: bytes) -> None:
    codec = SharedRequestStateCodec([KEY])
    assert codec.unseal(codec.seal(payload)) == payload


def test_it_opens_what_the_sdks_own_seals_and_the_other_way_round() -> None:
    ours, theirs = SharedRequestStateCodec([KEY]), AESGCMRequestStateCodec([KEY])
    assert ours.unseal(theirs.seal(b"{}")) == theirs.unseal(ours.seal(b"{}")) == b"{}"
    with pytest.raises(InvalidRequestState):
        ours.unseal(AESGCMRequestStateCodec([b"x" * 32]).seal(b"{}"))
