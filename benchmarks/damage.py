"""Damaged runs: is each named, does everything else go on, is nothing read outside the store?

    python benchmarks/damage.py [--quick] [--seed N] [--work DIR]

Each of 1,000 mutations damages one run of a small store (`benchmarks/mutations`). Then the engine
lists and loads, the command line says `runs` and `show`, the explorer's loaders load; every
PAGES_EACH-th mutation is also looked at through all seven pages. Prints one JSON object as its last
line: `crashes` are errors that are none of the engine's own, hangs, deaths of the process, and
other runs that suffer; `unnamed` are damages that nobody names; `outside` counts reads of what lies
outside the store; `whole` are changes that leave a run as it could be; `seconds` is the time of all
mutations. --quick does 60. `--work` keeps the progress: the same command goes on.
"""

import argparse
import collections
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "explorer")]

from mutations import MUST_BE_NAMED, MUTATIONS, Victim, contents, places, records  # noqa: E402, F401
from mutations.readers import (  # noqa: E402
    MOST_SECONDS,
    PAGES,
    Opened,
    Watch,
    as_json,
    command_line,
    engine_reads,
    page_words,
    peak_mb,
    within,
)

COUNT, QUICK = 1000, 60
PAGES_EACH, BATCH = 25, 100
MOST_BYTES = 8 * 2**30
SYSTEM = (
    *("/dev/null", "/dev/urandom", "/etc/mime.types", "/etc/localtime", "/etc/os-release"),
    *("/proc/cpuinfo", "/proc/version", "/proc/self/", "/proc/mounts", "/sys/", "/usr/"),
    str(Path.home() / ".streamlit"),
)
"""What libraries open for themselves."""


def main() -> None:
    """Damage, read, count, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} mutations")
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=None, help="where progress is kept")
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    count = given.count or (QUICK if given.quick else COUNT)
    if given.base is not None:
        work(given.base, given.seed, range(given.first, count))
        return
    with contextlib.ExitStack() as stack:
        folder = given.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        base = folder.absolute() / "base"
        if not base.exists():
            write_base(base.with_name("making"))
            base.with_name("making").rename(base)
        found = gather(base, given.seed, count)
    report(found, count)


def write_base(folder: Path) -> None:
    """Five runs of two tasks; two of them with all files that a run can have."""
    from explorer_stores import run_of
    from run_examples import ENVIRONMENT
    from timing_examples import make_cell, make_certificate

    from finegates_engine.parity import to_bytes
    from finegates_engine.runs.store import RunStore
    from finegates_engine.timing.stored import save_cells, this_machine

    store = RunStore(folder)
    for target, seed in ((0.0, 0), (0.5, 0), (0.5, 1)):
        store.save(run_of(target=target, seed=seed, history=target > 0))
    for target in (0.3, 0.5):
        store.save(run_of(task="stsb", target=target, history=target == 0.3))
    for name in store.ids():
        if "t0.50-s0" in name or "t0.30" in name:
            store.add_file(name, "certificate.json", to_bytes(make_certificate(name)))
            save_cells(store, store.load(name), this_machine(ENVIRONMENT), [make_cell()])


def gather(base: Path, seed: int, count: int) -> list[dict[str, Any]]:
    """Mutations in processes of their own, BATCH each, so that a death costs one.

    Goes on after those that a file beside the base holds.
    """
    progress, errors = base.with_name(f"found-{seed}.jsonl"), base.with_name("errors")
    lines = progress.read_text().splitlines() if progress.exists() else []
    found: list[dict[str, Any]] = [json.loads(line) for line in lines][:count]
    with progress.open("a", buffering=1) as file:
        while len(found) < count:
            last = min(count, len(found) // BATCH * BATCH + BATCH)
            for line in batch(base, seed, range(len(found), last), errors):
                print(line, file=file)
                found.append(json.loads(line))
                if wrong(found[-1]):
                    print(line, file=sys.stderr, flush=True)
            print(f"{len(found)} of {count}", file=sys.stderr, flush=True)
    return found


def batch(base: Path, seed: int, numbers: range, errors: Path) -> Iterator[str]:
    """The JSON lines of these mutations; where the process dies, the last one says so."""
    command = [sys.executable, __file__, f"--seed={seed}", f"--base={base}"]
    command += [f"--first={numbers.start}", f"--count={numbers.stop}"]
    number = numbers.start
    with errors.open("w") as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                yield line.rstrip("\n")
                number += 1
    process.wait()
    if number < numbers.stop:
        why = f"the process died ({process.returncode}): {errors.read_text()[-600:]}"
        yield as_json({"number": number, "kind": kind_of(seed, number), "crash": why})


def wrong(one: dict[str, Any]) -> bool:
    """Whether a mutation has shown a fault."""
    return any(one.get(fault) for fault in ("crash", "unnamed", "outside"))


def kind_of(seed: int, number: int) -> str:
    """The kinds in turn, so that each has its share."""
    return sorted(MUTATIONS)[(seed + number) % len(MUTATIONS)]


def work(base: Path, seed: int, numbers: range) -> None:
    """Damage and read, one after the other; a JSON line each."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    opened = Opened()
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            print(as_json(one(base, Path(folder), seed, number, opened)), flush=True)


