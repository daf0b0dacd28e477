"""Doors: HTTP, gRPC and events come in here, are parsed, and become use cases."""
