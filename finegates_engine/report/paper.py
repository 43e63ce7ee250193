"""Figures of the FineGates papers, for columns beside ours. No torch.

As printed in arXiv 2412.12951 (table 2; training data cut to the first 10,000 rows for SST-2, MNLI,
QNLI and QQP; median of five seeds) and arXiv 2602.09169. Matthews correlation for CoLA, Pearson
correlation for STS-B, accuracy otherwise, all times 100.
"""

from dataclasses import dataclass

V1, V2 = "2412.12951", "2602.09169"
_TASKS = ("cola", "stsb", "mrpc", "rte", "sst2", "mnli", "qnli", "qqp")


@dataclass(frozen=True)
class PaperRow:
    """One row of a paper's table."""

    source: str
    """arXiv number."""

    backbone: str
    method: str
    trained: str
    """Trainable parameters without the head, as printed."""

    scores: dict[str, float]
    """Task to score times 100."""


def _row(source: str, backbone: str, method: str, trained: str, *scores: float) -> PaperRow:
    return PaperRow(source, backbone, method, trained, dict(zip(_TASKS, scores, strict=True)))


_BASE, _LARGE = "RoBERTa-base", "RoBERTa-large"
PAPER: tuple[PaperRow, ...] = (
    _row(V1, _BASE, "Full finetuning", "125M", 63.6, 90.9, 90.2, 80.5, 92.8, 81.4, 87.7, 85.2),
    _row(V1, _BASE, "LoRA", "0.3M", 63.4, 91.5, 89.7, 86.6, 94.3, 81.3, 89.8, 85.0),
    _row(V1, _BASE, "FineGates", "0.17M", 65.7, 90.8, 90.0, 83.4, 94.0, 81.3, 89.1, 84.9),
    _row(
        V1, _BASE, "FineGates, 12M removed", "0.17M", 65.2, 90.7, 89.2, 81.3, 94.0, 80.6, 88.8, 84.3
    ),
    _row(
        V1, _BASE, "FineGates, 25M removed", "0.17M", 61.4, 90.5, 87.7, 78.0, 93.8, 79.4, 87.6, 83.7
    ),
    _row(V2, _BASE, "FineGates", "0.17M", 65.7, 91.0, 90.2, 83.4, 94.7, 85.8, 92.3, 89.2),
    _row(V1, _LARGE, "Full finetuning", "355M", 68.0, 92.3, 90.9, 86.6, 93.5, 85.9, 92.4, 85.8),
    _row(V1, _LARGE, "LoRA", "0.8M", 68.2, 92.6, 90.9, 87.4, 96.2, 87.2, 93.2, 86.5),
    _row(V1, _LARGE, "FineGates", "0.4M", 71.4, 92.1, 90.9, 90.2, 96.2, 86.2, 92.4, 86.1),
    _row(
        V1, _LARGE, "FineGates, 35M removed", "0.4M", 69.5, 91.8, 90.4, 89.2, 96.1, 85.0, 92.1, 86.1
    ),
    _row(
        V1, _LARGE, "FineGates, 70M removed", "0.4M", 68.1, 91.3, 90.2, 87.0, 95.3, 85.0, 92.0, 85.2
    ),
    _row(V2, _LARGE, "FineGates", "0.4M", 71.4, 92.3, 91.2, 90.2, 96.0, 89.1, 94.1, 89.4),
)


def paper_rows(task: str) -> list[PaperRow]:
    """Rows that have a score of a task, in the order of the table."""
    return [row for row in PAPER if task in row.scores]
