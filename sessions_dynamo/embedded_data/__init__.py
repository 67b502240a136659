"""What the embedded DynamoDB keeps over restarts: its tables in files of a folder, as exports have them."""

__all__ = ["folder", "keeper"]
