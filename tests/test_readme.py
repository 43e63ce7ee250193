"""The README's first commands are there for a fresh machine, marked for those who read them."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
ENDS = {
    "explorer": "streamlit run explorer/app.py",
    "demo": "finegates demo",
    "tests": "-m pytest -n 2 --dist loadfile",
}


@pytest.mark.parametrize("name", ENDS)
def test_readme_has_the_commands_of_a_fresh_machine(name: str) -> None:
    assert re.search(rf"<!-- {name} -->\n```bash\npython3 -m venv .*{ENDS[name]}\n```", README)


def test_readme_is_short_before_its_tree() -> None:
    assert len(README.partition("## The tree")[0].splitlines()) < 120
