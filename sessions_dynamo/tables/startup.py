"""What a server process does before its first request, under gunicorn, Lambda or ``runserver``."""

from __future__ import annotations

import logging

from sessions_dynamo.checks import refuse_to_start
from sessions_dynamo.conf import conf
from sessions_dynamo.errors import StorageError
from sessions_dynamo.tables import setup

logger = logging.getLogger(__name__)


def prepare() -> None:
    """Refuse settings that cannot work, and create missing tables where ``DYNAMODB_CREATE_TABLES`` asks for it.

    Only ``manage.py`` runs the system checks by itself. A DynamoDB that does not answer is no reason to stay down:
    ``/readyz`` says so until it does.
    """
    refuse_to_start()
    if conf.DYNAMODB_CREATE_TABLES:
        try:
            for step in setup.create_missing():
                logger.info("table %s: %s %s %s", step.table, step.aspect, step.outcome, step.detail)
        except StorageError as exc:
            logger.warning("the tables could not be created: %s", exc)
