from __future__ import annotations

import pytest

from actors.prefect_api.http.proxies import proxies_for, proxies_from


def test_lower_case_variables_win_and_schemes_are_completed() -> None:
    environ = {
        "http_proxy": "http://lower:1",
        "HTTP_PROXY": "http://upper:1",
        "HTTPS_PROXY": "secure:2",
        "NO_PROXY": "a,b",
    }
    assert proxies_from(environ) == {
        "http": "http://lower:1",
        "https": "http://secure:2",
        "no": "a,b",
    }


def test_a_cgi_program_does_not_trust_a_header_of_its_visitor() -> None:
    assert proxies_from({"HTTP_PROXY": "http://evil:1", "REQUEST_METHOD": "GET"}) == {}


@pytest.mark.parametrize(
    "no",
    [
        "*",
        "prefect.example.org",
        "example.org",
        ".example.org",
        "*.example.org",
        "x, EXAMPLE.org",
        "prefect.example.org:4200",
    ],
)
def test_hosts_that_go_without_a_proxy(no: str) -> None:
    url = "http://prefect.example.org:4200/api"
    assert proxies_for(url, {"http": "http://proxy:1", "no": no}) == {}


@pytest.mark.parametrize("no", ["", " ", "ample.org", "x.com", "prefect.example.org:80", "."])
def test_others_go_through_it(no: str) -> None:
    url = "http://prefect.example.org:4200/api"
    assert proxies_for(url, {"http": "http://proxy:1", "no": no}) == {"http": "http://proxy:1"}


@pytest.mark.parametrize("no", ["10.0.0.0/8", "10.1.2.3", "::1, 10.1.0.0/16"])
def test_networks_go_without_a_proxy(no: str) -> None:
    assert proxies_for("http://10.1.2.3/api", {"http": "http://proxy:1", "no": no}) == {}
