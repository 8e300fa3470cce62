"""The shipped statements, which are verified by default."""

from __future__ import annotations

from singleneuron.formulas.rates import predicted_rate
from singleneuron.verification import laws, time_laws
from singleneuron.verification.sign_in_statements import sign_in_statements
from singleneuron.verification.statements import Claim, Experiment, Setting, Statement


def shipped() -> tuple[Statement, ...]:
    """List the statements that are verified by default.

    Returns
    -------
    tuple[Statement, ...]
        The theorems of the paper, and statements that go beyond it, whose texts begin with 'Beyond'.

    References
    ----------
    Gadhikar & Burkholz, ICLR 2024.
    """
    return (*_theorems(), *_unbalanced(), *_balanced(), *_noise(), *_more(), *sign_in_statements())


IN_LINE = ("Gradient flow in one coordinate", "Statistics of the population in one coordinate")
"""Derivations that every statement about the population in one coordinate rests on."""

IN_PLANE = (
    "Gaussian correlation of two ReLU neurons",
    "Population loss",
    "Angle kernel",
    "Gradient of the correlation",
    "Conservation and energy law of the population",
    "Polar form of the population flow",
    "Critical points",
)
"""Derivations that every statement about the population in d > 1 rests on."""

NESTED = ("The one-coordinate region is never left", "IMP within WR within LRR")
"""Derivations which show that LRR succeeds wherever WR does, and WR wherever IMP does."""


def _theorems() -> tuple[Statement, ...]:
    # This function is long because statements are data, and are easiest to compare side by side.
    wide = [Setting(d=d) for d in (2, 10, 1000)]
    dense = Claim(algorithm="lrr", success="a0 > 0", rate=0.5)
    last = Claim(algorithm="imp", success="a0 > 0 and w1 > 0", rate=0.25)
    reached = Claim(algorithm="lrr", success="True", rate=1.0)
    return (
        Statement(
            "theorem-2.1",
            "One coordinate, balanced: the flow reaches the target iff `a(0) > 0` and `w(0) > 0`, so "
            "`P = 1/4`.",
            (
                *IN_LINE,
                "Invariants in one coordinate",
                "The line w = 0",
                "Logistic solutions, balanced",
                "Success in one coordinate",
                "Success from balanced starts",
            ),
            (laws.line_flows,),
            (Experiment(Setting(d=1), (Claim(algorithm="lrr", success="a0 > 0 and w1 > 0", rate=0.25),)),),
            "fig1a",
        ),
        Statement(
            "lemma-2.2",
            "`d > 1` coordinates, balanced: the flow reaches the target iff `a(0) > 0`, so `P = 1/2`.",
            (*IN_PLANE, "Success of dense training", "Success from balanced starts"),
            (laws.balanced_flows,),
            tuple(Experiment(setting, (dense,)) for setting in wide),
            "fig1c",
        ),
        Statement(
            "theorem-2.3",
            "`d > 1`, balanced: LRR succeeds iff `a(0) > 0`, so `P = 1/2`. IMP succeeds iff also "
            "`w_1(0) > 0`, so `P = 1/4`.",
            (
                *IN_PLANE,
                *NESTED,
                "Success of dense training",
                "Success in one coordinate",
                "Success from balanced starts",
                "Probabilities of success",
            ),
            (laws.balanced_flows, laws.line_flows),
            tuple(Experiment(setting, (last, dense), nested=True) for setting in wide),
            "fig2a",
        ),
        Statement(
            "theorem-A.1",
            "If the start is balanced, `a(0) > 0`, and `w(0)` is not antiparallel to `v`, the population "
            "flow converges to the target.",
            (*IN_PLANE, "Bounds and limit of the flow", "Universal angle curve, balanced"),
            (laws.balanced_flows,),
            tuple(Experiment(Setting(d=d, given="a0 > 0 and theta < pi"), (reached,)) for d in (2, 10, 1000)),
            "angle",
        ),
    )


