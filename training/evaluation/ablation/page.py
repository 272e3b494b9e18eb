"""What each step of preparation is worth: every published network on MNIST, drawings and canvases.

The figures of docs/ink.md. What the steps are stands in `steps`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.core import artifact, ink, network
from service.core.artifact import Artifact
from service.core.engine import Engine
from training.data.examples import Examples
from training.data.pen_digits import PenDigit, donors
from training.errors import TrainingError
from training.evaluation.ablation import variants as steps
from training.synthesis import canvases

Pixels = NDArray[np.uint8]

Reader = Callable[[Pixels], NDArray[np.floating]]
"""From (N, 28, 28) uint8 to one row of scores an image; the largest is the answer."""

BEGIN, END = "<!-- figures: `python -m training steps` writes them -->", "<!-- end of the figures -->"

MNIST = "MNIST test"
TIDY = "drawn tidily"

SIZES = (280, 260, 240, 220, 200)
"""Larger sides of tidy drawings, in pixels; MNIST's fill 200 of 280."""

_BATCH = 1000


@dataclass(frozen=True)
class Model:
    """A published network, and who may measure it on whose digits.

    Attributes:
        name: With its version.
        everyone: Reads MNIST's test images: the published network itself.
        strangers: By donor: what reads their digits without having learnt from them; a donor for whom there
            is none is left out.
        certainty: Lines about what it calls sure; empty where its manifest says nothing.
    """

    name: str
    everyone: Reader
    strangers: Mapping[str, Reader]
    certainty: tuple[str, ...]


@dataclass(frozen=True)
class Pictures:
    """Images of one kind, prepared in every way.

    Attributes:
        name: For people.
        labels: (N,) int64.
        donors: (N,) str, whose they are; empty for MNIST.
        prepared: By step, (N, 28, 28) uint8.
    """

    name: str
    labels: NDArray[np.int64]
    donors: NDArray[np.str_]
    prepared: Mapping[str, Pixels]


@dataclass(frozen=True)
class Share:
    """Right answers among how many."""

    right: int
    of: int

    @property
    def value(self) -> float:
        """0 to 1."""
        return self.right / self.of

    def __str__(self) -> str:
        error = math.sqrt(self.value * (1 - self.value) / self.of)
        return f"{self.value:.1%}".replace("%", "") + f" ± {100 * error:.1f}"


def models(root: Path, folds: Path, everyone: Sequence[str]) -> list[Model]:
    """Load the published networks that read 28 x 28 pixels.

    Args:
        root: The models folder.
        folds: Holds, for networks that learnt from pen strokes, `<donor>.onnx`: the same network fitted
            without that donor. What is missing is not measured.
        everyone: The donors.

    Raises:
        ArtifactError: A published folder would be refused.
        GraphRefused: A file in folds is no network of the same layers.
    """
    found = []
    for name, versions in artifact.versions(root).items():
        for version in versions:
            published = artifact.read(root, name, version)
            if published.manifest.input.shape[1:] == (ink.SIDE, ink.SIDE):
                found.append(_model(published, folds, everyone))
    return found


def _model(published: Artifact, folds: Path, everyone: Sequence[str]) -> Model:
    engine = Engine.load(published)

    def read(pixels: Pixels) -> NDArray[np.floating]:
        return engine.run(pixels).logits

    strangers: dict[str, Reader]
    if published.manifest.recipe.get("data", "mnist") == "mnist":
        strangers = dict.fromkeys(everyone, read)
    else:
        strangers = {donor: fold for donor in everyone if (fold := _fold(published, folds / f"{donor}.onnx"))}
    name = f"{published.manifest.name} {published.manifest.version}"
    return Model(name, read, strangers, _certainty(published))


def _fold(published: Artifact, path: Path) -> Reader | None:
    """Return a fit of the same network without a donor, if it was kept; none of one in whole numbers is."""
    if not path.is_file() or published.manifest.layers[0].rounding:
        return None
    layers = network.read(replace(published, model=path.read_bytes()))
    return lambda pixels: network.logits(layers, pixels)


def _certainty(published: Artifact) -> tuple[str, ...]:
    """Return the rows of a table: what is shown, how many images, which share of them is sure."""
    found = published.manifest.certainty
    if found is None:
        return ()
    return tuple(
        f"| {share.images} | {share.examples:,} | {share.share:.1%} |"
        for share in (*found.kept, *found.passed)
    )


def chosen(digits: Sequence[PenDigit], count: int) -> list[PenDigit]:
    """Return equally many digits of every donor, as chance has it but always the same.

    Args:
        digits: All there are.
        count: Of each donor, at most.
    """
    generator = np.random.default_rng(1)
    found = []
    for donor in donors(digits):
        own = [digit for digit in digits if digit.donor == donor]
        rows = generator.permutation(len(own))[:count]
        found += [own[row] for row in np.sort(rows)]
    return found


def mnist_pictures(test: Examples) -> Pictures:
    """Prepare MNIST's test images as if each were a canvas."""
    return Pictures(MNIST, test.labels, np.array([], np.str_), _stacked(map(steps.prepared, test.pixels)))


def all_drawings(digits: Sequence[PenDigit]) -> Iterator[Pictures]:
    """Prepare digits on tidy canvases, of several sizes too, then on random ones of every kind."""
    yield drawings(digits)
    yield sizes(digits)
    for kind in canvases.KINDS:
        yield on_canvases(digits, kind)


