"""Which process decides, and that the others train what it announces."""

import pytest

from finegates_engine.sweep import ranks


@pytest.mark.parametrize(
    ("world", "rank", "follower"),
    [
        (None, None, False),
        ("1", "0", False),
        ("2", "0", False),
        ("2", "1", True),
        ("2", None, False),
    ],
)
def test_only_later_processes_of_several_follow(monkeypatch, world, rank, follower: bool) -> None:
    for name, value in (("WORLD_SIZE", world), ("RANK", rank)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert ranks.is_follower() is follower
    assert ranks.count() == int(world or 1)


def test_one_process_alone_tells_nobody(monkeypatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(ranks, "_share", lambda _: pytest.fail("told"))
    ranks.announce("a run")


def test_followers_train_each_announced_cell_until_there_is_none(monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    told: list[str | None] = []
    monkeypatch.setattr(ranks, "_share", told.append)
    for name in ("a", "b", None):
        ranks.announce(name)
    assert told == ["a", "b", None]
    monkeypatch.setattr(ranks, "_share", lambda _: told.pop(0))
    trained: list[str] = []
    ranks.follow(trained.append)
    assert trained == ["a", "b"]
    assert told == []
