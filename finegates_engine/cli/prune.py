"""`finegates prune`: a run's certificate, and its smaller model as a bundle. No torch until it
folds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from rich.console import Console
from rich.text import Text

from finegates_engine.backbone import local_folder
from finegates_engine.cli.run import ladder_texts
from finegates_engine.cli.tables import make_table, output
from finegates_engine.errors import UserError, unknown
from finegates_engine.ladder import RUNGS
from finegates_engine.parity import FORM_NAMES, Certificate, Parity, to_bytes
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.text.format import (
    MISSING,
    bytes_text,
    metric_label,
    ms_text,
    run_words,
    score_text,
    share_text,
)
from finegates_engine.timing.stored import DENSE, PRUNED

if TYPE_CHECKING:
    from finegates_engine.bundle.pruned import BundleOptions, Pruned

Heads = Literal["auto", "padded", "spread"]
Residual = Literal["auto", "zeros", "gather"]


def run_prune(
    *,
    run: str,
    out: Path | None,
    store: Path,
    data: Path | None,
    round_to: int,
    heads: str,
    residual: str,
    onnx: bool,
    compatible: bool,
    backbone: Path | None,
    force: bool,
) -> None:
    """Make a run's model smaller, prove that it gives the same outputs, and write it as a bundle.

    A bundle holds weights, tokenizer, kept indices, certificate, model card and a loader that
    needs only torch, transformers and safetensors.
    """
    _check_choices(heads, residual)
    opened = RunStore(store)
    found = opened.find(run)
    if out is not None:
        from finegates_engine.bundle.folder import check_target

        check_target(out, force=force)
    folder = _backbone(found, backbone)
    from finegates_engine.bundle.pruned import BundleOptions, prune_run
    from finegates_engine.fold.block import FoldOptions
    from finegates_engine.prune.certify import task_of

    fold = FoldOptions(round_to=round_to, heads=heads, residual=residual)  # type: ignore[arg-type]
    options = BundleOptions(fold=fold, onnx=onnx, compatible=compatible)
    with _telling() as tell:
        tell("Reading the rows")
        made = prune_run(
            found,
            folder,
            task_of(found, data),
            options=options,
            target=out,
            force=force,
            keep=lambda certificate: _keep(opened, certificate),
            tell=tell,
        )
    _print(found, made, options, out)


def _check_choices(heads: str, residual: str) -> None:
    for name, value, kind in (("--heads", heads, Heads), ("--residual", residual, Residual)):
        if value not in get_args(kind):
            raise unknown(f"value of {name}", value, get_args(kind))


def _backbone(run: StoredRun, folder: Path | None) -> Path:
    """The base model's files. Raises UserError where they are not there."""
    if folder is None:
        return local_folder(run.config.model.backbone)
    if not folder.is_dir():
        raise UserError(f"Folder {str(folder)!r} of --backbone does not exist.")
    return local_folder(str(folder))


def _keep(store: RunStore, certificate: Certificate) -> None:
    """Into the run's folder; a store that cannot be written is no reason to stop."""
    try:
        store.add_file(certificate.run_id, "certificate.json", to_bytes(certificate))
    except UserError as error:
        warning = Text(f"The certificate is not kept in the store: {error}", style="yellow")
        Console(stderr=True).print(warning, soft_wrap=True)


@contextmanager
def _telling() -> Iterator[Callable[[str], None]]:
    """What is being done, on stderr: one line that changes, or plain lines into a file."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda text: console.print(Text(f"{text} ..."), soft_wrap=True)
        return
    with console.status("") as status:
        yield lambda text: status.update(Text(f"{text} ..."))


def _print(run: StoredRun, made: "Pruned", options: "BundleOptions", out: Path | None) -> None:
    console = output()
    console.print(Text(run.run_id, style="bold"), soft_wrap=True)
    _print_ladder(console, run, made, options)
    _print_parity(console, made.certificate)
    scores = [
        f"{metric_label(name)} {score_text(value)} on {split}"
        for split, values in made.certificate.metrics.items()
        for name, value in values.items()
    ]
    for line in (f"Pruned: {', '.join(scores)}.", *_next_lines(run, made, options, out)):
        console.print(Text(line), soft_wrap=True)


def _print_ladder(
    console: Console, run: StoredRun, made: "Pruned", options: "BundleOptions"
) -> None:
    table = make_table("Rung", "Value")
    certificate = made.certificate
    texts = ladder_texts(run.ladder)
    texts["stored_weight_fraction"] = (
        f"{share_text(made.stored_weight_fraction)} of dense, zeros that fill up included"
    )
    size = certificate.file_bytes if not options.compatible else None
    size = made.files.get("model.safetensors", size)
    if size is not None:
        dense = bytes_text(certificate.dense_file_bytes)
        texts["file_bytes"] = f"{bytes_text(size)} (dense: {dense})"
    for name, text in texts.items():
        table.add_row(RUNGS[name].label, text)
    for row in _latency_rows(run, made):
        table.add_row(*row)
    console.print(table)


def _latency_rows(run: StoredRun, made: "Pruned") -> list[tuple[str, str]]:
    rows = []
    for file in made.timings.values():
        for cell in file.cells:
            setting, median = cell.setting, {n: v.latency.median for n, v in cell.variants.items()}
            rows.append(
                (
                    f"Latency, {setting.batch} x {setting.tokens} tokens",
                    f"{ms_text(median[PRUNED])} ms (dense: {ms_text(median[DENSE])} ms), "
                    f"{cell.speedup.value:.2f}x as fast, {setting.backend} {setting.precision}, "
                    f"{file.machine.accelerator or file.machine.cpu}",
                )
            )
    label = RUNGS["latency_ms"].label
    return rows or [(label, f"not measured: finegates bench {run_words(run.run_id, run.root)}")]


def _print_parity(console: Console, certificate: Certificate) -> None:
    table = make_table("Against the gated model", "Rows", "Logits differ by", "at most", "Labels")
    for form, name in FORM_NAMES.items():
        parity: Parity | None = getattr(certificate, form)
        if parity is not None:
            agree = parity.label_agreement
            table.add_row(
                name,
                f"{parity.rows:,}",
                f"{parity.largest_difference:.1e}",
                f"{parity.bound:.1e}",
                MISSING if agree is None else f"{agree:.2%} the same",
            )
    console.print(table)


def _next_lines(
    run: StoredRun, made: "Pruned", options: "BundleOptions", out: Path | None
) -> list[str]:
    if out is None:
        words = run_words(run.run_id, run.root)
        return [f"Certified. As a bundle: finegates prune {words} --out DIR"]
    total = bytes_text(sum(made.files.values()))
    lines = [f"Written: {out} ({total}). What it is and how to use it: {out / 'README.md'}"]
    if options.compatible:
        loader = "from transformers import AutoModelForSequenceClassification as A"
        return [*lines, f'Load it: {loader}; model = A.from_pretrained("{out}")']
    return [*lines, f"Check it: cd {out} && python -m finegates_model"]
