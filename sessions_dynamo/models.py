"""What the staff pages' permissions and admin log entries are about; none of it is in Django's database."""

from __future__ import annotations

from django.db import models


class Session(models.Model):  # noqa: DJ008 (never instantiated)
    """A session, in DynamoDB."""

    class Meta:
        managed = False
        default_permissions = ("view", "change", "delete")
        verbose_name = "MCP session"


class Table(models.Model):  # noqa: DJ008 (never instantiated)
    """A DynamoDB table."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = (("manage_tables", "Can change the DynamoDB tables"),)
        verbose_name = "DynamoDB table"


class Backup(models.Model):  # noqa: DJ008 (never instantiated)
    """A backup of a DynamoDB table."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = (("manage_backups", "Can create, restore and delete backups"),)
        verbose_name = "DynamoDB backup"
