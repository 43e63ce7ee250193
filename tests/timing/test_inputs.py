"""Models are timed on the run's own texts where they can be read, and it is said where not."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from tiny import tiny_config

from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.timing.inputs import TokenStream, most_tokens, token_stream


def run_of(backbone: Path, task: Path) -> StoredRun:
    return cast(StoredRun, SimpleNamespace(config=tiny_config(backbone, task)))


def test_rows_are_full_and_begin_again_when_the_stream_ends() -> None:
    stream = TokenStream(np.arange(5), "made up")
    assert stream.rows(2, 4).tolist() == [[0, 1, 2, 3], [4, 0, 1, 2]]
    assert stream.rows(1, 3).dtype == np.int64


def test_ids_are_those_of_the_evaluation_texts(tiny_backbone: Path, tiny_task: Path) -> None:
    from transformers import AutoTokenizer

    stream = token_stream(run_of(tiny_backbone, tiny_task), tiny_backbone)
    text = AutoTokenizer.from_pretrained(tiny_backbone).decode(stream.rows(1, 12)[0])
    assert text.startswith("[CLS] the ")
    assert stream.source == "evaluation texts of reviews"


def test_without_texts_ids_are_random_and_it_is_said_why(
    tiny_backbone: Path, tiny_task: Path, tmp_path: Path
) -> None:
    stream = token_stream(run_of(tiny_backbone, tmp_path / "gone"), tiny_backbone)
    assert stream.source.startswith("random ids of the vocabulary (")
    assert "gone" in stream.source
    ids = stream.rows(8, 64)
    assert len(np.unique(ids)) > 20
    assert ids.min() > 3  # no padding or other special token
    again = token_stream(run_of(tiny_backbone, tmp_path / "gone"), tiny_backbone)
    assert (again.ids == stream.ids).all()


@pytest.mark.parametrize(
    ("config", "most"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
    ],
)
def test_most_tokens_counts_positions_as_the_model_does(
    config: dict[str, Any], most: int, tmp_path: Path
) -> None:
    import json

    (tmp_path / "config.json").write_text(json.dumps(config))
    assert most_tokens(tmp_path) == most
