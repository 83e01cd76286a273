"""One HTTP exchange through requests, blocking, in whatever thread it is called from.

This is the only module that imports requests; it is itself imported when the first request is
made, in a thread, because that costs about a tenth of a second.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import InsecureRequestWarning, NewConnectionError

from .exchange import Answer, CalledOff, ExchangeFailed, Lifeline, Outgoing, Trouble
from .proxies import proxies_for

MAX_REDIRECTS: Final = 10

_FOLLOWED: Final = frozenset({307, 308})
_FOLLOWED_BY_GET: Final = frozenset({301, 302, 303, 307, 308})
_PUBLIC_HEADERS: Final = frozenset(
    {"accept", "accept-encoding", "content-type", "user-agent", "x-prefect-api-version"}
)
"""Headers that may be shown to another server after a redirect; all others may be secret."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_CHUNK: Final = 65536

_current = threading.local()


class Transport:
    """A requests session with its pool of connections; may be used from several threads."""

    def __init__(
        self,
        *,
        connections: int,
        timeout_seconds: float,
        verify: bool | str,
        proxies: Mapping[str, str],
        max_response_bytes: int,
    ) -> None:
        self._timeout = timeout_seconds
        self._verify = verify
        self._proxies = proxies
        self._max_bytes = max_response_bytes
        if verify is False:
            urllib3.disable_warnings(
                InsecureRequestWarning
            )  # of each request; the session said it
        self._session = requests.Session()
        self._session.trust_env = False  # no netrc, no REQUESTS_CA_BUNDLE: the profile decides
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = _Adapter(pool_connections=4, pool_maxsize=connections)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def exchange(self, outgoing: Outgoing, lifeline: Lifeline) -> Answer:
        """Send ``outgoing``, follow redirects, read the answer.

        Raises ExchangeFailed, or CalledOff when ``lifeline`` was pulled meanwhile.
        """
        _current.lifeline = lifeline
        try:
            answer = self._follow(outgoing, lifeline)
            if lifeline.called_off:  # the end of the connection may look like one of the answer
                raise CalledOff
            return answer
        except (CalledOff, ExchangeFailed):
            raise
        except Exception as error:
            if lifeline.called_off:
                raise CalledOff from error
            raise _failure(error, self._verify) from error
        finally:
            _current.lifeline = None
            lifeline.let_go()

    def close(self) -> None:
        """Close the idle connections."""
        self._session.close()

    def _follow(self, outgoing: Outgoing, lifeline: Lifeline) -> Answer:
        if lifeline.called_off:
            raise CalledOff
        followed = _FOLLOWED_BY_GET if outgoing.method == "GET" else _FOLLOWED
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._send(outgoing, lifeline)
            target = answer.headers.get("location")
            if answer.status not in followed or not target:
                return answer
            outgoing = redirected(outgoing, target)
        raise ExchangeFailed(
            Trouble.UNUSABLE, f"the server redirected more than {MAX_REDIRECTS} times"
        )

    def _send(self, outgoing: Outgoing, lifeline: Lifeline) -> Answer:
        try:
            return self._send_once(outgoing)
        except requests.ConnectionError as error:
            # An idle connection that the server closed just now (uvicorn does after 5 s) is no
            # failure of the server: the same bytes go out again at once on a new connection.
            closed = isinstance(_root(error), ConnectionError)
            if not closed or not lifeline.reused_connection or lifeline.called_off:
                raise
        return self._send_once(outgoing)

    def _send_once(self, outgoing: Outgoing) -> Answer:
        request = requests.Request(
            outgoing.method, outgoing.url, headers=dict(outgoing.headers), data=outgoing.body
        ).prepare()
        response = self._session.send(
            request,
            stream=True,
            allow_redirects=False,
            timeout=self._timeout,
            verify=self._verify,
            proxies=proxies_for(outgoing.url, self._proxies),
        )
        with response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            body = self._body(response)
            framed = "content-length" in headers or "transfer-encoding" in headers
            if not body and not framed and response.status_code not in (204, 304):
                # Half a header reads as a whole one to http.client when the connection ends there.
                raise ExchangeFailed(Trouble.BROKEN, "the connection broke within the answer")
            return Answer(status=response.status_code, headers=headers, body=body)

    def _body(self, response: requests.Response) -> bytes:
        parts: list[bytes] = []
        size = 0
        for part in response.iter_content(_CHUNK):
            size += len(part)
            if size > self._max_bytes:
                raise ExchangeFailed(
                    Trouble.UNUSABLE, f"the answer is larger than {self._max_bytes:,} bytes"
                )
            parts.append(part)
        return b"".join(parts)


