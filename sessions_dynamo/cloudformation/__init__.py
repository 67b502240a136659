"""What ``schema.py`` and the metrics declare, as CloudFormation: the tables, the alarms and the dashboard."""

__all__ = ["tables", "template"]
