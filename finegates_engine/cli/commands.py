"""`finegates prune`, `bench` and `explain`: their options; the work is done elsewhere. No torch.

Apart from their work, so that `finegates --help` loads neither pandas nor torch.
"""

from pathlib import Path
from typing import Annotated

import typer

from finegates_engine.cli.arguments import (
    DEFAULT_STORE,
    DeviceOption,
    JsonOption,
    RunArgument,
    StoreOption,
)

HeadsOption = Annotated[
    str,
    typer.Option(
        help="Heads of several widths: padded with zeros, spread after the product, or auto."
    ),
]
ResidualOption = Annotated[
    str,
    typer.Option(
        help="Closed dimensions outside of pairs: kept as zeros, left out with a gather, or auto."
    ),
]
CompatibleOption = Annotated[
    bool,
    typer.Option(
        "--compatible",
        help="Write a form that transformers loads by itself: only the FFN is smaller. For "
        "runs with --pooling model.",
    ),
]


def prune(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the bundle. Left out: only the certificate."),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Where the run's rows are now, if they have moved."),
    ] = None,
    round_to: Annotated[
        int, typer.Option(help="Fill widths up with zeros to a multiple of 1, 8, 16 or 32.")
    ] = 16,
    heads: HeadsOption = "auto",
    residual: ResidualOption = "auto",
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Also write model.onnx, certified in ONNX Runtime.")
    ] = False,
    compatible: CompatibleOption = False,
    backbone: Annotated[
        Path | None,
        typer.Option("--backbone", help="Folder of the base model, if it is elsewhere now."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a bundle that is in --out already.")
    ] = False,
) -> None:
    """Make a run's model smaller, prove that it gives the same outputs, and write it as a bundle.

    A bundle holds weights, tokenizer, kept indices, certificate, model card and a loader that
    needs only torch, transformers and safetensors.
    """
    from finegates_engine.cli.prune import run_prune

    run_prune(
        run=run,
        out=out,
        store=store,
        data=data,
        round_to=round_to,
        heads=heads,
        residual=residual,
        onnx=onnx,
        compatible=compatible,
        backbone=backbone,
        force=force,
    )


def bench(
    run: Annotated[
        str | None,
        typer.Argument(help="Id of a run, its beginning, its end or its hash. None with --matmul."),
    ] = None,
    device: DeviceOption = "cpu",
    batch: Annotated[str, typer.Option(help="Rows of a call, with commas.")] = "1,8,32",
    tokens: Annotated[str, typer.Option(help="Tokens of a row, with commas.")] = "16,64,128",
    threads: Annotated[str, typer.Option(help="Threads inside an operation, with commas.")] = "1",
    backend: Annotated[
        str, typer.Option(help="With commas: torch, compile (torch.compile), onnx (ONNX Runtime).")
    ] = "torch",
    precision: Annotated[str, typer.Option(help="With commas: fp32, bf16.")] = "fp32",
    budget: Annotated[
        float, typer.Option(help="Seconds for all cells; each has at least 15 rounds all the same.")
    ] = 300.0,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
    no_save: Annotated[
        bool, typer.Option("--no-save", help="Do not keep the timings in the store.")
    ] = False,
    matmul: Annotated[
        bool, typer.Option("--matmul", help="Time single matrices against sparsity, without a run.")
    ] = False,
    sizes: Annotated[
        str, typer.Option(help="With --matmul: rows x columns of matrices, with commas.")
    ] = "384x384,1536x384",
    rates: Annotated[
        str, typer.Option(help="With --matmul: shares of rows and of columns to remove.")
    ] = "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9",
) -> None:
    """Time a pruned run against its dense model and Hugging Face's, on this machine."""
    from finegates_engine.cli.bench import bench_matrices, bench_run
    from finegates_engine.cli.bench_options import parse_choices

    choices = parse_choices(
        device=device,
        batch=batch,
        tokens=tokens,
        threads=threads,
        backend=backend,
        precision=precision,
        budget=budget,
    )
    if matmul:
        bench_matrices(run, choices, sizes, rates, as_json=as_json)
    else:
        bench_run(run, store, choices, as_json=as_json, save=not no_save)


def explain(
    run: RunArgument,
    device: DeviceOption = "cpu",
    batch: Annotated[int, typer.Option(help="Rows of a call.")] = 1,
    tokens: Annotated[int, typer.Option(help="Tokens of a row.")] = 64,
    threads: Annotated[int, typer.Option(help="Threads inside an operation.")] = 1,
    budget: Annotated[
        float, typer.Option(help="Seconds to measure; at least 8 rounds are made all the same.")
    ] = 40.0,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Also time it in ONNX Runtime; exporting takes 15 s.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Where the time of a pruned run goes here, how fast it could be, and what to change."""
    from finegates_engine.cli.explain import run_explain

    run_explain(
        run=run,
        device=device,
        batch=batch,
        tokens=tokens,
        threads=threads,
        budget=budget,
        onnx=onnx,
        store=store,
        as_json=as_json,
    )
