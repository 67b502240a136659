"""The process side of serving ASGI: uvicorn's server with deadlines, limits and an orderly end.

Under gunicorn it is ``worker.Worker``, under ``manage.py runserver`` ``development.DevelopmentServer``. It knows no
session and no path: any ASGI application runs on it.
"""

__all__ = ["development", "lifespan", "limits", "worker"]
