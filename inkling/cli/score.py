"""Command `inkling score`: predicts all images of an input into a Parquet file."""

import math
import os
import sys
import time
from argparse import Namespace

from inkling.errors import PackageMissing
from inkling.model import Model


def run(model: Model, options: Namespace) -> int:
    """Run or resume a bulk run, with a progress bar on standard error.

    Args:
        model: The model.
        options: The arguments of the command.

    Returns:
        The exit status.

    Raises:
        InklingError: The input is not valid, or the output belongs to another run.
        OSError: A file cannot be read or written.
    """
    try:
        from tqdm import tqdm  # noqa: PLC0415 - of the extra `bulk`
    except ImportError as error:
        raise PackageMissing("inkling score", "tqdm", "bulk") from error
    from inkling.bulk import run as bulk  # noqa: PLC0415 - needs the extra `bulk`
    from inkling.bulk.sources import open_source  # noqa: PLC0415 - needs the extra `bulk`

    keep = tuple(name for name in options.keep.split(",") if name)
    source = open_source(options.input, options.column, keep, math.prod(model.shape))
    job = bulk.Job(model, source, options.prepare, options.probabilities)
    started = time.monotonic()
    with tqdm(total=source.rows, unit=" images", unit_scale=True, disable=options.quiet or None) as bar:
        bulk.run(job, options.output, options.jobs or os.cpu_count() or 1, options.restart, bar.update)
    seconds = time.monotonic() - started
    sys.stderr.write(f"{options.output}: {source.rows:,} rows in {seconds:.1f} s\n")
    return 0
