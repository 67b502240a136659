"""The WSGI application, for gunicorn and for ``manage.py runserver``."""

import os
from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application

from sessions_dynamo.tables.startup import prepare

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcpsite.settings")


class Request(WSGIRequest):
    """A request whose ``Content-Type`` may be garbage: Django raises before any middleware could answer for it."""

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]
        except ValueError:
            self.content_type, self.content_params = "", {}


application = get_wsgi_application()
application.request_class = Request
prepare()
