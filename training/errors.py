"""Errors of the trainer that a user can act on.

* TrainingError
  + DataError
    - DataMissing        files of a data set do not exist
    - DataCorrupt        a file has the wrong content
    - DataRefused        own data is not as expected
    - OwnDataUnknown     a network was fitted on own data, whose path is not known
    - ExtraMissing       own data needs a package that is not installed
    - DownloadFailed     no mirror returned the right file
    - DataMismatch       the data differs from the data in a published manifest
  + RecipeInvalid        a recipe file, or a hyperparameter, is not valid
  + Diverged             the loss is not finite
  + UnknownName          no model, version, split, part or class has this name
  + RecordInvalid        a record that a fit wrote for the report cannot be parsed
  + FolderUnusable       a folder cannot be written, or has too little space
  + OutputInModels       images of the data would be written into the models folder
  + ExportMismatch       the exported file computes something else than the network
  + ChanceLevel          a network is no better than a constant prediction
  + WorseThanServed      a network is worse than the version that is served
  + AccuracyLossTooLarge quantisation costs too much accuracy
  + SweepError
    - NotSearchable      a recipe has no hyperparameter that a sweep could vary
    - StorageUrlInvalid  the storage URL of a study is invalid
    - StorageFailed      the storage of a study cannot be reached or used

Errors of published folders are in `service.core.errors`, with the contract.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path


class TrainingError(Exception):
    """Base class of the trainer's errors."""


class NotImportable(TrainingError):
    """A network of another library cannot be imported; the message says what is not accepted and why."""


class NameTaken(TrainingError):
    """A model of this name is published already; an import never replaces one."""

    def __init__(self, name: str) -> None:
        super().__init__(f"--name should be a name that no published model has; got {name}.")


class DataError(TrainingError):
    """Base class of errors of a data set."""


class DataMissing(DataError):
    """Files of a data set do not exist."""

    def __init__(self, data_set: str, folder: Path, names: Sequence[str]) -> None:
        super().__init__(
            f"{data_set} should be in {folder}; missing: {', '.join(names)}. "
            "With internet access, run `python -m training data`; without it, put the files into "
            f"a folder {folder.name}/ and set INKLING_DATA to the folder that holds {folder.name}/."
        )
        self.folder = folder
        self.names = tuple(names)


class DataCorrupt(DataError):
    """A file has the wrong content."""

    def __init__(self, name: str, expected: str, got: str) -> None:
        finding = f"{name} should be {expected}; got {got}"
        super().__init__(
            f"{finding}. `python -m training data` downloads it again and keeps this one under another name. "
            "If it is data of your own: `python -m training fit --data PATH --name NAME`."
        )
        self.name = name
        self.finding = finding


class DataRefused(DataError):
    """Own data is not as expected."""

    def __init__(self, name: str, expected: str, got: str) -> None:
        super().__init__(f"{name} should be {expected}; got {got}.")
        self.name = name


class OwnDataUnknown(DataError):
    """A network was fitted on own data, whose path is not known."""

    def __init__(self, published: str) -> None:
        super().__init__(
            f"{published} should be of a data set of Inkling; got one fitted on a user's own data. "
            "`fit --data` wrote its report."
        )


