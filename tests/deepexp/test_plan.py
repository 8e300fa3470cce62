"""Recipes: that each parses, what runs it stands for, and one line for what is wrong in one."""

import pytest

from deepexp import plan

# What these name is not in every build of the package.
NEEDS = {"imagenet", "tinyimagenet", "snip", "synflow"}


def _runs(name, profile):
    try:
        return plan.runs(name, profile=profile)
    except ValueError as error:
        if any(f"got '{name}'" in str(error) for name in NEEDS):
            pytest.skip(str(error))
        raise


@pytest.mark.parametrize("profile", ["smoke", "short", "full"])
@pytest.mark.parametrize("name", list(plan.recipes()))
def test_every_recipe_is_runs_in_an_order_that_works(name, profile):
    runs = _runs(name, profile)
    before = set()
    for run in runs:
        assert set(run.needs) == {run.config.pruning.run, run.config.donor} - {None}
        assert set(run.needs) <= before, f"{run.arm} stands before what it needs"
        before.add(run.config.run_id)
    assert len(before) == len(runs) > 0


def test_the_laptop_study_keeps_its_names():
    runs = plan.runs("laptop", profile="full")
    found = {(run.panel, run.arm, run.config.seed): run.config.run_id for run in runs}
    assert len(found) == 24
    assert found["cifar10", "lrr", 0] == "cifar10-resnet8-lrr-s0-ae8896c704"
    assert found["cifar10", "signs-on-lrr", 0] == "cifar10-resnet8-donor-signs-s0-a1586768c5"
    assert found["cifar10", "imp-on-lrr", 0] == "cifar10-resnet8-imp-s0-0be5dc4230"
    assert found["cifar10", "lrr-on-imp", 2] == "cifar10-resnet8-lrr-s2-938def26bc"
    assert found["cifar100", "lrr", 1] == "cifar100-resnet8-lrr-s1-de91b87544"
