"""The output of programs as plain text, for logs and state messages."""

from __future__ import annotations

import re
from typing import Final

_TERMINAL_CODES: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movements (ECMA-48)
    r"|\x1b[\]P_^X][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS and their kin: titles, links
    r"|\x1b[ -/]*[0-~]"  # two-character escapes
)
_CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str, *, keep_newlines: bool = False) -> str:
    """``text`` without terminal codes and control characters except tabs.

    Of a line that was overwritten (a progress bar), the last version stays. Invalid Unicode
    becomes a question mark, so that the text can be sent.
    """
    text = _TERMINAL_CODES.sub("", text.encode(errors="replace").decode())
    if keep_newlines:
        return "\n".join(plain(line) for line in text.splitlines())
    return _CONTROL_CHARACTERS.sub("", text.rstrip("\r\n").rpartition("\r")[2])
