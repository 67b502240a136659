"""Settings, every one of them from the environment or ``.env`` (see README, "Environment").

Combinations that cannot work are refused by the system checks in ``sessions_dynamo.checks`` and
``mcpsite.endpoint.checks``.
"""

from __future__ import annotations

import os
from pathlib import Path

import environ

BASE_DIR = Path(__file__).resolve().parent.parent

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
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_mcpz.bearer_tokens",
    # Last: its admin module takes over pages of the apps above.
    "mcpsite",
]

MIDDLEWARE = [
    "mcpsite.health.HealthMiddleware",
    # Before Django's own: the endpoint answers a wrong Host or Origin in the protocol's own form, not in Django's.
    "mcpsite.endpoint.security.TransportSecurityMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "mcpsite.urls"
WSGI_APPLICATION = "mcpsite.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
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
DATABASES = {
    "default": env.db_url("DATABASE_URL")
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

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
UNFOLD = {
    "SITE_TITLE": "MCP sessions",
    "SITE_HEADER": "MCP sessions",
    "SITE_SYMBOL": "hub",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": "sessions_dynamo.staff.navigation.favicon"},
    ],
    "SITE_URL": None,
    "SCRIPTS": ["sessions_dynamo.staff.navigation.script"],
    "SIDEBAR": {"show_search": True, "command_search": True, "navigation": "sessions_dynamo.staff.navigation.sidebar"},
    "COMMAND": {"search_callback": "sessions_dynamo.staff.navigation.search"},
    # The shell's own is too dark for text on its dark pages (WCAG 2, AA).
    "COLORS": {"primary": {"500": "oklch(66% .24 303.9)"}},
}

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_TLS_PROXY", default=False) else None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.bool("BEHIND_TLS_PROXY", default=False)
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
    # Each would write one line a request; what a tool was called with belongs in no log.
    "loggers": {"django": {"handlers": ["stderr"], "level": "INFO", "propagate": False}}
    | {name: {"level": "WARNING"} for name in ("botocore", "urllib3", "werkzeug", "mcp.server.runner")},
}

# --- DynamoDB -------------------------------------------------------------------------------------------------

# botocore itself reads AWS_DEFAULT_REGION only; AWS_REGION is what ECS and Lambda set.
AWS_REGION = env.str("AWS_REGION", default="") or env.str("AWS_DEFAULT_REGION", default="")
DYNAMODB_SESSIONS_TABLE = env.str("DYNAMODB_SESSIONS_TABLE", default="") or env.str(
    "DYNAMODB_TABLE", default="mcp-sessions"
)
DYNAMODB_EVENTS_TABLE = env.str("DYNAMODB_EVENTS_TABLE", default="mcp-session-events")
ENVIRONMENT = env.str("ENVIRONMENT", default="development")
# What the tables shall have; unset leaves it as it stands. Texts: sessions_dynamo.desired reads and checks them.
DYNAMODB_BILLING = env.str("DYNAMODB_BILLING", default="")
DYNAMODB_PITR = env.str("DYNAMODB_PITR", default="")
DYNAMODB_DELETION_PROTECTION = env.str("DYNAMODB_DELETION_PROTECTION", default="")
DYNAMODB_KMS_KEY = env.str("DYNAMODB_KMS_KEY", default="")
DYNAMODB_REPLICA_REGIONS = env.list("DYNAMODB_REPLICA_REGIONS", default=[])

SESSION_TTL_HOURS = env.float("SESSION_TTL_HOURS", default=24)
EVENT_TTL_HOURS = env.float("EVENT_TTL_HOURS", default=6)
SESSION_IDLE_MINUTES = env.float("SESSION_IDLE_MINUTES", default=30)
MAX_EVENTS_PER_SESSION = env.int("MAX_EVENTS_PER_SESSION", default=1000)
RECORD_CALLS = env.bool("RECORD_CALLS", default=True)
RECORD_BODIES = env.bool("RECORD_BODIES", default=False)
METRICS = env.str("METRICS", default="") or "off"

# Embedded: a server in memory beside runserver, for development. Anything that points at a real DynamoDB turns it
# off; a default AWS profile on disk does not count, so that 'make run' never makes billable tables.
AWS_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB")
DYNAMODB_EMBEDDED = env.bool(
    "DYNAMODB_EMBEDDED", default=DEBUG and not any(os.environ.get(name) for name in AWS_VARIABLES)
)
DYNAMODB_EMBEDDED_PORT = env.int("DYNAMODB_EMBEDDED_PORT", default=8063)
DYNAMODB_CREATE_TABLES = env.bool("DYNAMODB_CREATE_TABLES", default=False)
# A staff page waits so long for an answer, besides a second to connect: within 3 s it says that there is none.
DYNAMODB_PAGE_SECONDS = env.float("DYNAMODB_PAGE_SECONDS", default=2)

# --- The MCP endpoint -----------------------------------------------------------------------------------------

MCP_SERVER = env.str("MCP_SERVER", default="mcpsite.server:mcp")
MCP_AUTH = env.str("MCP_AUTH", default="mcpsite.endpoint.auth.public" if DEBUG else "")
MCP_ALLOW_PUBLIC = env.bool("MCP_ALLOW_PUBLIC", default=DEBUG)
MCP_ALLOWED_ORIGINS = env.list("MCP_ALLOWED_ORIGINS", default=[])
MCP_MAX_BODY_BYTES = env.int("MCP_MAX_BODY_BYTES", default=4 * 1024 * 1024)

# --- Streams --------------------------------------------------------------------------------------------------

EVENT_POLL_SECONDS = env.float("EVENT_POLL_SECONDS", default=0.5)
STREAM_LEASE_SECONDS = env.float("STREAM_LEASE_SECONDS", default=15)
# On: every answer to a session is a stored stream, so that a client which drops before anything was sent can resume
# too; it costs two writes a call. Off: an answer is a stream once its handler sends something.
DURABLE_ANSWERS = env.bool("DURABLE_ANSWERS", default=False)
STREAM_KEEPALIVE_SECONDS = env.float("STREAM_KEEPALIVE_SECONDS", default=15)
STREAM_RETRY_MS = env.int("STREAM_RETRY_MS", default=1000)
# How long a GET or a subscription may stay open; 0 replays and closes, as Lambda needs. Unset: until either side ends.
STREAM_SECONDS = env.float("STREAM_SECONDS", default=None)
# Each open stream holds one of gunicorn's threads; the rest are kept for calls.
THREADS = env.int("THREADS", default=64)
MAX_STREAMS = env.int("MAX_STREAMS", default=max(1, THREADS - max(4, THREADS // 4)))
SHUTDOWN_GRACE_SECONDS = env.float("SHUTDOWN_GRACE_SECONDS", default=20)
