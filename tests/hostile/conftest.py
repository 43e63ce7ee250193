"""The explorer's stores and its app, for these tests too."""

import importlib.util
from pathlib import Path

_FILE = Path(__file__).parents[1] / "explorer" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("explorer_fixtures", _FILE)
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)
full, open_app = _MODULE.full, _MODULE.open_app
