"""Entry of the keeper, as ``python -I -S <this folder>`` or as ``python -m``.

An isolated interpreter knows this file but not its package. The explicit package name of PEP 366
makes relative imports work, while the other packages cannot be found.
"""

from __future__ import annotations

import sys

if not __package__:
    import importlib
    import os

    # The folder comes first in the path, so its modules could hide standard ones.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
    sys.path.append(os.path.dirname(here))
    __package__ = "keeper"
    importlib.import_module(__package__)

from .program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
