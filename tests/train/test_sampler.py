"""The order of training rows."""

from itertools import islice

from finegates_engine.train.sampler import BucketSampler

LENGTHS = [3, 9, 4, 8, 3, 9, 5, 7, 4, 9]


def order(*, seed: int = 0, epoch: int = 0) -> list[int]:
    sampler = BucketSampler(LENGTHS, 4, seed=seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_every_row_comes_once() -> None:
    assert sorted(order()) == list(range(10))
    assert len(BucketSampler(LENGTHS, 4, seed=0)) == 10


def test_an_epoch_has_its_order_whatever_came_before() -> None:
    sampler = BucketSampler(LENGTHS, 4, seed=0)
    list(islice(sampler, 3))
    sampler.set_epoch(2)
    assert list(sampler) == order(epoch=2)
    assert order(epoch=1) != order(epoch=2)
    assert order(seed=1) != order(seed=2)


def test_full_batches_come_first_and_hold_rows_of_like_length() -> None:
    rows = order()
    by_length = sorted(LENGTHS, reverse=True)
    batches = [sorted((LENGTHS[row] for row in rows[i : i + 4]), reverse=True) for i in (0, 4)]
    assert sorted(batches, reverse=True) == [by_length[:4], by_length[4:8]]
    assert len(rows[8:]) == 2
