"""Results come in order, and no further ahead than was asked; a fault comes out where its result would."""

import pytest

from cxrjax.base import threads


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("items", [(), (3,), tuple(range(9))])
def test_results_come_in_order_and_not_too_far_ahead(items, workers):
    begun = []

    def square(item):
        begun.append(item)
        return item**2

    for place, result in enumerate(threads.ahead(square, items, workers)):
        assert result == items[place] ** 2
        assert len(begun) <= place + 1 + workers
    assert sorted(begun) == list(items)


def test_a_fault_comes_out_where_its_result_would():
    results = threads.ahead(lambda item: 1 / item, (2, 1, 0, 1), 2)
    assert (next(results), next(results)) == (0.5, 1)
    with pytest.raises(ZeroDivisionError):
        next(results)
