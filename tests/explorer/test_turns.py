"""A few pages at a time; a page that fails gives its turn back."""

import threading
import time

import pytest

from explorer.serving import turns


def test_no_more_than_a_few_scripts_run_at_once():
    running, most, lock = [0], [0], threading.Lock()

    def script() -> None:
        with turns.turn():
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            time.sleep(0.02)
            with lock:
                running[0] -= 1

    threads = [threading.Thread(target=script) for _ in range(4 * turns.AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == turns.AT_ONCE


def test_script_that_is_stopped_gives_its_turn_back():
    for _ in range(2 * turns.AT_ONCE):
        with pytest.raises(KeyError), turns.turn():
            raise KeyError
    with turns.turn():
        pass
