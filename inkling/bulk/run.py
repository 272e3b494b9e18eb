"""A bulk run: parts in several processes, resumed after a kill, joined to one file at the end."""

import contextlib
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path

from pyarrow import parquet

from inkling.bulk import parts
from inkling.bulk.sources import Source
from inkling.errors import InklingError
from inkling.model import Model
from service.core.artifact.locks import try_locked
from service.inference.preprocessing import Preprocessing

_JOB_FILE = "job.json"


class CannotResume(InklingError):
    """The output, or the parts of an interrupted run, do not belong to this run."""


@dataclass(frozen=True)
class Job:
    """Everything that the rows of an output depend on.

    Attributes:
        model: The model.
        source: The input.
        prepare: Preprocessing, as `Model.predict` takes it.
        full: Whether to write the probability of every class.
    """

    model: Model
    source: Source
    prepare: Preprocessing
    full: bool

    def describe(self) -> dict[str, object]:
        """Return what identifies this job."""
        return {
            "input": self.source.fingerprint,
            "rows": self.source.rows,
            "part_rows": self.source.part_rows,
            "columns": [getattr(self.source, "column", None), *getattr(self.source, "keep", ())],
            "model": f"{self.model.name}/{self.model.version}",
            "prepare": self.prepare,
            "probabilities": self.full,
        }

    def ranges(self) -> list[tuple[int, int]]:
        """Return first row and end of each part."""
        rows, size = self.source.rows, self.source.part_rows
        return [(start, min(start + size, rows)) for start in range(0, rows, size)]


def run(job: Job, output: Path, processes: int, restart: bool, progress: Callable[[int], object]) -> None:
    """Predict all rows of a job into one Parquet file.

    Complete parts are kept in the folder `<output>.parts` until the output is complete. A run that was killed
    continues with the missing ones.

    Args:
        job: The job.
        output: The Parquet file; it appears when it is complete.
        processes: Number of processes.
        restart: Whether to replace an existing output, and to drop the parts of another job.
        progress: Called with the number of rows whenever a part is complete.

    Raises:
        CannotResume: The output exists, another run writes it, or its parts are of another job.
        OSError: A file cannot be read or written.
    """
    folder = output.with_name(f"{output.name}.parts")
    if output.exists() and not restart and not folder.exists():
        raise CannotResume(f"Output should not exist; got {str(output)!r}. --restart replaces it.")
    folder.mkdir(exist_ok=True)
    with try_locked(folder) as is_ours:
        if not is_ours:
            raise CannotResume(f"{str(folder)!r} should be free; another run is writing it.")
        _check_job(job, folder, restart)
        missing = _missing(job, folder, progress)
        if missing:
            _predict(job, folder, missing, processes, progress)
        _join(job, folder, output)
        shutil.rmtree(folder)


def _check_job(job: Job, folder: Path, restart: bool) -> None:
    """Check that the parts in a folder are of this job; write down the job in a new one."""
    file = folder / _JOB_FILE
    own = json.dumps(job.describe(), indent=2)
    if file.exists() and file.read_text("utf-8") != own:
        if not restart:
            raise CannotResume(
                f"The parts in {str(folder)!r} should be of the same input, model and options; they are of "
                "others. --restart drops them."
            )
        for path in folder.iterdir():
            path.unlink()
    if not file.exists():
        staged = folder / f".{_JOB_FILE}"
        staged.write_text(own, "utf-8")
        staged.replace(file)


def _missing(job: Job, folder: Path, progress: Callable[[int], object]) -> list[tuple[int, int]]:
    """Return the parts that are not complete, and remove what a killed process has left of them."""
    for path in folder.glob(".part-*"):
        path.unlink()
    missing = []
    for start, stop in job.ranges():
        if _part(folder, start).exists():
            progress(stop - start)
        else:
            missing.append((start, stop))
    return missing


def _predict(
    job: Job,
    folder: Path,
    missing: list[tuple[int, int]],
    processes: int,
    progress: Callable[[int], object],
) -> None:
    """Write the missing parts in several processes; the first error ends them."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(processes, len(missing)), context, _start_worker, (job,))
    try:
        waiting = iter(missing)
        running = {}
        for start, stop in _first(waiting, 2 * processes):
            running[pool.submit(_work, start, stop, _part(folder, start))] = stop - start
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
                progress(running.pop(future))
            for start, stop in _first(waiting, len(done)):
                running[pool.submit(_work, start, stop, _part(folder, start))] = stop - start
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _first(waiting: Iterator[tuple[int, int]], count: int) -> Iterator[tuple[int, int]]:
    for _, item in zip(range(count), waiting, strict=False):
        yield item


def _part(folder: Path, start: int) -> Path:
    return folder / f"part-{start:012}.parquet"


_job: Job | None = None
"""The job of this worker process."""


def _start_worker(job: Job) -> None:
    """Prepare a worker process, which ends when the process that started it does."""
    global _job  # noqa: PLW0603 - a pool has no other place for what its workers share
    _job = job
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            connection.wait([parent.sentinel])
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


def _work(start: int, stop: int, path: Path) -> None:
    assert _job is not None
    parts.write(_job.model, _job.source, start, stop, _job.prepare, _job.full, path)


def _join(job: Job, folder: Path, output: Path) -> None:
    """Join all parts to the output, which is renamed when it is complete and on disk."""
    staged = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        writer = None
        rows = 0
        for start, _ in job.ranges():
            table = parquet.read_table(_part(folder, start))
            rows += len(table)
            if writer is None:
                writer = parquet.ParquetWriter(staged, table.schema, compression="zstd")
            writer.write_table(table)
        assert writer is not None
        writer.close()
        assert rows == job.source.rows
        with staged.open("rb+") as file:
            os.fsync(file.fileno())
        staged.replace(output)
    finally:
        with contextlib.suppress(FileNotFoundError):
            staged.unlink()
