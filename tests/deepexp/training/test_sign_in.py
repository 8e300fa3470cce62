"""Sign-In against a functional implementation, its laws, and the weights that the rest of a run sees."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from deepexp.config.build import build
from deepexp.data.batches import training_batches
from deepexp.models import prunable
from deepexp.pruning import masks
from deepexp.pruning.scores import score
from deepexp.runs import level as level_of_run
from deepexp.runs import level_start, run
from deepexp.runs.setup import prepare
from deepexp.storage import bit_files, completeness, records
from deepexp.storage import folder as layout
from deepexp.training import failures, optimizer, sign_in
from deepexp.training import steps as train

SIGN_IN = {"train.parameterization": "sign-in"}
EPSILON = torch.finfo(torch.float32).eps


def _work(folder, tiny, **settings):
    return prepare(build({**tiny, **SIGN_IN, **settings}), folder)


def _in_double(work, monkeypatch):
    """Make a run compute in double precision, with a new optimizer."""
    real = train.training_batches

    def batches(*arguments):
        return ((x.double(), y) for x, y in real(*arguments))

    monkeypatch.setattr(train, "training_batches", batches)
    work.net.double()
    work.sgd = optimizer.optimizer(work.net, work.config.train)


def _hyperbolic(theta, velocity, beta):
    """Factors of theta with m^2 - u^2 = beta, by m + u = sqrt(beta) e^p, and their momentum."""
    p = torch.asinh(2 * theta / beta) / 2
    m, u = beta**0.5 * torch.cosh(p), beta**0.5 * torch.sinh(p)
    pull = velocity / (beta * torch.cosh(2 * p))
    return [m, u], [u * pull, m * pull]


def _functional(work, mask):
    """Yield theta after every step, as autograd trains m and u through the product mask * m * u."""
    config, net = work.config, work.net
    settings, beta = config.train, config.train.beta
    theta = {name: weight.detach().clone() for name, weight in prunable(net).items()}
    others = {n: p.detach().clone() for n, p in net.named_parameters() if n not in theta}
    buffers = {n: b.detach().clone() for n, b in net.named_buffers()}
    factors, momenta = {}, {name: [0 * weight] for name, weight in others.items()}
    for epoch in range(settings.epochs):
        for name, weight in theta.items() if epoch % settings.reset_epochs == 0 else ():
            m, u = factors.get(name, (0, 0))
            dm, du = momenta.get(name, (0, 0))
            factors[name], momenta[name] = _hyperbolic(weight, u * dm + m * du, beta)
        for x, y in training_batches(work.dataset, config.data, settings, config.seed, 0, epoch):
            values = {**factors, **{name: [value] for name, value in others.items()}}
            leaves = {name: [v.requires_grad_() for v in some] for name, some in values.items()}
            used = {name: mask.alive[name] * leaves[name][0] * leaves[name][1] for name in factors}
            used |= {name: leaves[name][0] for name in others}
            loss = F.cross_entropy(functional_call(net, {**used, **buffers}, (x.double(),)), y)
            flat = [v for some in leaves.values() for v in some]
            slopes = dict(zip(map(id, flat), torch.autograd.grad(loss, flat), strict=True))
            rate = optimizer.learning_rate(settings, epoch * work.per_epoch, work.per_epoch, warm=False)
            for name, some in leaves.items():
                slope = [slopes[id(v)] + settings.weight_decay * v.detach() for v in some]
                momenta[name] = [0.9 * old + new for old, new in zip(momenta[name], slope, strict=True)]
                ahead = momenta[name]
                if settings.nesterov:
                    ahead = [new + 0.9 * old for old, new in zip(momenta[name], slope, strict=True)]
                moved = [v.detach() - rate * step for v, step in zip(some, ahead, strict=True)]
                if name in factors:
                    factors[name], theta[name] = moved, mask.alive[name] * moved[0] * moved[1]
                else:
                    others[name] = moved[0]
            yield dict(theta)


@pytest.mark.parametrize(("beta", "reset", "nesterov"), [(1.0, 1, False), (0.05, 2, True)])
def test_the_trajectory_is_that_of_a_functional_implementation(
    tmp_path, tiny, monkeypatch, beta, reset, nesterov
):
    settings = {"train.beta": beta, "train.reset_epochs": reset, "train.nesterov": nesterov}
    work = _work(tmp_path, tiny, **settings, **{"train.weight_decay": 0.05})
    _in_double(work, monkeypatch)
    mask = masks.top(score("magnitude", work.net, 0), masks.dense_mask(work.net), 2000)
    level_start.restore(work.net, work.sgd, level_start.masked(level_start.capture(work.net, work.sgd), mask))
    expected = list(_functional(work, mask))
    total = work.total(0)
    assert len(expected) == total == 15
    going = train.steps(
        work.net, work.forward, work.sgd, mask, work.dataset, work.config, 0, 0, tuple(range(1, total))
    )
    start = {name: weight.detach().clone() for name, weight in prunable(work.net).items()}
    for want, _ in zip(expected, going, strict=True):
        for name, weight in prunable(work.net).items():
            assert (weight - want[name]).abs().max() < 1e-10
            assert not weight[~mask.alive[name]].any()
    assert all((weight - start[name]).abs().max() > 1e-3 for name, weight in prunable(work.net).items())


def _one_weight(theta, *, beta=1.0, lr=0.1, momentum=0.9, decay=0.0):
    """An optimizer of one weight, whose momentum is 0."""
    weight = torch.nn.Parameter(theta)
    sgd = sign_in.SignIn([weight], {"params": []}, beta, decay, lr=lr, momentum=momentum)
    for factor in sgd.factors[weight]:
        sgd.state[factor]["momentum_buffer"] = torch.zeros_like(factor)
    sgd.reset()
    return weight, sgd


def test_a_step_changes_beta_by_its_law():
    """beta' = beta ((1 - lr decay)^2 - (lr g)^2), to the first step, whatever the sign of theta."""
    generator = torch.Generator().manual_seed(0)
    theta, g = torch.randn(2, 1000, generator=generator, dtype=torch.float64)
    weight, sgd = _one_weight(theta.clone(), beta=0.7, decay=0.3)
    weight.grad = g
    sgd.step()
    m, u = sgd.factors[weight]
    torch.testing.assert_close(m**2 - u**2, 0.7 * ((1 - 0.1 * 0.3) ** 2 - (0.1 * g) ** 2), rtol=0, atol=1e-14)
    assert torch.equal(weight, m * u)


