"""A tiny random BERT with its tokenizer, and small tasks, so that a training takes a second."""

import json
import os
import random
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

from finegates_engine.config import RunConfig, from_json

REPOSITORY = Path(__file__).parents[1]

NOUNS = ("film", "play", "book", "song", "meal", "walk", "game", "talk")
WORDS = {"good": ("good", "great", "fine", "lovely"), "bad": ("bad", "poor", "dull", "awful")}


def save_tiny_backbone(folder: Path, *, seed: int = 0) -> Path:
    """BERT with 2 layers of 32, 4 heads and an FFN of 64; words of the tasks, else letters."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
    words = ("a", "the", "is", "was", *NOUNS, *WORDS["good"], *WORDS["bad"])
    letters = string.ascii_lowercase + string.digits + ".,'-?!"
    vocab = dict.fromkeys((*special, *words, *letters, *(f"##{letter}" for letter in letters)))
    ids = {token: i for i, token in enumerate(vocab)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), special, strict=True))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=256, **names)
    fast.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(ids),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=256,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
    return folder


def write_task(folder: Path, *, rows: int = 96, validation: int = 40) -> Path:
    """A folder of train.jsonl and validation.jsonl: is a short review good or bad?"""
    folder.mkdir(parents=True, exist_ok=True)
    generator = random.Random(7)
    for split, count in (("train", rows), ("validation", validation)):
        lines = []
        for row in range(count):
            label = ("bad", "good")[row % 2]
            text = f"the {generator.choice(NOUNS)} was {generator.choice(WORDS[label])} {row}"
            lines.append(json.dumps({"text": text, "label": label}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def tiny_config(backbone: Path, task: Path, /, **parts: Any) -> RunConfig:
    """A config whose training takes about a second: 12 steps, gates final for the last third."""
    values: dict[str, Any] = {
        "task": {"name": "reviews", "data": str(task), "text_fields": ["text"]},
        "model": {"backbone": str(backbone)},
        "gates": {"target": 0.0, "open_start": 0.2, "ramp": 0.2, "finish": 0.3},
        "train": {"epochs": 2.0, "path_epochs": 1.0, "batch_size": 16},
    }
    for part, changes in parts.items():
        values[part] = {**values.get(part, {}), **changes} if isinstance(changes, dict) else changes
    return from_json(values)


def cli_command(*arguments: str | Path) -> list[str]:
    """The command line in a process of its own, whether or not the package is installed."""
    code = "from finegates_engine.cli.entry import main; main()"
    return [sys.executable, "-c", code, *map(str, arguments)]


def child_environment() -> dict[str, str]:
    """Of a child process that imports this repository."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200", "NO_COLOR": "1"}


def run_cli(*arguments: str | Path, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
    """The command line in a process of its own, to its end."""
    return subprocess.run(
        cli_command(*arguments),
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
