"""HTTP exchanges over the library `requests`, which block the thread that makes them.

Only this module imports requests. It is imported in a thread with the first request, because that
takes about a tenth of a second.
"""

from __future__ import annotations

import socket
import threading
from typing import Any, Final
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import InsecureRequestWarning, NewConnectionError

from .exchange import (
    CancelHandle,
    ExchangeCancelled,
    ExchangeFailed,
    HttpRequest,
    HttpResponse,
    NoResponse,
)
from .session_options import SessionOptions

MAX_REDIRECTS: Final = 10

_FOLLOWED: Final = frozenset({307, 308})
_FOLLOWED_BY_GET: Final = frozenset({301, 302, 303, 307, 308})
_PUBLIC_HEADERS: Final = frozenset(
    {"accept", "accept-encoding", "content-type", "user-agent", "x-prefect-api-version"}
)
"""Headers that another server may see after a redirect; all others may be secret."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_CHUNK: Final = 65536

_current = threading.local()


class Transport:
    """A requests session with its pool of connections; may be used from several threads."""

    def __init__(self, options: SessionOptions, *, connections: int) -> None:
        self._options = options
        if options.verify is False:  # the session has warned once; not with each request
            urllib3.disable_warnings(InsecureRequestWarning)
        self._session = requests.Session()
        adapter = _Adapter(pool_connections=4, pool_maxsize=connections)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def exchange(self, request: HttpRequest, handle: CancelHandle) -> HttpResponse:
        """Send ``request``, follow redirects, read the response.

        Raises ExchangeFailed, or ExchangeCancelled once ``handle`` is cancelled.
        """
        _current.handle = handle
        try:
            response = self._follow(request)
            if handle.cancelled:  # the cut connection may look like the end of the response
                raise ExchangeCancelled
            return response
        except (ExchangeCancelled, ExchangeFailed):
            raise
        except Exception as error:
            if handle.cancelled:
                raise ExchangeCancelled from error
            raise _failure(error) from error
        finally:
            _current.handle = None
            handle.detach()

    def close(self) -> None:
        """Close the idle connections."""
        self._session.close()

    def _follow(self, request: HttpRequest) -> HttpResponse:
        followed = _FOLLOWED_BY_GET if request.method == "GET" else _FOLLOWED
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send(request)
            target = response.headers.get("location")
            if response.status not in followed or not target:
                return response
            request = redirected(request, target)
        raise ExchangeFailed(
            NoResponse.UNUSABLE, f"the server redirected more than {MAX_REDIRECTS} times"
        )

    def _send(self, request: HttpRequest) -> HttpResponse:
        # Of the environment, `send` heeds the proxies only: no netrc, no REQUESTS_CA_BUNDLE.
        prepared = requests.Request(
            request.method, request.url, headers=dict(request.headers), data=request.body
        ).prepare()
        response = self._session.send(
            prepared,
            stream=True,
            allow_redirects=False,
            timeout=self._options.timeout_seconds,
            verify=self._options.verify,
        )
        with response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            body = self._body(response)
            framed = "content-length" in headers or "transfer-encoding" in headers
            if not body and not framed and response.status_code not in (204, 304):
                # http.client takes a header that is cut off for a complete one.
                raise ExchangeFailed(NoResponse.BROKEN, "the connection broke within the answer")
            return HttpResponse(status=response.status_code, headers=headers, body=body)

    def _body(self, response: requests.Response) -> bytes:
        limit = self._options.max_response_bytes
        parts: list[bytes] = []
        size = 0
        for part in response.iter_content(_CHUNK):
            size += len(part)
            if size > limit:
                raise ExchangeFailed(
                    NoResponse.UNUSABLE, f"the answer is larger than {limit:,} bytes"
                )
            parts.append(part)
        return b"".join(parts)


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for ``url``."""
    return requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url, None))


def certificates_of(options: SessionOptions) -> str:
    """The file of the authorities to trust."""
    return (
        options.verify
        if isinstance(options.verify, str)
        else requests.utils.DEFAULT_CA_BUNDLE_PATH
    )


