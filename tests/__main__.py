"""``python3 -m tests``: makes what the tests need, on a machine with only Python; runs them."""

from __future__ import annotations

import sys

from tests.support.bootstrap import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
