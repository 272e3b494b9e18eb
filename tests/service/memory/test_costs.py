"""`service/memory/costs.py`: how much memory requests take."""

from service.memory import costs

MB = 2**20


def test_body_costs_grow_with_the_size_and_fit_into_the_budget() -> None:
    """
    A body of the largest size of any type fits into the default budget: no type needs a smaller one.
    """
    for kind in [*costs.FACTORS, "text/plain", "application/json; charset=utf-8", "IMAGE/PNG"]:
        sizes = [costs.BodyCost.of(kind, "gzip")(size) for size in (0, 1, 2, 1000, 16 * MB)]
        assert sizes == sorted(sizes)
        assert sizes[-1] <= 128 * MB
        assert costs.most_body_bytes(kind, 16 * MB, 128 * MB) == 16 * MB
    assert costs.most_body_bytes("application/json", 16 * MB, 30 * MB) == 5 * MB
    assert costs.BodyCost.of("application/json", "", 10)(100) == 60 + 180
    assert costs.BodyCost.of("application/json", "", 1000)(100) == costs.BodyCost.of("application/json")(100)


def test_dearer_answers_cost_more() -> None:
    """
    What an answer repeats or explains is there three times while it is written.
    """
    plain = costs.image_cost(784, 10)

    assert plain < costs.image_cost(784, 10, seen=True) < costs.image_cost(784, 10, explained=2570)
    assert 256 * costs.image_cost(784, 10, seen=True, explained=2570) < 128 * MB


def test_pictures_cost_by_what_they_are_decoded_to() -> None:
    """
    A JPEG that is decoded at half its size costs a quarter; with several scans its coefficients come on top.
    """
    whole = costs.picture_cost("JPEG", "RGB", False, 16_000_000, 16_000_000)
    half = costs.picture_cost("JPEG", "RGB", False, 16_000_000, 4_000_000)
    progressive = costs.picture_cost("JPEG", "RGB", False, 16_000_000, 4_000_000, scans=10)

    assert half < whole / 2
    assert progressive == half + 6 * 16_000_000
