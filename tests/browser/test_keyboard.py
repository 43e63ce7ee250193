"""Everything that is chosen with the mouse can be chosen with the keyboard."""

from explorer.screenshots import settle

FOCUSED = """() => {
  const e = document.activeElement;
  const text = ['A', 'BUTTON'].includes(e.tagName) ? e.innerText : '';
  return `${e.tagName} ${e.getAttribute('aria-label') || ''} ${text}`.trim().slice(0, 160);
}"""
"""Of what holds the keyboard: its kind, name and text. A region that scrolls has no text here."""


def reached(page, presses: int) -> list[str]:
    """What has the focus after each Tab."""
    found = []
    for _ in range(presses):
        page.keyboard.press("Tab")
        found.append(page.evaluate(FOCUSED))
    return found


def tab_to(page, word: str, presses: int = 60) -> None:
    for _ in range(presses):
        page.keyboard.press("Tab")
        if word in page.evaluate(FOCUSED):
            return
    raise AssertionError(f"Tab never reached {word!r}")


def test_pages_choices_and_downloads_are_reached_by_tab(page, address):
    page.goto(address)
    settle(page)
    found = "\n".join(reached(page, 45))
    for word in ("Trade-off", "Gates", "Method", "Task", "Axes", "Curves", "Download"):
        assert word in found, found


def test_axis_is_chosen_by_keys_alone(page, address):
    page.goto(address)
    settle(page)
    tab_to(page, "Axes")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Across")
    tab_to(page, "Across")
    page.keyboard.type("MACs")
    page.wait_for_timeout(300)
    page.keyboard.press("Enter")
    page.wait_for_function("location.search.includes('x=macs_per_token')")


def test_page_and_run_are_chosen_by_keys_alone(page, address):
    page.goto(address)
    settle(page)
    tab_to(page, "Gates")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('What was kept?')")
    settle(page)
    tab_to(page, "Run")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function("location.search.includes('run=')")


def test_focus_can_be_seen(page, address):
    page.goto(address)
    settle(page)
    tab_to(page, "Axes")
    outline = page.evaluate(
        "() => { const s = getComputedStyle(document.activeElement);"
        " return s.outlineStyle !== 'none' || s.boxShadow !== 'none'; }"
    )
    assert outline
