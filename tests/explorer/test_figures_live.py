"""Figures and words of the live page: a finding in the title, units on the axes, no HTML read."""

import numpy as np
import pytest

from explorer.figures import closing, live, race
from explorer.words import live_words
from finegates_engine.live.results import (
    Ablation,
    Effects,
    Level,
    Levels,
    PartEffect,
    Predictions,
    Reading,
    Shape,
    TextRace,
)
from finegates_engine.timing.latency import latency, speedup

NAMES = ("negative", "positive")


def predictions(dense, pruned, labels=NAMES) -> Predictions:
    reading = Reading(tokens=(7,) * len(dense), width=8)
    return Predictions(
        run_id="r", dense_run_id="d", labels=labels, dense=dense, pruned=pruned, reading=reading
    )


def race_of(factor: float, rounds: int = 20, load: float = 0.0) -> TextRace:
    base = 0.010 + 0.001 * np.sin(np.arange(rounds))
    seconds = {"dense": base, "pruned": base / factor, "transformers": base * 1.1}
    plain = {name: tuple(values.tolist()) for name, values in seconds.items()}
    gains = {n: speedup(plain["dense"], plain[n]) for n in ("pruned", "transformers")}
    return TextRace(
        run_id="r",
        shape=Shape(),
        batch=2,
        reading=Reading(tokens=(7, 5), width=8),
        filled=0.75,
        seconds=plain,
        latency={name: latency(values) for name, values in plain.items()},
        speedup=gains,
        mac_ratio=2.0,
        efficiency=factor / 2,
        tokenise=latency([0.0002] * 8),
        ended="narrow",
        machine="Tiny CPU",
        load=load,
    )


def levels(*shares: float, labels=NAMES) -> Levels:
    found = [
        Level(
            run_id=f"r{n}",
            removed=n / 10,
            outputs=((s,),) if labels is None else ((1 - s, s), (0.2, 0.8)),
        )
        for n, s in enumerate(shares)
    ]
    return Levels(labels=labels, levels=tuple(found))


def test_one_text_has_a_row_a_class_and_several_a_row_a_text():
    one = live.predictions_figure(predictions(((0.1, 0.9),), ((0.3, 0.7),)), ["a"])
    assert list(one.layout.yaxis.ticktext) == ["negative", "positive"]
    two = predictions(((0.1, 0.9), (0.6, 0.4)), ((0.3, 0.7), (0.4, 0.6)))
    figure = live.predictions_figure(two, ["a", "b"])
    assert list(figure.layout.yaxis.ticktext) == ["a", "b"]
    assert figure.layout.xaxis.title.text == "Probability of positive (share)"
    pruned = next(trace for trace in figure.data if trace.name == "Pruned")
    assert list(pruned.x) == [0.7, 0.6]


def test_text_of_a_user_is_never_read_as_html():
    assert (
        live.shown("<b>x</b> & <a href='y'>")
        == "&lt;b&gt;x&lt;/b&gt; &amp; &lt;a href=&#x27;y&#x27;&gt;"
    )
    assert live.shown("one\ntwo\u202e" + "x" * 100_000).startswith("one two x")
    assert len(live.shown("x" * 100_000)) == 26
    found = predictions(((0.1, 0.9),), ((0.3, 0.7),), labels=("<i>no</i>", "yes"))
    assert "<i>" not in str(live.predictions_figure(found, ["<u>"]).to_json())


@pytest.mark.parametrize(
    ("dense", "pruned", "labels", "title"),
    [
        (((0.1, 0.9),), ((0.2, 0.8),), NAMES, "Both say positive"),
        (((0.1, 0.9),), ((0.6, 0.4),), NAMES, "They differ: positive and negative"),
        (((0.1, 0.9),) * 2, ((0.6, 0.4), (0.1, 0.9)), NAMES, "1 of 2 rows get the same label"),
        (((0.1, 0.9),) * 2, ((0.1, 0.9),) * 2, NAMES, "All 2 rows get the same label"),
        (((2.5,),), ((3.07,),), None, "Dense scores 2.50, pruned 3.07"),
        (((2.5,), (1.0,)), ((3.0,), (1.0,)), None, "Scores are at most 0.50 apart"),
    ],
)
def test_prediction_says_whether_both_say_the_same(dense, pruned, labels, title):
    found = predictions(dense, pruned, labels)
    assert live_words.predictions_finding(found)[0] == title
    assert live.predictions_figure(found, ["a"] * len(dense)).data


def test_certainty_is_never_rounded_to_all():
    assert [live.percent(share) for share in (0.999, 0.994, 0.5, 0.001)] == [
        ">99%",
        "99%",
        "50%",
        "<1%",
    ]


