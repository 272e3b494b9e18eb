"""`service/memory/costs.py`: memory cost of requests."""

from service.memory import costs

MB = 2**20


def test_body_costs_grow_with_the_size_and_fit_into_the_default_budget() -> None:
    """
    The largest body of every content type is allowed with the default budget.
    """
    for kind in [*costs.FACTORS, "text/plain", "application/json; charset=utf-8", "IMAGE/PNG"]:
        sizes = [costs.BodyCost.of(kind, "gzip")(size) for size in (0, 1, 2, 1000, 16 * MB)]
        assert sizes == sorted(sizes)
        assert sizes[-1] <= 128 * MB
        assert costs.body_size_limit(kind, 16 * MB, 128 * MB) == 16 * MB
    assert costs.body_size_limit("application/json", 16 * MB, 30 * MB) == 5 * MB
    assert costs.BodyCost.of("application/json", "", 10)(100) == 60 + 180
    assert costs.BodyCost.of("application/json", "", 1000)(100) == costs.BodyCost.of("application/json")(100)


def test_responses_with_input_images_or_explanations_cost_more() -> None:
    plain = costs.image_cost(784, 10)

    assert plain < costs.image_cost(784, 10, seen=True) < costs.image_cost(784, 10, explained=2570)
    assert 256 * costs.image_cost(784, 10, seen=True, explained=2570) < 128 * MB


def test_cost_of_image_files_follows_from_their_decoded_size() -> None:
    """
    A JPEG decoded at half its size costs a quarter; several scans add the coefficients.
    """
    whole = costs.picture_cost("JPEG", "RGB", False, 16_000_000, 16_000_000)
    half = costs.picture_cost("JPEG", "RGB", False, 16_000_000, 4_000_000)
    progressive = costs.picture_cost("JPEG", "RGB", False, 16_000_000, 4_000_000, scans=10)

    assert half < whole / 2
    assert progressive == half + 6 * 16_000_000
