"""Bulk scoring: predicts all images of a file or folder into one Parquet file, with all cores, resumable."""

from inkling.errors import PackageMissing

try:
    import pyarrow as _pyarrow  # noqa: F401 - only to name the missing extra before a module fails
except ImportError as error:
    raise PackageMissing("inkling score", "pyarrow", "bulk") from error
