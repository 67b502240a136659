"""The site as an AWS Lambda function that answers whole: events in, ASGI to the site, one body out."""

__all__ = ["function", "snapshot"]
