"""Recipes: that each parses, what runs it stands for, and one line for what is wrong in one."""

import math
from pathlib import Path

import pytest

from deepexp.cli import main
from deepexp.config.machine import Machine
from deepexp.config.protocols import PROTOCOLS
from deepexp.predictions import published
from deepexp.recipes import plan, recipe
from deepexp.schedule import costs

RECIPES = [
    *("criteria", "cyclic", "fig2b", "fig2c", "fig2d", "fig3", "fig4", "fig5", "imagenet", "laptop"),
    *("laptop-converged", "perturb", "random", "sign-in", "signs-vs-amplitudes", "smoke", "width"),
]
OURS = ("laptop", "laptop-converged", "smoke")  # the others follow a public code
SMALL = """
question = "Which?"
source = "a test"
settings.model.width = 0.25
panels.digits = {}

[arms.imp]
algorithm = "imp"

[arms.lrr]
algorithm = "lrr"

[arms.on]
algorithm = "imp"
masks = "lrr"

[profiles.smoke]
protocol = "signflow"
panels = ["digits"]
seeds = [0, 1]
"""


def _settings(config):
    """A configuration as flat settings."""
    return {
        f"{key}.{name}": field
        for key, value in config.model_dump().items()
        for name, field in (value.items() if isinstance(value, dict) else [("", value)])
    }


def _differ(first, second):
    one, two = _settings(first), _settings(second)
    return {key for key in one if one[key] != two[key]}


@pytest.mark.parametrize("profile", ["smoke", "short", "full"])
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_runs_in_an_order_that_works(name, profile):
    runs = plan.runs(name, profile=profile)
    before = set()
    for run in runs:
        assert set(run.needs) == {run.config.pruning.run, run.config.donor} - {None}
        assert set(run.needs) <= before, f"{run.arm} stands before what it needs"
        before.add(run.config.run_id)
    configs = {run.config for run in runs}
    assert len(before) == len(configs) > 0
    assert len(configs) == len(runs) or name == "laptop-converged"  # whose widths include the main one
    made = recipe.load(name)
    assert set(made.profiles) == {"smoke", "short", "full"}
    assert {run.config.protocol for run in runs} == {made.profiles[profile].protocol}
    ours = made.profiles["full"].protocol in ("signflow", "laptop-converged")
    assert ours == (name in OURS)
    assert made.profiles["full"].protocol in PROTOCOLS
    assert made.question.endswith((".", "?")) or "?" in made.question


@pytest.mark.parametrize("name", RECIPES)
def test_a_smaller_profile_of_a_recipe_is_never_larger(name):
    planned = [plan.runs(name, profile=profile) for profile in ("smoke", "short", "full")]
    configs = [{run.config.run_id: run.config for run in runs}.values() for runs in planned]
    for sizes in ([len(each) for each in configs], [sum(map(costs.images, each)) for each in configs]):
        assert sizes == sorted(sizes)


def test_there_is_a_recipe_for_every_experiment():
    assert list(recipe.recipes()) == sorted(RECIPES)


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in ("imagenet", "smoke")])
def test_smoke_is_digits_for_two_seeds_on_one_thread(name):
    runs = plan.runs(name, profile="smoke")
    assert {run.panel for run in runs} == {"digits"}
    assert {run.config.seed for run in runs} == {0, 1}
    for run in runs:
        config = run.config
        assert (config.data.dataset, config.machine.threads) == ("digits", 1)
        if run.arm.startswith("erk-"):  # pruned once, at initialisation
            assert (config.pruning.levels, config.pruning.initial_density) == (
                0,
                float(run.arm.split("-")[-1]),
            )
            continue
        if run.arm.startswith("last-"):  # trained once, on the last mask of another run
            assert (config.pruning.levels, config.pruning.run_level) == (0, 3)
            continue
        assert config.pruning.levels == 3
        assert config.pruning.run or config.pruning.keep == 0.5 or config.pruning.initial_density == 0.125


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in OURS])
def test_short_takes_a_gpu_under_an_hour(name, tmp_path):
    runs = plan.runs(name, profile="short", device="cuda")
    assert {run.config.seed for run in runs} == {0, 1, 2}
    configs = list({run.config.run_id: run.config for run in runs}.values())
    assert costs.seconds(configs, tmp_path, costs.speeds(configs, tmp_path)) < 3600


