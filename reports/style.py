"""The look that all figures share: fonts, colour-blind-safe colours, markers, panels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from reports.naming import BOUND_WORDS
from reports.output import DPI

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

WIDTH_INCHES = 10.0  # 1600 pixels
MAX_PANELS = 12  # more machines than that are in the CSV file only
TITLE_POINTS, PANEL_POINTS, TEXT_POINTS, SMALL_POINTS = 13.0, 10.0, 8.5, 7.5
SMALLEST_POINTS = 6.0  # of a text that had to be made to fit
INK, MUTED, FAINT = "#1a1a1a", "#5c5c5c", "#d9d9d9"

# Okabe and Ito's colours, the light ones darkened so that text in them can be read on white.
LINE_COLOURS = ("#0072b2", "#c24e00", "#007a59", "#a8517f", "#8a6d00", "#2f2f2f", "#3d8fc4", "#7a3fb0")
LINE_STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")

# Fills are light enough for dark text on them.
BOUND_COLOURS = dict(
    zip(
        BOUND_WORDS,
        ("#8cc4e8", "#b9dceb", "#9fd8c2", "#f5b183", "#f3dd8a", "#d9b5d3", "#d5d5d5"),
        strict=True,
    )
)

_RC: Any = {
    "font.size": TEXT_POINTS,
    "axes.titlesize": PANEL_POINTS,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": TEXT_POINTS,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "text.parse_math": False,  # source lines and names may contain dollar signs
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": SMALL_POINTS,
    "ytick.labelsize": SMALL_POINTS,
    "legend.frameon": False,
    "legend.fontsize": TEXT_POINTS,
    "svg.hashsalt": "tcsim",
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with this style alone, whatever the user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


def new_figure(height_inches: float, width_inches: float = WIDTH_INCHES) -> Figure:
    """Return an empty figure on the Agg canvas; no window system, no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, height_inches), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def headline(figure: Figure, title: str, note: str = "") -> None:
    """Write the finding at the top left and, in grey below it, how to read the figure."""
    height = figure.get_figheight()
    left = 0.12 / figure.get_figwidth()
    fit(figure.text(left, 1 - 0.1 / height, title, size=TITLE_POINTS, weight="bold", va="top"))
    fit(figure.text(left, 1 - 0.36 / height, note, size=TEXT_POINTS, color=MUTED, va="top", linespacing=1.35))


def fit(text: Text) -> None:
    """Let a text that would leave the figure at the right be smaller."""
    figure = text.get_figure(root=True)
    assert figure is not None
    edge = figure.bbox.width - 0.1 * figure.dpi
    points = float(text.get_fontsize())
    while text.get_window_extent().x1 > edge and points > SMALLEST_POINTS:
        points -= 0.25
        text.set_fontsize(points)


def inset(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes at a place in inches, ``top`` counted from the upper edge."""
    total_width, total_height = figure.get_size_inches()
    bottom = total_height - top - height
    return figure.add_axes(
        (left / total_width, bottom / total_height, width / total_width, height / total_height)
    )


def columns_for(panels: int) -> int:
    """Return how many panels stand side by side: two while they are large enough for labels, at most four."""
    return panels if panels <= 2 else 2 if panels <= 4 else 3 if panels <= 9 else 4


def series_style(layer: int, scheme: int) -> dict[str, Any]:
    """Return colour and line style of the layer, marker of the scheme, by their order of appearance."""
    return {
        "color": LINE_COLOURS[layer % len(LINE_COLOURS)],
        "linestyle": LINE_STYLES[layer // len(LINE_COLOURS) % len(LINE_STYLES)],
        "marker": MARKERS[scheme % len(MARKERS)],
    }


def left_out(panels: int) -> str:
    """Say that the figure leaves machines out; empty if it does not."""
    return f" {panels} more machines are in the CSV file." if panels > 0 else ""


def plain_log_ticks(axes: Axes) -> None:
    """Write the powers of ten of both axes as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(base=10, numticks=12))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def words_only(title: str, text: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    figure = new_figure(1.6)
    headline(figure, title)
    figure.text(0.5, 0.35, text, ha="center", va="center", size=PANEL_POINTS, color=MUTED)
    return figure


def panel_note(axes: Axes, text: str) -> None:
    """Write a grey line between a panel and its title."""
    axes.text(0, 1.0, text, transform=axes.transAxes, size=SMALL_POINTS, color=MUTED, va="bottom")


def label_inches(names: Iterable[str]) -> float:
    """Return the room that the longest of the rows' names takes left of the panels."""
    return 0.2 + 0.068 * max(map(len, names), default=0)
