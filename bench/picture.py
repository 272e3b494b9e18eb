"""The picture of docs/reference/performance.md: requests per second, a bar a server, as its tables have them.

It is drawn from the document, so that it never shows anything else than what stands there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench import document, peers, results
from bench.results import Key
from service.core.artifact.report import Theme
from training.report.charts.plot_style import Palette, figure, to_png

FOLDER = Path("docs/images")
_PANELS = {"json": "JSON", "raw": "raw bytes"}
_FORMS = {"v2_json": "v2 JSON", "v2_binary": "v2 binary"}
_CONNECTIONS = 32
_TITLES = {"bare": "bare transport", "naive": "FastAPI, as most write it", "inkling": "Inkling"}


@dataclass(frozen=True)
class Bar:
    """One server in one panel.

    Attributes:
        title: Who, and how it was asked if not as the panel says.
        rate: Requests per second.
        is_ours: Whether it is Inkling.
    """

    title: str
    rate: float
    is_ours: bool


def write(text: str) -> None:
    """Draw what the document says, for light and for dark paper; nothing if it holds no figures."""
    rates = document.rates(text, document.PEERS) or document.rates(text, document.MEASURED)
    panels = {case: bars(rates, case) for case in _PANELS}
    if not any(panels.values()):
        return
    for theme in get_args(Theme):
        suffix = "" if theme == "light" else f"-{theme}"
        path = FOLDER / f"performance{suffix}.png"
        path.write_bytes(to_png(lambda palette: _draw(panels, palette), theme))


def bars(rates: Mapping[Key, float], case: str) -> list[Bar]:
    """Return every server with the rate of its best setting for one image, the quickest first."""
    titles = {name: peer.title for name, peer in peers.find().items()}
    best: dict[str, tuple[float, str]] = {}
    for (server, asked, images, model, connections), rate in rates.items():
        name = server if server in results.OURS else server.partition("-")[0]
        requested_output = (case,) if server in results.OURS else results.CLOSEST[case]
        if asked in requested_output and (images, model, connections) == (1, "mlp-128", _CONNECTIONS):
            best[name] = max(best.get(name, (0.0, "")), (rate, asked))
    return [
        Bar(
            (_TITLES | titles).get(name, name) + ("" if asked == case else f", {_FORMS[asked]}"),
            rate,
            name == "inkling",
        )
        for name, (rate, asked) in sorted(best.items(), key=lambda item: -item[1][0])
    ]


def _draw(panels: Mapping[str, list[Bar]], palette: Palette) -> Figure:
    most = max(len(shown) for shown in panels.values())
    title = f"Requests per second on one core: one image of 28 x 28, mlp-128, {_CONNECTIONS} connections"
    made = figure(11, 1.5 + 0.36 * most, title)
    for axes, (case, shown) in zip(made.subplots(1, len(panels)), panels.items(), strict=True):
        _panel(axes, _PANELS[case], shown, palette)
    return made


def _panel(axes: Axes, title: str, shown: list[Bar], palette: Palette) -> None:
    rows = range(len(shown))
    colours = [palette.first if bar.is_ours else palette.faint for bar in shown]
    axes.barh(rows, [bar.rate for bar in shown], color=colours, height=0.7)
    for row, bar in zip(rows, shown, strict=True):
        weight = "bold" if bar.is_ours else "normal"
        axes.annotate(
            f"{bar.rate:,.0f}",
            (bar.rate, row),
            (4, 0),
            textcoords="offset points",
            va="center",
            weight=weight,
        )
    axes.set_yticks(rows, [bar.title for bar in shown])
    for label, bar in zip(axes.get_yticklabels(), shown, strict=True):
        label.set_fontweight("bold" if bar.is_ours else "normal")
    axes.set_title(title)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.16)
