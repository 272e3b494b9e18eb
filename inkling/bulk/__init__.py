"""Bulk scoring: predicts all images of a file or folder into one Parquet file, with all cores, resumable."""

from inkling.errors import PackageMissing

try:
    import pyarrow as _pyarrow  # noqa: F401 - a missing extra is named before a module needs it
except ImportError as error:
    raise PackageMissing("inkling score", "pyarrow", "bulk") from error
