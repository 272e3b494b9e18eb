"""Progress bars, for a person who waits."""

from types import TracebackType
from typing import Any, Self

from tqdm import tqdm


class Bars:
    """One progress bar at a time, shown only where there is a terminal."""

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
        """Bring the bar of this title to `done` of `total`; 0 is an unknown total."""
        if self._bar is None or self._title != title:
            self.close()
            self._title = title
            # disable=None: no bar where stderr is no terminal; leave=False: lines say what was done
            self._bar = tqdm(
                desc=title, total=total or None, unit=unit, unit_scale=scale, leave=False, disable=None
            )
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Take the bar away, where there is one."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
