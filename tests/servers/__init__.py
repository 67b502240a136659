"""The SDK's own servers, from its source distribution, served here and by the SDK's own app: each answer compared."""
