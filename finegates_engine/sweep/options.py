"""Command-line options made from the fields of the config dataclasses. No torch."""

import ast
import dataclasses
import enum
import functools
import inspect
import itertools
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from rich.markup import escape

from finegates_engine.config import (
    GateConfig,
    ModelConfig,
    RunConfig,
    TaskConfig,
    TrainConfig,
    from_json,
    to_json,
)

SECTIONS: dict[str, tuple[str, type[Any]]] = {
    "task": ("Task", TaskConfig),
    "model": ("Model", ModelConfig),
    "gates": ("Gates", GateConfig),
    "train": ("Training", TrainConfig),
    "": ("Sweep", RunConfig),
}
"""Part of RunConfig -> help panel and dataclass; "" holds its own plain fields."""

ELSEWHERE = {
    "gates.target": "--targets",
    "seed": "--seeds",
    "path": "--strategy",
    "processes": "accelerate launch",
}
"""Fields that a sweep varies, and what does it: an option, or the way it is started."""

_RENAMED = {"task.name": "task"}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


@dataclass(frozen=True)
class ConfigOption:
    """One field of the config as an option."""

    place: tuple[str, str]
    """Part of RunConfig ("" for its own fields) and name of the field."""

    parameter: str
    """Name of the Python parameter; the option is the same with dashes."""

    annotation: Any
    """What typer makes the option from."""


def config_options() -> Iterator[ConfigOption]:
    """An option for every field but those that a sweep varies."""
    for part, (panel, owner) in SECTIONS.items():
        hints, texts = get_type_hints(owner), field_texts(owner)
        for field in dataclasses.fields(owner):
            full = f"{part}.{field.name}" if part else field.name
            if full in ELSEWHERE or dataclasses.is_dataclass(hints[field.name]):
                continue
            name = _RENAMED.get(full, field.name)
            info = owner.__pydantic_fields__[field.name]
            annotation = _annotation(info, texts[field.name], name, hints[field.name], panel)
            yield ConfigOption((part, field.name), name, annotation)


def with_config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with all config options added; it gets them as `given`, without those left out.

    `given` maps (part, field) to the value, as `apply_options` takes it.
    """
    options = {option.parameter: option for option in config_options()}
    own = [p for p in inspect.signature(command).parameters.values() if p.name != "given"]

    @functools.wraps(command)
    def wrapper(**values: Any) -> Any:
        chosen = {name: values.pop(name) for name in options}
        given = {options[n].place: _plain(v) for n, v in chosen.items() if v is not None}
        return command(**values, given=given)

    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option.annotation
        )
        for name, option in options.items()
    ]
    keyword = inspect.Parameter.KEYWORD_ONLY
    everything = [*(p.replace(kind=keyword) for p in own), *added]
    wrapper.__signature__ = inspect.Signature(everything)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in everything}
    return wrapper


def apply_options(base: RunConfig, given: Mapping[tuple[str, str], Any]) -> RunConfig:
    """The config with some fields replaced. Raises UserError that names a bad field."""
    plain = to_json(base)
    for (part, name), value in given.items():
        if (part, name) == ("task", "text_fields"):
            value = [field.strip() for field in value.split(",") if field.strip()]
        (plain[part] if part else plain)[name] = value
    return from_json(plain)


def _annotation(info: Any, text: str, name: str, hint: Any, panel: str) -> Any:
    flag = f"--{name.replace('_', '-')}"
    kind = _kind(hint)
    notes = ", ".join([*_bounds(info.metadata), f"default {_shown(info.default)}"])
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if kind is bool else flag,
        help=escape(f"{text} ({notes})"),
        show_default=False,
        rich_help_panel=panel,
    )
    if get_origin(kind) is Literal:
        kind = _choices(name, get_args(kind))
    return Annotated[kind | None, option]


def field_texts(owner: type[Any]) -> dict[str, str]:
    """Field -> the text under it in its dataclass. Pydantic can read them too, but at import."""
    (made,) = ast.parse(inspect.getsource(owner)).body
    assert isinstance(made, ast.ClassDef)
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in itertools.pairwise(made.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _choices(name: str, values: tuple[str, ...]) -> Any:
    """An enumeration, from which typer knows what is allowed."""
    make: Any = enum.Enum
    return make(name, {value: value for value in values})


def _kind(hint: Any) -> Any:
    """The type that is written on the command line."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = [part for part in get_args(hint) if part is not type(None)]
    return str if get_origin(hint) is tuple else hint


def _bounds(metadata: list[Any]) -> list[str]:
    return [
        f"{word} {getattr(limit, name):g}"
        for limit in metadata
        for name, word in _BOUNDS.items()
        if getattr(limit, name, None) is not None
    ]


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    if default is None:
        return "none"
    return (",".join(default) or "none") if isinstance(default, tuple) else str(default)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value
