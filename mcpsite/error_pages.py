"""What a person sees whose page failed."""

from __future__ import annotations

import sys
from http import HTTPStatus
from typing import Final

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views import defaults

RETRY_AFTER_SECONDS: Final = 5


def server_error(request: HttpRequest) -> HttpResponse:
    """The ``handler500``: 503 while Django's own database is away, which mends itself, and 500 for all else."""
    # Django calls this while it handles the exception.
    if not isinstance(sys.exception(), (InterfaceError, OperationalError)):
        return defaults.server_error(request)
    answer = HttpResponse(render_to_string("503.html"), status=HTTPStatus.SERVICE_UNAVAILABLE)
    answer["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return answer
