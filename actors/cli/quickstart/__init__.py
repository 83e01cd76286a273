"""``actor-worker quickstart``: a Prefect server, a worker and four flow runs to watch.

Nothing of Prefect is imported here. The server and the worker are programs of their own, started
as a person would start them, and everything is asked of the server over HTTP.
"""
