"""Seconds a step and memory of training: gates, LoRA on the same layers, full finetuning.

All variants share backbone, head, pooling, batch, dropout, clipping and optimiser. Times come
from one process that takes one step of every variant in turn, in a new order each round; the
ratio is the median over rounds of the paired ratios. Peak memory comes from a process for each
variant: the highest resident size (on CUDA, the highest allocation) during a few steps, less
the size with the model loaded. CPU seconds stand beside the seconds: on a busy machine they
waver less. The last line of output is one JSON object.

    python benchmarks/training.py --quick
"""

import argparse
import dataclasses
import gc
import json
import multiprocessing
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

BATCH, TOKENS = 32, 64
LORA_RANK = 8
MEMORY_STEPS = 4
VARIANTS = ("default", "axes_all", "low_rank_0", "low_rank_8", "half_closed", "lora", "full")
"""default: ModelConfig and GateConfig as they are. axes_all, low_rank_0 and low_rank_8 change
one field of it. half_closed: the last phase, half of the gates closed and left out."""

COLUMNS = {
    "s/step": ("seconds", 1, 3),
    "/ LoRA": ("time_vs_lora", 1, 2),
    "CPU s": ("cpu_seconds", 1, 3),
    "/ LoRA ": ("cpu_time_vs_lora", 1, 2),
    "s / full": ("time_vs_full", 1, 2),
    "peak MB": ("peak_bytes", 1e6, 0),
    " / LoRA": ("memory_vs_lora", 1, 2),
    "saved MB": ("saved_bytes", 1e6, 0),
    " / LoRA ": ("saved_vs_lora", 1, 2),
    "trained": ("trained", 1, 0),
}
"""Title -> (figure, its unit in the table, digits). A ratio stands right of its figure."""


def main() -> None:
    """Measure, print a table, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few steps, for a smoke test")
    parser.add_argument("--steps", type=int, default=None, help="timed rounds (default 20)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--only", default="", help="comma-separated variants")
    options = parser.parse_args()
    names = tuple(options.only.split(",")) if options.only else VARIANTS
    if unknown := set(names) - set(VARIANTS):
        parser.error(f"unknown variants {sorted(unknown)}; choose from: {', '.join(VARIANTS)}")
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # before torch is imported
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    rounds = options.steps or (4 if options.quick else 20)
    memory = {name: _in_own_process(name, options.device, options.threads) for name in names}
    times = measure_times(names, rounds, options.device, options.threads)
    report = summarise(times, memory)
    print_table(report, rounds, options.device, options.threads)
    print(json.dumps(_figures(report, rounds, options.device, options.threads)))


def _in_own_process(name: str, device: str, threads: int) -> dict[str, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure_memory, (name, device, threads))


def build(name: str, device: str) -> Any:
    """A variant's model in training mode, with the plan of its gates (None: no gates)."""
    import torch
    from transformers import logging

    from finegates_engine.backbone import local_folder
    from finegates_engine.config import GateConfig, ModelConfig
    from finegates_engine.gates.closing import closed_at_target
    from finegates_engine.gates.compact import compact
    from finegates_engine.gates.model import add_gates, build_model
    from finegates_engine.gates.sparsity import plan_gates

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    config, gates = ModelConfig(), GateConfig()
    if name.startswith("low_rank_"):
        config = dataclasses.replace(config, low_rank=int(name.rpartition("_")[2]))
    if name == "axes_all":
        gates = dataclasses.replace(gates, axes="all")
    model = build_model(local_folder(config.backbone), config, outputs=2, seed=0)
    plan = None
    if name == "lora":
        _add_lora(model)
    elif name == "full":
        model.requires_grad_(True)
    else:
        bank = add_gates(model, gates, config, seed=0)
        plan = plan_gates(model, gates)
        if name == "half_closed":
            bank.fix(closed_at_target(bank, plan, 0.5))
    model.train().to(torch.device(device))
    if name == "half_closed":
        compact(model)
    return model, plan


def _add_lora(model: Any) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    places = "|".join(path.replace(".", r"\.") for path in model.architecture.modules.values())
    blocks = model.architecture.blocks.replace(".", r"\.")
    lora = LoraConfig(r=LORA_RANK, lora_alpha=16, target_modules=rf"{blocks}\.\d+\.({places})")
    inject_adapter_in_model(lora, model.network)
    count = sum(hasattr(module, "lora_A") for module in model.modules())
    assert count == len(model.blocks()) * len(model.architecture.modules), count


def make_step(model: Any, plan: Any, device: str) -> Callable[[], None]:
    """One step as in training: forward, loss and penalty, backward, clipping, AdamW."""
    import torch
    from torch.nn.functional import cross_entropy

    from finegates_engine.config import TrainConfig
    from finegates_engine.gates.sparsity import penalty, shift_to_target

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 30000, (BATCH, TOKENS), generator=generator).to(device)
    mask = torch.ones_like(ids)
    labels = torch.randint(0, 2, (BATCH,), generator=generator).to(device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)
    norm = TrainConfig().max_grad_norm

    def step() -> None:
        loss = cross_entropy(model(ids, mask), labels)
        gates = model.gates
        learned = plan is not None and not gates.fixed
        if learned and plan.config.controller != "shift":
            loss = loss + plan.config.penalty_weight * penalty(gates, plan, plan.config.target)
        loss.backward()
        if norm:
            torch.nn.utils.clip_grad_norm_(trained, norm)
        optimizer.step()
        optimizer.zero_grad()
        if learned and plan.config.controller == "shift":
            shift_to_target(gates, plan, plan.config.target)
        if device != "cpu":
            torch.cuda.synchronize()

    return step