def redirected(outgoing: Outgoing, location: str) -> Outgoing:
    """The request to where the server points. ExchangeFailed: it must not go there.

    Another scheme, host or port is another server: it gets no credentials, and no body, which
    may hold secrets and would be taken for granted.
    """
    url = urljoin(outgoing.url, location)
    old, new = urlsplit(outgoing.url), urlsplit(url)
    if new.scheme not in ("http", "https"):
        raise ExchangeFailed(
            Trouble.UNUSABLE, f"the server redirected to an address of scheme {new.scheme!r}"
        )
    headers = outgoing.headers
    if _server_of(old) != _server_of(new):
        if outgoing.body is not None:
            origin = f"{new.scheme}://{new.netloc.rpartition('@')[2]}"
            raise ExchangeFailed(
                Trouble.UNUSABLE,
                f"the server redirected the request to another server, {origin}, which is not "
                "followed: set PREFECT_API_URL to the address that is meant",
            )
        headers = {k: v for k, v in headers.items() if k.lower() in _PUBLIC_HEADERS}
    return Outgoing(method=outgoing.method, url=url, headers=headers, body=outgoing.body)


def _server_of(url: SplitResult) -> tuple[str, str | None, int | None]:
    """Scheme, host and port. ValueError: the port is none."""
    return url.scheme, url.hostname, url.port or _DEFAULT_PORTS.get(url.scheme)


def _failure(error: Exception, verify: bool | str) -> ExchangeFailed:
    """What a library's exception means; every exception has a meaning here."""
    match error:
        case requests.exceptions.SSLError():
            return ExchangeFailed(
                Trouble.UNTRUSTED,
                f"its TLS certificate was not accepted ({_root(error)}): set "
                "PREFECT_API_SSL_CERT_FILE to the file of the authority that signed it",
            )
        case requests.exceptions.ProxyError():
            return ExchangeFailed(
                Trouble.UNREACHABLE,
                f"the proxy did not pass it on ({_root(error)}): check HTTP_PROXY, HTTPS_PROXY "
                "and NO_PROXY",
            )
        case requests.exceptions.ContentDecodingError():
            return ExchangeFailed(Trouble.UNUSABLE, "the compressed answer is damaged")
        case requests.ConnectTimeout():
            return ExchangeFailed(Trouble.UNREACHABLE, "no connection within the timeout")
        case requests.Timeout():
            return ExchangeFailed(Trouble.TIMED_OUT, "no answer within the timeout")
        case requests.ConnectionError() | requests.exceptions.ChunkedEncodingError():
            root = _root(error)
            unreached = isinstance(_reason(error), NewConnectionError)
            if isinstance(root, TimeoutError):
                return ExchangeFailed(Trouble.TIMED_OUT, "no answer within the timeout")
            return ExchangeFailed(
                Trouble.UNREACHABLE if unreached else Trouble.BROKEN,
                f"{'no connection' if unreached else 'the connection broke'}: {root}",
            )
        case OSError() if "CA certificate" in str(error):
            return ExchangeFailed(
                Trouble.MISCONFIGURED,
                f"there is no certificate file {verify}: check PREFECT_API_SSL_CERT_FILE",
            )
        case _:
            return ExchangeFailed(Trouble.MISCONFIGURED, f"{type(error).__name__}: {error}")


def _reason(error: Exception) -> object:
    inner = error.args[0] if error.args else None
    return getattr(inner, "reason", inner)


def _root(error: BaseException) -> BaseException:
    """The innermost exception: the operating system's word for it, usually."""
    seen = {error}
    while (inner := error.__cause__ or error.__context__) is not None and inner not in seen:
        seen.add(inner)
        error = inner
    return error


def _hold(sock: object, *, reused: bool = False) -> None:
    lifeline: Lifeline | None = getattr(_current, "lifeline", None)
    if lifeline is not None:
        lifeline.hold(sock, reused=reused)


class _HeldConnection(HTTPConnection):
    """A connection that ties each exchange on it to its lifeline.

    The new socket is held before a proxy or TLS handshake (a proxy may drip, too), and what TLS
    made of it afterwards; a connection from the pool is held before it is written to.
    """

    has_served = False

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        try:
            _hold(sock)
        except CalledOff:  # nobody else knows of it yet
            sock.close()
            raise
        return sock

    def connect(self) -> None:
        self.has_served = False
        super().connect()
        _hold(self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            _hold(self.sock, reused=self.has_served)
        super().request(*args, **kwargs)
        self.has_served = True


class _HeldTLSConnection(_HeldConnection, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _HeldConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _HeldTLSConnection


_POOLS: Final = {"http": _Pool, "https": _TLSPool}


class _Adapter(HTTPAdapter):
    """Makes its connections from the classes above, also those to a proxy."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def close(self) -> None:
        """Close idle connections now; urllib3 alone leaves that to the garbage collector."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in list(manager.pools.keys()):
                manager.pools[key].close()
        super().close()