def _unbalanced() -> tuple[Statement, ...]:
    # This function is long for the same reason as `_theorems`.

    # Smaller weights make the slow manifold less stiff; the regions and rates do not depend on the scale.
    plane = Setting(d=2, init="independent", scale=0.7)
    line = Claim(algorithm="lrr", success="w1 > 0 and a0 > -w1", rate=0.375)
    last = Claim(algorithm="imp", success="w1 > 0 and a0 > -w1", rate=0.375)
    even = Claim(algorithm="imp", imp="rebalance", success="w1 > 0 and a0 > 0", rate=0.25)
    dense = Claim(algorithm="lrr", success="a0 > -rho", rate=predicted_rate(2, "lrr", init="independent"))
    return (
        Statement(
            "unbalanced-line",
            "Beyond: in one coordinate, the flow succeeds iff `w(0) > 0` and `a(0) > -w(0)`, at any balance. "
            "From independent `N(0, 1)` starts, `P = 3/8`.",
            (
                *IN_LINE,
                "Invariants in one coordinate",
                "The line w = 0",
                "Riccati equations",
                "Riccati solution",
                "Riccati solution by half sums",
                "Time to w = 0",
                "Success in one coordinate",
                "Probabilities of success",
            ),
            (laws.line_flows,),
            (Experiment(Setting(d=1, init="independent"), (line,)),),
            "unbalanced",
        ),
        Statement(
            "unbalanced-plane",
            "Beyond: for `d > 1` and at any balance, LRR succeeds iff `a(0) > -|w(0)|`, IMP iff `w_1(0) > 0` "
            "and `a(0) > -w_1(0)`, and re-balanced IMP iff `w_1(0) > 0` and `a(0) > 0`. From independent "
            "Gaussian starts in `d = 2`, `P` is `(2 + sqrt 2)/4`, `3/8` and `1/4`, respectively.",
            (
                *IN_PLANE,
                *NESTED,
                "The coordinate log tan(theta/2)",
                "Bounds and limit of the flow",
                "Sign change of a",
                "Death of a neuron",
                "Success of dense training",
                "Success in one coordinate",
                "Probabilities of success",
            ),
            (laws.limit_states, laws.line_flows),
            (
                Experiment(plane, (last, dense), nested=True, weight=9),
                Experiment(plane, (even, last), nested=True),
            ),
            "fig1c",
        ),
    )


def _balanced() -> tuple[Statement, ...]:
    rewound = tuple(
        Claim(
            algorithm="wr",
            rewind_time=time,
            success=f"a0 > 0 and theta < flip_angle({time})",
            rate=predicted_rate(1000, "wr", rewind_time=time),
        )
        for time in (0.1, 0.3, 1.0)
    )
    last = Claim(algorithm="imp", success="a0 > 0 and w1 > 0", rate=0.25)
    dense = Claim(algorithm="lrr", success="a0 > 0", rate=0.5)
    return (
        Statement(
            "universal-angle",
            "Beyond: every balanced flow in `d > 1` follows one angle curve, "
            "`T(theta(t)) = T(theta(0)) +- t`, whatever `d` and `|w|` are.",
            (
                "Polar form of the population flow",
                "Universal angle curve, balanced",
                "Bernoulli equation of the norm, balanced",
                "Bernoulli solution, balanced",
                "Series near antiparallel, balanced",
                "Series near the target, balanced",
            ),
            (laws.angle_curve, laws.balanced_flows),
            (),
            "angle",
        ),
        Statement(
            "wr-law",
            "Beyond: from balanced starts, WR rewound to `t_k` succeeds iff `a(0) > 0` and "
            "`theta(0) < theta^*(t_k)`, where `T(theta^*) = -t_k`. This region grows with `t_k` from that of "
            "IMP to that of LRR. `w_1` changes its sign after `4 z + (4/pi) z^2 + ...`, where "
            "`z = theta(0) - pi/2`.",
            (*NESTED, "Universal angle curve, balanced", "Time to the sign flip of w_1, balanced"),
            (time_laws.flip_times, laws.balanced_flows),
            (Experiment(Setting(d=1000), (last, *rewound, dense), nested=True),),
            "angle",
        ),
    )


