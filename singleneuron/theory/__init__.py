"""The theory: exact claims, which sympy derives from the loss alone, each with its proof.

`derivations` lists the derivations in reading order. Each derivation is a function that returns claims (see
the module `claims`). The docstring of a derivation states its theorem in words, and reports print
the first paragraph. This docstring, or the docstring of the module, also names the source: a theorem or lemma
of Gadhikar & Burkholz (ICLR 2024), or "beyond the paper". `regions.success_region` states where each
algorithm succeeds.
"""

from collections.abc import Callable

from singleneuron.theory import (
    balanced,
    escape,
    line,
    population,
    regions,
    samples,
    sign_in,
    sign_in_regions,
)
from singleneuron.theory.claims import Claims, Equation, Implication, Inequality, SymbolicClaim

__all__ = ["Claims", "Equation", "Implication", "Inequality", "SymbolicClaim", "derivations"]


def derivations() -> dict[str, Callable[[], Claims]]:
    """Return every derivation by its title, in reading order.

    They cover training on samples, one coordinate, the population, the success regions and Sign-In, in this
    order.

    Returns
    -------
    dict of str to callable
        The derivations: functions that take no arguments and return claims.
    """
    # This function is long because it is a table with one entry per derivation.
    return {
        "Gradient flow of samples in a cell": samples.cell_flow,
        "Conservation of the balance": samples.conservation,
        "Energy law": samples.energy_law,
        "Attracting hyperplanes": samples.attraction,
        "Sliding along a hyperplane": samples.sliding,
        "Gradient flow in one coordinate": line.gradient_flow_of_samples,
        "Statistics of the population in one coordinate": line.population_statistics,
        "Statistics of label noise in one coordinate": line.label_noise,
        "Invariants in one coordinate": line.invariants,
        "The line w = 0": line.switching_line,
        "Riccati equations": line.riccati_equation,
        "Riccati solution": line.riccati_solution,
        "Riccati solution by half sums": line.half_sums,
        "Logistic solutions, balanced": line.balanced_solution,
        "Time to w = 0": line.crossing_time,
        "Crossing time in the wedge of label noise": line.noise_wedge,
        "Active half-planes": population.active_half_planes,
        "Gaussian correlation of two ReLU neurons": population.correlation,
        "Population loss": population.loss_from_definition,
        "Angle kernel": population.kernel_shape,
        "Gradient of the correlation": population.correlation_gradient,
        "Conservation and energy law of the population": population.conservation_and_energy,
        "Polar form of the population flow": population.polar_form,
        "The coordinate log tan(theta/2)": population.log_tan_coordinate,
        "A mask that loses some of the target": population.masked_target,
        "One coordinate of several targets": population.one_kept_coordinate,
        "Critical points": population.critical_points,
        "Bounds and limit of the flow": population.limit_state,
        "Universal angle curve, balanced": balanced.angle_equation,
        "Bernoulli equation of the norm, balanced": balanced.bernoulli_equation,
        "Bernoulli solution, balanced": balanced.bernoulli_solution,
        "Time to the sign flip of w_1, balanced": balanced.flip_time,
        "Series near antiparallel, balanced": balanced.series_near_antiparallel,
        "Series near the target, balanced": balanced.series_near_target,
        "Leading order near antiparallel": escape.leading_order,
        "Escape while a/rho grows": escape.fast_escape,
        "Escape along the slow manifold": escape.slow_escape,
        "Sign change of a": escape.sign_change_of_a,
        "Death of a neuron": escape.death,
        "Success in one coordinate": regions.line_region,
        "Success of dense training": regions.dense_region,
        "The one-coordinate region is never left": regions.line_region_in_the_plane,
        "IMP within WR within LRR": regions.nesting,
        "Success from balanced starts": regions.balanced_regions,
        "Probabilities of success": regions.probabilities,
        "Sign-In: products and their metric": sign_in.products,
        "Sign-In: conservation law": sign_in.conservation,
        "Sign-In: sliding along a hyperplane": sign_in.sliding,
        "Sign-In: small and large betas": sign_in.limits,
        "Sign-In: distances from 0": sign_in.distances,
        "Sign-In: invariants in one coordinate": sign_in.line_invariants,
        "Sign-In: the axes of one coordinate": sign_in.line_axes,
        "Sign-In: success in one coordinate": sign_in_regions.line_region,
        "Sign-In: common slope of the other coordinates": sign_in_regions.common_slope,
        "Sign-In: from a < 0 in d > 1": sign_in_regions.dense_region_below,
        "Sign-In: from a > 0 in d > 1": sign_in_regions.dense_region_above,
        "Sign-In: several target coordinates": sign_in_regions.several_targets,
        "Sign-In: limit of the flow": sign_in_regions.limit_state,
        "Sign-In: IMP within LRR": sign_in_regions.nesting,
        "Sign-In: success from balanced starts": sign_in_regions.balanced_rates,
    }