@pytest.mark.parametrize(
    ("factor", "title"),
    [(1.5, "Pruned is 1.50x faster"), (0.8, "Pruned is slower: 0.80x as fast")],
)
def test_race_says_its_verdict_with_its_interval(factor, title):
    found = race_of(factor)
    assert live_words.race_finding(found)[0].startswith(title)
    figure = race.race_figure(found)
    assert figure.layout.xaxis.title.text == "One call (ms; a point a round)"
    assert list(figure.layout.yaxis.ticktext) == ["Dense", "Pruned", "Transformers"]
    assert len(live_words.race_table(found)) == 3


def test_no_difference_is_called_none():
    base = [0.01 + 0.001 * (n % 3) for n in range(20)]
    gain = speedup(base, base[1:] + base[:1])
    assert live_words.speedup_words(gain).startswith("No measurable difference")


def test_race_says_what_makes_it_doubtful():
    notes = " ".join(live_words.race_notes(race_of(1.5, load=4.0), cores=2))
    assert "Efficiency 75%" in notes
    assert "Tokenising takes 0.2 ms" in notes
    assert "25% of the tokens are padding" in notes
    assert "Other work ran on this machine" in notes
    assert "Other work" not in " ".join(live_words.race_notes(race_of(1.5), cores=2))


def test_calls_that_are_far_too_slow_are_counted_instead_of_drawn():
    found = race_of(1.5)
    slow = {**found.seconds, "dense": (1.0, *found.seconds["dense"][1:])}
    found = TextRace(**{**vars(found), "seconds": slow})
    assert "1 slower call beyond" in " ".join(live_words.race_notes(found, cores=2))
    drawn = next(trace for trace in race.race_figure(found).data if trace.name == "Dense")
    assert len(drawn.x) == 19


def test_breaking_point_is_between_two_levels():
    found = levels(0.9, 0.8, 0.4, 0.3)
    assert live_words.levels_finding(found, 0)[0] == "The label flips between 10% and 20% removed"
    assert live_words.levels_finding(found, 1)[0] == "It stays positive at all 4 levels"
    assert "1 of 2 rows" in live_words.levels_finding(found, 0)[1]
    figure = live.levels_figure(found, ["a", "b"], 0)
    assert list(figure.data[-1].marker.symbol) == ["circle", "circle", "x", "x"]
    assert len(figure.layout.shapes) == 1
    assert "again at 20%" in live_words.levels_finding(levels(0.9, 0.4, 0.8), 0)[1]


def test_score_has_no_label_to_flip():
    found = levels(3.0, 2.5, labels=None)
    assert live_words.levels_finding(found, 0)[0] == "The score goes from 3.00 to 2.50"
    assert not live.flipped(found).any()


def test_one_level_alone_is_said():
    assert live.levels_figure(levels(0.9), ["a", "b"], 0).layout.annotations


def effects() -> Effects:
    shift = {"0": (0.0, 0.5), "0.head.0": (0.5, 1.0), "0.head.1": (-1.2, 2.0), "0.ffn.0": None}
    parts = [
        PartEffect(part=p, layer=0, size=0 if v is None else 4, logits=v) for p, v in shift.items()
    ]
    return Effects(run_id="r", labels=NAMES, before=(-1.0, 2.0), effects=tuple(parts))


def test_part_that_moves_the_label_most_is_named_and_gone_ones_are_gaps():
    found = effects()
    assert live_words.effects_finding(found) == "Head 1 of layer 1 matters most: \u22122.50 logits"
    figure = closing.effects_figure(found, ["0.head.0"])
    drawn = [code for trace in figure.data for code in trace.customdata]
    assert sorted(drawn) == ["0", "0.head.0", "0.head.1"]
    towards = next(trace for trace in figure.data if trace.name == "towards it")
    assert list(towards.customdata) == ["0.head.1"]


def test_closing_is_held_against_random_groups():
    found = Ablation(
        run_id="r",
        labels=NAMES,
        parts=("0.head.0",),
        size=4,
        of=100,
        before=((-1.0, 2.0),),
        after=((1.0, 0.5),),
        random=(((-1.0, 1.9),), ((-0.9, 2.0),)),
    )
    title, subtitle = live_words.ablation_finding(found, 0)
    assert title == "Closing it moves a logit by 2.00; a random group by 0.10"
    assert "more than 2 of 2 random groups" in subtitle
    assert "flips from positive to negative; random groups flip it 0 of 2 times" in subtitle
    figure = closing.ablation_figure(found, 0)
    np.testing.assert_allclose(figure.data[0].x, [0.0, 0.1, -0.1, 0.0], atol=1e-9)
    assert list(figure.data[1].x) == [2.0, -1.5]
    assert closing.ablation_figure(Ablation(**{**vars(found), "parts": ()}), 0).layout.annotations


def test_text_that_is_not_read_is_said():
    assert live_words.reading_note(Reading(tokens=(7,), width=8)) == ""
    long = Reading(tokens=(25_003,), width=128)
    assert live_words.reading_note(long) == "Only the first 128 of its 25,003 tokens are read."
    assert "of row 1, 3." in live_words.reading_note(Reading(tokens=(9, 2, 9), width=8))
