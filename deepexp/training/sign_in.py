"""Sign-In: train every weight theta as a product m u of two factors.

The network computes with theta, so masks, scores, signs, evaluation and files see ordinary weights. Only the
optimizer knows the factors. With g = dL/dtheta, the gradients of m and u are u g and m g. SGD updates the
factors with weight decay and momentum, and then theta is set to m u.

Gradient flow conserves beta = m^2 - u^2. It moves theta with the velocity
theta' = -(m^2 + u^2) g = -sqrt(beta^2 + 4 theta^2) g. Even near 0, a weight therefore has a speed of at least
beta |g|, so it can change its sign [1]_. Weight decay and noise shrink beta. A reset restores it.

A pruned weight has u = 0. Its gradient g is masked to 0, so both u and theta stay 0.

References
----------
.. [1] Gadhikar, Jacobs, Zhou & Burkholz, Sign-In to the Lottery, NeurIPS 2025, arXiv 2504.12801.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class SignIn(torch.optim.SGD):
    """SGD on the factors of a network's prunable weights, and on its other parameters as usual.

    Attributes
    ----------
    beta : float
        The value to which a reset sets m^2 - u^2.
    factors : dict of Tensor to (Tensor, Tensor)
        The factors m and u of each weight, in the shape and memory layout of the weight.
    """

    def __init__(
        self, weights: Sequence[Tensor], others: dict[str, Any], beta: float, weight_decay: float, **more: Any
    ) -> None:
        """Create factors that are 0; call `reset` to set them once the momentum buffers exist.

        Parameters
        ----------
        weights : Sequence[Tensor]
            The weights to train as products.
        others : dict
            The other parameters, as a parameter group of torch.optim.SGD.
        beta : float
            The value of m^2 - u^2 after a reset.
        weight_decay : float
            The weight decay of the factors.
        **more
            Further arguments of torch.optim.SGD.
        """
        self.beta = beta
        self.factors = {
            weight: (torch.zeros_like(weight).detach(), torch.zeros_like(weight).detach())
            for weight in weights
        }
        both = [factor for pair in self.factors.values() for factor in pair]
        super().__init__([{"params": both, "weight_decay": weight_decay}, others], **more)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the factors from the gradients of the weights, and set each weight to its factors' product.

        A weight without a gradient does not change, and neither do its factors.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        trained = [(w, *factors) for w, factors in self.factors.items() if w.grad is not None]
        weights, m, u = ([row[column] for row in trained] for column in range(3))
        gradients: list[Any] = [weight.grad for weight in weights]
        if trained:  # torch._foreach_mul refuses empty lists
            for factors, partners in ((m, u), (u, m)):
                products = torch._foreach_mul(partners, gradients)
                for factor, product in zip(factors, products, strict=True):
                    factor.grad = product
        super().step()
        if trained:
            torch._foreach_copy_(weights, torch._foreach_mul(m, u))
        for factor in m + u:
            factor.grad = None  # free the memory for the backward pass; every step makes new gradients
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear all gradients; the base class knows the factors of the weights, but not the weights."""
        super().zero_grad(set_to_none)
        for weight in self.factors:
            weight.grad = None

    @torch.no_grad()
    def reset(self) -> None:
        """Set m^2 - u^2 = beta for every weight, without changing the weight or its velocity."""
        for weight in self.factors:
            self.move(weight, self.velocity(weight))

    def velocity(self, weight: Tensor) -> Tensor:
        """Return the velocity u dm + m du of a weight, where dm and du are the momenta of its factors.

        If m and u change by -lr dm and -lr du, the weight m u changes by -lr times its velocity, to first
        order in lr.
        """
        (m, u), (dm, du) = self.factors[weight], self._momenta(weight)
        return u * dm + m * du

    @torch.no_grad()
    def move(self, weight: Tensor, velocity: Tensor) -> None:
        """Reset the factors of a weight so that m^2 - u^2 = beta, and set their momenta from its velocity.

        A reset changes the coordinates but not the motion, so the momenta must change with the factors. The
        old momenta would give the weight a different velocity, even the opposite one if the old m was
        negative. Many pairs of momenta (dm, du) give the weight the same velocity. The pair chosen here
        leaves beta unchanged. It is a multiple of (u, m), as the gradients of the factors are.

        Parameters
        ----------
        weight : Tensor
            The weight theta. It is not changed; afterwards, m u equals it up to rounding.
        velocity : Tensor
            The velocity of theta, in the shape of the weight.
        """
        (m, u), (dm, du) = self.factors[weight], self._momenta(weight)
        speed = (self.beta**2 + 4 * weight.square()).sqrt()  # m^2 + u^2
        m.copy_(((self.beta + speed) / 2).sqrt())
        u.copy_(weight / m)
        dm.copy_(u * velocity / speed)
        du.copy_(m * velocity / speed)

    def _momenta(self, weight: Tensor) -> list[Tensor]:
        return [self.state[factor]["momentum_buffer"] for factor in self.factors[weight]]