@pytest.mark.parametrize("profile", ["smoke", "short", "full"])
def test_a_gpu_trains_by_bf16_and_cuda_graphs_but_in_the_smoke_profile(profile):
    def machines(**more):
        return {run.config.machine for run in plan.runs("fig3", profile=profile, **more)}

    fast = {} if profile == "smoke" else {"precision": "bf16", "compile": True}
    assert machines(device="cuda") == {Machine(device="cuda", **fast)}
    assert machines() == {Machine()}
    exact = {"machine.precision": "float32", "machine.compile": False}
    assert machines(device="cuda", machine=exact) == {Machine(device="cuda")}
    assert machines(machine={"machine.device": "cuda"}) == {Machine(device="cuda", **fast)}
    assert machines(device="cuda", machine={"machine.device": "cpu", "machine.threads": 2}) == {
        Machine(threads=2)
    }


def test_what_is_told_of_the_machine_wins_over_a_recipe(tmp_path):
    file = tmp_path / "mine.toml"
    text = (Path(recipe.__file__).parent / "smoke.toml").read_text()
    file.write_text(text.replace("[arms.imp]\n", "[arms.imp]\nmachine.threads = 2\n") + "\n")
    threads = {run.arm: run.config.machine.threads for run in plan.runs(str(file), profile="smoke")}
    assert threads == {"imp": 2, "wr": 1, "lrr": 1}
    told = plan.runs(str(file), profile="smoke", machine={"machine.threads": 3})
    assert {run.config.machine.threads for run in told} == {3}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"train.lr": 0.2}, "only the machine settings of a recipe can be changed, .* got 'train.lr'"),
        ({"machine.stack": [0, 1]}, r"machine.stack must not be set for a recipe, got \[0, 1\]"),
        ({"machine.threds": 2}, "unknown key 'machine.threds'; did you mean 'machine.threads'"),
    ],
)
def test_a_recipe_takes_settings_of_the_machine_alone(setting, message):
    with pytest.raises(ValueError, match=message):
        plan.runs("fig3", profile="smoke", machine=setting)


def test_the_laptop_study_keeps_its_names():
    runs = plan.runs("laptop", profile="full")
    found = {(run.panel, run.arm, run.config.seed): run.config.run_id for run in runs}
    assert len(found) == 24
    assert found["cifar10", "lrr", 0] == "cifar10-resnet8-lrr-s0-ae8896c704"
    assert found["cifar10", "signs-on-lrr", 0] == "cifar10-resnet8-donor-signs-s0-a1586768c5"
    assert found["cifar10", "imp-on-lrr", 0] == "cifar10-resnet8-imp-s0-0be5dc4230"
    assert found["cifar10", "lrr-on-imp", 2] == "cifar10-resnet8-lrr-s2-938def26bc"
    assert found["cifar100", "lrr", 1] == "cifar100-resnet8-lrr-s1-de91b87544"


@pytest.mark.parametrize("profile", ["short", "full"])
def test_the_converged_study_has_the_arms_that_its_predictions_ask_for(profile):
    arms = _arms("laptop-converged", profile, panel="cifar10")
    lrr, seeds = arms["lrr"], {run.config.seed for run in plan.runs("laptop-converged", profile=profile)}
    assert len(seeds) >= (5 if profile == "full" else 3)
    assert lrr.pruning.levels >= 8
    assert lrr.pruning.kept(lrr.pruning.levels, 10**6) <= 0.06 * 10**6
    assert (lrr.data.side, lrr.data.limit) == (16, 10_000)
    for name in ("imp", "lrr"):
        perturbed = arms[f"{name}-p0.25-l{math.ceil(lrr.pruning.levels / 3)}"]
        assert _differ(arms[name], perturbed) == {"perturbation.fraction", "perturbation.level"}
        assert _differ(arms[name], arms[f"{name}-erk"]) == {"pruning.source", "pruning.budget"}
        widths = {arm.model.width for other, arm in arms.items() if other.startswith(f"{name}-w")}
        assert len(widths) == 3
        assert arms[f"{name}-w{lrr.model.width}"] == arms[name]


