"""Sweeps that are killed with SIGKILL at random moments and go on, against undisturbed ones.

    python benchmarks/kills.py --work DIR

A round starts a sweep (of independent runs, or a path) or a `prune` on a tiny model, kills it up
to four times, each time going on from where it was, and lets it end. Moments are random: after
some time, before or just after an operation that writes, or with a file half-written. Then the
store must hold the same runs, the same gates to the bit and no other file than the store of an
undisturbed sweep; a bundle the same bytes, and nothing beside it. One process imports everything
and forks a child for each start. Checkpoints are written each 5 steps, not each 50; before
the last start temporary files are made an hour old.

`--work` keeps the progress: the same command goes on. The last line is one JSON object: `kills`,
`lost` (runs and bundles that are missing) and `differing` (others with another content, or files
that should not be there).
"""

import contextlib
import functools
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from faults import Moment, answer, content, count_writes, files, run_and_kill
from tiny import save_tiny_backbone, tiny_config, write_task

from finegates_engine.config import RunConfig
from finegates_engine.runs.store import RunStore
from finegates_engine.sweep.runner import run_sweep

CHECKPOINT_STEPS = 5
KILLS_A_ROUND = 4
KINDS = ("time", "before", "during", "torn")


@dataclass(frozen=True)
class Scene:
    """What is killed, and what an undisturbed call has made."""

    name: str
    start: Callable[[Path], None]
    """Makes it, or goes on making it, below a folder."""

    look: Callable[[Path], dict[str, Any]]
    """Name to content of what was made."""

    made: dict[str, Any]
    stray_free: list[str]
    """Files and folders of an undisturbed call."""

    seconds: float
    operations: int
    files: int


def main(
    kills: Annotated[int, typer.Option(help="How many processes are killed.")] = 200,
    work: Annotated[Path | None, typer.Option(help="Where progress is kept.")] = None,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    quick: Annotated[bool, typer.Option(help="Five kills.")] = False,
) -> None:
    """Kill, go on, compare, and print what was found."""
    _import_all()
    with contextlib.ExitStack() as stack:
        if work is None:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work = work.absolute()
        work.mkdir(parents=True, exist_ok=True)
        rounds = _run(work, 5 if quick else kills, seed)
    total = sum(len(found["moments"]) for found in rounds)
    for name in sorted({found["scene"] for found in rounds}):
        mine = [found for found in rounds if found["scene"] == name]
        count = sum(len(found["moments"]) for found in mine)
        print(f"{name}: {count} kills in {len(mine)} rounds")
    kinds = {k: sum(m[0] == k for found in rounds for m in found["moments"]) for k in KINDS}
    print("moments: " + ", ".join(f"{kind} {count}" for kind, count in kinds.items()))
    lost = sum(len(found["lost"]) for found in rounds)
    differing = sum(len(found["differing"]) for found in rounds)
    print(json.dumps({"kills": total, "lost": lost, "differing": differing}))


def _run(work: Path, kills: int, seed: int) -> list[dict[str, Any]]:
    progress = work / "rounds.jsonl"
    lines = progress.read_text().splitlines() if progress.exists() else []
    rounds = [json.loads(line) for line in lines]
    done = sum(len(found["moments"]) for found in rounds)
    scenes = _scenes(work)
    while done < kills:
        chance = random.Random(f"{seed}-{len(rounds)}")
        scene = scenes[len(rounds) % len(scenes)]
        found = _round(scene, work, chance, min(KILLS_A_ROUND, kills - done))
        rounds.append(found)
        done += len(found["moments"])
        with progress.open("a") as file:
            file.write(json.dumps(found) + "\n")
        print(f"{done} of {kills} kills; {scene.name}: {_verdict(found)}", flush=True)
    return rounds


def _round(scene: Scene, work: Path, chance: random.Random, most: int) -> dict[str, Any]:
    """Kill a scene up to `most` times, let it end, and compare."""
    place, log = work / "now", work / "child.log"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    start = functools.partial(scene.start, place)
    moments = []
    for _ in range(most):
        moment = _moment(scene, chance)
        if not run_and_kill(start, place, moment, log):
            break
        moments.append((moment.kind, moment.at, moment.share))
    _age(place)
    run_and_kill(start, place, None, log)
    made = answer(lambda: scene.look(place), log)
    left = files(place)
    differing = [name for name, value in made.items() if scene.made.get(name) != value]
    return {
        "scene": scene.name,
        "moments": moments,
        "lost": sorted(scene.made.keys() - made.keys()),
        "differing": differing + sorted(set(left) ^ set(scene.stray_free)),
    }


