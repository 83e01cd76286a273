from __future__ import annotations

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
    ],
)
def test_names_of_secrets_are_recognized(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["PATH", "KEYBOARD", "PRIMARY_KEY", "TOKENIZERS_PARALLELISM", "PWD", "OLDPWD", "PWDEBUG"],
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


def test_a_percent_encoded_secret_is_masked_too() -> None:
    assert Masker(["p@ss/word"]).text("https://me:p%40ss%2Fword@x") == "https://me:********@x"


def test_nested_data_is_masked_in_its_texts_and_under_telling_keys() -> None:
    data = {"a": ["x hunter22", 5], "password": "other", "api_token": None, "b": {"TOKEN": "t"}}
    assert Masker(["hunter22"]).tree(data) == {
        "a": ["x ********", 5],
        "password": "********",
        "api_token": None,
        "b": {"TOKEN": "********"},
    }


def test_secrets_of_nested_data_are_its_texts() -> None:
    data = {"host": "db.local", "n": [5432, "abc", "hunter22"], "x": None}
    assert secrets_in(data) == {"db.local", "hunter22"}


letters = st.text(st.characters(codec="ascii", exclude_characters="*%", categories=["L", "N"]))


@given(secrets=st.lists(letters.filter(lambda s: len(s) >= MIN_SECRET_LENGTH)), text=letters)
def test_no_secret_is_left_in_a_masked_text(secrets: list[str], text: str) -> None:
    masked = Masker(secrets).text(f"{text}{''.join(secrets)} {text}")
    assert not [secret for secret in secrets if secret in masked]


@given(st.text())
def test_without_secrets_a_text_stays_as_it_is(text: str) -> None:
    assert Masker().text(text) == text
