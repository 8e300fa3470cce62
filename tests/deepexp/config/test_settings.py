"""Configurations: identity, validation in one line, protocols and policies as data."""

import math
import re

import pytest

from deepexp.config import build as config_build
from deepexp.config import seeds
from deepexp.config import settings as config
from deepexp.config.algorithms import POLICIES, LevelPolicy, policy
from deepexp.config.build import build
from deepexp.config.protocols import PROFILES, PROTOCOLS

SIGN_IN = {"train.parameterization": "sign-in"}


def _leaves(tree, prefix=""):
    for key, value in tree.items():
        yield from _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]


def test_toml_reads_back_and_keeps_the_identity():
    for settings in ({}, {"algorithm": "wr"}, {"algorithm": "donor-signs", "donor": "x"}):
        made = build(settings)
        assert config_build.read(config_build.to_toml(made)) == made
        assert config_build.read(config_build.to_toml(made)).run_id == made.run_id


def test_finished_runs_keep_their_names():
    """Fields that came later are left out of the digest where they say what these runs did."""
    settings = {
        "data.dataset": "cifar10",
        "data.limit": 5000,
        "model.name": "resnet8",
        "model.width": 0.5,
        "algorithm": "lrr",
        "train.epochs": 10,
        "pruning.levels": 8,
        "pruning.keep": 0.7,
        "seed": 0,
    }
    assert build(settings).run_id == "cifar10-resnet8-lrr-s0-ae8896c704"
    processes = build({**settings, "machine.processes": 2})
    assert processes.run_id not in (build(settings).run_id, build({**settings, "machine.threads": 2}).run_id)


def test_a_precision_that_the_device_does_not_have_is_refused():
    with pytest.raises(ValueError, match=r"precision = 'tf32' needs device = 'cuda', got 'cpu'"):
        build({"machine.precision": "tf32"})
    assert build({"machine.precision": "tf32", "machine.device": "cuda"}).machine.precision == "tf32"


def test_run_id_depends_on_every_field():
    base = build({"algorithm": "lrr"}).model_dump()
    seen = {build({"algorithm": "lrr"}).run_id}
    other = {
        "protocol": "s2s",
        "data.dataset": "cifar10",
        "model.name": "resnet20",
        "model.stem": "imagenet",
        "data.padding_mode": "reflect",
        "data.flip": "random",
        "train.schedule": "constant",
        "train.schedule_per": "step",
        "train.evaluate": "epoch",
        "train.signs": "epoch",
        "train.cycles": "cumulative",
        "pruning.score": "random",
        "pruning.scope": "layer",
        "perturbation.scope": "layer",
        "machine.device": "cuda",
        "machine.precision": "bf16",
        "model.norm_scale": "uniform",
        "train.lr_min": 0.01,
        "policy.schedule": "rewind",
        "train.milestones": (3.0,),
        "perturbation.layers": ("conv.weight",),
        "data.limit": 5,
        "data.side": 4,
        "algorithm": "x",
    }
    other |= {f"policy.{part}": "initial" for part in list(LevelPolicy.model_fields)[:6]}
    skip = {"donor", "pruning.run", "pruning.run_level", "pruning.source", "pruning.initial_density"}
    skip |= {"data.folder", "data.code", "model.code", "pruning.code"}
    skip |= {"data.classes", "data.size", "data.resized_crop", "data.test_size"}
    skip |= {"pruning.budget", "pruning.snip_batches", "pruning.synflow_steps"}
    skip |= {"train.warmup", "train.warmup_epochs", "machine.stack"}
    skip |= {"train.parameterization", "train.beta", "train.reset_epochs"}
    for key, value in _leaves(base):
        if key in skip:  # valid only together with others; below
            continue
        if key in other:
            changed = other[key]
        elif isinstance(value, bool):
            changed = not value
        elif isinstance(value, int):
            changed = value + 1
        else:
            changed = value / 2 if value else 0.25
        section, _, name = key.rpartition(".")
        tree = {**base, section: {**base[section], name: changed}} if section else {**base, name: changed}
        run_id = config.Config.model_validate(tree).run_id
        assert run_id not in seen, key
        seen.add(run_id)
    for settings in (
        {"pruning.source": "random"},
        {"pruning.source": "random", "pruning.initial_density": 0.5},
        {"pruning.source": "random", "pruning.budget": "erk"},
        {"pruning.scope": "layer", "pruning.budget": "erk"},
        {"data.resized_crop": True},
        {"data.resized_crop": True, "data.size": 16},
        {"data.resized_crop": True, "data.size": 16, "data.test_size": 20},
        {"data.dataset": "tinyimagenet"},
        {"data.dataset": "tinyimagenet", "data.classes": 10},
        {"data.dataset": "imagenet"},
        {"data.dataset": "imagenet", "data.size": 64},
        {"data.dataset": "imagenet", "data.resized_crop": False},
        {"pruning.score": "snip"},
        {"pruning.score": "snip", "pruning.snip_batches": 3},
        {"pruning.score": "synflow"},
        {"pruning.score": "synflow", "pruning.synflow_steps": 3},
        {"pruning.source": "run", "pruning.run": "a"},
        {"pruning.source": "run", "pruning.run": "b"},
        {"pruning.source": "fixed", "pruning.run": "a", "pruning.run_level": 1},
        {"train.warmup": "first", "train.warmup_epochs": 1.0},
        {"train.warmup": "every", "train.warmup_epochs": 1.0},
        {"train.warmup": "before", "train.warmup_epochs": 1.0},
        {"algorithm": "wr", "train.warmup": "first", "train.warmup_epochs": 1.0},
        {"algorithm": "donor-signs", "donor": "a"},
        {"algorithm": "donor-signs", "donor": "b"},
        {"machine.stack": [0, 1]},
        {"machine.stack": [0, 2]},
        {"train.parameterization": "sign-in"},
        {"train.parameterization": "sign-in", "train.beta": 2.0},
        {"train.parameterization": "sign-in", "train.reset_epochs": 1},
    ):
        run_id = build(settings).run_id
        assert run_id not in seen
        seen.add(run_id)


