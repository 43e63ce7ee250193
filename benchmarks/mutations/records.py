"""Damage to the JSON files of a run."""

import json
import random
from typing import Any

from mutations import Victim, mutation

VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63,
    -(2**63),
    10**18,
    10**400,
    1e308,
    -1e308,
    5e-324,
    float("nan"),
    float("inf"),
    "",
    "1",
    "x" * 200_000,
    "\x1b]0;owned\x07\x1b[31m",
    "<script>alert(1)</script><b>bold</b>",
    "[click](javascript:alert(1)) ![x](http://127.0.0.1/x) $x$ :bomb:",
    "../../../../etc/passwd",
    "\u202egnp.exe\u0000",
    "/dev/zero",
    [],
    {},
    [[[]]],
    list(range(20_000)),
    {f"key {number}": number for number in range(5000)},
)
JSON_FILES = "run.json", "certificate.json", "timing"


def _file(victim: Victim, random: random.Random) -> str:
    return random.choice([name for name in victim.there() if name.endswith(".json")])


def _places(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values in a JSON tree."""
    items: Any = ()
    if isinstance(values, dict):
        items = values.items()
    elif isinstance(values, list):
        items = list(enumerate(values))[:3]
    return [path, *(place for key, value in items for place in _places(value, (*path, key)))]


def _edit(victim: Victim, name: str, place: tuple[Any, ...], value: Any) -> None:
    """value: a function deletes the place."""
    values = json.loads((victim.folder / name).read_bytes())
    holder = values
    for key in place[:-1]:
        holder = holder[key]
    if callable(value):
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    victim.write(name, json.dumps(values).encode())


def _place(victim: Victim, name: str, random: random.Random) -> tuple[Any, ...]:
    values = json.loads((victim.folder / name).read_bytes())
    return random.choice([place for place in _places(values) if place])


@mutation(must=False)
def value_replaced(victim: Victim, random: random.Random) -> Any:
    """Wrong types, NaN, giant numbers, huge strings, markup, paths."""
    name = _file(victim, random)
    place, value = _place(victim, name, random), random.choice(VALUES)
    _edit(victim, name, place, value)
    return name, place, repr(value)[:60]


@mutation(must=False)
def record_value_replaced(victim: Victim, random: random.Random) -> Any:
    """The same in run.json, which most depends on."""
    place, value = _place(victim, "run.json", random), random.choice(VALUES)
    _edit(victim, "run.json", place, value)
    return place, repr(value)[:60]


@mutation(must=False)
def text_replaced(victim: Victim, random: random.Random) -> Any:
    """A text of run.json by another: the type fits."""
    values = json.loads((victim.folder / "run.json").read_bytes())
    texts = []
    for place in _places(values):
        found = values
        for key in place:
            found = found[key]
        if isinstance(found, str):
            texts.append(place)
    place = random.choice(texts)
    value = random.choice([value for value in VALUES if isinstance(value, str)])
    _edit(victim, "run.json", place, value)
    return place, value[:40]


@mutation(must=False)
def key_missing(victim: Victim, random: random.Random) -> Any:
    """One name and its value gone."""
    name = _file(victim, random)
    place = _place(victim, name, random)
    _edit(victim, name, place, lambda: None)
    return name, place


@mutation()
def key_added(victim: Victim, random: random.Random) -> Any:
    """Names that no run.json has: one, or very many."""
    values = json.loads((victim.folder / "run.json").read_bytes())
    count = random.choice([1, 40_000])
    values |= {f"more {number}": 1 for number in range(count)}
    victim.write("run.json", json.dumps(values).encode())
    return count


@mutation()
def metrics_without_end(victim: Victim, random: random.Random) -> Any:
    """Each metric is a column of the listing."""
    many = {f"metric_{number}": 0.5 for number in range(random.choice([100, 10_000]))}
    values = json.loads((victim.folder / "run.json").read_bytes())
    values["metrics"]["validation"] |= many
    victim.write("run.json", json.dumps(values).encode())
    return len(many)


@mutation()
def nested_deeply(victim: Victim, random: random.Random) -> Any:
    """Brackets in brackets."""
    name = _file(victim, random)
    depth, mark = random.choice([300, 30_000, 200_000]), random.choice(["[", '{"a":'])
    close = "]" if mark == "[" else "1}"
    data = (victim.folder / name).read_text().rstrip()[:-1]
    deep = mark * depth + (close * depth if random.random() < 0.5 else "")
    victim.write(name, f'{data}, "deep": {deep}}}'.encode())
    return name, depth


@mutation()
def json_cut(victim: Victim, random: random.Random) -> Any:
    """The end is missing."""
    name = _file(victim, random)
    data = (victim.folder / name).read_bytes().rstrip()
    victim.write(name, data[: random.randrange(len(data) - 1)])
    return name


@mutation()
def json_of_another_kind(victim: Victim, random: random.Random) -> Any:
    """No object, or no UTF-8."""
    name = _file(victim, random)
    data = random.choice([b"[]", b"null", b"1", b'""', b"\xff\xfe{}", b"{}", b'{"a": "\\ud800"}'])
    victim.write(name, data)
    return name, data


@mutation(must=False)
def json_bytes_flipped(victim: Victim, random: random.Random) -> Any:
    """One to three bytes are others."""
    name = _file(victim, random)
    data = bytearray((victim.folder / name).read_bytes())
    for _ in range(random.randint(1, 3)):
        data[random.randrange(len(data))] = random.randrange(256)
    victim.write(name, bytes(data))
    return name


@mutation()
def json_far_too_large(victim: Victim, random: random.Random) -> Any:
    """A file of a gigabyte that takes no disk, or megabytes of spaces."""
    name = _file(victim, random)
    if random.random() < 0.5:
        victim.write(name, (victim.folder / name).read_bytes() + b" " * 5_000_000)
    else:
        victim.write(name, b"{}")
        with open(victim.folder / name, "r+b") as file:
            file.truncate(2**30)
    return name


@mutation()
def wrong_hash(victim: Victim, random: random.Random) -> Any:
    """run.json says another checksum, or another size."""
    values = json.loads((victim.folder / "run.json").read_bytes())
    name = random.choice(sorted(values["files"]))
    if random.random() < 0.5:
        values["files"][name]["sha256"] = f"{random.randrange(16**64):064x}"
    else:
        values["files"][name]["bytes"] = random.choice([0, 1, 10**15, 2**63])
    victim.write("run.json", json.dumps(values).encode())
    return name


@mutation()
def of_another_run(victim: Victim, random: random.Random) -> Any:
    """The id or the task of another run, or another version of the format."""
    key, value = random.choice(
        [
            ("run_id", "sst2-finegates-t0.40-s0-0123456789ab"),
            ("run_id", "../../x"),
            ("schema_version", 2),
            ("schema_version", "1"),
        ]
    )
    _edit(victim, "run.json", (key,), value)
    return key, value
