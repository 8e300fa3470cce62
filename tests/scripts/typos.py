"""A user's script with typing errors: type checkers must find each."""

import singleneuron as sn

problem = sn.Population(dim=2)
starts = sn.balanced_starts(d=2, size="ten")
end = sn.integrate(problem, starts, t_end=1.0).sate
sn.prune(problem, starts, imp="rebalanced")
sn.success_map(2, resolution=5, rotl=1e-6)
