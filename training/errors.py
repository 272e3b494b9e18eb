"""Everything that can go wrong in the trainer and that a person can do something about.

* TrainingError
  + DataError
    - DataMissing     files of a data set are not there
    - DataCorrupt     they are there, and not what they should be
    - FetchFailed     no public mirror could give them
    - DataMismatch    they are not what a published network was made with
  + Diverged          the loss is no number any more
  + NotThere          a model, version, split, part or class of that name is not there
  + RecordBroken      what a fit left for the report cannot be read
  + PicturesAmiss     pictures of the data should go where nothing is published
  + ExportMismatch    the exported file does not compute what the network computes
  + LossTooLarge      a rounded network knows too little of what it knew before
  + SweepError
    - NotSwept        a recipe has nothing that a sweep could vary
    - StorageUnclear  what should say where a study is kept does not say it
    - StorageFailed   a study's storage cannot be reached or used

What a published folder must be is the service's contract; its errors stand in `service.core.errors`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path


class TrainingError(Exception):
    """The root: every error that the trainer raises on purpose."""


class DataError(TrainingError):
    """A data set is not as it should be."""


class DataMissing(DataError):
    """Files of a data set are not there."""

    def __init__(self, data_set: str, folder: Path, names: Sequence[str]) -> None:
        super().__init__(
            f"{data_set} should be in {folder}; missing: {', '.join(names)}. "
            "With internet access, run `python -m training data`; without it, put the files into "
            f"a folder {folder.name}/ and set INKLING_DATA to the folder that holds {folder.name}/."
        )
        self.folder = folder
        self.names = tuple(names)


class DataCorrupt(DataError):
    """A file is not what it should be."""

    def __init__(self, name: str, expected: str, got: str) -> None:
        finding = f"{name} should be {expected}; got {got}"
        super().__init__(f"{finding}. Delete the file and run `python -m training data`, or copy it again.")
        self.name = name
        self.finding = finding


class FetchFailed(DataError):
    """No public mirror could give a file."""

    def __init__(self, name: str, folder: Path, reasons: Mapping[str, str]) -> None:
        tried = "; ".join(f"{mirror}: {reason}" for mirror, reason in reasons.items())
        super().__init__(
            f"{name} should come from a public mirror; none gave it ({tried}). Without internet "
            f"access, put the data set's files into {folder}, or set INKLING_DATA to a folder "
            f"that holds {folder.name}/."
        )
        self.name = name
        self.reasons = dict(reasons)


class DataMismatch(DataError):
    """The data is not that which a published network was made with."""

    def __init__(self, published: str, part: str, got: str) -> None:
        super().__init__(
            f"{part} should be among the data that the manifest of {published} names; "
            f"got one of SHA-256 {got[:12]}…"
        )
        self.published = published


class NotThere(TrainingError):
    """Something that was named is not there."""

    def __init__(self, what: str, got: str, known: Sequence[str]) -> None:
        super().__init__(f"{what} should be one of {', '.join(known) or '(none)'}; got {got!r}.")
        self.got = got


class RecordBroken(TrainingError):
    """A file that a fit left for the report cannot be read."""

    def __init__(self, published: str, file: str) -> None:
        super().__init__(f"report/{file} of {published} should be as its fit left it; got something else.")
        self.file = file


class PicturesAmiss(TrainingError):
    """Pictures of the data would be written where networks are published."""

    def __init__(self, got: Path, models: Path) -> None:
        super().__init__(
            f"Pictures of the data should go to a place outside {models}, since the data is not ours to "
            f"publish; got {got}."
        )


class Diverged(TrainingError):
    """The steps were so large that the loss is no number any more."""

    def __init__(self, epoch: int, loss: float) -> None:
        super().__init__(
            f"The loss should be a finite number; after epoch {epoch} it is {loss}. "
            "A smaller learning rate helps."
        )
        self.epoch = epoch


class ExportMismatch(TrainingError):
    """The exported file does not compute what the network computes."""

    def __init__(self, name: str, what: str, limit: float, got: float) -> None:
        super().__init__(
            f"{name} is not published: the exported file should agree with {what} within "
            f"{limit:g}; it is {got:.3g} off."
        )
        self.got = got


class LossTooLarge(TrainingError):
    """A rounded network knows too little of what it knew before."""

    def __init__(self, name: str, images: str, limit: float, got: float) -> None:
        super().__init__(
            f"{name} is not published: rounding should cost at most {100 * limit:.2f} points of {images}; "
            f"it costs {100 * got:.2f}."
        )
        self.got = got


class SweepError(TrainingError):
    """A sweep cannot be made, or cannot go on."""


class NotSwept(SweepError):
    """A recipe has nothing that a sweep could vary."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"A sweep needs a recipe of dense hidden layers without a teacher; {name} {why}.")
        self.name = name


class StorageUnclear(SweepError):
    """What should say where a study is kept does not say it.

    Nothing of it is shown, as it may hold a password.
    """

    def __init__(self) -> None:
        super().__init__(
            "The storage should be sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/DATABASE, "
            "with special characters percent-encoded (@ is %40); got something else."
        )


class StorageFailed(SweepError):
    """A study's storage cannot be reached or used."""

    def __init__(self, storage: str, reason: str) -> None:
        super().__init__(
            f"The study's storage, {storage}, does not answer as it should: {reason}. "
            "When it does, the same command goes on from where it was."
        )
        self.storage = storage
