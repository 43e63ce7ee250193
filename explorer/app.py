"""Route to the pages: streamlit run explorer/app.py -- --store DIR."""

from pathlib import Path

import streamlit as st

from explorer.serving import collector, turns
from explorer.widgets import parts
from finegates_engine.errors import UserError

HERE = Path(__file__).parent
PAGES = (
    ("trade_off", "Trade-off", ":material/trending_down:"),
    ("pick_a_level", "Pick a level", ":material/rule:"),
    ("gates", "Gates", ":material/grid_view:"),
    ("live", "Live", ":material/bolt:"),
    ("training", "Training", ":material/show_chart:"),
    ("compare", "Compare", ":material/compare_arrows:"),
    ("method", "Method", ":material/school:"),
)


def main() -> None:
    """Show the page that the address asks for."""
    collector.set_modules_aside()
    st.set_page_config(
        page_title="FineGates Explorer", page_icon=str(HERE / "icon.png"), layout="wide"
    )
    pages = [
        st.Page(f"app_pages/{file}.py", title=title, icon=icon, url_path=file, default=not number)
        for number, (file, title, icon) in enumerate(PAGES)
        if (HERE / "app_pages" / f"{file}.py").exists()
    ]
    page = st.navigation(pages)
    parts.style()
    parts.sidebar()
    try:
        with turns.turn():
            page.run()
    except UserError as error:
        parts.error(error)


main()
