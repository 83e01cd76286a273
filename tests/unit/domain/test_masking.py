from __future__ import annotations

import html
import json
import re
import shlex
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.domain.masking import (
    MIN_SECRET_LENGTH,
    Masker,
    is_secret_name,
    secrets_in,
    secrets_in_environment,
)


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASSWORD",
        "password",
        "GITHUB_TOKEN",
        "OPENAI_API_KEY",
        "apikey",
        "CLIENT_SECRET",
        "AWS_SECRET_ACCESS_KEY",
        "PREFECT_API_KEY",
        "PREFECT_API_AUTH_STRING",
        "SSH_PRIVATE_KEY",
        "PREFECT_API_DATABASE_CONNECTION_STRING",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL",
        "MYSQL_PWD",
        "dbPwd",
        "DB_PASS",
        "dbPass",
        "DB_PASS_2",
        "DB_PASS_PROD",
        "SSHPASS",
        "SSH_KEY",
        "SSH_KEY_BASE64",
        "FERNET_KEY",
        "AIRFLOW__CORE__FERNET_KEY",
        "X-Key",
        "GITHUB_PAT",
        "SESSION_JWT",
        "NPM_AUTH",
        "npm_config__auth",
    ],
)
def test_names_of_secrets_are_recognized(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "KEYBOARD",
        "PYTHON_KEYRING_BACKEND",
        "PRIMARY_KEY",
        "SSH_PUBLIC_KEY",
        "KEY_NAME",
        "TOKENIZERS_PARALLELISM",
        "PWD",
        "OLDPWD",
        "PWDEBUG",
        "BYPASS",
        "PASS_THROUGH",
        "PATTERN",
        "AUTHOR",
        "SSH_AUTH_SOCK",
        "_",
    ],
)
def test_other_names_are_not(name: str) -> None:
    assert not is_secret_name(name)


def test_secrets_of_an_environment_are_values_of_such_names_and_passwords_in_addresses() -> None:
    env = {
        "DB_PASSWORD": "hunter22",
        "API_TOKEN": None,
        "CLIENT_SECRET": "",
        "DATABASE_URL": "postgresql://user:pa55word@db:5432/x",
        "HOME": "/home/user",
        "DOCS": "see http://host:8080/a@b",
    }
    assert secrets_in_environment(env) == {"hunter22", "pa55word"}


@pytest.mark.parametrize(
    ("address", "passwords"),
    [
        ("postgres://u:pa@ss@h/db", {"pa@ss"}),
        ("postgres://u@corp:pa55word@h", {"pa55word"}),
        ("postgres://u:pa%40ss@h", {"pa%40ss", "pa@ss"}),
        ("amqp://u:pass1@h1,amqp://u:pass2@h2", {"pass1", "pass2"}),
        ("http://host:8080/a@b", set()),
    ],
)
def test_a_password_in_an_address_goes_up_to_the_last_at_sign(
    address: str, passwords: set[str]
) -> None:
    assert secrets_in_environment({"ADDRESS": address}) == passwords


@pytest.mark.parametrize("value", ["true", "False", "4096", "0.5", "none"])
def test_switches_and_numbers_are_no_secrets_whatever_their_name(value: str) -> None:
    assert secrets_in_environment({"MAX_TOKENS": value}) == frozenset()


def test_secrets_are_masked_in_text() -> None:
    assert Masker(["hunter22"]).text("a hunter22, hunter22!") == "a ********, ********!"


def test_the_longest_secret_is_masked_whole() -> None:
    assert Masker(["pass", "password"]).text("my password") == "my ********"


def test_short_secrets_are_ignored() -> None:
    assert Masker(["ab", "", "   "]).text("ab cab   x") == "ab cab   x"


def test_a_secret_of_several_lines_is_masked_line_by_line() -> None:
    masker = Masker(["-----BEGIN\nabcdef\n--\n"])
    assert masker.text("abcdef\n-----BEGIN") == "********\n********"


def test_overlapping_secrets_are_masked_altogether() -> None:
    assert Masker(["abcdef", "defghi"]).text("<abcdefghi>") == "<********>"
    assert Masker(["abab"]).text("<ababab>") == "<********>"


