"""What ``schema.py`` and the metrics declare, as CloudFormation: the tables, the alarms and the dashboard."""

__all__ = ["alarms", "dashboard", "tables", "template", "watched"]
