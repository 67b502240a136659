"""There is no WSGI application: sessions, streams and DynamoDB share one event loop."""

raise ImportError("This site is served by ASGI: serve mcpsite.asgi:application, as 'gunicorn mcpsite.asgi' does.")