@pytest.mark.parametrize("beta", [1e-6, 1.0, 1e6])
def test_a_reset_changes_neither_the_weight_nor_its_velocity(beta):
    """In float32, to a few roundings; where m is negative, too."""
    generator = torch.Generator().manual_seed(1)
    numbers = torch.randn(4, 10_000, generator=generator)
    m, u = numbers[0], numbers[1] * 10 ** torch.empty(10_000).uniform_(-6, 1, generator=generator)
    weight, sgd = _one_weight(m * u, beta=beta)
    for factor, value, momentum in zip(sgd.factors[weight], (m, u), numbers[2:], strict=True):
        factor.copy_(value)
        sgd.state[factor]["momentum_buffer"].copy_(momentum)
    before, velocity = weight.detach().clone(), sgd.velocity(weight)
    sgd.reset()
    assert torch.equal(weight, before)
    m, u = (factor.double() for factor in sgd.factors[weight])
    assert ((m * u - before).abs() <= 2 * EPSILON * before.abs()).all()
    assert ((m**2 - u**2 - beta).abs() <= 8 * EPSILON * (m**2 + u**2)).all()
    assert (m > 0).all()
    assert ((sgd.velocity(weight) - velocity).abs() <= 8 * EPSILON * velocity.abs()).all()
    dm, du = (sgd.state[factor]["momentum_buffer"].double() for factor in sgd.factors[weight])
    still = 8 * EPSILON * (m * dm).abs()
    assert ((m * dm - u * du).abs() <= still).all()  # beta is at rest


def test_a_weight_at_0_can_start():
    """From m = 1, u = 0 by a step of 0.1 along the slope; the loss of a closure is returned."""
    weight, sgd = _one_weight(torch.zeros(1))

    def closure():
        sgd.zero_grad()
        loss = weight.sum() + 3
        loss.backward()
        return loss

    weight.grad = torch.full((1,), 7.0)
    assert sgd.step(closure).item() == 3
    assert weight.item() == pytest.approx(-0.1)


@pytest.mark.parametrize("used", [[0], [1], [0, 2], []])
def test_a_weight_without_gradient_is_left_alone(used):
    """The others move as if it were not there, even after a step in which all had gradients."""
    generator = torch.Generator().manual_seed(2)
    starts = [torch.randn(n, generator=generator, dtype=torch.float64) for n in (3, 5, 2)]
    weights = [torch.nn.Parameter(start.clone()) for start in starts]
    together = sign_in.SignIn(weights, {"params": []}, 1.0, 0.1, lr=0.1, momentum=0.9)
    for factor in (factor for pair in together.factors.values() for factor in pair):
        together.state[factor]["momentum_buffer"] = torch.zeros_like(factor)
    together.reset()
    alone = [_one_weight(start.clone(), decay=0.1) for start in starts]
    for step in range(2):
        moving = used if step else range(3)
        together.zero_grad()
        for k in moving:
            single, sgd = alone[k]
            weights[k].grad, single.grad = torch.full_like(starts[k], 0.5), torch.full_like(starts[k], 0.5)
            sgd.step()
        together.step()
    for weight, (single, sgd) in zip(weights, alone, strict=True):
        assert torch.equal(weight, single)
        for factor, other in zip(together.factors[weight], sgd.factors[single], strict=True):
            assert torch.equal(factor, other)
            assert factor.grad is None  # nothing is left to fill memory