def test_a_secret_is_masked_before_a_command_is_quoted() -> None:
    masker = Masker(["it's a secret"])
    argv = ["sh", "-c", 'echo "it\'s a secret"', "--key=it's a secret", "it's a secret", "a b"]
    assert masker.command(argv) == ("sh -c 'echo \"********\"' '--key=********' ******** 'a b'")


def test_secrets_of_nested_data_are_its_texts() -> None:
    data = {"host": "db.local", "n": [5432, "abc", "hunter22"], "x": None}
    assert secrets_in(data) == {"db.local", "hunter22"}


letters = st.text(st.characters(codec="ascii", exclude_characters="*%", categories=["L", "N"]))


@given(secrets=st.lists(letters.filter(lambda s: len(s) >= MIN_SECRET_LENGTH)), text=letters)
def test_no_secret_is_left_in_a_masked_text(secrets: list[str], text: str) -> None:
    masked = Masker(secrets).text(f"{text}{''.join(secrets)} {text}")
    assert not [secret for secret in secrets if secret in masked]


def in_both_quotes(text: str) -> str:
    return repr(f"'\"{text}")


def as_bash_traces(text: str) -> str:
    return "'" + text.replace("'", r"'\''") + "'"


WRITERS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "repr": repr,
    "repr in a longer text": in_both_quotes,
    "repr of bytes": lambda text: repr(text.encode()),
    "ascii": ascii,
    "JSON": json.dumps,
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in JSON": lambda text: json.dumps(json.dumps({"text": text})),
    "JSON in repr": lambda text: repr(json.dumps({"text": text})),
    "URL": quote,
    "URL, slashes too": lambda text: quote(text, safe=""),
    "URL in lower case": lambda text: re.sub("%..", lambda m: m[0].lower(), quote(text, safe="")),
    "form": lambda text: urlencode({"text": text}),
    "shell": shlex.quote,
    "bash -x": as_bash_traces,
    "HTML": html.escape,
}

a_secret = (
    st.text(
        st.one_of(
            st.sampled_from("'\"\\/&%$ +<>=:@"),
            st.characters(codec="utf-8", exclude_characters="_", exclude_categories=["Cc"]),
        ),
        min_size=8,
    )
    .map(str.strip)
    .filter(lambda text: len(text) >= 8 and len(text.splitlines()) == 1)
)


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@given(secret=a_secret)
def test_a_secret_is_masked_however_it_is_written(
    write: Callable[[str], str], secret: str
) -> None:
    before, _, after = write(f"_{secret}_").split("_")
    assert Masker([secret]).text(write(f"_{secret}_")) == f"{before}_********_{after}"


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
@given(secret=a_secret, before=st.binary(), after=st.binary())
def test_a_secret_is_masked_within_base64(
    encode: Callable[[bytes], bytes], secret: str, before: bytes, after: bytes
) -> None:
    encoded = encode(before + secret.encode() + after).decode()
    left = Masker([secret]).text(encoded).replace("********", "")
    bits_left = 6 * (len(encoded) - len(left))
    assert bits_left >= 8 * len(secret.encode()) - 10, "all but parts of its ends are masked"


def test_basic_authorization_is_masked_whoever_the_user_is() -> None:
    for user in ("me", "you", "root"):
        header = b64encode(f"{user}:correct horse battery".encode()).decode()
        shown = Masker(["correct horse battery"]).text(f"Authorization: Basic {header}")
        assert len(shown) <= len("Authorization: Basic me: ******** ") + 6


@pytest.mark.parametrize("secret", ["\ud800-lone-surrogate", "undecodable-\udcff\udcfe-bytes"])
def test_a_secret_of_broken_unicode_is_masked_as_it_is_printed(secret: str) -> None:
    printed = secret.encode("utf-8", "surrogatepass" if "\ud800" in secret else "surrogateescape")
    masker = Masker([secret])
    assert masker.text(f"<{secret}>") == "<********>"
    assert masker.text(f"<{printed.decode('utf-8', 'replace')}>") == "<********>"


def test_what_is_left_of_a_secret_without_its_control_characters_is_not_masked_if_short() -> None:
    assert Masker(["a\x1b[1m\x01\x02\x03"]).text("a banana") == "a banana"


@given(st.text())
def test_without_secrets_a_text_stays_as_it_is(text: str) -> None:
    assert Masker().text(text) == text
