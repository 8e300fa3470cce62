"""The shipped statements about Sign-In, all of which go beyond the papers."""

from __future__ import annotations

from singleneuron.algorithms import Name, Variant
from singleneuron.formulas.sign_in import sign_in_rate
from singleneuron.verification import sign_in_laws
from singleneuron.verification.statements import Claim, Experiment, Setting, Statement

PRODUCTS = ("Sign-In: products and their metric", "Sign-In: conservation law", "Sign-In: distances from 0")
"""Derivations that every statement about Sign-In rests on."""
IN_LINE = (
    "Gradient flow in one coordinate",
    "Statistics of the population in one coordinate",
    *PRODUCTS,
    "Sign-In: invariants in one coordinate",
    "Sign-In: the axes of one coordinate",
    "Sign-In: success in one coordinate",
)
"""Derivations of the region of success in one coordinate."""
IN_SPACE = (
    "Population loss",
    "Angle kernel",
    "Gradient of the correlation",
    *PRODUCTS,
    "Sign-In: common slope of the other coordinates",
    "Sign-In: from a < 0 in d > 1",
    "Sign-In: from a > 0 in d > 1",
)
"""Derivations of the region of success in d > 1."""
LINE = "w1 > 0 and (a0 >= 0 or g_a < g_kept)"
DENSE = "a0 >= 0 or g_a < g_w"


def sign_in_statements() -> tuple[Statement, ...]:
    """List the shipped statements about Sign-In.

    Returns
    -------
    tuple[Statement, ...]
        The statements.

    References
    ----------
    Gadhikar, Jacobs, Zhou & Burkholz, NeurIPS 2025. The statements make the paper's claims about one
    coordinate precise.
    """
    return (_line(), _no_beta(), _space(), _equal_betas(), _table())


def _sign_in(d: int, beta_a: float = 1.0, beta_w: float = 1.0, **more: object) -> Setting:
    options = {"d": d, "parameterization": "sign-in", "beta_a": beta_a, "beta_w": beta_w} | more
    return Setting.model_validate(options)


def _claim(setting: Setting, algorithm: Name, success: str, imp: Variant = "keep") -> Claim:
    """Return a claim that states the region `success` and the success rate that theory gives."""
    rate = sign_in_rate(
        setting.d, algorithm, setting.weights,
        init=setting.init, scale=setting.scale, targets=setting.targets, imp=imp,
    ).rate  # fmt: skip
    options = {"algorithm": algorithm, "success": success, "rate": rate}
    return Claim.model_validate(options if algorithm == "lrr" else options | {"imp": imp})


def _line() -> Statement:
    wide = (_sign_in(1, 0.5, 2.0, init="independent"), _sign_in(1, 2.0, 0.5, init="independent"))
    return Statement(
        "sign-in-line",
        "Beyond: in one coordinate under Sign-In, the flow succeeds iff `w(0) > 0` and (`a(0) >= 0` or "
        "`g(a(0), beta_a) < g(w(0), beta_w)`), where `g(x, beta) = sqrt(beta^2 + 4 x^2) - beta`. From "
        "balanced starts, `P = 1/2` if `beta_a > beta_w`, else `1/4`.",
        IN_LINE,
        (sign_in_laws.line_limits,),
        (
            *(Experiment(setting, (_claim(setting, "lrr", LINE),)) for setting in wide),
            Experiment(_sign_in(1, 2.0), (Claim(algorithm="lrr", success="w1 > 0", rate=0.5),)),
            Experiment(_sign_in(1), (Claim(algorithm="lrr", success="a0 > 0 and w1 > 0", rate=0.25),)),
            Experiment(_sign_in(1, 0.5), (Claim(algorithm="lrr", success="a0 > 0 and w1 > 0", rate=0.25),)),
        ),
    )


def _no_beta() -> Statement:
    never = Claim(algorithm="lrr", success="False", rate=0.0)
    betas = ((1.0, 1.0), (100.0, 0.01), (0.01, 100.0))
    return Statement(
        "sign-in-no-beta",
        "Beyond: in one coordinate under Sign-In, the flow fails from `w(0) < 0` with every `beta`.",
        IN_LINE,
        (sign_in_laws.line_limits,),
        tuple(Experiment(_sign_in(1, *pair, init="independent", given="w1 < 0"), (never,)) for pair in betas),
    )


