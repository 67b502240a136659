from django.apps import AppConfig


class EndpointConfig(AppConfig):
    name = "mcpsite.endpoint"
    label = "mcp_endpoint"
    verbose_name = "MCP endpoint"

    def ready(self) -> None:
        from mcpsite.endpoint import checks  # noqa: F401 (registers them)
