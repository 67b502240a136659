"""Settings, every one of them from the environment or ``.env`` (see docs/settings.md).

Combinations that cannot work are refused by system checks: here in ``checks``, and those of the apps.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import environ

from mcpsite.door.base_path import normalised
from mcpsite.endpoint.conf import EndpointSettings
from mcpsite.postgresql.options import with_pool
from sessions_dynamo.conf import AppSettings
from sessions_dynamo.staff import unfold_settings

_PACKAGE = Path(__file__).resolve().parent
# A clone keeps its files beside manage.py; an installed distribution has none to keep them in.
BASE_DIR = _PACKAGE.parent if (_PACKAGE.parent / "manage.py").is_file() else Path.cwd()

env = environ.Env()
env.read_env(BASE_DIR / ".env")

# --- Django ---------------------------------------------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=False)
DEVELOPMENT_SECRET_KEY = "django-insecure-development-key-refused-without-debug"
SECRET_KEY = env.str("SECRET_KEY", default="") or DEVELOPMENT_SECRET_KEY
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[])

INSTALLED_APPS = [
    # Before Django's admin and staticfiles: the first replaces the admin's templates, the second runserver.
    "unfold",
    "sessions_dynamo",
    "mcpsite.endpoint",
    "mcpsite.try_it",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_mcpz.bearer_tokens",
    # Last: its admin module takes over pages of the apps above.
    "mcpsite",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "mcpsite.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "mcpsite.urls"
ASGI_APPLICATION = "mcpsite.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates", _PACKAGE / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Staff accounts, permissions, the admin log and tokens. The file is the default under DEBUG only; a check refuses
# to start without DATABASE_URL elsewhere.
DATABASE_URL_IS_SET = bool(os.environ.get("DATABASE_URL"))
DATABASE_POOL_SIZE = int(env.str("DATABASE_POOL_SIZE", default="") or 10)
DATABASES = {
    "default": with_pool(env.db_url("DATABASE_URL"), DATABASE_POOL_SIZE)
    if DATABASE_URL_IS_SET
    else env.db_url_config(f"sqlite:///{BASE_DIR / 'db.sqlite3'}")
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"  # Without a slash Django would keep the prefix of the first request before it.
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "mcpsite.static_files.StaticFiles" if DEBUG else "mcpsite.static_files.HashedStaticFiles"
    },
}
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
UNFOLD = unfold_settings.UNFOLD | {
    "SITE_TITLE": "MCP sessions",
    "SITE_HEADER": "MCP sessions",
    "SITE_SYMBOL": "hub",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": "sessions_dynamo.staff.navigation.favicon"},
    ],
    "SITE_URL": None,
    # The sidebar has all of this site's pages.
    "SIDEBAR": unfold_settings.UNFOLD["SIDEBAR"] | {"show_all_applications": False},
}

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_TLS_PROXY", default=False) else None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.bool("BEHIND_TLS_PROXY", default=False)
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="") or "INFO"},
    # Each would write one line a request; what a tool was called with belongs in no log.
    "loggers": {"django": {"handlers": ["stderr"], "level": "INFO", "propagate": False}}
    | {name: {"level": "WARNING"} for name in ("botocore", "urllib3", "werkzeug", "mcp.server.runner")},
}

# --- DynamoDB and the MCP endpoint ----------------------------------------------------------------------------

# Each has its default where it is declared; here a variable of its name sets it.
for _setting in (*AppSettings.declared(), *EndpointSettings.declared()):
    globals()[_setting.name] = _setting.from_environment(env, SimpleNamespace(**globals()))

# What has no request to go by begins with it too: links of commands, and the URLs of static files.
FORCE_SCRIPT_NAME = normalised(globals()["MCP_BASE_PATH"]) or None

RUNSERVER_PORT = "8062"
# Paths that README promises.
RUNSERVER_ANNOUNCES = {"MCP endpoint": "/mcp", "Staff pages": "/admin/"}
RUNSERVER_PREPARES_DATABASE = DEBUG and not DATABASE_URL_IS_SET
