from importlib import import_module

from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "mcpsite"

    def ready(self) -> None:
        import_module("mcpsite.checks")