def _arms(name, profile="smoke", seed=0, panel="digits"):
    runs = plan.runs(name, profile=profile)
    return {run.arm: run.config for run in runs if (run.config.seed, run.panel) == (seed, panel)}


def _seeds(path, **more):
    found = {}
    for run in plan.runs(str(path), profile="smoke", **more):
        found.setdefault(run.arm, {})[run.config.seed] = run.config.machine.stack
    return found


def test_an_arm_with_a_number_of_seeds_runs_with_the_first_ones_of_the_profile(tmp_path):
    file = tmp_path / "mine.toml"
    text = SMALL.replace("seeds = [0, 1]", "seeds = [7, 5, 3]")
    file.write_text(text.replace('masks = "lrr"', 'masks = "lrr"\nseeds = 2'))
    assert _seeds(file) == {
        "imp": {7: (), 5: (), 3: ()},
        "lrr": {7: (), 5: (), 3: ()},
        "on": {7: (), 5: ()},
    }
    # Seeds of one's own choice do not change which seeds the arm runs with.
    assert _seeds(file, seeds=[3, 5, 9]) == {"imp": {3: (), 5: (), 9: ()}} | {
        "lrr": {3: (), 5: (), 9: ()},
        "on": {5: ()},
    }
    stacked = _seeds(file, stack=True)
    assert stacked["lrr"] == dict.fromkeys((7, 5, 3), (3, 5, 7))
    assert stacked["on"] == dict.fromkeys((7, 5), (5, 7))


def test_arms_take_their_masks_and_donors_from_the_run_of_the_same_seed():
    for seed in (0, 1):
        arms = _arms("signs-vs-amplitudes", seed=seed)
        on_lrr = {name: config for name, config in arms.items() if name.endswith("-on-lrr")}
        assert {config.pruning.run for config in on_lrr.values()} == {arms["lrr"].run_id}
        assert {config.pruning.source for config in on_lrr.values()} == {"run"}
        for name in ("signs-on-lrr", "amplitudes-on-lrr"):
            assert arms[name].donor == arms["lrr"].run_id
        assert (arms["signs-on-lrr"].policy.sign, arms["signs-on-lrr"].policy.amplitude) == (
            "donor",
            "initial",
        )
        assert arms["shuffled-on-lrr"].policy.shuffle_amplitude
    arms = _arms("fig2b")
    for name in ("imp", "lrr"):
        shuffled = arms[f"{name}-shuffled"]
        assert (shuffled.pruning.source, shuffled.pruning.run) == ("shuffled", arms[name].run_id)
        assert shuffled.policy == arms[name].policy
    arms = _arms("fig3")
    assert arms["imp-on-lrr-warmup"].pruning.run == arms["lrr-warmup"].run_id
    for name in ("imp", "wr", "lrr"):
        assert _differ(arms[name], arms[f"{name}-warmup"]) == {"train.warmup", "train.warmup_epochs"}


def test_bn_rewinding_is_all_that_the_arms_of_fig4_differ_in():
    arms = _arms("fig4")
    assert set(arms) == {
        *("imp", "imp-keep-bn", "lrr", "lrr-on-imp", "lrr-bn-rewind", "lrr-bn-rewind-on-imp"),
    }
    bn = {"policy.norm_affine", "policy.norm_statistics"}
    for plain, other in (("imp", "imp-keep-bn"), ("lrr", "lrr-bn-rewind")):
        assert _differ(arms[plain], arms[other]) == {"algorithm.", *bn}


