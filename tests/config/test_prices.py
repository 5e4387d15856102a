import pytest

from raytune_ocr.config.prices import Prices, parse_prices


def test_prices_are_read_and_a_missing_one_is_free():
    assert parse_prices({"gpu_hour": 2, "currency": "EUR"}, "here") == (
        Prices(gpu_hour=2, cpu_hour=0.0, currency="EUR"),
        [],
    )
    assert parse_prices(None, "here") == (None, [])
    assert parse_prices({"cpu_hour": None}, "here") == (None, [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"gpu_hours": 1}, "here.gpu_hours: unknown price"),
        ({"gpu_hour": -1}, "here.gpu_hour: must be a number >= 0, got -1"),
        ({"cpu_hour": True}, "here.cpu_hour: must be a number >= 0, got True"),
        ({"cpu_hour": float("inf")}, "here.cpu_hour: must be a number >= 0"),
        ({"currency": 3}, "here.currency: must be text, got 3"),
        ([1], "here: must be a mapping of gpu_hour, cpu_hour, currency"),
    ],
)
def test_wrong_prices_are_reported_with_their_rule(content, message):
    prices, problems = parse_prices(content, "here")
    assert prices is None and problems[0].startswith(message)


def test_money_is_hours_by_price():
    prices = Prices(gpu_hour=1.5, cpu_hour=0.5, currency="EUR")
    assert prices.of(4.0, 2.0) == 5.0
    assert prices.shown(5.0) == "5 EUR" and Prices().shown(0.25) == "money 0.25"
