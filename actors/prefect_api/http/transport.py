"""HTTP exchanges over the library `requests`, which block the thread that makes them.

Only this module imports requests. It is imported in a thread with the first request, because that
takes about a tenth of a second.
"""

from __future__ import annotations

import socket
import threading
from http.cookiejar import DefaultCookiePolicy
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
from .proxies import proxies_for
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
        self._session.trust_env = False  # no netrc, no REQUESTS_CA_BUNDLE: the profile decides
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = _Adapter(pool_connections=4, pool_maxsize=connections)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def exchange(self, request: HttpRequest, handle: CancelHandle) -> HttpResponse:
        """Send ``request``, follow redirects, read the response.

        Raises ExchangeFailed, or ExchangeCancelled once ``handle`` is cancelled.
        """
        _current.handle = handle
        try:
            response = self._follow(request, handle)
            if handle.cancelled:  # the cut connection may look like the end of the response
                raise ExchangeCancelled
            return response
        except (ExchangeCancelled, ExchangeFailed):
            raise
        except Exception as error:
            if handle.cancelled:
                raise ExchangeCancelled from error
            raise _failure(error, self._options.verify) from error
        finally:
            _current.handle = None
            handle.detach()

    def close(self) -> None:
        """Close the idle connections."""
        self._session.close()

    def _follow(self, request: HttpRequest, handle: CancelHandle) -> HttpResponse:
        if handle.cancelled:
            raise ExchangeCancelled
        followed = _FOLLOWED_BY_GET if request.method == "GET" else _FOLLOWED
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send(request, handle)
            target = response.headers.get("location")
            if response.status not in followed or not target:
                return response
            request = redirected(request, target)
        raise ExchangeFailed(
            NoResponse.UNUSABLE, f"the server redirected more than {MAX_REDIRECTS} times"
        )

    def _send(self, request: HttpRequest, handle: CancelHandle) -> HttpResponse:
        try:
            return self._send_once(request)
        except requests.ConnectionError as error:
            # The server may just have closed an idle connection (uvicorn does after 5 s). That is
            # no failure: send the same bytes again on a new connection.
            closed = isinstance(_root(error), ConnectionError)
            if not closed or not handle.reused_connection or handle.cancelled:
                raise
        return self._send_once(request)

    def _send_once(self, request: HttpRequest) -> HttpResponse:
        prepared = requests.Request(
            request.method, request.url, headers=dict(request.headers), data=request.body
        ).prepare()
        response = self._session.send(
            prepared,
            stream=True,
            allow_redirects=False,
            timeout=self._options.timeout_seconds,
            verify=self._options.verify,
            proxies=proxies_for(request.url, self._options.proxies),
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


def redirected(request: HttpRequest, location: str) -> HttpRequest:
    """The request to the ``location`` of a redirect. ExchangeFailed: it must not go there.

    Another scheme, host or port is another server. It gets neither credentials nor a body, which
    may hold secrets.
    """
    url = urljoin(request.url, location)
    old, new = urlsplit(request.url), urlsplit(url)
    if new.scheme not in ("http", "https"):
        raise ExchangeFailed(
            NoResponse.UNUSABLE, f"the server redirected to an address of scheme {new.scheme!r}"
        )
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


def _failure(error: Exception, verify: bool | str) -> ExchangeFailed:
    """An ExchangeFailed for any exception of the libraries."""
    match error:
        case requests.exceptions.SSLError():
            return ExchangeFailed(
                NoResponse.UNUSABLE,
                f"its TLS certificate was not accepted ({_root(error)}): set "
                "PREFECT_API_SSL_CERT_FILE to the file of the authority that signed it",
            )
        case requests.exceptions.ProxyError():
            return ExchangeFailed(
                NoResponse.UNREACHABLE,
                f"the proxy did not pass it on ({_root(error)}): check HTTP_PROXY, HTTPS_PROXY "
                "and NO_PROXY",
            )
        case requests.exceptions.ContentDecodingError():
            return ExchangeFailed(NoResponse.UNUSABLE, "the compressed answer is damaged")
        case requests.ConnectTimeout():
            return ExchangeFailed(NoResponse.UNREACHABLE, "no connection within the timeout")
        case requests.Timeout():
            return ExchangeFailed(NoResponse.TIMED_OUT, "no answer within the timeout")
        case requests.ConnectionError() | requests.exceptions.ChunkedEncodingError():
            root = _root(error)
            unreached = isinstance(_reason(error), NewConnectionError)
            if isinstance(root, TimeoutError):
                return ExchangeFailed(NoResponse.TIMED_OUT, "no answer within the timeout")
            return ExchangeFailed(
                NoResponse.UNREACHABLE if unreached else NoResponse.BROKEN,
                f"{'no connection' if unreached else 'the connection broke'}: {root}",
            )
        case OSError() if "CA certificate" in str(error):
            return ExchangeFailed(
                NoResponse.UNUSABLE,
                f"there is no certificate file {verify}: check PREFECT_API_SSL_CERT_FILE",
            )
        case _:
            return ExchangeFailed(NoResponse.UNUSABLE, f"{type(error).__name__}: {error}")


def _reason(error: Exception) -> object:
    inner = error.args[0] if error.args else None
    return getattr(inner, "reason", inner)


def _root(error: BaseException) -> BaseException:
    """The innermost exception, usually an OSError."""
    seen = {error}
    while (inner := error.__cause__ or error.__context__) is not None and inner not in seen:
        seen.add(inner)
        error = inner
    return error


def _attach(sock: object, *, reused: bool = False) -> None:
    handle: CancelHandle | None = getattr(_current, "handle", None)
    if handle is not None:
        handle.attach(sock, reused=reused)


class _CancellableConnection(HTTPConnection):
    """A connection that attaches its socket to the CancelHandle of each exchange.

    A new socket is attached before the handshakes with a proxy and of TLS, which may hang, too,
    and the TLS socket after them; a connection from the pool before it is written to.
    """

    has_served = False

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        try:
            _attach(sock)
        except ExchangeCancelled:  # nobody else closes it
            sock.close()
            raise
        return sock

    def connect(self) -> None:
        self.has_served = False
        super().connect()
        _attach(self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            _attach(self.sock, reused=self.has_served)
        super().request(*args, **kwargs)
        self.has_served = True


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