@pytest.mark.parametrize("profile", ["smoke", "short", "full"])
def test_perturbations_include_the_one_that_decides(profile):
    runs = plan.runs("perturb", profile=profile, seeds=[0])
    arms = {run.arm: run.config for run in runs}
    level = math.ceil(arms["imp"].pruning.levels / 3)
    for name in ("imp", "lrr"):
        plain, perturbed = arms[name], arms[f"{name}-p0.25-l{level}"]
        assert _differ(plain, perturbed) == {"perturbation.fraction", "perturbation.level"}
        assert (perturbed.perturbation.fraction, perturbed.perturbation.level) == (0.25, level)
        assert arms[f"{name}-p0.25-l{level}-layer"].perturbation.scope == "layer"


@pytest.mark.parametrize("profile", ["smoke", "short", "full"])
def test_random_masks_from_the_start_are_as_sparse_as_iterative_ones_at_the_end(profile):
    arms = {run.arm: run.config.pruning for run in plan.runs("random", profile=profile, seeds=[0])}
    total = 11_164_352
    for budget in ("balanced", "erk", "uniform"):
        for name in ("imp", "lrr"):
            iterative, initial = arms[f"{name}-{budget}"], arms[f"{name}-{budget}-initial"]
            assert iterative.levels == initial.levels
            last = iterative.kept(iterative.levels, total)
            assert {initial.kept(level, total) for level in range(initial.levels + 1)} == {last}


@pytest.mark.parametrize("profile", ["smoke", "short", "full"])
def test_magnitude_pruning_is_trained_once_for_two_recipes(profile):
    criteria, fig3 = (
        {(run.panel, run.arm, run.config.seed): run.config.run_id for run in plan.runs(name, profile=profile)}
        for name in ("criteria", "fig3")
    )
    panel = "digits" if profile == "smoke" else "cifar10"
    for name in ("imp", "lrr"):
        for seed in (0, 1):
            assert criteria[panel, f"{name}-magnitude", seed] == fig3[panel, name, seed]


def test_panels_and_seeds_can_be_chosen():
    runs = plan.runs("fig3", profile="short", panels=["cifar100"], seeds=[7])
    assert {(run.panel, run.config.data.dataset, run.config.seed) for run in runs} == {
        ("cifar100", "cifar100", 7)
    }
    with pytest.raises(
        ValueError, match="recipe fig3: the panel of the profile 'smoke' must be one of digits"
    ):
        plan.runs("fig3", profile="smoke", panels=["cifar10"])
    assert len(plan.runs("fig2d", profile="smoke", panels=["tinyimagenet"])) == 6
    twice = plan.runs("fig3", profile="smoke", panels=["digits", "digits"], seeds=[1, 0, 1])
    assert twice == plan.runs("fig3", profile="smoke", seeds=[1, 0])


