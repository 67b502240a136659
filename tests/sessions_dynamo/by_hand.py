"""Operations driven without any engine: each request is answered from a list, and remembered."""

from __future__ import annotations

from typing import Any, TypeVar

from botocore.exceptions import ClientError

from sessions_dynamo.operations import Operation, Pause, Request

T = TypeVar("T")


class ByHand:
    """A driver that gives these answers in turn, and raises those that are exceptions; it waits for no pause."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.steps: list[Request | Pause] = []

    def __call__(self, operation: Operation[T], /) -> T:
        try:
            step = next(operation)
            while True:
                self.steps.append(step)
                if isinstance(step, Pause):
                    step = next(operation)
                    continue
                answer = self.answers.pop(0)
                step = operation.throw(answer) if isinstance(answer, Exception) else operation.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    @property
    def actions(self) -> list[str]:
        """The names of what was asked, a pause being ``Pause``."""
        return [step.action if isinstance(step, Request) else "Pause" for step in self.steps]

    @property
    def asked(self) -> list[dict[str, Any]]:
        """The parameters of each request."""
        return [dict(step.parameters) for step in self.steps if isinstance(step, Request)]


def refused(action: str, code: str = "ConditionalCheckFailedException", **more: Any) -> ClientError:
    """DynamoDB's refusal of an action; ``more`` is what its answer holds besides, such as ``Item``."""
    answer: Any = {"Error": {"Code": code, "Message": "no"}, **more}
    return ClientError(answer, action)
