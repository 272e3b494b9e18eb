"""A published network in this process, without a server."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inkling import inputs
from inkling.errors import ModelNotFound
from inkling.inputs import Images
from inkling.predictions import ClassProbability, Prediction, Predictions
from service.codecs.drawings import Drawing, Drawings
from service.core.artifact import artifact
from service.core.artifact.manifest import MANIFEST_FILE
from service.core.errors import RequestError
from service.inference import preprocessing, several_digits
from service.inference.models import model as models
from service.inference.predictor import Run, run_model
from service.inference.preprocessing import Findings, Preprocessing


class Model:
    """A published network: the service's preprocessing and engine, called in this process.

    Any number of threads may share a model. A forked process loads the network again at its first prediction,
    because ONNX Runtime does not survive a fork. A pickled model is its path and its version.
    """

    def __init__(self, root: Path, name: str, version: str, threads: int) -> None:
        """Load a version; `load` finds it by its path."""
        self._root = root
        self._threads = threads
        self._loaded = os.getpid(), _load(root, name, version, threads)
        self.name = name
        self.version = version

    @classmethod
    def load(cls, path: str | os.PathLike[str], version: str | None = None, *, threads: int = 1) -> "Model":
        """Load a published network, and verify it on its golden examples.

        Args:
            path: Its folder, `models/<name>`, or that of a version, `models/<name>/<version>`.
            version: Version; None for the newest one.
            threads: Threads of one inference; more than 1 helps only with large batches.

        Raises:
            ModelNotFound: The folder has no published version.
            ModelError: The folder or its network is invalid.
            OSError: The folder cannot be read.
        """
        folder = Path(path).expanduser().absolute()
        if version is None and (folder / MANIFEST_FILE).is_file():
            folder, version = folder.parent, folder.name
        versions = artifact.versions_of(folder.parent, folder.name)
        if not versions:
            expected = "a folder models/<name> or models/<name>/<version> of a published network"
            got = "one without a version" if folder.is_dir() else "no folder"
            raise ModelNotFound("Model", expected, f"{str(folder)!r}, {got}")
        if version is not None and version not in versions:
            expected = f"one of {', '.join(versions)}"
            raise ModelNotFound(f"Version of {folder.name!r}", expected, repr(version))
        return cls(folder.parent, folder.name, version or versions[-1], threads)

    def __reduce__(self) -> tuple[type["Model"], tuple[Path, str, str, int]]:
        """Pickle the path, the version and the number of threads."""
        return type(self), (self._root, self.name, self.version, self._threads)

    def __repr__(self) -> str:
        return f"Model.load({str(self._root / self.name / self.version)!r})"

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes."""
        return self._model().manifest.labels

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return self._model().shape

    def predict(self, images: Images, *, top: int = 3, prepare: Preprocessing = "auto") -> Predictions:
        """Classify images.

        Args:
            images: One image or many: arrays, pictures, paths, strokes or a data frame (`inkling.Images`).
            top: Number of top classes of each image.
            prepare: `auto` uses images that are like the training images unchanged, and preprocesses all
                others; `mnist` preprocesses all, `none` none.

        Returns:
            One prediction per image, in order.

        Raises:
            RequestError: An image is not valid, or nothing is drawn on it; the message names it.
            OSError: A file cannot be read.
        """
        items: list[Prediction] = []
        for run, findings in self.runs(images, prepare):
            several = several_digits.find(findings.doubtful, run.images, run.model, run_model, inputs.LIMITS)
            items += _predictions(run, top, findings, several)
        return Predictions(self.name, self.version, items)

    def probabilities(self, images: Images, *, prepare: Preprocessing = "auto") -> NDArray[np.float32]:
        """Return the probability of every class.

        Args:
            images: As for `predict`.
            prepare: As for `predict`.

        Returns:
            (B, classes) float32, in the order of `labels`; each row sums to 1.

        Raises:
            RequestError, OSError: As `predict`.
        """
        rows = [run.scores.probabilities for run, _ in self.runs(images, prepare)]
        return np.concatenate(rows) if rows else np.empty((0, len(self.labels)), np.float32)

    def runs(self, images: Images, prepare: Preprocessing = "auto") -> Iterator[tuple[Run, Findings]]:
        """Predict images in chunks, so that their number is not limited by memory.

        Args:
            images: As for `predict`.
            prepare: As for `predict`.

        Yields:
            The run of each chunk, and what preprocessing found out about its images.

        Raises:
            RequestError, OSError: As `predict`.
        """
        model = self._model()
        first = 0
        for drawings in inputs.chunks(images, model.shape):
            findings = Findings()
            yield run_model(model, _prepare(drawings, model, prepare, findings, first)), findings
            first += len(drawings)

    def _model(self) -> models.Model:
        """Return the network of this process; a forked process loads its own."""
        pid, model = self._loaded
        if pid != os.getpid():
            model = _load(self._root, self.name, self.version, self._threads)
            self._loaded = os.getpid(), model  # threads that load at the same time replace each other's
        return model


def _load(root: Path, name: str, version: str, threads: int) -> models.Model:
    return models.load_model(artifact.read(root, name, version), threads)


def _prepare(
    drawings: Drawings, model: models.Model, mode: Preprocessing, findings: Findings, first: int
) -> NDArray[np.uint8]:
    """Preprocess one chunk; `first` is the index of its first image in messages."""
    if isinstance(drawings, np.ndarray):
        try:
            return _preprocess(drawings, model, mode, findings)
        except RequestError:  # names the image by its index in this chunk; below by its index in the input
            findings.changed.clear()
            findings.doubtful.clear()
            findings.unclear.clear()
            drawings = [Drawing(f"Image {first + row}", image) for row, image in enumerate(drawings)]
    images = np.empty((len(drawings), *model.shape), np.uint8)
    for row, drawing in enumerate(drawings):  # one by one: the limit of pixels is that of a picture
        one = Findings()
        images[row] = _preprocess([drawing], model, mode, one)[0]
        findings.changed += [row] * len(one.changed)
        findings.doubtful.update((row, drawn) for drawn in one.doubtful.values())
        findings.unclear.update((row, doubt) for doubt in one.unclear.values())
    return images


def _preprocess(
    drawings: Drawings, model: models.Model, mode: Preprocessing, findings: Findings
) -> NDArray[np.uint8]:
    return preprocessing.prepare(
        drawings, model.shape, inputs.LIMITS, mode, findings=findings, kind=model.preprocessing
    )


def _predictions(run: Run, top: int, findings: Findings, several: list[int]) -> list[Prediction]:
    labels = run.model.manifest.labels
    scores = run.scores.probabilities
    ranking = (-scores).argsort(axis=1, kind="stable")[:, : max(1, top)]
    values = np.take_along_axis(scores, ranking, axis=1).tolist()
    sure: list[bool | None] = [None] * len(scores) if run.sure is None else run.sure.tolist()
    for row in (*several, *findings.unclear):
        sure[row] = None if sure[row] is None else False
    prepared, numbers = set(findings.changed), set(several)
    return [
        Prediction(
            label=labels[indices[0]],
            index=indices[0],
            confidence=probabilities[0],
            top=tuple(ClassProbability(labels[i], p) for i, p in zip(indices, probabilities, strict=True)),
            sure=is_sure,
            prepared=row in prepared,
            several=row in numbers,
            unclear=findings.unclear.get(row),
        )
        for row, (indices, probabilities, is_sure) in enumerate(
            zip(ranking.tolist(), values, sure, strict=True)
        )
    ]
