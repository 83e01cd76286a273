"""Requests to a Prefect server: connections, retries, concurrency, CSRF tokens, proxies."""
