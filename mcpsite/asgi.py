"""The ASGI application, for gunicorn, Lambda and ``manage.py runserver``."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcpsite.settings")

# First of all: what is imported below needs the apps.
django = get_asgi_application()

from mcpsite.door.base_path import BasePath  # noqa: E402
from mcpsite.door.buffered import is_frozen_between_answers  # noqa: E402
from mcpsite.door.short_door import Application, ShortDoor  # noqa: E402
from mcpsite.endpoint.conf import conf  # noqa: E402
from mcpsite.endpoint.own_routes import OwnRoutes  # noqa: E402
from mcpsite.freezing import SettledAnswers  # noqa: E402
from mcpsite.lifespan import Lifespan  # noqa: E402
from sessions_dynamo.tables.startup import prepare  # noqa: E402

prepare()
site: Application = BasePath(ShortDoor(OwnRoutes(django)), conf.MCP_BASE_PATH)
"""Every request, without the lifespan; ``mcpsite.lambda_handler`` serves this one."""
application = Lifespan(SettledAnswers(site, conf.SHUTDOWN_GRACE_SECONDS) if is_frozen_between_answers() else site)
