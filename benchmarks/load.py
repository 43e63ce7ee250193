"""Fifty people on one app for five minutes, one of them racing dense against pruned.

    python benchmarks/load.py [--quick] [--seconds N] [--store DIR]

Five browsers (the system's Chromium, where there is one) and 45 sessions that speak Streamlit's
protocol go from page to page, all over 127.0.0.1, and stop after the time given. Before that the
race is run with nobody else there. Prints one JSON object as its last line:

sessions; errors: exceptions, refused connections and pages that did not come within a minute;
page_p95_s, page_median_s: seconds of the server from asking for a page to its end, sessions
without a browser; browser_p95_s: until a browser has drawn all of it; race_interval_covers_quiet:
more than half of the races under load have an interval that holds the quiet ratio (quiet_race and
races: ratio, low, high); peak_memory_mb: largest resident memory of the app's process;
memory_growth_mb: of the last tenth of the time over the second tenth.
"""

import argparse
import asyncio
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from clients.streamlit_client import Session

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # before this folder, which has an explorer.py too

from explorer.screenshots import FLAGS, app_over  # noqa: E402

PAGES = (
    "?x=folded_encoder_fraction",
    "?x=macs_per_token",
    "?y=seconds_total",
    "pick_a_level?drop=1",
    "pick_a_level?drop=2&sure=95",
    "gates?view=map",
    "gates?view=matrix&layer=3&matrix=ffn_in",
    "gates?view=agreement",
    "training?part=curves",
    "training?part=start",
    "compare",
    "method?screen=gate",
    "method?screen=lesson",
    "live",
)
PAGE_LIMIT_S, RACE_LIMIT_S = 60.0, 240.0
RACE = r"([\d.]+)x faster \(([\d.]+) to ([\d.]+)\)"
RACED = "live?tokens=64"
BUTTON = "Race dense against pruned"


@dataclass(frozen=True)
class Plan:
    """How many, how long."""

    seconds: float
    sockets: int
    browsers: int
    pause_s: float
    """Mean time that a person looks at a page."""
    races: int
    """At most so many under load."""


QUICK = Plan(seconds=15, sockets=6, browsers=1, pause_s=2, races=1)
FULL = Plan(seconds=300, sockets=44, browsers=5, pause_s=20, races=5)


@dataclass
class Seen:
    """What the sessions have met."""

    pages: list[float] = field(default_factory=list)
    drawn: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    races: list[tuple[float, float, float]] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


