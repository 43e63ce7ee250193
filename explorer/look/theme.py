"""How everything looks: one colour, dash and marker a method, and the figures' templates.

Colours are Okabe and Ito's, which colour-blind readers tell apart; FineGates has the one strong
colour and controls are grey; yellow is left out, for it cannot be seen on white. Colour is never
the only mark: dash and marker go with it.
"""

import functools
import zlib
from dataclasses import dataclass

import plotly.graph_objects as go

from finegates_engine.method_table import METHODS as METHOD_SPECS

ORANGE, SKY, GREEN = "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
GREY, PALE_GREY = "#7F7F7F", "#A6A6A6"
STRONG = VERMILLION
"""FineGates, and what a page is about."""

TEXT = {False: "#262522", True: "#EDEBE6"}
QUIET = {False: "#6B6963", True: "#A8A59D"}
GRID = {False: "#E4E2DC", True: "#3A3833"}
PAPER = {False: "#FFFFFF", True: "#171614"}
FONT = "'Source Sans', 'Source Sans 3', Helvetica, Arial, sans-serif"


@dataclass(frozen=True)
class MethodStyle:
    """The marks of one method, the same on every page."""

    label: str
    colour: str
    dash: str = "solid"
    symbol: str = "circle"
    control: bool = False
    """A control shows what a method must beat; it stays in the background."""

    @property
    def short(self) -> str:
        """Its name where there is little room."""
        label, after, _ = self.label.partition(", no training after")
        return _SHORT.get(label, label) + (" post hoc" if after else "")


METHODS: dict[str, MethodStyle] = {
    "finegates": MethodStyle("FineGates", STRONG),
    "full": MethodStyle("Full finetuning", BLUE, "dot", "square"),
    "taylor": MethodStyle("First-order Taylor", GREEN, "longdashdot", "triangle-up"),
    "random": MethodStyle("Random gates", GREY, "dash", "x", control=True),
    "magnitude": MethodStyle("Magnitude", PALE_GREY, "longdash", "cross", control=True),
    "lora": MethodStyle("LoRA", SKY, "dashdot", "diamond"),
}
"""Method of a run's config -> its marks, for those that most figures show."""

_SHORT = {"Activation-weighted magnitude": "Activation", "First-order Taylor": "Taylor"}

_OTHER_COLOURS = (PURPLE, ORANGE, SKY, BLUE, GREEN)
_OTHER_DASHES = ("longdashdot", "dash", "dashdot", "longdash", "dot")
_OTHER_SYMBOLS = ("triangle-up", "star", "pentagon", "hexagon", "diamond-wide", "bowtie")
_VARIANT_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_VARIANT_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "star", "pentagon", "hexagon")


def method_style(method: str) -> MethodStyle:
    """The marks of a method, the same whatever else is shown; of an unknown one too.

    Other methods of the engine's table take colours in its order, with a dash of their own.
    """
    if method in METHODS:
        return METHODS[method]
    others = [name for name in METHOD_SPECS if name not in METHODS]
    known = method in METHOD_SPECS
    number = others.index(method) if known else zlib.crc32(method.encode())
    label = METHOD_SPECS[method].label if known else method.replace("_", " ").capitalize()
    dash = number // len(_OTHER_COLOURS) % len(_OTHER_DASHES)
    return MethodStyle(
        label,
        _OTHER_COLOURS[number % len(_OTHER_COLOURS)],
        _OTHER_DASHES[dash],
        _OTHER_SYMBOLS[number % len(_OTHER_SYMBOLS)],
        control=method.startswith("random"),
    )


def place_of(method: str) -> tuple[bool, int]:
    """Where a method stands in a list: FineGates first, controls last, else the table's order."""
    order = list(METHOD_SPECS)
    place = order.index(method) if method in METHOD_SPECS else len(order)
    return method_style(method).control, place


def variant_marks(style: MethodStyle, number: int) -> tuple[str, str]:
    """(dash, marker) of a method's variant; number 0 is the method's own."""
    if number == 0:
        return style.dash, style.symbol
    dashes = [dash for dash in _VARIANT_DASHES if dash != style.dash]
    symbols = [symbol for symbol in _VARIANT_SYMBOLS if symbol != style.symbol]
    return dashes[(number - 1) % len(dashes)], symbols[(number - 1) % len(symbols)]


def pale(colour: str, strength: float = 0.16) -> str:
    """A colour as it fills a band: "rgba(...)" of the given opacity, 0 to 1."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{strength:g})"


@functools.cache
def template(dark: bool = False) -> go.layout.Template:
    """Plotly's template for the light or the dark page: quiet axes, room for labels."""
    axis = {
        "gridcolor": GRID[dark],
        "linecolor": GRID[dark],
        "zeroline": False,
        "tickfont": {"color": QUIET[dark], "size": 13},
        "title": {"font": {"color": TEXT[dark], "size": 14}, "standoff": 12},
        "automargin": True,
    }
    return go.layout.Template(
        layout=go.Layout(
            font={"family": FONT, "size": 14, "color": TEXT[dark]},
            paper_bgcolor=PAPER[dark],
            plot_bgcolor="rgba(0,0,0,0)",
            title={"x": 0, "xanchor": "left", "xref": "container", "font": {"size": 19}},
            margin={"l": 8, "r": 8, "t": 56, "b": 8},
            xaxis=axis,
            yaxis=axis,
            colorway=[STRONG, BLUE, GREEN, PURPLE, ORANGE, SKY],
            hoverlabel={
                "font": {"family": FONT, "size": 13, "color": TEXT[dark]},
                "bgcolor": PAPER[dark],
                "bordercolor": QUIET[dark],
                "align": "left",
            },
            legend={"orientation": "h", "y": -0.2, "x": 0},
            modebar={"bgcolor": "rgba(0,0,0,0)", "color": QUIET[dark], "activecolor": TEXT[dark]},
        )
    )


def note_figure(text: str, *, dark: bool = False, height: int = 260) -> go.Figure:
    """An empty figure that says why it is empty."""
    figure = go.Figure()
    figure.update_layout(template=template(dark), height=height)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.add_annotation(
        text=text, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper", font={"size": 15}
    )
    return figure
