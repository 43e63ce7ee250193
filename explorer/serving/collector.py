"""Python's garbage collector, kept from looking at what never goes.

Streamlit collects all garbage after each script, which walks over every object of the process: the
hundreds of thousands that imported modules made take longer than the script of a page.
"""

import gc
import sys

_seen = [0]


def set_modules_aside() -> None:
    """Take all objects there are out of the collector's sight, where modules were imported since.

    To be called as a script begins: what the one before left behind has been collected then.
    """
    count = len(sys.modules)
    if count != _seen[0]:
        _seen[0] = count
        gc.freeze()
