"""The ASGI application, for gunicorn, Lambda and ``manage.py runserver``."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcpsite.settings")

# First of all: what is imported below needs the apps.
django = get_asgi_application()

from mcpsite.door.short_door import ShortDoor  # noqa: E402
from mcpsite.endpoint.own_routes import OwnRoutes  # noqa: E402
from mcpsite.lifespan import Lifespan  # noqa: E402
from sessions_dynamo.tables.startup import prepare  # noqa: E402

prepare()
application = Lifespan(ShortDoor(OwnRoutes(django)))
