"""HTTP requests to a Prefect server.

``session`` adds credentials, CSRF tokens and retries to a request. ``sender`` sends it when the
``concurrency`` limiter permits, in one of its ``threads``. ``transport`` is the only module that
knows the library `requests`.
"""
