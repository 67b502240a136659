"""The app's entry in Django's registry."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class SessionsDynamoConfig(AppConfig):
    name = "sessions_dynamo"
    verbose_name = "MCP sessions"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        import_module("sessions_dynamo.checks")
        import_module("sessions_dynamo.metrics.checks")
        import_module("sessions_dynamo.tables.checks")