def _age(place: Path) -> None:
    """An hour passes, so that temporary files count as abandoned."""
    for path in (*place.rglob(".*.tmp"), *place.rglob("probe-*")):
        os.utime(path, (time.time() - 3600,) * 2)


def _moment(scene: Scene, chance: random.Random) -> Moment:
    kind = chance.choice(KINDS)
    if kind == "time":
        return Moment("time", chance.uniform(0, scene.seconds))
    if kind == "torn" and scene.files:
        return Moment("torn", chance.randint(1, scene.files), chance.random())
    operation = chance.randint(1, scene.operations)
    return Moment("during" if kind == "during" else "before", operation, 5 * chance.random())


def _scenes(work: Path) -> list[Scene]:
    """Each made once undisturbed, then counted and timed."""
    backbone, task = work / "tiny-bert", work / "reviews"
    log = work / "child.log"
    if not (work / "inputs").exists():
        run_and_kill(lambda: save_tiny_backbone(backbone) and None, work, None, log)
        write_task(task)
        (work / "inputs").touch()
    base = tiny_config(backbone, task, gates={"history_frames": 4})
    sweeps = {
        "independent": functools.partial(_sweep, base, "independent"),
        "path": functools.partial(_sweep, base, "path"),
    }
    scenes = [_scene(name, start, content, work) for name, start in sweeps.items()]
    prune = functools.partial(_prune, work / "whole-independent", backbone)
    return [*scenes, scenes[0], scenes[1], _scene("prune", prune, _bundle, work)]


def _scene(
    name: str,
    start: Callable[[Path], None],
    look: Callable[[Path], dict[str, Any]],
    work: Path,
) -> Scene:
    whole, log = work / f"whole-{name}", work / "child.log"
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir()
    begun = time.monotonic()
    operations, written = count_writes(functools.partial(start, whole), whole, log)
    seconds = time.monotonic() - begun
    made = answer(lambda: look(whole), log)
    print(f"{name}: {len(made)} made, {operations} operations, {seconds:.1f} s", flush=True)
    return Scene(name, start, look, made, files(whole), seconds, operations, written)


def _sweep(base: RunConfig, strategy: Any, place: Path) -> None:
    from finegates_engine.train import training

    training.CHECKPOINT_STEPS = CHECKPOINT_STEPS
    targets = (0.2, 0.5)
    state = run_sweep(base, targets, (0,), store=RunStore(place), strategy=strategy)
    assert [cell.state for cell in state.cells] == ["done"] * len(targets), state


def _prune(store: Path, backbone: Path, place: Path) -> None:
    from finegates_engine.bundle.pruned import BundleOptions, prune_run
    from finegates_engine.data.load import load_task

    run = RunStore(store).load(RunStore(store).ids()[-1])
    options = BundleOptions()
    data = load_task(run.record.config.task)
    target = place / "bundle"
    prune_run(run, backbone, data, options=options, target=target, force=True)


def _bundle(place: Path) -> dict[str, Any]:
    import hashlib

    paths = sorted(path for path in (place / "bundle").rglob("*") if path.is_file())
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return {"bundle": hashes} if hashes else {}


def _import_all() -> None:
    """What the children need, so that each is forked with it."""
    import accelerate
    import transformers
    from transformers import AutoModel, AutoTokenizer, BertModel, Trainer, TrainingArguments

    import finegates_engine.bundle.pruned
    import finegates_engine.sweep.jobs
    import finegates_engine.train.cell
    import finegates_engine.train.trainer

    assert all((accelerate, transformers, AutoModel, AutoTokenizer, BertModel, Trainer))
    assert TrainingArguments
    assert finegates_engine


def _verdict(found: dict[str, Any]) -> str:
    wrong = [*found["lost"], *found["differing"]]
    return "the same" if not wrong else f"NOT the same: {', '.join(wrong)}"


if __name__ == "__main__":
    typer.run(main)
