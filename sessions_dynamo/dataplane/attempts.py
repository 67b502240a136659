"""What one attempt brings: an HTTP answer, or a failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import BotoCoreError


@dataclass(frozen=True, slots=True)
class Received:
    """An HTTP answer, its body as it came over the wire; the names of its ``headers`` in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def stream(self) -> list[bytes]:
        """The body as botocore reads it."""
        return [self.body]


class Failure(Exception):
    """An attempt that brought no answer: what botocore raises for it, or the service's refusal.

    ``response`` is what came back, as botocore reads it; without an ``error`` it is the refusal.
    """

    def __init__(self, error: BotoCoreError | None, response: tuple[AWSResponse, dict[str, Any]] | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.response = response

    @property
    def code(self) -> str:
        """The code of a refusal, such as ``ValidationException``; empty for other failures."""
        return "" if self.error or not self.response else str(self.response[1].get("Error", {}).get("Code", ""))
