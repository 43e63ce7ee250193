"""The model card of a bundle, README.md with a header that the Hugging Face hub reads. No torch."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from finegates_engine.analysis.intervals import bootstrap_interval
from finegates_engine.bundle.usage import usage, why_this_form
from finegates_engine.config import RunConfig
from finegates_engine.ladder import RUNGS
from finegates_engine.parity import FORM_NAMES, LABELS_AGREE, Certificate, Parity
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.sweep.command import sweep_command
from finegates_engine.tasks import TaskSpec
from finegates_engine.text.format import (
    MISSING,
    UNITS,
    bytes_text,
    count_text,
    metric_label,
    score_text,
    share_text,
)
from finegates_engine.text.markdown import plain, table
from finegates_engine.timing.stored import DENSE, PRUNED, TimingFile

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,59}")


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What the card of one bundle says."""

    run: StoredRun
    task: TaskSpec
    train_rows: int
    certificate: Certificate
    form: Literal["folded", "transformers"]
    licence: str | None
    """Of the base model, as its own card says. None: it does not say."""

    model_bytes: int
    """Of model.safetensors."""

    onnx_bytes: int | None
    """Of model.onnx. None: there is none."""

    stored_weight_fraction: float
    """Weights in the blocks of this form, zeros included, over the dense encoder's."""

    timings: Mapping[str, TimingFile]
    """Fingerprint of a machine to the timings of the folded model."""


def model_card(facts: CardFacts) -> str:
    """The whole README.md."""
    parts = [
        _header(facts),
        _title(facts),
        _scores(facts),
        "## How to use it\n\n"
        + usage(
            form=facts.form,
            pair=len(facts.task.text_fields) == 2,
            onnx=facts.onnx_bytes is not None,
        ),
        why_this_form(
            facts.run.run_id,
            form=facts.form,
            pooling=facts.run.config.model.pooling,
            stored=facts.stored_weight_fraction,
            folded=facts.run.ladder.folded_encoder_fraction,
        ),
        _ladder(facts),
        _latency(facts),
        _parity(facts.certificate),
        _training(facts),
        _limits(facts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def base_licence(folder: Path) -> str | None:
    """The licence that the card of a model folder names. None: no card, or it names none."""
    from huggingface_hub.repocard import metadata_load

    try:
        found = (metadata_load(folder / "README.md") or {}).get("license")
    except Exception:  # a card that cannot be read names no licence
        return None
    return found if isinstance(found, str) and _LICENCE.fullmatch(found) else None


def _header(facts: CardFacts) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    record = facts.run.record
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=facts.task.hub_id or facts.task.name,
            dataset_config=facts.task.hub_config,
            dataset_name=facts.task.title,
            dataset_split=split,
            metric_type=metric,
            metric_value=round(value, 6),
        )
        for split, metric, value in _score_rows(facts)
        if value is not None
    ]
    base = record.identity.base_weights
    data = ModelCardData(
        base_model=base if _HUB_ID.fullmatch(base) else None,
        license=facts.licence,
        library_name="transformers" if facts.form == "transformers" else None,
        pipeline_tag="text-classification",
        tags=["finegates", "structured-pruning", facts.task.name],
        model_name=record.run_id,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml().strip()}\n---"


def _title(facts: CardFacts) -> str:
    ladder, base = facts.run.ladder, plain(facts.run.record.identity.base_weights)
    removed = share_text(ladder.folded_encoder_fraction)
    return (
        f"# {plain(facts.task.title)}, {removed} of the encoder's weights removed\n\n"
        f"{plain(facts.task.sentence)} This is {base}, fine-tuned on this task while gates learned "
        f"which dimensions it needs (FineGates, arXiv 2412.12951 and 2602.09169), with "
        f"{removed} of the encoder's Linear weights taken out. It gives the outputs of the gated "
        f"model that was trained, to rounding (see Parity). Run `{facts.run.run_id}`."
    )


def _scores(facts: CardFacts) -> str:
    rows = []
    for split, metric, value in _score_rows(facts):
        frame = facts.run.predictions
        frame = frame[frame["split"] == split]
        interval = bootstrap_interval(metric, [frame])
        trained = facts.run.record.metrics[split][metric]
        rows.append(
            (
                plain(metric_label(metric)),
                split,
                f"{len(frame):,}",
                score_text(value),
                score_text(trained),
                f"{interval.low:.3f} to {interval.high:.3f}",
            )
        )
    titles = ("Score", "Split", "Rows", "This model", "When trained", "95% interval, rows only")
    return (
        f"## Scores\n\n{table(titles, rows)}\n\n"
        "The interval resamples the evaluation rows (2,000 draws). It is of one seed, so it does "
        "not say how much another training would differ."
    )


def _score_rows(facts: CardFacts) -> Iterator[tuple[str, str, float | None]]:
    for split, scores in facts.certificate.metrics.items():
        for metric, value in scores.items():
            yield split, metric, value


