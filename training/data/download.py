"""Files from public mirrors, verified before they get their name.

What a right file is, each data set says itself.
"""

import http.client
import tempfile
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from training.errors import DataCorrupt, DownloadFailed

Progress = Callable[[str, int, int], None]
"""Called while a file is fetched: its name, bytes so far, bytes in all (0 where unknown)."""

Check = Callable[[Path], object]
"""Raises DataCorrupt where a file is not the one it should be."""

MAX_FETCHED_BYTES = 128 * 2**20
"""Of a file, unless its data set says otherwise."""

FETCH_TIMEOUT_S = 30.0
"""How long a mirror may stay silent."""

_CHUNK_BYTES = 64 * 2**10


def fetch_file(
    path: Path,
    addresses: Sequence[str],
    check: Check,
    progress: Progress,
    most_bytes: int = MAX_FETCHED_BYTES,
) -> bool:
    """Fetch a file that is not there or not as it should be.

    It is written under another name, verified and then renamed, so that an interrupted fetch leaves
    nothing that looks like a data set.

    Args:
        path: Where it belongs; its folder is made.
        addresses: Where it may be had, the first choice first.
        check: Says whether it is the right one.
        progress: Called as bytes arrive.
        most_bytes: A mirror that sends more is not listened to.

    Returns:
        Whether it had to be fetched; what was there and right is left alone.

    Raises:
        DownloadFailed: No address gave the file.
        OSError: The folder cannot be written.
    """
    if _is_right(path, check):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    reasons = {}
    for address in addresses:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".fetching-", delete=False) as target:
            aside = Path(target.name)
        try:
            _download(address, aside, lambda done, total: progress(path.name, done, total), most_bytes)
            check(aside)
            aside.chmod(0o644)
            aside.rename(path)
            return True
        except DataCorrupt as error:
            reasons[address] = error.finding
        except _Unreachable as error:
            reasons[address] = str(error)
        finally:
            aside.unlink(missing_ok=True)
    raise DownloadFailed(path.name, path.parent, reasons)


def _is_right(path: Path, check: Check) -> bool:
    try:
        check(path)
    except (DataCorrupt, FileNotFoundError):
        return False
    return True


class _Unreachable(Exception):
    """A mirror did not give the file; the message says why."""


def _download(address: str, path: Path, progress: Callable[[int, int], None], most_bytes: int) -> None:
    if not address.startswith(("https://", "http://")):
        raise _Unreachable("its address is not of the web")
    done = 0
    with path.open("wb") as target:
        try:
            # S310 asks for the check of the address that stands above.
            with urllib.request.urlopen(address, timeout=FETCH_TIMEOUT_S) as answer:  # noqa: S310
                total = int(answer.headers.get("Content-Length") or 0)
                while chunk := answer.read(_CHUNK_BYTES):
                    done += target.write(chunk)
                    progress(done, total)
                    if done > most_bytes:
                        raise _Unreachable(f"it sends more than {most_bytes:,} bytes")
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = str(error).removeprefix("<urlopen error ").removesuffix(">")
            raise _Unreachable(reason or type(error).__name__) from error