class ExtraMissing(DataError):
    """Own data needs a package that is not installed."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(f"{what} need {package}: pip install -e '.[{extra}]'")
        self.package = package


class DownloadFailed(DataError):
    """No mirror returned the right file."""

    def __init__(self, name: str, folder: Path, reasons: Mapping[str, str]) -> None:
        tried = "; ".join(f"{mirror}: {reason}" for mirror, reason in reasons.items())
        super().__init__(
            f"{name} could not be downloaded from any mirror ({tried}). Without internet "
            f"access, put the data set's files into {folder}, or set INKLING_DATA to a folder "
            f"that holds {folder.name}/."
        )
        self.name = name
        self.reasons = dict(reasons)


class DataMismatch(DataError):
    """The data differs from the data in a published manifest."""

    def __init__(self, published: str, part: str, got: str) -> None:
        super().__init__(
            f"{part} should be among the data in the manifest of {published}; "
            f"got data with SHA-256 {got[:12]}…"
        )
        self.published = published


class RecipeInvalid(TrainingError):
    """A recipe file, or a hyperparameter, is not valid."""

    def __init__(self, name: str, expected: str, got: str) -> None:
        super().__init__(f"{name} should be {expected}; got {got}.")
        self.name = name


class UnknownName(TrainingError):
    """No model, version, split, part or class has this name."""

    def __init__(self, kind: str, got: str, known: Sequence[str]) -> None:
        super().__init__(f"{kind} should be one of {', '.join(known) or '(none)'}; got {got!r}.")
        self.got = got


class RecordInvalid(TrainingError):
    """A record that a fit wrote for the report cannot be parsed."""

    def __init__(self, published: str, file: str) -> None:
        super().__init__(f"report/{file} of {published} should be as the fit wrote it; got something else.")
        self.file = file


class FolderUnusable(TrainingError):
    """A folder for training results cannot be written, or its disk has too little space."""

    def __init__(self, folder: Path, expected: str, got: str) -> None:
        super().__init__(f"{folder} should be {expected}; got {got}.")
        self.folder = folder


class OutputInModels(TrainingError):
    """Images of the data would be written into the models folder."""

    def __init__(self, got: Path, models: Path) -> None:
        super().__init__(
            f"Images of the data should go to a place outside {models}, since the data may not be "
            f"published; got {got}."
        )


class Diverged(TrainingError):
    """The loss is not finite."""

    def __init__(self, epoch: int, loss: float) -> None:
        super().__init__(
            f"The loss should be a finite number; after epoch {epoch} it is {loss}. "
            "Try a smaller learning rate."
        )
        self.epoch = epoch


class ExportMismatch(TrainingError):
    """The exported file computes something else than the network."""

    def __init__(self, name: str, reference: str, limit: float, got: float) -> None:
        super().__init__(
            f"{name} is not published: the exported file should agree with {reference} within "
            f"{limit:g}; it differs by {got:.3g}."
        )
        self.got = got


class ChanceLevel(TrainingError):
    """A network is no better than a constant prediction."""

    def __init__(self, name: str, chance: float, got: float, part: str) -> None:
        super().__init__(
            f"{name} is not published: on the {part} images its accuracy should be clearly above "
            f"{100 * chance:.1f} %, which one class for every image gives; got {100 * got:.1f} %."
        )
        self.got = got


class WorseThanServed(TrainingError):
    """A network is worse than the version that is served, or cannot be compared with it."""

    def __init__(self, name: str, served: str, reason: str) -> None:
        finding = f"cannot be compared with {served}: {reason}" if reason else f"is worse than {served}"
        super().__init__(
            f"{name} is not published, since it {finding}. The same command with --anyway publishes it."
        )
        self.served = served


class AccuracyLossTooLarge(TrainingError):
    """Quantisation costs too much accuracy."""

    def __init__(self, name: str, images: str, limit: float, got: float) -> None:
        super().__init__(
            f"{name} is not published: quantisation should cost at most {100 * limit:.2f} points of accuracy "
            f"on {images}; it costs {100 * got:.2f}."
        )
        self.got = got


class SweepError(TrainingError):
    """Base class of errors of a sweep."""


class NotSearchable(SweepError):
    """A recipe has no hyperparameter that a sweep could vary."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"A sweep needs a recipe of dense hidden layers without a teacher; {name} {reason}.")
        self.name = name


class StorageUrlInvalid(SweepError):
    """The storage URL of a study is invalid.

    The message does not repeat the URL, which may hold a password.
    """

    def __init__(self) -> None:
        super().__init__(
            "The storage should be sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/DATABASE, "
            "with special characters percent-encoded (@ is %40); got something else."
        )


class StorageFailed(SweepError):
    """The storage of a study cannot be reached or used."""

    def __init__(self, storage: str, reason: str) -> None:
        super().__init__(
            f"The storage of the study, {storage}, failed: {reason}. "
            "The same command resumes the sweep when the storage is available."
        )
        self.storage = storage
