"""DynamoDB over asyncio: signed, sent, tried again and understood as boto3 would, without a thread."""

__all__ = ["driver", "loop_thread", "loops", "observers", "plane"]