def redirected(request: HttpRequest, location: str) -> HttpRequest:
    """The request to the ``location`` of a redirect. ExchangeFailed: it must not go there.

    Another scheme, host or port is another server. It gets neither credentials nor a body, which
    may hold secrets.
    """
    url = urljoin(request.url, location)
    old, new = urlsplit(request.url), urlsplit(url)
    headers = request.headers
    if _server_of(old) != _server_of(new):
        if request.body is not None:
            origin = f"{new.scheme}://{new.netloc.rpartition('@')[2]}"
            raise ExchangeFailed(
                NoResponse.UNUSABLE,
                f"the server redirected the request to another server, {origin}, which is not "
                "followed: set PREFECT_API_URL to the address that is meant",
            )
        headers = {k: v for k, v in headers.items() if k.lower() in _PUBLIC_HEADERS}
    return HttpRequest(method=request.method, url=url, headers=headers, body=request.body)


def _server_of(url: SplitResult) -> tuple[str, str | None, int | None]:
    """Scheme, host and port. ValueError: the port is not a number."""
    return url.scheme, url.hostname, url.port or _DEFAULT_PORTS.get(url.scheme)


_FAILURES: Final = (
    (
        requests.exceptions.SSLError,
        NoResponse.UNUSABLE,
        "its TLS certificate was not accepted ({root}): set PREFECT_API_SSL_CERT_FILE to the file"
        " of the authority that signed it",
    ),
    (
        requests.exceptions.ProxyError,
        NoResponse.UNREACHABLE,
        "the proxy did not pass it on ({root}): check HTTP_PROXY, HTTPS_PROXY and NO_PROXY",
    ),
    (
        requests.exceptions.ContentDecodingError,
        NoResponse.UNUSABLE,
        "the compressed answer is damaged",
    ),
    (requests.ConnectTimeout, NoResponse.UNREACHABLE, "no connection within the timeout"),
    (requests.Timeout, NoResponse.TIMED_OUT, "no answer within the timeout"),
)


def _failure(error: Exception) -> ExchangeFailed:
    """An ExchangeFailed for any exception of the libraries."""
    chain = _chain(error)
    root = chain[-1]
    for kind, reason, words in _FAILURES:
        if isinstance(error, kind):
            return ExchangeFailed(reason, words.format(root=root))
    if not isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return ExchangeFailed(NoResponse.UNUSABLE, f"{type(error).__name__}: {error}")
    if isinstance(root, TimeoutError):
        return ExchangeFailed(NoResponse.TIMED_OUT, "no answer within the timeout")
    if any(isinstance(link, NewConnectionError) for link in chain):
        return ExchangeFailed(NoResponse.UNREACHABLE, f"no connection: {root}")
    return ExchangeFailed(NoResponse.BROKEN, f"the connection broke: {root}")


def _chain(error: BaseException) -> list[BaseException]:
    """``error`` and what led to it; the last one is usually an OSError."""
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) and inner not in chain:
        chain.append(inner)
    return chain


class _CancellableConnection(HTTPConnection):
    """A connection that attaches its socket to the CancelHandle of each exchange.

    A new socket is attached before the handshake with a proxy, which may hang, too; the TLS
    socket, and a connection from the pool, before it is written to.
    """

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        try:
            _current.handle.attach(sock)
        except ExchangeCancelled:  # nobody else closes it
            sock.close()
            raise
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            _current.handle.attach(self.sock)
        super().request(*args, **kwargs)


class _CancellableTLSConnection(_CancellableConnection, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _CancellableConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _CancellableTLSConnection


_POOLS: Final = {"http": _Pool, "https": _TLSPool}


class _Adapter(HTTPAdapter):
    """Uses the connection classes above, for proxies too."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def close(self) -> None:
        """Close idle connections now; urllib3 leaves that to the garbage collector."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in list(manager.pools.keys()):
                manager.pools[key].close()
        super().close()