def one(base: Path, folder: Path, seed: int, number: int, opened: Opened) -> dict[str, Any]:
    """One mutation and all that reads it."""
    root, outside = folder / "store", folder / "outside"
    shutil.copytree(base, root, copy_function=os.link)
    (root / ".index.parquet").unlink(missing_ok=True)
    if number % 2:
        shutil.copyfile(base / ".index.parquet", root / ".index.parquet")
    outside.mkdir()
    generator, kind = random.Random(f"{seed} {number}"), kind_of(seed, number)
    runs = sorted(path.parent for path in root.glob("*/*/certificate.json"))
    victim = Victim(generator.choice(runs), outside)
    others = sorted(path.name for path in root.glob("*/*") if path != victim.folder)
    what = MUTATIONS[kind](victim, generator)
    found: dict[str, Any] = {"number": number, "kind": kind, "what": str(what)[:200]}
    watch, begun = Watch(outside), time.perf_counter()
    opened.outside(())
    try:
        with within(MOST_SECONDS):
            found |= judged(victim, others, kind, pages=number % PAGES_EACH == 0)
    except Exception as error:
        import traceback

        found["crash"] = f"{type(error).__name__}: {error}"[:1500]
        found["where"] = traceback.format_exc()[-1500:]
    allowed = (str(root), sys.prefix, sys.base_prefix, str(ROOT), *SYSTEM)
    found["outside"] = [*watch.read(), *opened.outside(allowed)]
    watch.close()
    return found | {"peak_mb": peak_mb(), "seconds": round(time.perf_counter() - begun, 3)}


def judged(victim: Victim, others: list[str], kind: str, *, pages: bool) -> dict[str, Any]:
    """Whether the damage is named, the others are well, and the pages go on."""
    name = victim.folder.name
    said = engine_reads(victim.root, [name, *others])
    printed = command_line(victim.root, name)
    suffer = {key: text for key, text in said.items() if key.split(" ")[0] in others}
    if suffer:
        raise AssertionError(f"other runs suffer: {suffer}")
    own = [text for key, text in said.items() if key.startswith(name)]
    named = bool(said["listing"]) or any(name in text for text in own)
    if said["listing"] and "Skipped" not in printed["runs"]:
        raise AssertionError("`finegates runs` does not name what is skipped")
    silent = [text for text in own if name not in text]
    found: dict[str, Any] = {"named": named, "silent": silent}
    found["unnamed"] = (bool(own) and not named) or (kind in MUST_BE_NAMED and not named)
    if pages:
        found["pages"] = len(PAGES)
        task = victim.folder.parent.name
        for page in PAGES:
            words = page_words(victim.root, page, run=name, task=task)
            if said["listing"] and "damaged" not in words and page != "method":
                raise AssertionError(f"page {page} does not name the damage")
    return found


def report(found: list[dict[str, Any]], count: int) -> None:
    """What went wrong, by kind, then the figures."""
    for one in filter(wrong, found):
        print(as_json(one))
    kinds = collections.Counter(one["kind"] for one in found)
    print(f"{len(kinds)} kinds, {min(kinds.values())} to {max(kinds.values())} of each")
    result = {
        "mutations": count,
        "crashes": sum("crash" in one for one in found),
        "unnamed": sum(bool(one.get("unnamed")) for one in found),
        "outside": sum(bool(one.get("outside")) for one in found),
        "named": sum(bool(one.get("named")) for one in found),
        "whole": sum(not any(map(one.get, ("crash", "named", "unnamed"))) for one in found),
        "pages": sum(one.get("pages", 0) for one in found),
        "peak_mb": round(max(one.get("peak_mb", 0) for one in found)),
        "seconds": round(sum(one.get("seconds", 0) for one in found)),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
