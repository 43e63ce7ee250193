"""The small model's sizes as JSON, and what is refused there."""

import json
import math

import pytest
from folded_examples import MODEL, changed

from finegates_engine.folded import spec_from_json, spec_to_json


def test_sizes_survive_json():
    plain = json.loads(json.dumps(spec_to_json(MODEL), allow_nan=False))
    assert spec_from_json(plain) == MODEL


BLOCK = ("blocks", 0)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("vocabulary",), ..., "vocabulary is missing"),
        (("vocabulary",), "many", "vocabulary is 'many'"),
        (("vocabulary",), True, "vocabulary is True"),
        (("vocabulary",), -1, "vocabulary is -1"),
        (("vocabulary",), 0, "vocabulary is 0"),
        (("vocabulary",), 10**400, "vocabulary is 1000"),
        (("outputs",), 1.5, r"outputs is 1\.5"),
        (("positions",), 0, "positions is 0"),
        (("padding_id",), 100, "padding_id is 100"),
        (("pooling",), "max", "pooling is 'max'"),
        (("pooling",), None, "pooling is None"),
        (("more",), 1, "more is unknown"),
        (("kind",), ..., "kind is missing"),
        (("kind",), [], "kind is missing or no object"),
        (("kind", "hidden"), None, r"kind\.hidden is None"),
        (("kind", "hidden"), 0, r"kind\.hidden is 0"),
        (("kind", "head_size"), 0, r"kind\.head_size is 0"),
        (("kind", "norm"), "batch", r"kind\.norm is 'batch'"),
        (("kind", "activation"), "__import__", r"kind\.activation is '__import__'"),
        (("kind", "norm_eps"), math.nan, r"kind\.norm_eps is nan"),
        (("kind", "rotary_base"), math.inf, r"kind\.rotary_base is inf"),
        (("kind", "rotary_base"), -1.0, r"kind\.rotary_base is -1\.0"),
        (("kind", "causal"), 1, r"kind\.causal is 1"),
        (("kind", "__class__"), {}, r"kind\.__class__ is unknown"),
        (("blocks",), ..., "blocks is missing"),
        (("blocks",), {}, "blocks is missing or no list"),
        (("blocks",), [3], r"blocks\[0\] is missing or no object"),
        ((*BLOCK, "heads"), ..., r"blocks\[0\]\.heads is missing"),
        ((*BLOCK, "heads"), 3, r"blocks\[0\]\.attention_output|blocks\[0\]\.qkv"),
        ((*BLOCK, "key_value_heads"), 3, r"blocks\[0\]\.key_value_heads is 3"),
        ((*BLOCK, "key_value_heads"), 0, r"blocks\[0\]\.key_value_heads is 0"),
        ((*BLOCK, "width"), 5, r"blocks\[0\]\.width is 5"),
        ((*BLOCK, "width"), 0, r"blocks\[0\]\.width is 0"),
        ((*BLOCK, "ffn"), 4, r"blocks\[0\]\.ffn_in\.rows is 3"),
        ((*BLOCK, "qkv"), 4, r"blocks\[0\]\.qkv is 4"),
        ((*BLOCK, "qkv"), ..., r"blocks\[0\]\.qkv is missing"),
        ((*BLOCK, "qkv", "take_in"), 4, r"blocks\[0\]\.qkv\.columns is 5"),
        ((*BLOCK, "qkv", "take_out"), 11, r"blocks\[0\]\.qkv\.rows is 11"),
        ((*BLOCK, "qkv", "rows"), 2**31, r"blocks\[0\]\.qkv\.rows is 2147483648"),
        ((*BLOCK, "ffn_out", "rows"), 5, r"blocks\[0\]\.ffn_out\.rows is 5"),
        ((*BLOCK, "ffn_out", "bias"), "yes", r"blocks\[0\]\.ffn_out\.bias is 'yes'"),
        (("blocks", 1, "ffn_out", "take_out"), 6, r"blocks\[1\]\.ffn_out\.take_out is 6"),
        (("blocks", 1, "qkv", "rows"), 4, r"blocks\[1\]\.qkv\.rows is 4"),
    ],
)
def test_hostile_sizes_are_refused_by_name(path, value, named):
    with pytest.raises(ValueError, match=named):
        spec_from_json(changed(path, value))


@pytest.mark.parametrize("values", [None, [], "x", {}, {"format": "finegates-folded"}])
def test_other_files_are_refused(values):
    with pytest.raises(ValueError, match="not a finegates-folded file"):
        spec_from_json(values)


def test_another_version_is_refused():
    with pytest.raises(ValueError, match="not a finegates-folded file of version 1"):
        spec_from_json({**spec_to_json(MODEL), "version": 2})


def test_rotated_heads_need_an_even_width():
    plain = changed(("kind", "rotary_base"), 10.0)
    plain["kind"]["head_size"] = 5
    with pytest.raises(ValueError, match=r"kind\.head_size is 5"):
        spec_from_json(plain)
