"""Any values in the address of any page: the page is drawn, and says what it left out."""

import pytest
from hostile_texts import bounded, texts
from hypothesis import given
from hypothesis import strategies as st

PAGES = ("trade_off", "pick_a_level", "gates", "live", "training", "compare", "method")
NAMES = (
    *("run", "with", "task", "x", "y", "curves", "method", "backbone", "trained", "timed", "view"),
    *("layer", "matrix", "more", "row", "close", "device", "threads", "batch", "tokens", "part"),
    *("change", "screen", "drop", "size", "p95", "speedup", "goal", "unit", "from", "lesson"),
)


@pytest.fixture
def quiet_worker(monkeypatch):
    """A worker that never begins: the page waits for it."""
    from explorer.processes import worker

    class Idle(worker.Worker):
        def submit(self, kind, **arguments):
            return worker.Job("job 1", kind, arguments)

    idle = Idle()
    monkeypatch.setattr(worker, "shared", lambda: idle)


@given(
    page=st.sampled_from(PAGES),
    query=st.dictionaries(
        st.sampled_from(NAMES), texts.filter(lambda text: text.isprintable()), max_size=6
    ),
)
@bounded
def test_no_address_breaks_a_page(open_app, full, quiet_worker, page, query):
    app = open_app(full, page, **query)
    assert not app.exception, (page, query)
    assert app.title
    for element in (*app.markdown, *app.caption, *app.warning, *app.error):
        assert "<script" not in str(element.value).replace("\\<", "")
        assert "](javascript" not in str(element.value)