def test_a_recipe_may_be_a_file(tmp_path):
    file = tmp_path / "small.toml"
    file.write_text(SMALL)
    runs = plan.runs(str(file), profile="smoke")
    assert [run.arm for run in runs] == ["imp", "lrr", "on"] * 2
    assert recipe.load(str(file)).name == "small"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'masks = "lrr"',
            'masks = "lr"',
            "must name an arm, one of imp, lrr, on, got 'lr'; did you mean 'lrr'?",
        ),
        ('masks = "lrr"', 'donor = "x"', "arms.on.donor must name an arm, one of imp, lrr, on, got 'x'"),
        ('algorithm = "lrr"', 'algorithm = "lrr"\nmasks = "on"', "arms.on.masks must not be circular"),
        ('masks = "lrr"', 'masks = "on"', "arms.on.masks must not be circular, got on -> on"),
        ("panels.digits = {}", 'panels.digits.arms = ["on"]', "arms.on.masks must name an arm of"),
        (
            "panels.digits = {}",
            'panels.digits.arms = ["of"]',
            "every name in panels.digits.arms must be one of imp, lrr, on",
        ),
        (
            'panels = ["digits"]',
            'panels = ["x"]',
            "every name in profiles.smoke.panels must be one of digits, got 'x'",
        ),
        ('"signflow"', '"x"', "profiles.smoke.protocol must be one of signflow"),
        ("seeds = [0, 1]", "", "profiles.smoke.seeds must be given, but it is not"),
        ("seeds = [0, 1]", "seeds = []", "profiles.smoke.seeds must have at least 1 item"),
        (
            "seeds = [0, 1]",
            "seeds = [0]\nepochs = 3",
            "unknown key 'profiles.smoke.epochs'; the keys there are",
        ),
        ('source = "a test"', "", "source must be given, but it is not"),
        ('source = "a test"', "source = [", "it must be valid TOML"),
        ("width = 0.25", "width = -1.0", "arms.imp on the panel digits, profile smoke: model.width must"),
        ("width = 0.25", "wide = 1", "profile smoke: unknown key 'model.wide'; did you mean"),
        ("panels.digits = {}", 'panels.digits.data.dataset = "mnist"', "the dataset must be one of"),
        ("[arms.imp]", '[arms."{a}-imp"]', "arms.{a}-imp: the field 'a' must be listed in [each]"),
        ("[arms.imp]", '[arms."{}-imp"]', "arms.{}-imp: braces must contain the name of a field"),
        ('masks = "lrr"', 'masks = "{"', "arms.on: braces must contain the name of a field"),
        (
            'masks = "lrr"',
            'masks = ["lrr"]',
            "arms.on.masks must name an arm, one of imp, lrr, on, got '['lrr'",
        ),
        ("[arms.imp]", "[arms.imp]\nseeds = 0", "arms.imp.seeds must be a whole number of at least 1, got 0"),
        (
            "[arms.imp]",
            "[arms.imp]\nseeds = true",
            "arms.imp.seeds must be a whole number of at least 1, got True",
        ),
        (
            "[arms.lrr]",
            "[arms.lrr]\nseeds = 2",
            "arms.on.seeds must be at most 2, as in the arm lrr that it refers to, got all seeds",
        ),
        (
            'source = "a test"',
            'source = "a test"\npredictions = ["P99"]',
            "every prediction must be one of P1, ",
        ),
    ],
)
def test_bad_recipes_are_one_line_with_recipe_and_key(tmp_path, capsys, old, new, message):
    assert old in SMALL
    file = tmp_path / "bad.toml"
    file.write_text(SMALL.replace(old, new, 1))
    assert main.main(["plan", str(file), "--profile", "smoke", "--runs", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("deepexp: recipe bad: ")
    assert message in error


def test_a_file_that_is_no_text_is_one_line_with_its_name(tmp_path):
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"bad\.toml' must be UTF-8 text"):
        recipe.load(str(tmp_path / "bad.toml"))


def test_a_setting_takes_a_field_by_its_braces_alone(tmp_path):
    file = tmp_path / "small.toml"
    text = SMALL.replace('algorithm = "imp"', 'algorithm = "{algorithm}"', 1)
    file.write_text('each = { algorithm = ["wr"], m = [3] }\n' + text)
    algorithms = {run.arm: run.config.algorithm for run in plan.runs(str(file), profile="smoke")}
    assert algorithms == {"imp": "wr", "lrr": "lrr", "on": "imp"}


def test_a_profile_has_from_the_usual_one_what_it_does_not_state(tmp_path):
    file = tmp_path / "small.toml"
    stated = 'protocol = "signflow"\npanels = ["digits"]\nseeds = [0, 1]\n'
    file.write_text(SMALL.replace(stated, 'base = "usual"\nseeds = [3]\n'))
    runs = plan.runs(str(file), profile="smoke")
    assert {(run.config.seed, run.config.train.epochs, run.config.pruning.levels) for run in runs} == {
        (3, 3, 3)
    }
    assert {run.config.model.width for run in plan.runs("fig3", profile="smoke")} == {0.5}
    file.write_text(SMALL.replace("profiles.smoke", "profiles.medium").replace(stated, 'base = "usual"\n'))
    with pytest.raises(ValueError, match="a profile with base = 'usual' must be one of smoke, short, full"):
        recipe.load(str(file))
    file.write_text(SMALL.replace(stated, 'base = "other"\n'))
    with pytest.raises(ValueError, match="base must be"):
        recipe.load(str(file))


@pytest.mark.parametrize("arguments", [["fig9"], ["missing.toml"], ["fig3", "--profile", "x"]])
def test_unknown_names_are_one_line(capsys, arguments):
    assert main.main(["plan", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_cycle_is_told_whole(tmp_path):
    file = tmp_path / "bad.toml"
    text = SMALL.replace('algorithm = "lrr"', 'algorithm = "lrr"\nmasks = "imp"')
    file.write_text(text.replace('algorithm = "imp"', 'algorithm = "imp"\nmasks = "on"', 1))
    with pytest.raises(ValueError, match=r"got imp -> on -> lrr -> imp$"):
        recipe.load(str(file))


def test_a_missing_data_set_names_recipe_and_key(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SIGNFLOW_DATA", str(tmp_path / "none"))
    for command in (["run", "fig3"], ["plan", "fig3", "--make"]):
        assert main.main([*command, "--profile", "short", "--runs", str(tmp_path / "runs")]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert error.startswith("deepexp: recipe fig3: panels.cifar10.data.dataset: cifar10 must be in ")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("profile", ["smoke", "short", "full"])
def test_sign_in_compares_arms_that_differ_in_the_parameterization_alone(profile):
    runs = {(run.arm, run.config.seed): run.config for run in plan.runs("sign-in", profile=profile)}
    assert {arm for arm, _ in runs} == {
        *(f"erk{name}-{density}" for name in ("", "-sign-in") for density in (0.2, 0.1, 0.05)),
        *("lrr", "lrr-sign-in"),
    }
    for (arm, seed), config in runs.items():
        if "sign-in" in arm:
            plain = runs[arm.replace("-sign-in", ""), seed]
            assert _differ(config, plain) == {"train.parameterization", "train.reset_epochs"}
            assert (config.train.beta, config.train.reset_epochs > 0) == (1.0, True)
        if arm.startswith("erk-"):
            assert config.pruning.initial_density == float(arm.split("-")[-1])
            assert (config.pruning.source, config.pruning.budget) == ("random", "erk")
    assert runs["lrr", 0].pruning.kept(runs["lrr", 0].pruning.levels, 10**6) <= 126_000


@pytest.mark.parametrize("profile", ["smoke", "short", "full"])
def test_the_control_of_cyclic_has_imps_masks_and_as_many_cycles_as_lrr(profile):
    runs = {(run.arm, run.config.seed): run.config for run in plan.runs("cyclic", profile=profile)}
    for seed in {seed for _, seed in runs}:
        imp, lrr, control = (runs[arm, seed] for arm in ("imp", "lrr", "imp-cycles"))
        assert control.pruning.run == imp.run_id
        assert (control.policy, control.train.cycles) == (imp.policy, "cumulative")
        for level in range(imp.pruning.levels + 1):
            assert control.epochs(level) == sum(lrr.epochs(n) for n in range(level + 1))


@pytest.mark.parametrize("name", ["sign-in", "cyclic"])
def test_published_curves_stand_beside_the_arms_of_their_protocol_and_network(name):
    found = {run.arm: published.matching(run.config) for run in plan.runs(name, profile="full")}
    plain = {"sign-in": {"lrr"}, "cyclic": {"imp", "lrr"}}[name]
    assert {arm for arm, curve in found.items() if curve} == plain
    assert all(found[arm].algorithm == arm for arm in plain)


def test_the_profiles_of_every_recipe_run_from_small_to_large():
    assert {tuple(made.profiles) for made in recipe.recipes().values()} == {("smoke", "short", "full")}
