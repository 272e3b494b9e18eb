"""`bench/picture.py`: bar charts of the tables in the document."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench import document, picture
from bench.picture import Bar
from bench.results import Run
from tests.bench.test_results import run


def page(*runs: Run, beside: Sequence[Run] = ()) -> str:
    """The document with runs of Inkling, and with runs of peers."""
    begin = {"date": "2026-01-02", "machine": {"processor": "2"}, "rounds": 1, "seconds": 1, "minutes": 1}
    nothing: dict[str, Any] = {"engine_us": {}, "started_s": {}, "resident_mb": {}, "peak_mb": {}}
    text = "".join(" ".join(marks) for marks in (document.MEASURED, document.PEERS))
    peers: dict[str, Any] = {"versions": {}, "missing": {}}
    for found, marks, more in ((runs, document.MEASURED, nothing), (beside, document.PEERS, peers)):
        if found:
            record = {**begin, **nothing, **more, "runs": [vars(one) for one in found]}
            text = document.replaced(text, document.write(record), marks)
    return text


def test_written_rates_are_read_back() -> None:
    text = page(run("bare", 12_345, "json"), run("inkling", 999, images=1000, connections=1))

    assert document.rates(text, document.MEASURED) == {
        ("bare", "json", 1, "mlp-128", 32): 12_345,
        ("inkling", "raw", 1000, "mlp-128", 1): 999,
    }
    assert document.rates(text, document.PEERS) == {}


def test_each_server_has_one_bar_with_its_fastest_run() -> None:
    """
    With the input closest to an image; the fastest server comes first.
    """
    text = page(
        beside=[
            run("inkling", 700),
            run("inkling", 900, "v2_binary"),
            run("mlserver-plain", 200),
            run("mlserver-batching", 250),
            run("mlserver-plain", 800, connections=1),
            run("pytriton-plain", 300, "v2_binary"),
        ]
    )

    shown = picture.bars(document.rates(text, document.PEERS), "raw")

    assert shown == [
        Bar("Inkling", 700, is_ours=True),
        Bar("Triton (PyTriton), v2 binary", 300, is_ours=False),
        Bar("MLServer", 250, is_ours=False),
    ]


def test_chart_has_a_light_and_a_dark_theme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    From the figures with peers, if there are any.
    """
    monkeypatch.setattr(picture, "FOLDER", tmp_path)
    beside = [run("inkling", 700), run("mlserver-plain", 200, "json")]
    drawn = []
    for own in ([], [run("inkling", 5)]):
        picture.write(page(*own, beside=beside))
        drawn.append({file.name: file.read_bytes() for file in sorted(tmp_path.iterdir())})
    picture.write(page(run("inkling", 5)))

    assert drawn[0] == drawn[1]
    light, dark = (Image.open(io.BytesIO(drawn[0][f"performance{end}.png"])) for end in ("", "-dark"))
    assert light.size == dark.size
    assert light.convert("RGB").getpixel((0, 0)) != dark.convert("RGB").getpixel((0, 0))
    assert (tmp_path / "performance.png").read_bytes() != drawn[0]["performance.png"]


def test_no_chart_without_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "FOLDER", tmp_path)

    picture.write(page())

    assert list(tmp_path.iterdir()) == []
