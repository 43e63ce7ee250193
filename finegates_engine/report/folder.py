"""The folder of results that a store gives: the same bytes from the same runs. No torch."""

from pathlib import Path

from finegates_engine.errors import UserError
from finegates_engine.files import write_atomic
from finegates_engine.report.figure import results_svg
from finegates_engine.report.levels import results_of
from finegates_engine.report.pages import FIGURE, index_page, task_page
from finegates_engine.runs.store import RunStore

INDEX = "README.md"


def report_files(store: RunStore, *, name: str) -> dict[str, str]:
    """File name to content. name: the store in the command that the pages give.

    Raises UserError for a store without runs.
    """
    results = results_of(store)
    if not results:
        raise UserError(
            f"Store {str(store.root)!r} has no runs to report. `finegates demo` makes some."
        )
    command = f"finegates report --store {name}"
    pages = {f"{task.task}.md": task_page(task, command) for task in results}
    return {INDEX: index_page(results, command), FIGURE: results_svg(results), **pages}


def write_report(store: RunStore, out: Path) -> list[Path]:
    """Write the files into `out`, each atomically; pages of tasks that are gone are removed."""
    files = report_files(store, name=store.root.name)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for stale in out.glob("*.md"):
            if stale.name not in files and "Made by `finegates report" in stale.read_text():
                stale.unlink()
        for name, text in files.items():
            write_atomic(out / name, text.encode())
    except OSError as error:
        raise UserError(f"Folder {str(out)!r} cannot be written ({error.strerror}).") from error
    return [out / name for name in files]