@pytest.mark.parametrize(
    ("more", "longest"),
    [
        ({}, 5),
        ({"train.cycles": "cumulative"}, 20),
        ({"train.warmup": "before", "train.warmup_epochs": 2.0}, 7),  # of level 0 alone
    ],
)
def test_a_reset_must_come_within_the_longest_level(more, longest):
    settings = {**SIGN_IN, "algorithm": "lrr", "train.epochs": 5, "pruning.levels": 3, **more}
    assert build({**settings, "train.reset_epochs": longest}).train.reset_epochs == longest
    with pytest.raises(ValueError, match=f"must be at most {longest}, .* got {longest + 1}; "):
        build({**settings, "train.reset_epochs": longest + 1})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train.lrr": 1}, "unknown key 'train.lrr'; did you mean 'train.lr'?"),
        ({"trian.lr": 1}, "unknown key 'trian.lr'; did you mean 'train.lr'?"),
        ({"pruning.levels": -1}, "pruning.levels must be greater than or equal to 0, got -1"),
        ({"pruning.keep": 0.0}, "pruning.keep must be greater than 0"),
        ({"pruning.keep": 1.5}, "pruning.keep must be less than or equal to 1, got 1.5"),
        ({"pruning.initial_density": 0}, "pruning.initial_density must be greater than 0"),
        ({"pruning.initial_density": 1.01}, "pruning.initial_density must be less than or equal to 1"),
        ({"perturbation.fraction": 1.5}, "perturbation.fraction must be less than or equal to 1"),
        ({"perturbation.fraction": 0.5, "perturbation.level": 99}, "perturbation.level must be at most"),
        ({"train.peak": 2.0}, "train.peak must be less than or equal to 1"),
        ({"train.label_smoothing": 1.0}, "train.label_smoothing must be less than 1"),
        ({"train.lr": math.nan}, "train.lr must be"),
        ({"train.lr": "high"}, "train.lr must be a number, got 'high'"),
        ({"train.epochs": 0}, "train.epochs must be greater than or equal to 1"),
        ({"train.epochs": 10**12}, "train.epochs must be less than or equal to 1000000"),
        ({"train.schedule": "step"}, "needs train.milestones"),
        ({"train.schedule": "step", "train.milestones": [70.0]}, "must increase and lie in"),
        ({"train.warmup": "every"}, "contradict"),
        ({"train.warmup": "before", "train.warmup_epochs": 1.5}, "must be a whole number"),
        ({"train.lr_min": 0.1}, "lr_min must be below lr = 0.1, got 0.1"),
        ({"train.rise_from": 1.0}, "train.rise_from must be less than 1"),
        ({"train.parameterization": "signin"}, "train.parameterization must be 'plain' or 'sign-in'"),
        ({**SIGN_IN, "train.beta": 0.0}, "train.beta must be greater than or equal to 0.000001, got 0.0"),
        ({**SIGN_IN, "train.beta": 1e20}, "train.beta must be less than or equal to 1000000, got 1e+20"),
        ({**SIGN_IN, "train.beta": math.nan}, "train.beta must be"),
        ({**SIGN_IN, "train.reset_epochs": -1}, "train.reset_epochs must be greater than or equal to 0"),
        ({**SIGN_IN, "train.reset_epochs": 1.5}, "train.reset_epochs must be"),
        (
            {**SIGN_IN, "train.epochs": 5, "train.reset_epochs": 6},
            "train.reset_epochs must be at most 5, the length of the longest level in epochs, got 6",
        ),
        ({"train.beta": 2.0}, "beta has no effect with parameterization = 'plain', got 2.0; leave it out"),
        ({"train.reset_epochs": 3}, "reset_epochs has no effect with parameterization = 'plain', got 3"),
        ({"algorithm": "wr", "train.cycles": "cumulative"}, "needs policy.schedule = 'start'"),
        ({"seed": -1}, "seed must be greater than or equal to 0"),
        ({"machine.threads": 100_000}, "machine.threads must be less than or equal to 1024, got 100000"),
        ({"machine.stack": [0]}, "stack must have at least two seeds, all different, got [0]"),
        ({"machine.stack": [0, 1, 1]}, "stack must have at least two seeds, all different, got [0, 1, 1]"),
        ({"machine.stack": [1, 2]}, "seed must be one of machine.stack = [1, 2], got 0"),
        ({"machine.stack": [0, 1], "machine.processes": 2}, "whose seeds train in one process"),
        ({"algorithm": "lr"}, "did you mean 'lrr'?"),
        ({"algorithm": "wr", "policy.rewind_epoch": 100}, "policy.rewind_epoch must be at most"),
        ({"algorithm": "donor-signs"}, "donor, a run_id"),
        ({"pruning.source": "run"}, "needs pruning.run"),
        ({"pruning.source": "fixed", "pruning.run": "a"}, "run_level"),
        ({"pruning.initial_density": 0.5}, "magnitudes at initialisation"),
        ({"pruning.source": "shuffled", "pruning.initial_density": 0.5}, "magnitudes at initialisation"),
        ({"pruning.score": "snip", "pruning.synflow_steps": 3}, "synflow_steps has no effect"),
        (
            {"pruning.snip_batches": 3},
            "snip_batches has no effect with source = 'own' and score = 'magnitude'",
        ),
        ({"pruning.budget": "erk"}, "budget has no effect with source = 'own' and scope = 'global'"),
        (
            {"pruning.source": "random", "pruning.score": "random"},
            "score has no effect with source = 'random'",
        ),
        (
            {"pruning.source": "random", "pruning.scope": "layer"},
            "scope has no effect with source = 'random'",
        ),
        ({"data.classes": 10}, "classes applies only to tinyimagenet, imagenet and"),
        ({"data.size": 16}, "size needs resized_crop = true"),
        ({"data.test_size": 16}, "test_size needs size and must be at least as large"),
        ({"data.dataset": "imagenet", "data.test_size": 256}, "test_size must be left out for imagenet"),
        ({"data.resized_crop": True, "data.crop_padding": 1}, "crop_padding must be 0 with resized_crop"),
        ({"data.dataset": "imagenet", "data.resized_crop": False, "data.crop_padding": 1}, "vary in size"),
        ({"data.dataset": "mnist"}, "the dataset must be one of"),
        ({"lr": 0.1}, "unknown key 'lr'; did you mean 'train.lr'?"),
        ({"train.keep": 0.1}, "unknown key 'train.keep'; did you mean 'pruning.keep'?"),
    ],
)
def test_bad_input_is_one_line(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        build(settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("source", ["run", "shuffled", "fixed"])
def test_what_does_not_act_on_the_masks_of_a_run_is_refused(source):
    theirs = {"pruning.source": source, "pruning.run": "a"} | (
        {"pruning.run_level": 1} if source == "fixed" else {}
    )
    build(theirs)
    for name, value in (
        ("keep", 0.5),
        ("initial_density", 0.5),
        ("score", "random"),
        ("scope", "layer"),
        ("budget", "erk"),
        ("snip_batches", 3),
    ):
        message = f"pruning: {name} has no effect with source = '{source}' and run = 'a'"
        with pytest.raises(ValueError, match=re.escape(message)):
            build({**theirs, f"pruning.{name}": value})


def test_a_schedule_that_alone_rewinds_has_a_rewind_point():
    only = {"algorithm": "lrr", "policy.schedule": "rewind"}
    assert build(only).policy.rewinds()
    with pytest.raises(ValueError, match=r"rewind_epoch must be at most .* = 60, got 99"):
        build({**only, "policy.rewind_epoch": 99})


def test_a_configuration_names_a_known_protocol():
    with pytest.raises(ValueError, match="the protocol must be one of"):
        config_build.read(
            config_build.to_toml(build({})).replace('protocol = "signflow"', 'protocol = "signflaw"')
        )


def test_unknown_protocols_and_profiles_are_refused():
    with pytest.raises(ValueError, match="the protocol must be one of"):
        build({}, protocol="s2")
    with pytest.raises(ValueError, match="the profile must be one of"):
        build({}, profile="fast")
    with pytest.raises(ValueError, match="only for cifar10"):
        build({"data.dataset": "digits", "algorithm": "imp"}, protocol="openlth")


def test_every_protocol_builds_for_its_data_sets_and_algorithms():
    for name, protocol in PROTOCOLS.items():
        for dataset in protocol.settings:
            for profile in PROFILES:
                for algorithm in POLICIES[name]:
                    settings = {"data.dataset": dataset, "algorithm": algorithm}
                    if algorithm.startswith("donor"):
                        settings["donor"] = "a"
                    made = build(settings, protocol=name, profile=profile)
                    assert made.policy.rewind_epoch < made.epochs(0)
                    assert made.train.warmup_epochs < made.epochs(0)


def test_a_smaller_profile_is_never_larger():
    for name, protocol in PROTOCOLS.items():
        for dataset in protocol.settings:
            settings = {"data.dataset": dataset, "algorithm": "imp"}
            made = [build(settings, protocol=name, profile=profile) for profile in ("smoke", "short", "full")]
            for sizes in (
                [each.train.epochs for each in made],
                [each.pruning.levels for each in made],
                [each.data.limit or math.inf for each in made],
                [each.data.classes or math.inf for each in made],
            ):
                assert sizes == sorted(sizes), (name, dataset)


def test_a_protocol_is_what_its_source_does():
    s2s = build({"data.dataset": "cifar100"}, protocol="s2s")
    assert (s2s.train.epochs, s2s.train.batch_size, s2s.train.lr, s2s.train.weight_decay) == (
        150,
        256,
        0.1,
        1e-3,
    )
    assert (s2s.train.warmup, s2s.train.warmup_epochs, s2s.train.schedule) == ("before", 10, "cosine")
    turbo = build({"data.dataset": "cifar10"}, protocol="turboprune24")
    assert turbo.train.milestones == (60, 120)
    assert turbo.train.warmup == "every"
    assert turbo.pruning.levels == 24
    for name, keeps_last in (("s2s", True), ("turboprune24", True), ("turboprune", False), ("openlth", True)):
        made = build({"data.dataset": "cifar10", "algorithm": "imp"}, protocol=name)
        assert made.train.drop_last != keeps_last, name
    assert build({"data.dataset": "cifar10", "algorithm": "imp"}, protocol="openlth").train.milestones == (
        80,
        120,
    )


def test_the_protocols_of_larger_images():
    tiny = build({"data.dataset": "tinyimagenet", "algorithm": "imp"}, protocol="s2s")
    assert (tiny.model.name, tiny.model.stem) == ("resnet50", "imagenet")
    assert (tiny.data.size, tiny.data.test_size) == (224, 256)
    assert (tiny.data.resized_crop, tiny.data.crop_padding, tiny.train.weight_decay) == (True, 0, 1e-4)
    ours = build({"data.dataset": "tinyimagenet"})
    assert (ours.model.stem, ours.data.size, ours.data.crop_padding) == ("cifar", None, 8)
    renda = build({"data.dataset": "imagenet", "algorithm": "lrr"}, protocol="renda20")
    assert (renda.train.epochs, renda.train.batch_size, renda.train.lr) == (90, 1024, 0.4)
    assert (renda.train.milestones, renda.train.warmup_epochs) == ((30, 60, 80), 5)
    assert (renda.model.name, renda.model.stem, renda.data.resized_crop) == ("resnet50", "imagenet", True)


def test_fewer_epochs_shrink_the_schedule_and_explicit_settings_win():
    settings = {"data.dataset": "cifar10", "train.epochs": 15}
    short = build(settings, protocol="turboprune24")
    assert (short.train.milestones, short.train.warmup_epochs, short.policy.rewind_epoch) == ((6, 12), 1, 1)
    kept = build({**settings, "train.milestones": [3.0]}, protocol="turboprune24")
    assert kept.train.milestones == (3,)


# Amplitude, sign, bias, BN affine, BN statistics, momentum, schedule: k(ept), i(nitial), r(ewound), s(tart).
@pytest.mark.parametrize(
    ("protocol", "algorithm", "resets"),
    [
        ("signflow", "imp", "iiiiiis"),
        ("signflow", "imp-keep-statistics", "iiiikis"),
        ("signflow", "wr", "rrrrrrr"),
        ("signflow", "lrr", "kkkkkks"),
        ("signflow", "lrr-fresh-momentum", "kkkkkis"),
        ("signflow", "lrr-bn-rewind", "kkkiiks"),  # BN alone
        ("signflow", "trained-signs", "ikiiiis"),
        ("signflow", "trained-amplitudes", "kiiiiis"),
        ("renda20", "imp", "iiiiiis"),  # step 0: weights, BN, momentum
        ("renda20", "wr", "rrrrrrr"),  # step K, and the remainder of the schedule
        ("renda20", "lrr", "kkkkkkr"),  # keeps weights, BN, momentum; the schedule goes back to K
        ("openlth", "imp", "iiiiiis"),  # the full state from init; its optimizer is always new
        ("openlth", "wr", "rrrrrir"),  # resumes at step k of the schedule
        ("turboprune24", "imp", "iiiikis"),  # weights and biases; a new optimizer
        ("turboprune24", "wr", "rrrrkrs"),  # the same and the optimizer from the snapshot, the full schedule
        ("turboprune24", "lrr", "kkkkkis"),  # weights and BN kept; a new optimizer
        ("turboprune", "imp", "iiiiiis"),  # everything but masks, running statistics included
        ("turboprune", "wr", "rrrrris"),
        ("turboprune", "lrr", "kkkkkis"),
        ("s2s", "imp", "rrrrkrs"),  # weights, biases, BN affine, optimizer after the warm-up, not statistics
        ("s2s", "wr", "rrrrkrs"),  # the same
        ("s2s", "donor-signs", "rdrrkrs"),
        ("s2s", "lrr", "kkkkkks"),  # nothing reset; momentum survives
        ("s2s", "lrr-bn-rewind", "kkkrrrs"),  # all BN keys, and the optimizer
    ],
)
def test_every_row_is_what_its_source_does(protocol, algorithm, resets):
    row = list(policy(protocol, algorithm).model_dump().values())[:7]
    assert "".join(origin[0] for origin in row) == resets


def test_an_algorithm_that_a_protocol_lacks_never_carries_its_name():
    for name, rows in POLICIES.items():
        for algorithm in POLICIES["signflow"].keys() - rows.keys():
            with pytest.raises(ValueError, match=f"'signflow-{algorithm}' runs our version"):
                policy(name, algorithm)
            assert policy(name, f"signflow-{algorithm}") == policy("signflow", algorithm)
    with pytest.raises(ValueError, match="got 'signflow-lrr'"):
        policy("signflow", "signflow-lrr")  # one name for one run
    made = build({"data.dataset": "cifar10", "algorithm": "signflow-lrr"}, protocol="openlth")
    assert made.algorithm == "signflow-lrr"
    assert "signflow-lrr" in made.run_id


def test_counts_are_exact_in_decimals():
    pruning = build({}).pruning
    total = 11_164_352
    for level in range(60):  # integers alone: floor(4^l N / 5^l + 1/2)
        expected = (2 * 4**level * total + 5**level) // (2 * 5**level)
        assert pruning.kept(level, total) == expected
    assert (
        build({"pruning.keep": 0.1}).pruning.kept(1, 25) == 3
    )  # 2.5 is rounded up, whatever 0.1 is in binary
    assert build({"pruning.keep": 0.145}).pruning.kept(1, 100) == 15  # which 0.145 is less than, in binary


def test_streams_are_distinct_and_know_seed_zero():
    seen = {
        seeds.stream(seed, "epoch", level, epoch)
        for seed in range(5)
        for level in range(5)
        for epoch in range(9)
    }
    assert len(seen) == 225
    assert seeds.stream(0, "a") != seeds.stream(1, "a")
