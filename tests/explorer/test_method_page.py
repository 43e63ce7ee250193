"""The method page: every screen, and a lesson that reveals nothing before a guess."""

import pytest
from page_reader import button, texts

from explorer.teaching import lesson


def slider(app, label):
    return next(one for one in app.slider if one.label == label)


def guess(app, step, option):
    app.pills(key=f"guess-{step}-True").set_value(option).run()
    return button(app, "That is my guess").click().run()


@pytest.mark.parametrize("store", ["full", "empty", "one", "damaged"])
@pytest.mark.parametrize("screen", ["gate", "fold", "deviations", "lesson"])
def test_every_screen_opens_over_every_store(screen, store, open_app, request):
    app = open_app(request.getfixturevalue(store), "method", screen=screen)
    assert not app.exception
    assert not app.error
    assert app.title[0].value == "What does a gate do?"


def test_sliders_move_the_gate(full, open_app):
    app = open_app(full, "method", screen="gate")
    slider(app, "Location mu").set_value(-0.5).run()
    assert app.subheader[0].value == "Closed in 50% of the steps"
    assert [m.value for m in app.metric][:3] == ["0.00", "50.0%", "0.100"]
    slider(app, "Target: close, percent").set_value(50).run()
    assert "no pull" in texts(app)


@pytest.mark.parametrize("mu", [-1.0, 1.0])
@pytest.mark.parametrize("std", [0.02, 0.6])
def test_sliders_at_their_ends(full, open_app, mu, std):
    app = open_app(full, "method", screen="gate")
    slider(app, "Location mu").set_value(mu)
    slider(app, "Noise, standard deviation").set_value(std)
    slider(app, "Target: close, percent").set_value(95).run()
    assert not app.exception


@pytest.mark.parametrize("stage", ["dense", "gated", "folded"])
def test_layer_of_every_stage_opens_with_nothing_and_all_closed(full, open_app, stage):
    app = open_app(full, "method", screen="fold", shape="layer", stage=stage)
    for closed in ([], [0], list(range(5))):
        app.pills[0].set_value(closed).run()
        assert not app.exception


def test_outputs_stay_when_the_layer_is_cut(full, open_app):
    shown = {}
    for stage in ("dense", "gated", "folded"):
        app = open_app(full, "method", screen="fold", shape="layer", stage=stage)
        shown[stage] = [metric.value for metric in app.metric]
    assert shown["gated"][:3] == shown["folded"][:3] != shown["dense"][:3]
    assert (shown["gated"][3], shown["folded"][3]) == ("30 of 30", "18 of 30")


@pytest.mark.parametrize("target", [5, 50, 55, 90])
@pytest.mark.parametrize("std", [0.1, 0.5])
def test_two_deviations_at_their_ends(full, open_app, target, std):
    app = open_app(full, "method", screen="deviations")
    slider(app, "Target: close, percent").set_value(target)
    slider(app, "Standard deviation in the penalty").set_value(std).run()
    assert not app.exception
    assert app.subheader


def test_lesson_reveals_after_a_guess_and_not_before(full, open_app):
    app = open_app(full, "method", screen="lesson")
    for number, step in enumerate(lesson.steps()):
        assert step.reveal not in texts(app)
        assert not app.latex
        assert button(app, "That is my guess").disabled
        guess(app, number, (step.answer + 1) % len(step.options))
        assert not app.exception
        assert step.reveal in texts(app)
        assert app.pills(key=f"guess-{number}-False").disabled
        if onward := button(app, "Next question"):
            onward.click().run()
    assert "0 of 4 guessed right" in texts(app)
    button(app, "Start again").click().run()
    assert lesson.steps()[0].reveal not in texts(app)


def test_right_guess_is_said_to_be_right(full, open_app):
    app = open_app(full, "method", screen="lesson", step="2")
    guess(app, 1, lesson.steps()[1].answer)
    assert app.success
