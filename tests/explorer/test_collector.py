"""What modules made is looked at by the garbage collector once, not after every script."""

import gc
import sys
import types

from explorer.serving import collector


def test_objects_are_set_aside_when_modules_were_imported_and_then_no_more(monkeypatch):
    monkeypatch.setattr(collector, "_seen", [0])
    collector.set_modules_aside()
    before = gc.get_freeze_count()
    assert before > 10_000
    kept = [[] for _ in range(1000)]
    collector.set_modules_aside()
    assert gc.get_freeze_count() <= before
    monkeypatch.setitem(sys.modules, "a module of this test", types.ModuleType("m"))
    collector.set_modules_aside()
    assert gc.get_freeze_count() > before
    assert len(kept) == 1000


def test_cycles_made_later_are_still_collected(monkeypatch):
    monkeypatch.setattr(collector, "_seen", [0])
    collector.set_modules_aside()
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() >= 1
