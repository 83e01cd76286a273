"""``.env`` means to the worker what it means to Prefect."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values
from pydantic_settings import BaseSettings, DotEnvSettingsSource

from actors.prefect_api.settings.profile import load_profile
from tests.support.prefect_server import NEWEST, interpreter
from tests.unit.prefect_api.profiles import Load

ODD_FILES = {
    "nothing": "",
    "comments": "# PREFECT_A=1\n  # PREFECT_B=2\nPREFECT_C=3 # PREFECT_D=4\nPREFECT_E=a#b\n",
    "export": "export PREFECT_A=1\n  export\tPREFECT_B = 2\nexportPREFECT_C=3\n",
    "spaces": "PREFECT_A =  two words  \n\n\n\t PREFECT_B=\ttab\t\nPREFECT_C=\n",
    "quotes": "PREFECT_A='as ${it} \"is\"'\nPREFECT_B=\"it's\"\nPREFECT_C=half'quoted'\n",
    "comments after quotes": "PREFECT_A='1' # one\nPREFECT_B=\"2\"# two\n",
    "escapes": "PREFECT_A=\"a\\tb\\nc\\\"d\\\\e\\q\"\nPREFECT_B='it\\'s\\n'\nPREFECT_C=a\\nb\n",
    "escaped Unicode": 'PREFECT_A="\\u00e9 é"\nPREFECT_B=é\n',
    "several lines": "PREFECT_A=\"one\ntwo\n\nfour\"\nPREFECT_B='five\nsix'\nPREFECT_C=7\n",
    "quoted keys": "'PREFECT_A'=1\n\"PREFECT_B\"=2\n'PREFECT_C' = 3\n",
    "no value": "PREFECT_A\nPREFECT_B=b\nexport PREFECT_C\n",
    "variables": "HOST=h\nPREFECT_A=http://${HOST}/api\nPREFECT_B='${HOST}'\nPREFECT_C=$HOST\n",
    "earlier lines win": "MINE=theirs\nPREFECT_A=${MINE}\nMINE=last\nPREFECT_B=${MINE}\n",
    "the environment's variables": 'PREFECT_A=${MINE}\nPREFECT_B="<${MINE}>"\n',
    "defaults": "PREFECT_A=${NONE:-fallback}\nPREFECT_B=${MINE:-no}\nPREFECT_C=${NONE}\n",
    "odd variables": "PREFECT_A=${MINE\nPREFECT_B=${}\nPREFECT_C=${NONE:-${MINE}}\nPREFECT_D=$$\n",
    "a name without a value in a variable": "NAME\nPREFECT_A=<${NAME}>\n",
    "repeated": "PREFECT_A=1\nprefect_a=2\nPREFECT_B=1\nPREFECT_B\n",
    "Windows": "PREFECT_A=1\r\nPREFECT_B='2'\r\n# comment\r\nPREFECT_C=\r\n",
    "no newline at the end": "PREFECT_A=1\nPREFECT_B=2",
    "a byte order mark": "\ufeffPREFECT_A=1\nPREFECT_B=2\n",
    "not understood": "PREFECT_A=1\nPREFECT_B='open\nPREFECT_C=3\n=4\n",
    "strange names": "PREFECT_A.B=1\nPREFECT-C=2\nPREFECT_D:E=3\n5=5\n",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """python-dotenv knows no other environment than the process's own."""
    monkeypatch.setenv("MINE", "the environment's")
    monkeypatch.delenv("NONE", raising=False)


def ours(load: Load) -> dict[str, str]:
    return load(MINE="the environment's").environment()


def settings_in(variables: dict[str, str | None]) -> dict[str, str]:
    return {
        name.upper(): text
        for name, text in variables.items()
        if text is not None and name.upper().startswith("PREFECT_")
    }


@pytest.mark.parametrize("text", ODD_FILES.values(), ids=ODD_FILES)
def test_a_file_is_read_as_python_dotenv_reads_it(load: Load, cwd: Path, text: str) -> None:
    (cwd / ".env").write_bytes(text.encode())
    assert ours(load) == settings_in(dotenv_values(cwd / ".env", encoding="utf-8"))


@pytest.mark.parametrize("text", ODD_FILES.values(), ids=ODD_FILES)
def test_a_file_is_read_as_pydantic_settings_reads_it(load: Load, cwd: Path, text: str) -> None:
    (cwd / ".env").write_bytes(text.encode())
    source = DotEnvSettingsSource(BaseSettings, env_file=cwd / ".env")
    assert ours(load) == settings_in(dict(source.env_vars))


def test_a_line_that_is_not_understood_is_a_warning(load: Load, cwd: Path) -> None:
    (cwd / ".env").write_text("PREFECT_A=1\n=2\nPREFECT_C='3\n")
    profile = load()
    assert profile.environment() == {"PREFECT_A": "1"}
    assert profile.warnings == tuple(
        f"{cwd / '.env'} cannot be understood at line {number}." for number in (2, 3)
    )


def test_prefect_itself_reads_the_same(tmp_path: Path) -> None:
    python = interpreter(NEWEST)
    if python is None:
        pytest.skip(f"no Python has Prefect {NEWEST}")
    (tmp_path / ".env").write_text(
        "HOST=10.0.0.7\n"
        "export PREFECT_API_URL = http://${HOST:-localhost}:${PORT:-4200}/api # ours\n"
        "'PREFECT_API_KEY'='it\\'s ${MINE}'\n"
        'PREFECT_DEFAULT_WORK_POOL_NAME="two\\nlines of ${MINE}"\n'
        "PREFECT_LOGGING_LEVEL=${NONE}DEBUG\n"
    )
    environ = {"HOME": str(tmp_path), "MINE": "the environment's"}
    script = (
        "import json, prefect.settings as s; c = s.get_current_settings(); print(json.dumps("
        "[c.api.url, c.api.key.get_secret_value(), c.deployments.default_work_pool_name,"
        " c.logging.level]))"
    )
    said = subprocess.run(
        [python, "-c", script], env=environ, cwd=tmp_path, stdout=subprocess.PIPE, check=True
    )
    names = ("API_URL", "API_KEY", "DEFAULT_WORK_POOL_NAME", "LOGGING_LEVEL")
    variables = load_profile(environ, cwd=tmp_path, home=tmp_path).environment()
    assert [variables[f"PREFECT_{name}"] for name in names] == json.loads(said.stdout)
