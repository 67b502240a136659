from django.apps import AppConfig


class TryItConfig(AppConfig):
    name = "mcpsite.try_it"
    label = "mcp_try_it"
    verbose_name = "Try it"