def _noise() -> tuple[Statement, ...]:
    statistics = ("Gradient flow in one coordinate", "Statistics of label noise in one coordinate")
    wedge = Claim(algorithm="lrr", success="a0 > -w1 and (w1 > 0 or w1 < 0 and s_neg > 0)", rate=0.4375)
    rescued = "found > 0 and a0 > 0 and (w1 > 0 or w1 < 0 and s_neg > 0)"
    return (
        Statement(
            "noise-wedge",
            "Beyond: in one coordinate with noisy samples, `s_neg > 0` adds the wedge of starts with "
            "`w(0) < 0` and `a(0) > |w(0)|`, from which `w` crosses 0 after "
            "`log(c |w(0)|/(a(0) s_neg))/(C c)` if `s_neg << c`.",
            (
                *statistics,
                "The line w = 0",
                "Time to w = 0",
                "Crossing time in the wedge of label noise",
                "Success in one coordinate",
            ),
            (time_laws.wedge_times, time_laws.wedge_logarithm, laws.line_flows),
            (Experiment(Setting(d=1, init="independent", n=100, noise=0.5), (wedge,)),),
            "noise_wedge",
        ),
        Statement(
            "noise-rescue",
            "Beyond: from balanced starts in `d > 1` on samples with label noise, where the mask of the "
            "dense level keeps the target, IMP succeeds iff `a(0) > 0` and (`w_1(0) > 0` or `s_neg > 0`). In "
            "the limit of long levels, `P = 3/8` if `n` is so large for `d` and the noise that the mask "
            "always keeps the target.",
            (
                *statistics,
                "Success in one coordinate",
                "Success from balanced starts",
                "Probabilities of success",
            ),
            (laws.line_flows,),
            (
                Experiment(
                    Setting(d=10, n=1000, noise=0.1), (Claim(algorithm="imp", success=rescued, rate=0.375),)
                ),
                Experiment(
                    Setting(d=10, n=100, noise=2.0, given="s_pos > 0"),
                    (Claim(algorithm="imp", success=rescued),),
                ),
            ),
            "noise_map",
        ),
    )


def _more() -> tuple[Statement, ...]:
    even = Claim(algorithm="imp", imp="rebalance", success="a0 > 0")
    free = Claim(algorithm="imp", success="a0 > -kept")
    return (
        Statement(
            "several-targets",
            "Beyond: for `k >= 2` target coordinates, IMP succeeds iff `a(0) > -|mask * w(0)|`. From "
            "balanced starts, `P(IMP) = P(LRR) = 1/2`, so there is no gap in the limit.",
            (*IN_PLANE, *NESTED, "Success of dense training", "Success from balanced starts"),
            (laws.balanced_flows, laws.limit_states),
            (
                Experiment(
                    Setting(d=4, targets=2),
                    (
                        Claim(algorithm="imp", success="a0 > 0", rate=0.5),
                        Claim(algorithm="lrr", success="a0 > 0", rate=0.5),
                    ),
                    weight=9,
                ),
                Experiment(Setting(d=3, targets=2, init="independent"), (even, free), nested=True),
            ),
        ),
        Statement(
            "escape-time",
            "Beyond: if `delta = pi - theta(0) << 1`, the turn to `pi/2` takes "
            "`(2/c) log(1 + pi c rho/(a delta))`, or `2 pi/delta` at `c = 0`, "
            "or `(3 pi^2/2) |c|/delta_1^4` along the slow manifold.",
            (
                "Leading order near antiparallel",
                "Escape while a/rho grows",
                "Escape along the slow manifold",
                "Sign change of a",
            ),
            (time_laws.escape_times,),
        ),
    )