def main() -> None:
    """Serve a copy of the store, let them come, print what they met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="7 people and a racer for 15 s")
    parser.add_argument("--seconds", type=float, help="how long they stay")
    parser.add_argument("--store", type=Path, default=ROOT / "cached_runs")
    given = parser.parse_args()
    plan = QUICK if given.quick else FULL
    if given.seconds is not None:
        plan = Plan(given.seconds, plan.sockets, plan.browsers, plan.pause_s, plan.races)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(shutil.copytree(given.store, Path(folder) / "runs"))
        with app_over(store) as (address, process):
            result = asyncio.run(_measure(plan, address, process.pid))
    print(json.dumps(result))


async def _measure(plan: Plan, address: str, process_id: int) -> dict[str, Any]:
    async with Session(address) as alone:
        await alone.open(RACED, PAGE_LIMIT_S)
        quiet = await _race(alone)
    print(f"quiet race: {quiet}")
    seen, end = Seen(), time.monotonic() + plan.seconds
    people = [_visitor(address, number, plan, end, seen) for number in range(plan.sockets)]
    people += [_racer(address, plan, end, seen), _browsers(address, plan, end, seen)]
    watch = asyncio.create_task(_watch(process_id, seen))
    await asyncio.gather(*people)
    watch.cancel()
    for error in dict.fromkeys(seen.errors):
        print(f"error ({seen.errors.count(error)}): {error}")
    return _result(plan, seen, quiet)


def _result(plan: Plan, seen: Seen, quiet: tuple[float, float, float]) -> dict[str, Any]:
    covering = [low <= quiet[0] <= high for _, low, high in seen.races]
    tenth = max(len(seen.memory) // 10, 1)
    growth = statistics.median(seen.memory[-tenth:]) - statistics.median(
        seen.memory[tenth : 2 * tenth] or seen.memory
    )
    return {
        "sessions": plan.sockets + plan.browsers + 1,
        "errors": len(seen.errors),
        "page_p95_s": _quantile(seen.pages, 0.95),
        "race_interval_covers_quiet": 2 * sum(covering) > len(covering) > 0,
        "pages": len(seen.pages),
        "page_median_s": _quantile(seen.pages, 0.5),
        "browser_pages": len(seen.drawn),
        "browser_p95_s": _quantile(seen.drawn, 0.95),
        "quiet_race": quiet,
        "races": seen.races,
        "peak_memory_mb": round(max(seen.memory) / 1e6),
        "memory_growth_mb": round(growth / 1e6),
        "seconds": plan.seconds,
    }


def _quantile(values: list[float], share: float) -> float | None:
    """None where nothing was measured."""
    ordered = sorted(values)
    return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 3) if ordered else None


async def _visitor(address: str, number: int, plan: Plan, end: float, seen: Seen) -> None:
    """Goes from page to page; comes within the first seconds, not all at once."""
    chance = random.Random(number)
    await asyncio.sleep(chance.uniform(0, min(plan.pause_s, 10)))
    try:
        async with Session(address) as session:
            while time.monotonic() < end:
                page = await session.open(chance.choice(PAGES), PAGE_LIMIT_S)
                seen.pages.append(page.seconds)
                seen.errors.extend(page.errors)
                left = end - time.monotonic()
                await asyncio.sleep(max(0.0, min(left, chance.uniform(0.5, 1.5) * plan.pause_s)))
    except Exception as error:  # whatever ends a visit early is what this counts
        seen.errors.append(f"visitor: {type(error).__name__}: {error}")


async def _racer(address: str, plan: Plan, end: float, seen: Seen) -> None:
    """Races over and over, spread over the time."""
    start = time.monotonic()
    try:
        async with Session(address) as session:
            for number in range(plan.races):
                wait = start + (number + 0.5) * plan.seconds / plan.races - time.monotonic()
                await asyncio.sleep(max(0.0, wait))
                if number and time.monotonic() > end:
                    return
                await session.open(RACED, PAGE_LIMIT_S)
                seen.races.append(await _race(session))
    except Exception as error:
        seen.errors.append(f"racer: {type(error).__name__}: {error}")


async def _race(session: Session) -> tuple[float, float, float]:
    """(ratio, low, high) as the page says them."""
    again = "Race again" if "Race again" in session.page.buttons else BUTTON
    page = await session.click(again, PAGE_LIMIT_S)
    page.texts.clear()
    found = await session.wait_for(RACE, RACE_LIMIT_S)
    return float(found[1]), float(found[2]), float(found[3])


async def _browsers(address: str, plan: Plan, end: float, seen: Seen) -> None:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None or not plan.browsers:
        print("no Chromium: no browser among the sessions")
        return
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        people = [_browse(browser, address, n, plan, end, seen) for n in range(plan.browsers)]
        await asyncio.gather(*people)
        await browser.close()


async def _browse(
    browser: Any, address: str, number: int, plan: Plan, end: float, seen: Seen
) -> None:
    chance = random.Random(1000 + number)
    try:
        context = await browser.new_context(viewport={"width": 1280, "height": 900})
        page = await context.new_page()
        page.on("pageerror", lambda error: seen.errors.append(f"browser: {error}"))
        while time.monotonic() < end:
            start = time.monotonic()
            await page.goto(address + chance.choice(PAGES))
            await page.wait_for_selector(
                "[data-testid=stApp][data-test-script-state=notRunning] h1",
                timeout=1000 * PAGE_LIMIT_S,
            )
            await page.wait_for_function(
                "[...document.querySelectorAll('.stPlotlyChart')]"
                ".every(chart => chart.querySelector('.main-svg'))",
                timeout=1000 * PAGE_LIMIT_S,
            )
            seen.drawn.append(time.monotonic() - start)
            for text in await page.locator("[data-testid=stException]").all_inner_texts():
                seen.errors.append(f"browser: {text[:200]}")
            left = end - time.monotonic()
            await asyncio.sleep(max(0.0, min(left, chance.uniform(0.5, 1.5) * plan.pause_s)))
        await context.close()
    except Exception as error:
        seen.errors.append(f"browser: {type(error).__name__}: {error}")


async def _watch(process_id: int, seen: Seen) -> None:
    """Resident memory of the app's process, each second."""
    process = psutil.Process(process_id)
    while True:
        seen.memory.append(process.memory_info().rss)
        await asyncio.sleep(1)


if __name__ == "__main__":
    main()
