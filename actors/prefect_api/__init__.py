"""Prefect's wire: everything that knows how the server is spoken to, and nothing else does."""
