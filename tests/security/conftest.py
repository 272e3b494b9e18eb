"""Table of the figures that the security tests measure, printed at the end of the run."""

from collections.abc import Callable, Iterator

import pytest

Record = Callable[..., None]
"""Records a figure: what was measured, the figure, and the bound that it must keep, if there is one."""


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Record:
    """Record a figure for the table: `figure("p99 of /livez", "12 ms", "250 ms")`."""

    def record(measured: str, value: object, bound: object = "") -> None:
        record_property(measured, (str(value), str(bound)))

    return record


def rows(reports: list[pytest.TestReport]) -> Iterator[tuple[str, str, str, str]]:
    """Yield a table row for each figure: attack, what was measured, the figure and its bound."""
    for report in reports:
        file, *_, test = report.nodeid.split("::")
        if "/security/" in file:
            attack = f"{file.rpartition('/test_')[2].removesuffix('.py')}: {test.removeprefix('test_')}"
            for measured, value in report.user_properties:
                shown, bound = value if isinstance(value, tuple) else (str(value), "")
                yield attack.replace("_", " "), measured.replace("_", " "), shown, bound


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    ended = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    table = list(rows([report for report in ended if report.when == "call"]))
    if not table:
        return
    terminalreporter.section("figures of the attacks")
    lines = [("attack", "measured", "figure", "bound"), *table]
    widths = [min(70, max(len(line[column]) for line in lines)) for column in range(4)]
    for line in lines:
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        terminalreporter.write_line("  ".join(cells).rstrip())
