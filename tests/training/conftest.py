"""Made-up data for the trainer's tests: small, seeded, and of no data set."""

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.digits import DIGITS, arrays

if any(find_spec(name) is None for name in ("torch", "tqdm", "matplotlib")):
    collect_ignore_glob = ["test_*.py", "*/test_*.py"]
else:
    from training.data import ink
    from training.data import pen_digits as digit_file
    from training.data.data_sets import FitJob
    from training.data.examples import Examples, Split
    from training.data.ink import InkData
    from training.data.mnist import IdxFile, IdxSource
    from training.data.pen_digits import PenDigit
    from training.fitting.loop import FitCallbacks
    from training.recipes.recipe import Recipe

    CLASSES = ("zero", "one", "two")

    def _examples(count: int, seed: int, shape: tuple[int, ...] = (6, 5)) -> Examples:
        """Noise with a bright band whose position is the class."""
        generator = np.random.default_rng(seed)
        labels = np.arange(count) % len(CLASSES)
        pixels = generator.integers(0, 150, (count, *shape), np.uint8)
        for row, label in enumerate(labels):
            pixels[row, 2 * label : 2 * label + 2] += 100
        return Examples(pixels, labels)

    @pytest.fixture(scope="session")
    def official() -> Split:
        """A data set in its official split, without a valid part."""
        return Split("official", "made up", CLASSES, _examples(60, 1), None, _examples(30, 2))

    @pytest.fixture(scope="session")
    def lesson() -> Split:
        """A split of the same kind of images, with a valid part."""
        parts = _examples(45, 3), _examples(24, 4), _examples(24, 5)
        return Split("lesson", "made up", CLASSES, *parts)

    @pytest.fixture(scope="session")
    def recipe() -> Recipe:
        """A network of 6 x 5 pixels, 4 hidden units and 3 classes, in four epochs."""
        return Recipe(
            name="toy",
            description="A toy.",
            hidden=(4,),
            initialisation="glorot-uniform",
            batch_size=7,
            epochs=4,
            learning_rate=0.3,
            drop_epochs=(3,),
            drop_factor=0.1,
            seed=11,
            lesson_seeds=(1, 2),
            lesson_split_seed=3,
        )

    @pytest.fixture(scope="session")
    def callbacks() -> FitCallbacks:
        """Callbacks that do nothing, with a constant clock."""
        return FitCallbacks(on_step=lambda *_: None, on_epoch=lambda _: None, clock=lambda: 0.0)

    @pytest.fixture
    def source(tmp_path: Path) -> IdxSource:
        """A data set of 28 x 28 pixels and ten classes, bands of light, in files below tmp_path/data."""
        labels = {"train": np.repeat(np.arange(10), 8), "test": np.repeat(np.arange(10), 4)}
        generator = np.random.default_rng(7)
        files = []
        (tmp_path / "data" / "tiny").mkdir(parents=True)
        for part, numbers in labels.items():
            pixels = generator.integers(0, 60, (len(numbers), 28, 28), np.uint8)
            for row, number in enumerate(numbers):
                pixels[row, 2 * number : 2 * number + 2] = 255
            for kind, array in (("images", pixels), ("labels", numbers.astype(np.uint8))):
                content = _idx(array)
                path = tmp_path / "data" / "tiny" / f"{part}-{kind}.gz"
                path.write_bytes(gzip.compress(content))
                digest = hashlib.sha256(content).hexdigest()
                files.append(IdxFile(path.name, digest, array.shape))
        return IdxSource("Tiny", "tiny", (), tuple("0123456789"), (6, 3, 3), *files)

    @pytest.fixture(scope="session")
    def pen_digits() -> tuple[PenDigit, ...]:
        """A few pen digits of each donor of `ink`."""
        generator = np.random.default_rng(3)
        counts = {"apa": 3, "apb": 2, "ced": 2, "gmd": 2, "syn": 6}
        donors = [donor for donor, count in counts.items() for _ in range(count)]
        return tuple(_pen_digit(place % 10, donor, generator) for place, donor in enumerate(donors))

    def _pen_digit(label: int, donor: str, generator: np.random.Generator) -> PenDigit:
        """One of the tests' digits, with random deviations."""
        drawn = arrays(DIGITS[str(label)][0])
        drawn = [stroke + generator.normal(0, 1, stroke.shape) for stroke in drawn]
        points = np.concatenate(drawn)
        low, extent = points.min(axis=0), np.ptp(points, axis=0)
        strokes = tuple(np.rint((stroke - low) * 1000 / extent.max()) for stroke in drawn)
        return PenDigit(label, donor, f"{donor}/one", strokes)

    @pytest.fixture(scope="session")
    def inky(recipe: Recipe) -> Recipe:
        """A small recipe with every kind of image of `ink`."""
        return replace(
            recipe,
            name="inky",
            data="ink",
            hidden=(16,),
            batch_size=16,
            epochs=2,
            lesson_seeds=(),
            batch_norm=True,
            label_smoothing=0.05,
            strength=1.0,
            drawn=30,
            canvases=10,
            nondigits=5,
        )

    @pytest.fixture(scope="session")
    def ink_jobs(pen_digits: tuple[PenDigit, ...]) -> tuple[FitJob, ...]:
        """Fit jobs of the small recipe: each group of donors held out in turn, then all donors."""
        everything = _ink(pen_digits)
        official = Split("official", "Tiny", digit_file.CLASSES, everything.mnist, None, everything.mnist)
        jobs = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ink, "MNIST_HELD_OUT", 20)
            for donors in ink.HELD_OUT_DONORS:
                split, kept = ink.held_out_split(everything, donors)
                jobs.append(FitJob("held-out", split, (11,), donors, kept))
        whole = ink.published_split(official, everything.digits)
        return *jobs, FitJob("published", whole, (11,), ink=everything)

    def _ink(digits: tuple[PenDigit, ...]) -> InkData:
        """Use the pen digits, rendered by the service, as MNIST images and as canvases."""
        places = np.tile(np.arange(len(digits)), 3)
        kinds = np.repeat(["clean", "tools", "scan"], len(digits))
        nothing = Examples(np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.int64))
        made = InkData(nothing, digits, nothing, places, kinds, (tuple(np.array(s) for s in DIGITS["4"][0]),))
        drawn = ink.render_digits(digits)
        return replace(
            made, mnist=drawn.select(np.tile(np.arange(len(digits)), 4)), canvases=drawn.select(places)
        )

    def _idx(array: NDArray[np.uint8]) -> bytes:
        return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()

    @pytest.fixture(scope="session")
    def idx() -> Callable[[NDArray[np.uint8]], bytes]:
        """Write an array as an IDX file."""
        return _idx