def drawings(digits: Sequence[PenDigit]) -> Pictures:
    """Prepare digits on tidy canvases, and draw them from their strokes as well."""
    pages = (steps.prepared(np.asarray(canvases.render_centred(digit.strokes))) for digit in digits)
    from_strokes = np.stack([steps.drawn(digit.strokes) for digit in digits])
    return _pictures(TIDY, digits, {**_stacked(pages), steps.DRAWN: from_strokes})


def sizes(digits: Sequence[PenDigit]) -> Pictures:
    """Draw digits tidily at several sizes, and do nothing but scale them down."""
    prepared = {
        f"{size} of {canvases.CENTRED_SIDE} pixels": np.stack(
            [steps.scaled(np.asarray(canvases.render_centred(digit.strokes, size))) for digit in digits]
        )
        for size in SIZES
    }
    return _pictures(f"{TIDY}, only {steps.SCALED}, by the drawing's size", digits, prepared)


def on_canvases(digits: Sequence[PenDigit], kind: canvases.Kind) -> Pictures:
    """Prepare digits on random canvases of one kind."""
    generator = np.random.default_rng(2)
    pages = (steps.prepared(np.asarray(canvases.render(digit.strokes, generator, kind))) for digit in digits)
    return _pictures(f"{kind} canvases", digits, _stacked(pages))


def _pictures(name: str, digits: Sequence[PenDigit], prepared: Mapping[str, Pixels]) -> Pictures:
    labels = np.array([digit.label for digit in digits])
    return Pictures(name, labels, np.array([digit.donor for digit in digits]), prepared)


def _stacked(pages: Iterator[Mapping[str, Pixels]]) -> dict[str, Pixels]:
    """Return for every step the images of all pages: (N, 28, 28)."""
    rows = list(pages)
    return {step: np.stack([row[step] for row in rows]) for step in rows[0]}


def measure(model: Model, pictures: Pictures, step: str, donor: str = "") -> Share | None:
    """Measure one network on pictures after one step.

    Args:
        model: Which.
        pictures: Of MNIST, or of donors.
        step: A name in `pictures.prepared`.
        donor: Only theirs; empty for all.

    Returns:
        None where donors' digits are asked for and not for each of them there is a network that has not
        learnt from them.
    """
    pixels, labels = pictures.prepared[step], pictures.labels
    if not len(pictures.donors):
        return Share(_right(model.everyone, pixels, labels), len(labels))
    asked = (donor,) if donor else tuple(np.unique(pictures.donors))
    if not set(asked) <= model.strangers.keys():
        return None
    right = count = 0
    for each in asked:
        rows = pictures.donors == each
        right += _right(model.strangers[each], pixels[rows], labels[rows])
        count += int(rows.sum())
    return Share(right, count)


def _right(read: Reader, pixels: Pixels, labels: NDArray[np.int64]) -> int:
    answers = [read(pixels[at : at + _BATCH]).argmax(1) for at in range(0, len(pixels), _BATCH)]
    return int((np.concatenate(answers) == labels).sum())


def figures(found: Sequence[Model], sets: Sequence[Pictures], digest: str) -> str:
    """Return the tables of docs/ink.md.

    Args:
        found: The networks.
        sets: What they are measured on.
        digest: Of the digits that were drawn.
    """
    lines = []
    for pictures in sets:
        rows = [(step, [measure(model, pictures, step) for model in found]) for step in pictures.prepared]
        lines += [f"### {pictures.name}: {len(pictures.labels):,} digits", "", *_table(found, rows), ""]
    for pictures in sets:
        if steps.DRAWN in pictures.prepared:
            lines += [f"### {pictures.name}, {steps.DRAWN}: donor by donor", ""]
            lines += [*_table(found, list(_by_donor(found, pictures))), ""]
    for model in found:
        asked = {str(donor) for pictures in sets for donor in pictures.donors}
        if missing := sorted(asked - model.strangers.keys()):
            lines += [
                f"`{model.name}` has learnt from these donors.",
                f"Its fits without {', '.join(missing)} were not at hand when this page was written.",
                "",
            ]
        if model.certainty:
            lines += [f"`{model.name}` says of every answer whether it is sure:", ""]
            lines += ["| images | how many | sure |", "|---|---|---|", *model.certainty, ""]
    lines.append(f"The drawn digits are those with SHA-256 `{digest[:16]}…`.")
    return "\n".join(lines)


def _by_donor(found: Sequence[Model], pictures: Pictures) -> Iterator[tuple[str, list[Share | None]]]:
    for donor in np.unique(pictures.donors):
        title = f"{donor}, {int((pictures.donors == donor).sum())} digits"
        yield title, [measure(model, pictures, steps.DRAWN, str(donor)) for model in found]


def _table(found: Sequence[Model], rows: Sequence[tuple[str, Sequence[Share | None]]]) -> list[str]:
    return [
        f"| | {' | '.join(f'`{model.name}`' for model in found)} |",
        f"|---|{'---|' * len(found)}",
        *(
            f"| {title} | {' | '.join('' if cell is None else str(cell) for cell in cells)} |"
            for title, cells in rows
        ),
    ]


def rewritten(page: str, text: str) -> str:
    """Return a page with other figures between its two marks.

    Raises:
        TrainingError: A mark is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise TrainingError(f"The page should hold {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"
