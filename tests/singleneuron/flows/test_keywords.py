"""A wrong keyword is reported with the function that was called, not with one that it calls."""

import pytest

import singleneuron as sn

STARTS = sn.State([1.0], [[0.6, 0.8]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: sn.success_map(2, rotl=1e-6),
            r"success_map\(\) has no argument 'rotl'; did you mean 'rtol'",
        ),
        (lambda: sn.success_map(2, resolutoin=5), "success_map.* did you mean 'resolution'"),
        (lambda: sn.success_map(2, xyz=5), r"success_map\(\) has no argument 'xyz'; leave it out"),
        (lambda: sn.success_rate(2, rusn=5), r"success_rate\(\) has no argument 'rusn'; did you mean 'runs'"),
        (lambda: sn.success_rate(2, t_end=5.0), r"success_rate\(\) has no argument 't_end'"),
        (
            lambda: sn.prune(sn.Population(2), STARTS, algoritm="imp"),
            r"prune\(\) has no argument 'algoritm'; did you mean 'algorithm'",
        ),
        (lambda: sn.prune(sn.Population(2), STARTS, t_end=1.0), r"prune\(\) has no argument 't_end'"),
        (lambda: sn.integrate(sn.Population(2), STARTS, 1.0, levels=2), r"integrate\(\) .*'levels'"),
    ],
)
def test_a_wrong_keyword_is_named_with_the_function(call, message):
    with pytest.raises(TypeError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["rtol", "atol", "tolerance"])
def test_what_is_passed_on_still_is(name):
    sn.success_map(2, resolution=2, **{name: 1e-5})
    sn.prune(sn.Population(2), STARTS, **{name: 1e-5})
