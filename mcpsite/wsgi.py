"""The WSGI application, for gunicorn and for ``manage.py runserver``."""

import os

from django.core.wsgi import get_wsgi_application

from sessions_dynamo.startup import prepare

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcpsite.settings")

application = get_wsgi_application()
prepare()
