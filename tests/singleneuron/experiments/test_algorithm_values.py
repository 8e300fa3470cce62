"""An `Algorithm` is accepted wherever its name is, and carries its own options."""

import json

import numpy as np
import pytest

import singleneuron as sn
from singleneuron.algorithms import Algorithm
from singleneuron.experiments.settings import MapSettings, StudySettings
from singleneuron.formulas.rates import predicted_rate

VALUES = (Algorithm("imp"), Algorithm("imp", imp="rebalance"), Algorithm("wr", 0.7), Algorithm("lrr"))
LABELS = ["imp", "imp rebalance", "wr 0.7", "lrr"]


def by_name(function, **arguments):
    """The results for VALUES, each made by a call of its own with a name and options."""
    for value in VALUES:
        options = {} if value.imp == "keep" else {"imp": value.imp}
        if value.rewind_time is not None:
            options["rewind_time"] = value.rewind_time
        yield function(algorithms=(value.name,), **options, **arguments).squeeze(drop=True)


def test_labels_are_distinct_and_names_stay_themselves():
    assert [value.label for value in VALUES] == LABELS
    assert Algorithm("wr", 1.0, "rebalance").label == "wr 1 rebalance"
    for value in VALUES:
        assert Algorithm.fitting(value, imp="rebalance", rewind_time=3.0) is value


def test_a_map_takes_values_beside_names():
    arguments = {"d": 3, "resolution": 8, "balanced": True}
    data = sn.success_map(algorithms=VALUES, **arguments)
    assert data.algorithm.values.tolist() == LABELS
    for index, alone in enumerate(by_name(sn.success_map, **arguments)):
        for name in ("success", "predicted", "loss", "status"):
            np.testing.assert_array_equal(data[name][index], alone[name])
    mixed = sn.success_map(algorithms=("imp", VALUES[1]), **arguments)
    assert mixed.algorithm.values.tolist() == LABELS[:2]
    np.testing.assert_array_equal(mixed.success, data.success[:2])


def test_a_study_takes_values_beside_names():
    arguments = {"d": 3, "runs": 60, "workers": 1}
    data = sn.success_rate(algorithms=VALUES, **arguments)
    assert data.algorithm.values.tolist() == LABELS
    for index, alone in enumerate(by_name(sn.success_rate, **arguments)):
        for name in ("successes", "decided", "predicted"):
            assert data[name][index].item() == alone[name].item()
    one = sn.success_rate(algorithms=VALUES[2], **arguments)
    assert one.rate.dims == ()
    assert one.algorithm.item() == "wr 0.7"


def test_options_are_part_of_the_configuration():
    configs = [
        json.loads(sn.success_rate(3, [value], runs=2, workers=1).attrs["config"])["algorithm"]
        for value in VALUES
    ]
    assert configs[2] == [{"name": "wr", "rewind_time": 0.7, "imp": "keep"}]
    assert len({json.dumps(config) for config in configs}) == len(VALUES)


def test_predictions_take_values():
    for value in VALUES:
        named = {"imp": value.imp, "rewind_time": value.rewind_time}
        assert predicted_rate(5, value) == predicted_rate(5, value.name, **named)
    product = sn.Parameterization("sign-in")
    rebalancing = sn.sign_in_rate(5, "imp", product, imp="rebalance")
    assert sn.sign_in_rate(5, Algorithm("imp", imp="rebalance"), product) == rebalancing


@pytest.mark.parametrize("record", [MapSettings, StudySettings])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"algorithms": ("imp", Algorithm("imp"))}, r"distinct .*\['imp', 'imp'\]"),
        ({"algorithms": (Algorithm("imp"),), "imp": "rebalance"}, "must be set in each Algorithm"),
        ({"algorithms": (Algorithm("lrr"),), "rewind_time": 1.0}, "rewind_time is for 'wr'"),
        ({"algorithms": (Algorithm("wr", 5.0),), "level_time": 2.0}, "rewind_time must be <= level_time"),
        ({"algorithms": (3,)}, "algorithms must be a name, an Algorithm, or a list of them"),
    ],
)
def test_bad_input_is_one_line(record, arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        record(d=2, **arguments)
    assert "\n" not in str(caught.value)