def test_every_level_starts_at_beta_with_the_weights_and_the_momentum_of_its_policy(
    tmp_path, tiny, monkeypatch
):
    """Without any reset within the levels, whose factors drift; pruned weights are 0 at each level's end."""
    real, starts, drift = level_of_run.level_steps, [], []

    def spied(work, level, first, mask):
        starts.append({name: tensor.clone() for name, tensor in work.net.state_dict().items()})
        for name, weight in prunable(work.net).items():
            m, u = work.sgd.factors[weight]
            assert ((m**2 - u**2 - 0.5).abs() <= 8 * EPSILON * (m**2 + u**2)).all()
            assert ((m * u - weight).abs() <= 2 * EPSILON * weight.abs()).all()
            velocity = optimizer.momentum(work.sgd, weight)
            assert bool(velocity.any()) == (level > 0), name
            assert not velocity[~mask.alive[name]].any()
        yield from real(work, level, first, mask)
        drift.append(max(float((m**2 - u**2 - 0.5).abs().max()) for m, u in work.sgd.factors.values()))

    monkeypatch.setattr(level_of_run, "level_steps", spied)
    config = build({**tiny, **SIGN_IN, "train.beta": 0.5, "train.weight_decay": 0.01})
    for _ in run.run(config, tmp_path / "run"):
        pass
    assert len(starts) == 3
    assert min(drift) > 1e-3
    for level in range(3):
        state = _end_of(tmp_path / "run", level)
        alive = bit_files.load(layout.file(tmp_path / "run", "masks", level))
        assert not any(state.tensors[name][~there].any() for name, there in alive.items())
        negative = bit_files.load(layout.file(tmp_path / "run", "signs", level))
        assert all(torch.equal(negative[name], state.tensors[name] < 0) for name in negative)
        if level:
            before = _end_of(tmp_path / "run", level - 1).tensors
            assert all(torch.equal(starts[level][name], before[name] * alive[name]) for name in alive)


def _end_of(folder, level):
    return run.checkpoint.load_state(layout.file(folder, "weights", level))


@pytest.mark.parametrize("algorithm", ["wr", "lrr"])
def test_a_run_stopped_after_any_event_ends_as_the_uninterrupted(tmp_path, tiny, algorithm, same_run):
    """Resets come in the middle of a level, after two of its three epochs; the rewind point in an epoch."""
    extra = {**SIGN_IN, "train.reset_epochs": 2, "policy.rewind_step": 2, "pruning.levels": 1}
    config = build({**tiny, **extra, "algorithm": algorithm})
    for _ in run.run(config, tmp_path / "whole"):
        pass
    seen = set()
    while not completeness.is_complete(tmp_path / "stopped", config):
        for event in run.run(config, tmp_path / "stopped"):
            where = (event.level, event.step, event.row is None)
            if where not in seen:
                seen.add(where)
                break
    assert len(seen) > 6
    same_run(tmp_path / "whole", tmp_path / "stopped")


def test_resets_come_when_they_are_due(tmp_path, tiny, monkeypatch):
    work = _work(tmp_path, tiny, **{"train.reset_epochs": 2, "train.epochs": 5})
    seen, real = [], sign_in.SignIn.reset
    going = train.steps(
        work.net, work.forward, work.sgd, masks.dense_mask(work.net), work.dataset, work.config, 0, 0
    )
    monkeypatch.setattr(sign_in.SignIn, "reset", lambda sgd: seen.append(step) or real(sgd))
    step = 0
    for report in going:
        step = report.step
    assert seen == [0, 10, 20]


def test_momentum_of_a_factor_that_is_not_finite_is_told(tmp_path, tiny):
    work = _work(tmp_path, tiny)
    name, weight = next(iter(prunable(work.net).items()))
    assert failures.not_finite(work.net, work.sgd) is None
    factor = work.sgd.factors[weight][1]
    work.sgd.state[factor]["momentum_buffer"].view(-1)[3] = torch.inf
    assert failures.not_finite(work.net, work.sgd) == name


def test_a_cumulative_level_repeats_its_schedule(tmp_path, tiny):
    """Level l trains for l + 1 cycles; every epoch draws its own batches."""
    config = build({**tiny, "algorithm": "imp", "train.cycles": "cumulative"})
    for _ in run.run(config, tmp_path / "cycles"):
        pass
    rows = records.rows(tmp_path / "cycles" / "epochs.csv")
    rates = [[float(row["lr"]) for row in rows if row["level"] == str(level)] for level in range(3)]
    assert [len(some) for some in rates] == [3, 6, 9]
    assert len(set(rates[0])) == 3
    assert rates[1:] == [2 * rates[0], 3 * rates[0]]
    assert [int(row["epoch"]) for row in rows if row["level"] == "2"] == list(range(9))


def test_a_warm_up_in_every_level_is_one_in_every_cycle(tmp_path, tiny):
    warm = {"train.warmup": "every", "train.warmup_epochs": 1.0, "pruning.levels": 1, "train.epochs": 2}
    config = build({**tiny, **warm, "train.cycles": "cumulative", "train.rise_from": 0.5})
    for _ in run.run(config, tmp_path / "cycles"):
        pass
    rows = records.rows(tmp_path / "cycles" / "epochs.csv")
    assert [float(row["lr"]) for row in rows] == pytest.approx(3 * [0.05, 0.1])
