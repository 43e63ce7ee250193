"""What a person does, in a real browser."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from explorer.screenshots import serving, settle

MARKS = ".scatterlayer .trace .points path"


def query(page) -> dict[str, str]:
    """The address's query parameters."""
    found = page.evaluate("Object.fromEntries(new URLSearchParams(location.search))")
    return dict(found)


def click_a_point(page) -> None:
    """Click the last mark of the last curve, as a person does: with the mouse, where it is."""
    for box in page.evaluate(
        f"[...document.querySelectorAll({MARKS!r})].map(e => {{const b = e.getBoundingClientRect();"
        " return [b.x + b.width / 2, b.y + b.height / 2]}).reverse()"
    ):
        page.mouse.move(*box)
        page.wait_for_timeout(150)
        page.mouse.click(*box)
        page.wait_for_timeout(700)
        if "run" in query(page):
            return
    pytest.fail("no click selected a run")


def test_first_screen_answers_how_much_can_be_removed(page, address):
    page.goto(address)
    settle(page)
    assert page.locator("h1").inner_text() == "How much can I remove?"
    answer = page.locator("h3").first
    assert re.match(r"Half of the encoder goes for [\d.]+ points of accuracy", answer.inner_text())
    chart = page.locator(".stPlotlyChart").first.bounding_box()
    assert answer.bounding_box()["y"] < chart["y"] < 500


def test_clicked_point_is_the_run_of_every_page(page, address):
    page.goto(address)
    settle(page)
    click_a_point(page)
    run = query(page)["run"]
    page.locator("[data-testid=stSidebarNav] >> text=Gates").click()
    page.wait_for_selector("h1:has-text('What was kept?')")
    settle(page)
    assert run in page.locator("[data-testid=stSidebarUserContent]").inner_text()
    assert query(page)["run"] == run
    page.reload()
    settle(page)
    assert query(page)["run"] == run


def test_which_dimensions_of_a_layer_are_kept_and_whether_another_seed_agrees(page, address):
    page.goto(f"{address}gates")
    settle(page)
    page.get_by_role("radio", name="Agreement").or_(page.get_by_text("Agreement")).first.click()
    page.wait_for_selector("text=Which dimensions are kept?")
    settle(page)
    assert "Other seeds share" in page.locator("h3").first.inner_text()
    assert query(page)["view"] == "agreement"
    page.goto(f"{address}gates?view=agreement&layer=2")
    settle(page)
    assert page.locator("[data-testid=stDataFrame]").count() == 1


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 420])
@pytest.mark.parametrize(
    "path", ["", "gates?view=map", "gates?view=agreement", "pick_a_level", "compare"]
)
def test_nothing_is_wider_than_the_window(browser, address, scheme, width, path):
    viewport = {"width": width, "height": 900}
    context = browser.new_context(color_scheme=scheme, viewport=viewport)
    page = context.new_page()
    page.goto(address + path)
    settle(page)
    scroll = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
    assert scroll <= width
    for chart in page.locator(".stPlotlyChart").all():
        assert chart.bounding_box()["width"] <= width
    context.close()


def test_page_of_a_figure_works_without_network(page, address, tmp_path):
    page.goto(address)
    settle(page)
    page.get_by_role("button", name="Download", exact=True).click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Figure as a page").click()
    file = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(file)
    assert file.name == "finegates-trade-off-sst2.html"
    text = file.read_text(encoding="utf-8")
    assert "Half of the encoder goes for" in text
    assert '<script src="http' not in text
    context = page.context.browser.new_context(offline=True)
    alone = context.new_page()
    alone.goto(file.as_uri())
    alone.wait_for_selector(".main-svg")
    context.close()


@pytest.mark.slow
def test_start_a_small_sweep_and_watch_it_finish(page, tmp_path, tiny_backbone):
    words = {"up": ("good", "great"), "down": ("bad", "dull")}
    lines = [
        f"the film was {words[label][number % 2]} {number},{label}"
        for number in range(40)
        for label in words
    ]
    rows = tmp_path / "Film reviews.csv"
    rows.write_text("\n".join(["text,label", *lines]) + "\n")
    with serving(tmp_path / "store") as address:
        page.goto(f"{address}training")
        settle(page)
        page.get_by_role("combobox", name="Task").click()
        page.get_by_role("option", name="Your own rows, from a file").click()
        page.locator("input[type=file]").set_input_files(rows)
        page.wait_for_selector("text=rows to train on")
        page.get_by_text("Method and backbone").click()
        page.get_by_role("textbox", name="Backbone").fill(str(tiny_backbone))
        page.get_by_role("textbox", name="Targets").fill("0, 40")
        page.get_by_role("textbox", name="Targets").press("Enter")
        page.get_by_text("Independent").click()
        page.wait_for_selector("text=2 trainings.")
        settle(page)
        page.get_by_role("button", name="Start the sweep").click()
        page.wait_for_selector("text=running", timeout=60_000)
        page.wait_for_selector("text=2 of 2 trainings done", timeout=120_000)
        page.wait_for_selector("text=finished", timeout=30_000)
        assert query(page)["part"] == "sweeps"
        page.get_by_text("Curves of a run").click()
        page.wait_for_selector("text=40% of the gates had closed after")
        settle(page)
        assert "2 runs in store" in page.locator("[data-testid=stSidebar]").inner_text()


@pytest.mark.slow
def test_find_the_level_for_at_most_one_point_and_download_its_bundle(page, tmp_path):
    store = tiny_levels(tmp_path)
    with serving(store) as address:
        page.goto(f"{address}pick_a_level")
        settle(page)
        box = page.get_by_role("spinbutton", name="Score drop at most")
        box.fill("1")
        box.press("Enter")
        settle(page)
        answer = page.locator("h3").first.inner_text()
        assert re.match(r"40% of the encoder can go (without a loss|for \d\.\d points)", answer)
        page.get_by_role("button", name="Make the bundle").click()
        page.wait_for_selector("button:has-text('Download the bundle')", timeout=120_000)
        settle(page)
        with page.expect_download() as waiting:
            page.get_by_role("button", name="Download the bundle").click()
        assert "from the certificate" in page.locator("[data-testid=stMain]").inner_text()
    file = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(file)
    with zipfile.ZipFile(file) as packed:
        packed.extractall(tmp_path / "out")
    checked = subprocess.run(
        [sys.executable, "-m", "finegates_model"],
        cwd=tmp_path / "out" / file.stem,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def tiny_levels(folder: Path) -> Path:
    """A store of two trained tiny runs, with nothing and with 40% removed."""
    from tiny import tiny_config
    from tiny_runs import places, tiny_run

    from finegates_engine.backbone import weights_hash
    from finegates_engine.data.load import load_task
    from finegates_engine.train.cell import train

    store, _ = tiny_run(folder)
    backbone, task = places()
    config = tiny_config(backbone, task, model={"pooling": "mean"})
    (folder / "scratch").mkdir()
    result = train(
        config,
        load_task(config.task),
        folder=backbone,
        weights_hash=weights_hash(backbone),
        scratch=folder / "scratch",
    )
    store.save(result)
    return store.root
