"""`bench/load.py`: what wrk says."""

import pytest

from bench import load


def test_what_was_counted_is_found_among_wrks_own_words() -> None:
    counted = '{"requests": 10, "seconds": 2.5, "p50_us": 3, "p99_us": 4, "errors": 5}'

    found = load.parse(f"Running 2s test @ http://127.0.0.1\n  1 threads\n{counted}\n")

    assert found == load.Load(10, 2.5, 3, 4, 5)


def test_wrk_that_failed_is_quoted() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        load.parse("unable to connect to 127.0.0.1:1 Connection refused\n")
