"""The site's settings for tests: whatever the developer's shell, ``.env`` or AWS profile says stays outside."""

from __future__ import annotations

import os
from unittest import mock

import environ

OURS = (
    *("AWS_", "DYNAMODB_", "MCP_", "SESSION_", "EVENT_", "RECORD_"),
    *("MAX_EVENTS_", "SECRET_KEY", "LOG_LEVEL", "METRICS"),
)
for name in list(os.environ):
    if name.startswith(OURS) or name in ("ALLOWED_HOSTS", "BEHIND_TLS_PROXY", "CSRF_TRUSTED_ORIGINS", "DATABASE_URL"):
        del os.environ[name]

os.environ |= {
    "DEBUG": "true",
    "ENVIRONMENT": "test",
    # Django's test runner turns DEBUG off, whose default this is.
    "MCP_AUTH": "mcpsite.endpoint.access.auth.public",
    # No test reaches AWS: these credentials are nobody's, and no file or metadata service has others.
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    # An emulator on a busy machine may answer later than a person waits.
    "DYNAMODB_PAGE_SECONDS": "30",
    # Nothing listens there: a test that forgot its engine fails at once.
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
}

with mock.patch.object(environ.Env, "read_env"):
    from mcpsite.settings import *  # noqa: F403
