"""Tables of experiments that never ran, with known numbers."""

import numpy as np
import xarray as xr

from deepexp.analysis.derived import averaged

AXES = ("panel", "arm", "seed")
TOTAL = 4096


def levels(panels, keep=0.5, flips=None, missing=()):
    """`levels` as deepexp.analysis makes it of panels {panel: {arm: accuracies (seeds, levels)}}.

    keep : the share that every level keeps; flips : {arm: (seeds,)} at level 0, a tenth of the weights
    elsewhere; missing : (panel, arm, seed) without a complete run. Accuracies are fractions. An arm
    NAME-DENSITY trains at this density only, at level 0.
    """
    arms = list(dict.fromkeys(arm for panel in panels.values() for arm in panel))
    sample = np.array(next(iter(next(iter(panels.values())).values())))
    shape = (len(panels), len(arms), *sample.shape)
    names = ("test_accuracy", "density", "kept", "total", "flips")
    values = {name: np.full(shape, np.nan) for name in names}
    for i, (panel, here) in enumerate(panels.items()):
        for j, arm in enumerate(arms):
            for k in range(shape[2]):
                if arm not in here or (panel, arm, k) in missing:
                    continue
                initial = keep ** (shape[3] - 1) if "-initial" in arm else _once(arm) or 1.0
                density = initial * (1.0 if "-initial" in arm else keep) ** np.arange(shape[3])
                values["test_accuracy"][i, j, k] = here[arm][k]
                values["total"][i, j, k] = TOTAL
                values["kept"][i, j, k] = np.floor(density * TOTAL + 0.5)
                values["flips"][i, j, k] = TOTAL / 10
                if flips is not None:
                    values["flips"][i, j, k, 0] = flips[arm][k]
                if _once(arm):
                    for array in values.values():
                        array[i, j, k, 1:] = np.nan
    values["density"] = values["kept"] / values["total"]
    about = {
        "planned": np.array([[arm in here for arm in arms] for here in panels.values()]),
        "prunings": np.full(shape[:2], shape[3] - 1.0),
        "algorithm": np.array([[arm.partition("-")[0] for arm in arms]] * shape[0]),
        "width": np.array([[_after(arm, "-w", 1.0) for arm in arms]] * shape[0]),
        "fraction": np.array([[_after(arm, "-p", 0.0) for arm in arms]] * shape[0]),
        "perturbed": np.array([[_after(arm, "-l", 0.0) for arm in arms]] * shape[0]),
        "scope": np.array([["layer" if arm.endswith("-layer") else "global" for arm in arms]] * shape[0]),
    }
    return xr.Dataset(
        {name: ((*AXES, "level"), array) for name, array in values.items()},
        {"panel": list(panels), "arm": arms, "seed": range(shape[2]), "level": range(shape[3])}
        | {"network": ("panel", ["resnet8"] * shape[0])}
        | {name: (("panel", "arm"), array) for name, array in about.items()},
        {"missing": "[]"},
    )


def _once(arm):
    """The density of an arm NAME-DENSITY, or None."""
    last = arm.split("-")[-1]
    return float(last) if last.replace(".", "").isdigit() else None


def _after(arm, key, default):
    """The number behind a key in an arm's name."""
    for part in arm.split("-")[1:]:
        if part.startswith(key[1:]) and part[1:].replace(".", "").isdigit():
            return float(part[1:])
    return default


def signs(levels, last_flips=None, switches=None):
    """`signs` of those levels: histograms {arm: (levels,)}, the same for every seed and panel."""
    shape = tuple(levels.sizes[axis] for axis in AXES)
    prunings = levels.sizes["level"] - 1
    last, count = np.full((*shape, prunings + 1), np.nan), np.full((*shape, prunings + 2), np.nan)
    for j, arm in enumerate(levels.arm.values):
        last[:, j] = (last_flips or {}).get(str(arm), [100.0] + [0.0] * prunings)
        count[:, j] = (switches or {}).get(str(arm), [100.0] + [0.0] * (prunings + 1))
    return averaged(
        xr.Dataset(
            {"last_flip": ((*AXES, "level"), last), "switches": ((*AXES, "flips"), count)},
            {name: levels[name].values for name in (*AXES, "level")} | {"flips": range(prunings + 2)},
        )
    )