def _space() -> Statement:
    unbalanced, balanced = _sign_in(3, 0.5, init="independent", scale=0.7), _sign_in(5, 0.5)
    several = _sign_in(4, 0.5, targets=2, init="independent", scale=0.7)
    return Statement(
        "sign-in-space",
        "Beyond: in `d > 1` under Sign-In, if `w(0)` is not antiparallel to `v`, LRR succeeds iff "
        "`a(0) >= 0` or `g(a(0), beta_a) < sum_i g(w_i(0), beta_w)`. IMP succeeds iff this holds with the "
        "sum over the kept coordinates and, if only one coordinate is kept, `w_1(0) > 0`.",
        (
            *IN_SPACE,
            *IN_LINE[-3:],
            "Sign-In: several target coordinates",
            "Sign-In: limit of the flow",
            "Sign-In: IMP within LRR",
        ),
        (sign_in_laws.balances, sign_in_laws.plane_limits),
        (
            *(
                Experiment(
                    setting, (_claim(setting, "imp", LINE), _claim(setting, "lrr", DENSE)), nested=True
                )
                for setting in (unbalanced, balanced)
            ),
            Experiment(
                several,
                (_claim(several, "imp", "a0 >= 0 or g_a < g_kept"), _claim(several, "lrr", DENSE)),
                nested=True,
            ),
        ),
        "sign_in",
    )


def _equal_betas() -> Statement:
    always = Claim(algorithm="lrr", success="True", rate=1.0)
    # Near an axis the balance is almost 0. The flow then takes too long to be integrated to its limit.
    plane = _sign_in(2, given="abs(w1) > 0.3 and q > 0.3")
    return Statement(
        "sign-in-equal-betas",
        "Beyond: with `beta_a = beta_w`, Sign-In succeeds from almost every balanced start iff `d > 1`. "
        "In one coordinate `P = 1/4`, as for plain weights.",
        (*IN_SPACE, *IN_LINE[-3:], "Sign-In: success from balanced starts"),
        (sign_in_laws.balances, sign_in_laws.plane_limits),
        (
            *(Experiment(setting, (always,)) for setting in (plane, _sign_in(10))),
            Experiment(_sign_in(1), (Claim(algorithm="lrr", success="a0 > 0 and w1 > 0", rate=0.25),)),
        ),
    )


def _table() -> Statement:
    larger, equal = _sign_in(10, 5.0), _sign_in(10)
    quadrant = "a0 > 0 and w1 > 0"
    plain = (
        Claim(algorithm="imp", success=quadrant, rate=0.25),
        Claim(algorithm="imp", imp="rebalance", success=quadrant, rate=0.25),
        Claim(algorithm="lrr", success="a0 > 0", rate=0.5),
    )
    return Statement(
        "sign-in-table",
        "Beyond: from balanced starts in `d > 1`, the rates of LRR, of re-balanced IMP and of IMP that keeps "
        "`a(0)` are `1/2`, `1/4` and `1/4` for plain weights. Under Sign-In they are `1`, `1/4` and `1/4` if "
        "`beta_a = beta_w`. If `beta_a > beta_w`, they are `1`, `1/2`, and a value between `1/4` and `1/2`.",
        (
            *IN_SPACE,
            *IN_LINE[-3:],
            "Sign-In: IMP within LRR",
            "Sign-In: success from balanced starts",
            "Success from balanced starts",
            "Probabilities of success",
        ),
        (sign_in_laws.balances, sign_in_laws.line_limits),
        (
            Experiment(Setting(d=10), plain, nested=True),
            *(
                Experiment(
                    setting,
                    (
                        _claim(setting, "imp", LINE),
                        _claim(setting, "imp", even, "rebalance"),
                        _claim(setting, "lrr", "True"),
                    ),
                    nested=True,
                )
                for setting, even in ((larger, "w1 > 0"), (equal, quadrant))
            ),
        ),
        "sign_in",
    )