def measure_times(
    names: tuple[str, ...], rounds: int, device: str, threads: int
) -> dict[str, list[tuple[float, float]]]:
    """Seconds and CPU seconds of each step of each variant, which take turns in every round."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    steps = {name: make_step(*build(name, device), device) for name in names}
    for step in steps.values():  # the first steps allocate optimiser state and choose kernels
        step()
        step()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    shuffled = random.Random(0)
    gc.disable()
    for done in range(rounds):
        for name in shuffled.sample(names, len(names)):
            begun, begun_cpu = time.perf_counter(), time.process_time()
            steps[name]()
            seconds = time.perf_counter() - begun, time.process_time() - begun_cpu
            times[name].append(seconds)
        gc.collect()
        if sys.stderr.isatty():
            print(f"\r{done + 1}/{rounds} rounds", end="", file=sys.stderr, flush=True)
    gc.enable()
    return times


def measure_memory(name: str, device: str, threads: int) -> dict[str, float]:
    """Peak above the loaded model, bytes saved for the backward pass, trained values."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model, plan = build(name, device)
    step = make_step(model, plan, device)
    with torch.no_grad():  # touch every weight, which may be mapped from its file; load kernels
        touched = sum(float(parameter.sum()) for parameter in model.parameters())
        model(torch.ones(1, 8, dtype=torch.int64, device=device), torch.ones(1, 8, device=device))
    assert touched == touched
    gc.collect()
    loaded = _memory(device, peak=False)
    _reset_peak(device)
    for _ in range(MEMORY_STEPS):
        step()
    peak = _memory(device, peak=True) - loaded
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {"peak_bytes": peak, "saved_bytes": saved_bytes(model, device), "trained": trained}


def saved_bytes(model: Any, device: str) -> int:
    """Bytes that the forward pass keeps for the backward pass, parameters not counted."""
    import torch
    from torch.nn.functional import cross_entropy

    known = {p.untyped_storage().data_ptr() for p in model.parameters()}
    known |= {b.untyped_storage().data_ptr() for b in model.buffers()}
    kept: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    ids = torch.full((BATCH, TOKENS), 2000, device=device)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = model(ids, torch.ones_like(ids))
        loss = cross_entropy(logits, torch.zeros(BATCH, dtype=torch.int64, device=device))
    total = sum(storage.nbytes() for storage in kept.values())
    del loss
    return total


def _memory(device: str, *, peak: bool) -> float:
    if device != "cpu":
        import torch

        return float(torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated())
    field = "VmHWM:" if peak else "VmRSS:"
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(field))
    return float(line.split()[1]) * 1024


def _reset_peak(device: str) -> None:
    if device != "cpu":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # sets VmHWM to the present resident size; Linux 4.0 or newer


def summarise(
    times: dict[str, list[tuple[float, float]]], memory: dict[str, dict[str, float]]
) -> dict[str, dict[str, float]]:
    """Figures of each variant, with ratios to lora and full where these were measured."""
    report = {}
    for name, seconds in times.items():
        wall, cpu = zip(*seconds, strict=True)
        row = {"seconds": statistics.median(wall), "cpu_seconds": statistics.median(cpu)}
        row |= memory[name]
        for other in ("lora", "full"):
            if other in times:
                for place, kind in enumerate(("time", "cpu_time")):
                    pairs = zip(seconds, times[other], strict=True)
                    ratios = [one[place] / two[place] for one, two in pairs]
                    row[f"{kind}_vs_{other}"] = statistics.median(ratios)
                row[f"memory_vs_{other}"] = row["peak_bytes"] / memory[other]["peak_bytes"]
                row[f"saved_vs_{other}"] = row["saved_bytes"] / memory[other]["saved_bytes"]
        report[name] = row
    return report


def print_table(
    report: dict[str, dict[str, float]], rounds: int, device: str, threads: int
) -> None:
    """The report for people."""
    print(f"MiniLM, {BATCH} x {TOKENS} tokens, {device}, {threads} thread(s), {rounds} rounds")
    print("variant".ljust(12) + "".join(title.rjust(11) for title in COLUMNS))
    for name, row in report.items():
        cells = [
            f"{row.get(key, float('nan')) / unit:,.{digits}f}"
            for key, unit, digits in COLUMNS.values()
        ]
        print(name.ljust(12) + "".join(cell.rjust(11) for cell in cells))


def _figures(
    report: dict[str, dict[str, float]], rounds: int, device: str, threads: int
) -> dict[str, Any]:
    """The default's figures by their plain names, then every variant under its own."""
    run = {"device": device, "threads": threads, "rounds": rounds}
    return {**report.get("default", {}), **run, "variants": report}


if __name__ == "__main__":
    main()
