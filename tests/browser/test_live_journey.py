"""Type a text and race it: the real worker and a tiny trained run, in a real browser."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_runs import tiny_run

from explorer.screenshots import serving, settle


@pytest.fixture(scope="module")
def live_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The live page of an app over one tiny run."""
    store, _ = tiny_run(tmp_path_factory.mktemp("live"))
    with serving(store.root) as url:
        yield f"{url}live"


@pytest.mark.slow
def test_type_a_text_and_race_it(page, live_address):
    page.goto(live_address)
    assert page.locator("h1").inner_text() == "Is it really faster, and does it say the same?"
    box = page.get_by_label("Your text, a row a line")
    box.fill("<b>the film</b> was **great**\nthe meal was awful")
    box.press("Control+Enter")
    page.wait_for_selector("h3:has-text('2 rows')", timeout=90_000)
    settle(page)
    labels = page.locator(".ytick text").all_text_contents()
    assert "<b>the film</b> was **gre\u2026" in labels
    page.get_by_role("button", name="Race dense against pruned").click()
    page.wait_for_selector("text=/Making its certificate|Racing|Warming up/", timeout=30_000)
    page.wait_for_selector("text=Race again", timeout=120_000)
    settle(page)
    answers = page.locator("h3").all_inner_texts()
    verdict = r"Pruned is [\d.]+x faster|Pruned is slower|No measurable difference"
    assert re.match(verdict, answers[1])
    assert re.search(r"\([\d.]+ to [\d.]+\)", answers[1])
    assert page.locator("text=Certified: logits differ").count() == 1


@pytest.mark.slow
def test_second_user_is_queued_while_the_first_one_races(page, live_address):
    other = page.context.new_page()
    for opened in (page, other):
        opened.goto(live_address)
        opened.wait_for_selector("h3:has-text('say'), h3:has-text('differ')", timeout=90_000)
        settle(opened)
    page.get_by_role("button", name="Race dense against pruned").click()
    page.wait_for_selector("text=/Racing/", timeout=60_000)
    other.get_by_role("button", name="Race dense against pruned").click()
    other.wait_for_selector("text=/In the queue: 1 computation before this one/", timeout=10_000)
    other.get_by_role("button", name="Cancel").click()
    other.wait_for_selector("text=Stopped.", timeout=10_000)
    page.wait_for_selector("text=Race again", timeout=60_000)


@pytest.mark.slow
def test_click_closes_a_part_too(page, live_address):
    page.goto(live_address + "?more=close")
    page.wait_for_selector("h3:has-text('matters most')", timeout=90_000)
    settle(page)
    chart = page.locator(".stPlotlyChart").last
    chart.scroll_into_view_if_needed()
    mark = chart.locator(".scatterlayer .trace .points path").first.bounding_box()
    place = (mark["x"] + mark["width"] / 2, mark["y"] + mark["height"] / 2)
    page.mouse.move(*place)
    page.wait_for_timeout(300)
    page.mouse.click(*place)
    page.wait_for_selector("h3:has-text('Closing it moves a logit by')", timeout=30_000)
    assert "close=" in page.url


@pytest.mark.slow
def test_page_that_is_loaded_again_has_a_text(page, live_address):
    page.goto(live_address)
    box = page.get_by_label("Your text, a row a line")
    box.fill("a text of my own")
    box.press("Control+Enter")
    page.wait_for_selector("h3:has-text('say'), h3:has-text('differ')", timeout=90_000)
    settle(page)
    page.reload()
    settle(page)
    assert page.get_by_label("Your text, a row a line").input_value()
    assert page.locator("text=There is no text yet").count() == 0
