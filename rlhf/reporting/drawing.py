"""How a plot is drawn: Matplotlib without global state, as inline SVG in the page's own colours.

Text stays text, in the page's font. Colours are named, and become the page's CSS variables, so
that a plot follows light and dark. The same data give the same bytes.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS_PER_INCH = 72  # of Matplotlib's SVG: one point is one unit of the view box
WIDTH = 440
HEIGHT = 270
# Stand-ins that no drawing uses otherwise; `var(--...)` is no colour that Matplotlib accepts.
INK = "#010101"
SOFT = "#010102"
LINE = "#010103"
BLUE = "#010104"
ORANGE = "#010105"
GREY = "#010106"
TEAL = "#010107"
PURPLE = "#010108"
VARIABLES = {
    INK: "--ink",
    SOFT: "--soft",
    LINE: "--line",
    BLUE: "--plot-blue",
    ORANGE: "--plot-orange",
    GREY: "--plot-grey",
    TEAL: "--plot-teal",
    PURPLE: "--plot-purple",
}
SERIES = (BLUE, ORANGE, TEAL, PURPLE, GREY, INK)
POLICY_COLOURS = {"dpo": ORANGE, "ppo": BLUE, "rloo": TEAL, "rejection": PURPLE}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rlhf",
    "font.size": 14,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.titlecolor": SOFT,
    "axes.titlesize": 14,
    "axes.titlelocation": "left",
    "axes.labelsize": 14,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.labelsize": 13,
    "ytick.labelsize": 13,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 13,
    "legend.labelcolor": SOFT,
    "lines.linewidth": 2,
    "axes.unicode_minus": True,
    "path.simplify": True,
    "text.parse_math": False,
}


@contextmanager
def canvas(height: int = HEIGHT) -> Iterator["Figure"]:
    """A figure in our style; Matplotlib's settings, whoever changed them, are left as they were."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        inches = (WIDTH / POINTS_PER_INCH, height / POINTS_PER_INCH)
        figure = Figure(figsize=inches, layout="constrained")
        figure.patch.set_alpha(0)
        yield figure


def to_svg(figure: "Figure", name: str, description: str) -> Markup:
    """The figure as an inline SVG; `name` makes its ids its own, `description` is read aloud."""
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    drawn = io.StringIO()
    # savefig would draw everything twice, the first time for the layout alone.
    canvas_of: Any = FigureCanvasSVG(figure)
    canvas_of.print_svg(drawn, metadata={"Date": None})
    text = drawn.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = _own_ids(text, name)
    # Matplotlib 3.10 writes `font: 13px <families>`, 3.11 writes size and family apart.
    text = re.sub(r"font: [^;\"]*?([\d.]+px) [^;\"]*", r"font-size: \1", text)
    text = re.sub(r"font-family: [^;\"]*; ?", "", text)
    for stand_in, variable in VARIABLES.items():
        text = text.replace(stand_in, f"var({variable})")
    text = re.sub(r"\n\s*", "\n", text)
    head = re.compile(r"<svg[^>]*>")
    box = f'viewBox="0 0 {WIDTH} {round(figure.get_figheight() * POINTS_PER_INCH)}"'
    opening = f'<svg {box} role="img" aria-label="{escape(description)}">'
    return Markup(head.sub(lambda _: opening, text, count=1).strip())


def _own_ids(text: str, name: str) -> str:
    """Ids that something refers to get the figure's name; the others go."""
    text = text.replace("xlink:href", "href")
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    return re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text)


def draw_smoothed(
    axes: "Axes",
    steps: Sequence[float],
    values: Sequence[float],
    colour: str,
    label: str = "",
    dashes: str = "-",
) -> list[float]:
    """What was logged, thin, with its running mean over five logs, strong; returns that mean."""
    mean = running_mean(values, 5)
    axes.plot(steps, values, color=colour, linewidth=0.9, alpha=0.4)
    axes.plot(steps, mean, color=colour, label=label or None, linestyle=dashes)
    return mean


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """The mean of each value and its neighbours, `width` in all, fewer at the ends."""
    reach = width // 2
    found = []
    for place in range(len(values)):
        near = values[max(0, place - reach) : place + reach + 1]
        finite = [value for value in near if isfinite(value)]
        found.append(sum(finite) / len(finite) if finite else float("nan"))
    return found
