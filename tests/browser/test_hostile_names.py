"""Names, labels and texts of others, wherever a page shows them: as they are written."""

import dataclasses
from collections.abc import Iterator

import pytest
from explorer_stores import run_of

from explorer.screenshots import serving, settle
from finegates_engine.identity import run_id
from finegates_engine.runs.store import RunStore

NAME = "**star** [link](#mark) :bomb: $math$ # head"
"""Of a folder and a backbone, in which there is no /, < or >."""

TEXT = f"<b>bold</b> {NAME} [link](http://mark.example) :material/bomb:"
"""Of a column with texts."""

NO_WIDTH = "\u2060"

INTERPRETED = """() => {
    const words = ['bold', 'star', 'link', 'math', 'head'];
    const own = (e) => words.includes(e.textContent.trim());
    const found = [...document.querySelectorAll('b, strong, em, i, a, h1, h2, h3, h4, h5, h6')];
    const drawn = [...document.querySelectorAll('svg a, svg tspan[style*=bold]')];
    const icons = [...document.querySelectorAll('[data-testid=stIconMaterial]')];
    return [
        ...[...found, ...drawn].filter(own),
        ...document.querySelectorAll('a[href*=mark], image[href*=mark], img[src*=mark]'),
        ...icons.filter((e) => e.textContent.includes('bomb')),
        ...[...document.querySelectorAll('.katex')].filter((e) => e.textContent.includes('math')),
    ].map((e) => e.outerHTML.slice(0, 200));
}"""
"""Elements that came of a mark in a text."""


def named(**changes):
    """A run whose backbone and columns are full of marks."""
    result = run_of(task="mine", **changes)
    config = dataclasses.replace(
        result.config,
        model=dataclasses.replace(result.config.model, backbone=f"org/{NAME}"),
        task=dataclasses.replace(
            result.config.task, data="rows.csv", text_fields=(TEXT, "b"), label_field=f"{TEXT}?"
        ),
    )
    identity = result.identity
    name = run_id(config, data_hash=identity.data_hash, weights_hash=identity.weights_hash)
    return dataclasses.replace(result, config=config, run_id=name)


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app over runs with such names, beside runs with plain ones; the store's name is such."""
    store = RunStore(tmp_path_factory.mktemp("names") / NAME)
    for target in (0.0, 0.3, 0.5):
        store.save(named(target=target))
        store.save(run_of(task="mine", method="random", target=target))
    with serving(store.root) as url:
        yield url


def shown(page) -> str:
    """All text of the page, that of fields and figures too, as a reader sees it."""
    text = page.evaluate(
        "document.body.textContent + [...document.querySelectorAll('input, textarea')]"
        ".map((e) => e.value).join(' ')"
    )
    return text.replace(NO_WIDTH, "")


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("", ""),
        ("pick_a_level?drop=20", ""),
        ("gates?view=agreement", ""),
        ("live", TEXT),
        ("training?part=curves", ""),
        ("compare", ""),
        ("gates?run=" + "%3Amaterial%2Fbomb%3A+%24math%24+**star**", ":material/bomb: $math$"),
    ],
)
def test_no_mark_in_a_name_is_read_on_any_page(page, marked, path, written):
    page.goto(marked + path)
    settle(page)
    assert f"6 runs in {NAME}" in shown(page)
    assert written in shown(page)
    assert page.evaluate(INTERPRETED) == []


def test_no_mark_in_a_name_is_read_in_choices_and_in_hover(page, marked):
    page.goto(marked)
    settle(page)
    mark = page.locator(".scatterlayer .trace .points path").last.bounding_box()
    page.mouse.move(mark["x"] + mark["width"] / 2, mark["y"] + mark["height"] / 2)
    page.wait_for_selector(".hoverlayer .hovertext")
    assert NAME in page.locator(".hoverlayer").text_content()
    assert page.evaluate(INTERPRETED) == []
    page.get_by_role("button", name="Curves").click()
    page.wait_for_selector("text=Levels trained as")
    assert f"org/{NAME}" in page.locator("[data-testid=stMultiSelect]").first.inner_text()
    assert page.evaluate(INTERPRETED) == []


def test_no_mark_in_an_uploaded_file_is_read(page, marked, tmp_path):
    rows = tmp_path / "star.csv"
    lines = [f"text {n},{('good', TEXT)[n % 2]}" for n in range(40)]
    rows.write_text("\n".join([f"{TEXT},label", *lines]) + "\n")
    page.goto(f"{marked}training?part=start")
    settle(page)
    page.get_by_role("combobox", name="Task").click()
    page.get_by_role("option", name="Your own rows, from a file").click()
    page.locator("input[type=file]").set_input_files(rows)
    page.wait_for_selector("text=rows to train on")
    settle(page)
    assert "2 classes (" in shown(page)
    assert TEXT in shown(page)
    assert page.evaluate(INTERPRETED) == []
