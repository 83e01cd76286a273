"""Entry of the keeper, as ``python -I -S <this folder>`` or as ``python -m``.

Isolated, the interpreter knows this file but not its package. The explicit package name of PEP
366 makes the relative imports work, without a path to the house's other modules.
"""

from __future__ import annotations

import sys

if not __package__:
    import importlib
    import os

    # The folder itself was put first, where its modules could pass for standard ones.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
    sys.path.append(os.path.dirname(here))
    __package__ = "keeper"
    importlib.import_module(__package__)

from .program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