def _ladder(facts: CardFacts) -> str:
    ladder, certificate = facts.run.ladder, facts.certificate
    gates = (
        f"{share_text(ladder.gate_sparsity)} ({ladder.gates_closed:,} of {ladder.gates_total:,})"
    )
    target = MISSING
    if ladder.target is not None:
        target = f"{share_text(ladder.target)} of {UNITS.get(str(ladder.target_unit), '')}"
    dense_macs = count_text(ladder.dense_macs_per_token)
    rows = {
        "target": target,
        "gate_sparsity": gates,
        "removed_weight_fraction": f"{share_text(ladder.removed_weight_fraction)} of the "
        f"{count_text(ladder.gated_weights)} in gated matrices",
        "folded_encoder_fraction": f"{share_text(ladder.folded_encoder_fraction)} of "
        f"{count_text(ladder.encoder_weights)}",
        "stored_weight_fraction": f"{share_text(facts.stored_weight_fraction)} of dense, zeros "
        "that fill up included",
        "removed_model_fraction": f"{share_text(ladder.removed_model_fraction)} of "
        f"{count_text(ladder.model_parameters)} parameters, embeddings included",
        "macs_per_token": f"{count_text(ladder.macs_per_token)} a token (dense: {dense_macs}; "
        f"rows of {ladder.macs_tokens} tokens)",
        "file_bytes": f"{bytes_text(facts.model_bytes)} (dense: "
        f"{bytes_text(certificate.dense_file_bytes)})",
    }
    shown = [(RUNGS[name].label, text) for name, text in rows.items()]
    return f"## From the target to what leaves\n\n{table(('Rung', 'Value'), shown)}"


def _latency(facts: CardFacts) -> str:
    rows = []
    for file in facts.timings.values():
        machine = plain(file.machine.accelerator or file.machine.cpu or file.machine.platform)
        for cell in file.cells:
            setting, speedup = cell.setting, cell.speedup
            threads = "1 thread" if setting.threads == 1 else f"{setting.threads} threads"
            rows.append(
                (
                    machine,
                    f"{setting.backend}, {setting.precision}, {threads}",
                    f"{setting.batch} x {setting.tokens}",
                    f"{1e3 * cell.variants[DENSE].latency.median:.3g}",
                    f"{1e3 * cell.variants[PRUNED].latency.median:.3g}",
                    f"{speedup.value:.2f}x ({speedup.low:.2f} to {speedup.high:.2f})",
                )
            )
    if not rows:
        return f"Latency was not measured: `finegates bench {facts.run.run_id}` does."
    note = "" if facts.form == "folded" else " These are of the folded form, not of this one."
    titles = ("Machine", "How", "Rows x tokens", "Dense, ms", "Pruned, ms", "Times as fast")
    return (
        f"### Latency\n\n{table(titles, rows)}\n\nMedians of interleaved calls; in brackets the "
        f"95% interval. Dense is the same model in the same form with nothing removed.{note}"
    )


def _parity(certificate: Certificate) -> str:
    rows = []
    for form, name in FORM_NAMES.items():
        parity: Parity | None = getattr(certificate, form)
        if parity is not None:
            agree = parity.label_agreement
            rows.append(
                (
                    name.removeprefix("the ").capitalize().replace("Onnx", "ONNX"),
                    f"{parity.rows:,}",
                    f"{parity.largest_difference:.1e} (at most {parity.bound:.1e})",
                    MISSING if agree is None else f"{agree:.2%} (at least {LABELS_AGREE:.1%})",
                    f"{parity.ties}",
                )
            )
    titles = ("Form", "Rows", "Largest difference of a logit", "Same label", "Ties")
    return (
        f"## Parity\n\n{table(titles, rows)}\n\n"
        "Against the gated model as it was trained, over all evaluation rows; ties, whose two best "
        "classes are closer than rounding, are not counted as labels. The indices that were kept "
        f"are in `kept.json`, SHA-256 `{certificate.kept_hash}`. All numbers: `certificate.json`."
    )


def _training(facts: CardFacts) -> str:
    config, record = facts.run.config, facts.run.record
    commit = record.environment.commit
    of_commit = "" if commit is None else f", commit `{commit[:12]}`"
    changed = " with changes" if record.environment.dirty else ""
    version = record.environment.versions.get("finegates_engine")
    return (
        "## How it was made\n\n"
        f"{facts.train_rows:,} training rows, cut to {config.task.max_tokens} tokens; "
        f"{_epochs(config)}, seed {config.seed}, method "
        f"`{config.method}`. Base weights frozen; trained: "
        f"{_trained(record.costs.trained_parameters)}. finegates-explorer {version}{of_commit}"
        f"{changed}, torch {record.environment.versions.get('torch')}. Again:\n\n"
        f"```bash\n{sweep_command(config)}\nfinegates prune {record.run_id} --out DIR"
        f"{' --compatible' if facts.form == 'transformers' else ''}"
        f"{' --onnx' if facts.onnx_bytes is not None else ''}\n```"
    )


def _epochs(config: RunConfig) -> str:
    epochs = f"{config.train.epochs:g} epochs"
    if not config.path:
        return epochs
    levels = ", ".join(f"{level:g}" for level in config.path)
    return (
        f"{epochs} at the first of the targets {levels}, {config.train.path_epochs:g} a level after"
    )


def _trained(counts: Mapping[Any, int]) -> str:
    names = {"low_rank": "low-rank updates"}
    return ", ".join(f"{names.get(k, k)} {n:,}" for k, n in counts.items() if n) or "nothing"


def _limits(facts: CardFacts) -> str:
    record, labels = facts.run.record, facts.task.labels
    base = plain(record.identity.base_weights)
    classes = "" if labels is None else f" Its classes: {', '.join(map(plain, labels))}."
    licence = f"The licence of {base} is `{facts.licence}`"
    if facts.licence is None:
        licence = f"The licence of {base} is not in its files: look it up before you pass this on"
    return (
        "## Limits\n\n"
        f"- It answers this one question: {plain(facts.task.sentence)}{classes}\n"
        "- The scores are of the evaluation rows above. Other texts, other languages and rows "
        f"longer than {record.config.task.max_tokens} tokens were not measured.\n"
        f"- What {base} learned from its own texts, prejudices included, is still in it.\n"
        f"- {licence}; the rows it was trained on have terms of their own. This folder holds no "
        "text of them."
    )
