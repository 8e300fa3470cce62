"""Maps and studies of Sign-In: their settings, and the points that a study counts once."""

import pytest

from singleneuron.experiments.settings import MapSettings, StudySettings
from singleneuron.parameterization import PLAIN, Parameterization


def test_a_map_knows_its_parameterization():
    assert MapSettings(d=2).product == PLAIN
    settings = MapSettings(d=2, parameterization="sign-in", beta_a=2, beta_w=0.5)
    assert settings.product == Parameterization("sign-in", 2.0, 0.5)
    assert settings.how["parameterization"] == settings.product


def test_betas_and_the_parameterization_are_factors_of_a_study():
    settings = StudySettings(d=2, parameterization=["plain", "sign-in"], beta_a=[0.5, 2.0], level_time=9.0)
    assert settings.grid.dims == ["parameterization", "beta_a", "algorithm"]
    groups = [group.parameterization for group in settings.grid.groups]
    # Plain weights have no betas: their runs are counted once.
    assert groups == [PLAIN, Parameterization("sign-in", 0.5), Parameterization("sign-in", 2.0)]


def test_sign_in_draws_full_starts():
    plain, product = StudySettings(d=5, parameterization=["plain", "sign-in"]).grid.groups
    assert plain.reduced
    assert not product.reduced


@pytest.mark.parametrize("record", [MapSettings, StudySettings])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"beta_a": 2.0}, "only apply to the parameterization 'sign-in'"),
        ({"reset_every": 5}, "only apply to the parameterization 'sign-in'"),
        ({"parameterization": "sign-in", "beta_a": 0.0}, "beta_a must be"),
        ({"parameterization": "sign-in", "beta_w": float("nan")}, "beta_w must be"),
        ({"parameterization": "sign-in", "beta_w": -1.0}, "beta_w must be"),
        ({"parameterization": "signin"}, "parameterization must be one of plain, sign-in"),
        ({"parameterization": "sign-in", "method": "exact"}, "Sign-In has no closed form"),
        ({"parameterization": "sign-in", "reset_every": 5}, "reset_every counts steps of gradient descent"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(record, given, message):
    with pytest.raises(ValueError, match=message) as caught:
        record(d=2, **given)
    assert "\n" not in str(caught.value)


def test_several_betas_need_sign_in():
    with pytest.raises(ValueError, match="'sign-in', which is not among"):
        StudySettings(d=2, beta_a=[1.0, 2.0])
