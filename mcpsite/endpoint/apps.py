from importlib import import_module

from django.apps import AppConfig


class EndpointConfig(AppConfig):
    name = "mcpsite.endpoint"
    label = "mcp_endpoint"
    verbose_name = "MCP endpoint"

    def ready(self) -> None:
        import_module("mcpsite.endpoint.checks")
