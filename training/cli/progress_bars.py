"""Progress bars on the terminal."""

from types import TracebackType
from typing import Any, Self

from tqdm import tqdm


class ProgressBars:
    """One progress bar at a time, shown only if stderr is a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._title = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def show(self, title: str, done: int, total: int, unit: str, scale: bool = False) -> None:
        """Set the bar of this title to `done` of `total`; a total of 0 is unknown."""
        if self._bar is None or self._title != title:
            self.close()
            self._title = title
            # disable=None: no bar unless stderr is a terminal; leave=False: the bar is removed at the end
            self._bar = tqdm(
                desc=title, total=total or None, unit=unit, unit_scale=scale, leave=False, disable=None
            )
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Remove the current bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
