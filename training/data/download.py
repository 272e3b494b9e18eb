"""Download of files from mirrors, verified before they are moved into place."""

import http.client
import tempfile
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from training.errors import DataCorrupt, DownloadFailed

ProgressCallback = Callable[[str, int, int], None]
"""Called during a download with file name, bytes received and bytes in total (0 if unknown)."""

Check = Callable[[Path], object]
"""Raises DataCorrupt if a file has the wrong content."""

MAX_DOWNLOAD_BYTES = 128 * 2**20
"""Default size limit of a file."""

TIMEOUT_S = 30.0
"""Longest wait for a mirror to send data."""

_CHUNK_BYTES = 64 * 2**10


def download_file(
    path: Path,
    addresses: Sequence[str],
    check: Check,
    progress: ProgressCallback,
    max_bytes: int = MAX_DOWNLOAD_BYTES,
) -> bool:
    """Download a file, unless it exists with the right content.

    The file is written under a temporary name, verified and then renamed, so that an interrupted download
    leaves no incomplete file. An existing file with other content is kept under another name.

    Args:
        path: Destination; its folder is created.
        addresses: URLs, in order of preference.
        check: Verifies the content.
        progress: Called as bytes arrive.
        max_bytes: Size limit; a download that exceeds it fails.

    Returns:
        True if the file was downloaded, False if it existed.

    Raises:
        DownloadFailed: No URL returned the file.
        OSError: The folder cannot be written.
    """
    if _is_valid(path, check):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    reasons = {}
    for address in addresses:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".fetching-", delete=False) as target:
            temporary = Path(target.name)
        try:
            _download(address, temporary, lambda done, total: progress(path.name, done, total), max_bytes)
            check(temporary)
            temporary.chmod(0o644)
            _keep(path)
            temporary.rename(path)
            return True
        except DataCorrupt as error:
            reasons[address] = error.finding
        except _Unreachable as error:
            reasons[address] = str(error)
        finally:
            temporary.unlink(missing_ok=True)
    raise DownloadFailed(path.name, path.parent, reasons)


def _keep(path: Path) -> None:
    """Rename an existing file, so that it is not replaced."""
    number = 1
    while path.exists():
        other = path.with_name(f"{path.name}.kept-{number}")
        if not other.exists():
            path.rename(other)
        number += 1


def _is_valid(path: Path, check: Check) -> bool:
    try:
        check(path)
    except (DataCorrupt, FileNotFoundError):
        return False
    return True


class _Unreachable(Exception):
    """A mirror did not return the file; the message is the reason."""


def _download(address: str, path: Path, progress: Callable[[int, int], None], max_bytes: int) -> None:
    if not address.startswith(("https://", "http://")):
        raise _Unreachable("its address is neither http nor https")
    done = 0
    with path.open("wb") as target:
        try:
            # S310 asks for the check of the scheme above.
            with urllib.request.urlopen(address, timeout=TIMEOUT_S) as response:  # noqa: S310 - http or https, checked above
                total = int(response.headers.get("Content-Length") or 0)
                while chunk := response.read(_CHUNK_BYTES):
                    done += target.write(chunk)
                    progress(done, total)
                    if done > max_bytes:
                        raise _Unreachable(f"it sends more than {max_bytes:,} bytes")
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = str(error).removeprefix("<urlopen error ").removesuffix(">")
            raise _Unreachable(reason or type(error).__name__) from error
