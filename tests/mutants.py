"""Known traps of pruning code, put into ours one at a time: for each, a test must fail.

Every mutation replaces a text that stands exactly once in a file of a temporary copy, and runs the tests
that should notice, in a process of its own: one that a server forks off, which has imported torch and pytest
and nothing of ours. Exit code 1 where one survives, where its text is not there any more, or where the tests
fail without any mutation. `python tests/mutants.py [TRAP ...] [--workers N]`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT = 900  # seconds that the tests of one mutation may take
HEAVY = ["torch", "torch.nn.utils.prune", "pytest", "numpy", "pydantic", "safetensors.torch", "PIL.Image"]


@dataclass(frozen=True)
class Mutant:
    """In `file` of deepexp, `old` becomes `new`; `tests` are files, or tests in a file, of tests/deepexp."""

    what: str
    file: str
    old: str
    new: str
    tests: str


TRAPS: dict[int, tuple[str, tuple[Mutant, ...]]] = {
    1: (
        "density's denominator",
        (
            Mutant(
                "shortcuts are not prunable",
                "models.py",
                "nn.Linear)\n    }",
                'nn.Linear) and "shortcut" not in name\n    }',
                "test_models.py::test_prunable_weights",
            ),
            Mutant(
                "shortcuts do not count in the density",
                "pruning/masks.py",
                "return self.kept / self.total",
                'return self.kept / sum(n for name, n in self.sizes().items() if "shortcut" not in name)',
                "pruning/test_masks.py::test_every_level_of_resnet20_is_exact_and_nested",
            ),
        ),
    ),
    2: (
        "thresholds and counts",
        (
            Mutant(
                "all ties are pruned",
                "pruning/masks.py",
                "ties[alive[ties]][:ties_left]",
                "ties[:0]",
                "pruning/test_masks.py::test_all_weights_equal_still_gives_the_exact_count",
            ),
            Mutant(
                "all ties are kept",
                "pruning/masks.py",
                "ties[alive[ties]][:ties_left]",
                "ties[alive[ties]]",
                "pruning/test_masks.py::test_top_is_exact_under_ties",
            ),
            Mutant(
                "the last of the ties are kept",
                "pruning/masks.py",
                "ties[alive[ties]][:ties_left]",
                "ties[alive[ties]][::-1][:ties_left]",
                "pruning/test_masks.py::test_all_weights_equal_still_gives_the_exact_count",
            ),
            Mutant(
                "a tie revives a dead weight",
                "pruning/masks.py",
                "ties[alive[ties]][:ties_left]",
                "ties[:ties_left]",
                "pruning/test_masks.py::test_top_is_exact_under_ties",
            ),
            Mutant(
                "counts are rounded up",
                "config/pruning.py",
                "return int(exact + Fraction(1, 2))",
                "return -int(-exact // 1)",
                "config/test_settings.py::test_counts_are_exact_in_decimals",
            ),
            Mutant(
                "counts are truncated floats",
                "config/pruning.py",
                "return int(exact + Fraction(1, 2))",
                "return int(self.initial_density * self.keep**level * total)",
                "config/test_settings.py::test_counts_are_exact_in_decimals",
            ),
            Mutant(
                "counts are of the binary fraction",
                "config/pruning.py",
                "Fraction(repr(self.keep))",
                "Fraction(self.keep)",
                "config/test_settings.py::test_counts_are_exact_in_decimals",
            ),
            Mutant(
                "keeping nothing is not a case of its own",
                "pruning/masks.py",
                "if keep in (0, living):",
                "if keep == living:",
                "pruning/test_masks.py::test_top_is_exact_under_ties",
            ),
            Mutant(
                "magnitudes are bf16",
                "pruning/scores.py",
                'to("cpu", torch.float32).abs()',
                'to("cpu", torch.bfloat16).float().abs()',
                "pruning/test_masks.py::test_scores_are_float32",
            ),
            Mutant(
                "scores are compared as bf16",
                "pruning/masks.py",
                'to("cpu", torch.float32)',
                'to("cpu", torch.bfloat16).float()',
                "pruning/test_masks.py::test_scores_are_compared_as_float32",
            ),
        ),
    ),
    3: (
        "pruned weights revive",
        (
            Mutant(
                "their gradients are not masked",
                "training/steps.py",
                "if not bool(mask.alive[name].all()):",
                "if False:",
                "test_train.py::test_pruned_weights_and_their_momentum_stay_exactly_zero",
            ),
            Mutant(
                "their momentum goes on",
                "runs/level_start.py",
                "state.momentum[name].masked_fill(~alive, 0)",
                "state.momentum[name]",
                "test_train.py::test_pruned_weights_and_their_momentum_stay_exactly_zero",
            ),
            Mutant(
                "their values stay",
                "runs/level_start.py",
                "state.tensors[name].masked_fill(~alive, 0)",
                "state.tensors[name]",
                "runs/test_level_start.py::test_every_part_comes_from_its_origin",
            ),
            Mutant(
                "their signs are counted",
                "pruning/signs.py",
                "(before[name] ^ after[name]) & tensor",
                "(before[name] ^ after[name])",
                "pruning/test_signs.py::test_pruned_weights_have_no_flips",
            ),
        ),
    ),
    4: (
        "the schedule",
        (
            Mutant(
                "it steps after the first epoch",
                "training/optimizer.py",
                "time = step // per_epoch if by_epoch",
                "time = max(step // per_epoch - 1, 0) if by_epoch",
                "test_train.py::test_cosine_by_epoch_and_by_step",
            ),
            Mutant(
                "the last level has another",
                "runs/workspace.py",
                "if level > 0 and self.config.policy.schedule",
                "if 0 < level < self.config.pruning.levels and self.config.policy.schedule",
                "runs/test_run.py::test_every_level_has_the_schedule_of_its_policy",
            ),
            Mutant(
                "a warm-up of the first level is one of all",
                "config/settings.py",
                'return level == 0 or self.policy.schedule == "rewind"',
                "return True",
                "test_train.py::test_warm_up_in_the_first_level_or_in_every",
            ),
            Mutant(
                "a warm-up of every level is one of the first",
                "config/settings.py",
                'return self.train.warmup == "every"',
                'return self.train.warmup == "every" and level == 0',
                "test_train.py::test_warm_up_in_the_first_level_or_in_every",
            ),
            Mutant(
                "a rewound level leaves the schedule of a level 0 with a warm-up",
                "config/settings.py",
                'level == 0 or self.policy.schedule == "rewind"',
                "level == 0",
                "config/test_protocols.py::test_a_rewound_level_follows_what_is_left_of_level_0s_schedule",
            ),
        ),
    ),
    5: (
        "momentum",
        (
            Mutant(
                "every policy drops it",
                "runs/level_start.py",
                "states[policy.momentum].momentum.items()",
                'states["initial"].momentum.items()',
                "runs/test_level_start.py::test_every_part_comes_from_its_origin",
            ),
            Mutant(
                "every policy keeps it",
                "runs/level_start.py",
                "states[policy.momentum].momentum.items()",
                'states["keep"].momentum.items()',
                "runs/test_level_start.py::test_every_part_comes_from_its_origin",
            ),
            Mutant(
                "rewinding BN resets it",
                "config/algorithms.py",
                '_row(_LRR, norm_affine="initial", norm_statistics="initial")',
                '_row(_LRR, norm_affine="initial", norm_statistics="initial", momentum="initial")',
                "config/test_settings.py::test_every_row_is_what_its_source_does",
            ),
            Mutant(
                "a restored state has none",
                "training/optimizer.py",
                ".copy_(momentum)",
                ".zero_()",
                "test_train.py::test_a_training_entered_anywhere_is_the_uninterrupted_one",
            ),
        ),
    ),
    6: (
        "BN running statistics",
        (
            Mutant(
                "every policy keeps them",
                "runs/level_start.py",
                "else getattr(policy, kind)",
                'else "keep" if kind == "norm_statistics" else getattr(policy, kind)',
                "runs/test_level_start.py::test_every_part_comes_from_its_origin",
            ),
            Mutant(
                "every policy resets them",
                "runs/level_start.py",
                "else getattr(policy, kind)",
                'else "initial" if kind == "norm_statistics" else getattr(policy, kind)',
                "runs/test_level_start.py::test_every_part_comes_from_its_origin",
            ),
            Mutant(
                "they go with the affine parameters",
                "runs/level_start.py",
                '"norm_statistics" for key',
                '"norm_affine" for key',
                "runs/test_level_start.py::test_parts_cover_the_state_dict",
            ),
        ),
    ),
    7: (
        "ERK without redistribution",
        (
            Mutant(
                "full layers are clamped",
                "pruning/budgets.py",
                "apportion(keep, shares, list(counts.values()))",
                "[min(n, int(keep * s / sum(shares))) for n, s in zip(counts.values(), shares)]",
                "pruning/test_masks.py::test_erk_redistributes_what_full_layers_cannot_take",
            ),
        ),
    ),
    8: (
        "SynFlow and SNIP",
        (
            Mutant(
                "SynFlow in one shot",
                "pruning/scores.py",
                'if kind != "synflow":',
                "if True:",
                "pruning/test_scores.py::test_densities_fall_exponentially_to_the_very_count "
                "pruning/test_scores.py::test_synflow_in_one_shot_empties_a_layer",
            ),
            Mutant(
                "SynFlow scores once",
                "runs/level.py",
                "found = _scores(work, level, mask)",
                "found = _scores(work, level, previous)",
                "pruning/test_scores.py::test_every_step_of_synflow_scores_anew",
            ),
            Mutant(
                "SynFlow in training mode",
                "pruning/scores.py",
                ".double().eval()",
                ".double().train()",
                "pruning/test_scores.py::test_synflow_is_the_published_iteration "
                "pruning/test_scores.py::test_the_flow_is_conserved_through_every_layer_of_a_trained_network",
            ),
            Mutant(
                "SynFlow in float32",
                "pruning/scores.py",
                "deepcopy(net).double()",
                "deepcopy(net)",
                "pruning/test_scores.py::test_the_flow_of_deep_networks_does_not_overflow",
            ),
            Mutant(
                "SynFlow of signed weights",
                "pruning/scores.py",
                "weight.abs_().mul_",
                "weight.mul_",
                "pruning/test_scores.py::test_synflow_is_the_published_iteration",
            ),
            Mutant(
                "SNIP on one batch",
                "runs/level.py",
                "(batches, config.pruning.snip_batches)",
                "(batches, 1)",
                "pruning/test_scores.py::test_a_level_is_scored_on_the_network_that_the_level_before_left",
            ),
            Mutant(
                "SNIP in low precision",
                "pruning/scores.py",
                "deepcopy(net).float().train()",
                "deepcopy(net).train()",
                "pruning/test_scores.py::test_snip_is_float32_of_a_network_in_half_precision",
            ),
            Mutant(
                "SNIP in evaluation mode",
                "pruning/scores.py",
                "deepcopy(net).float().train()",
                "deepcopy(net).float().eval()",
                "pruning/test_scores.py::test_snip_is_the_gradient_of_a_mask_over_several_batches",
            ),
            Mutant(
                "SNIP leaves its statistics behind",
                "pruning/scores.py",
                "copy = deepcopy(net).float().train()",
                "copy = net.float().train()",
                "pruning/test_scores.py::test_snip_is_the_gradient_of_a_mask_over_several_batches",
            ),
        ),
    ),
    9: (
        "shuffles that do nothing",
        (
            Mutant(
                "a mask stays as it is",
                "pruning/masks.py",
                "shuffled[name] = tensor.flatten()[order].view_as(tensor)",
                "tensor = tensor.flatten()[order].view_as(tensor)\n        shuffled[name] = mask.alive[name]",
                "pruning/test_masks.py::test_a_shuffle_keeps_counts_and_nesting_and_moves_the_weights",
            ),
            Mutant(
                "own masks are not shuffled",
                "runs/level.py",
                'if pruning.source == "shuffled":',
                "if False:",
                "runs/test_run.py::test_shuffled_own_masks_keep_the_layers_counts",
            ),
            Mutant(
                "own masks are shuffled across layers",
                "runs/level.py",
                "previous, mask.counts())",
                'previous, masks.budget("uniform", mask.kept, previous))',
                "runs/test_run.py::test_shuffled_own_masks_keep_the_layers_counts",
            ),
            Mutant(
                "amplitudes stay as they are",
                "pruning/signs.py",
                "torch.copysign(living[order], living)",
                "torch.copysign(living, living)",
                "pruning/test_signs.py::test_shuffled_amplitudes_keep_signs_and_the_layers_multiset",
            ),
        ),
    ),
    10: (
        "seeds",
        (
            Mutant(
                "the network is drawn from the process's generator",
                "models.py",
                'torch.Generator().manual_seed(stream(seed, "initialisation"))',
                "torch.default_generator",
                "test_models.py::test_the_seed_decides_and_the_global_generator_is_untouched",
            ),
            Mutant(
                "seed 0 is no seed",
                "config/seeds.py",
                "json.dumps([seed, *key])",
                'json.dumps([seed or __import__("random").random(), *key])',
                "runs/test_run.py::test_the_same_configuration_gives_the_same_run",
            ),
            Mutant(
                "an epoch's order is not in the checkpoint",
                "data/batches.py",
                'torch.Generator().manual_seed(stream(seed, "epoch", level, epoch))',
                "torch.default_generator",
                "test_train.py::test_a_training_entered_anywhere_is_the_uninterrupted_one",
            ),
            Mutant(
                "every epoch is the same",
                "data/batches.py",
                'stream(seed, "epoch", level, epoch)',
                'stream(seed, "epoch", level, 0)',
                "data/test_dataset.py::test_batches_depend_on_seed_level_and_epoch_alone",
            ),
        ),
    ),
    11: (
        "the accuracy that is reported",
        (
            Mutant(
                "the maximum over epochs",
                "runs/level.py",
                'row["test_accuracy_maximum_over_epochs"] = max(seen)',
                'row["test_accuracy"] = row["test_accuracy_maximum_over_epochs"] = max(seen)',
                "runs/test_run.py::test_the_maximum_over_epochs_is_not_the_result",
            ),
            Mutant(
                "the test images validate",
                "runs/level.py",
                "getattr(work.dataset, part)",
                "work.dataset.test",
                "runs/test_run.py::test_every_accuracy_is_that_of_its_own_images",
            ),
            Mutant(
                "the held-out images are trained on",
                "data/dataset.py",
                "order[config.validation :][: config.limit]",
                "order[: config.limit]",
                "data/test_dataset.py::test_validation_and_limit_are_seeded_and_disjoint",
            ),
            Mutant(
                "batch normalisation by the test batch",
                "training/evaluate.py",
                "    net.eval()\n",
                "    net.train()\n",
                "test_train.py::test_evaluation_counts_every_image_and_changes_nothing",
            ),
        ),
    ),
    12: (
        "masks lost on resume",
        (
            Mutant(
                "a checkpoint comes back dense",
                "runs/checkpoint.py",
                'mask = Mask(unpack(_under(found, "mask/"), meta["shapes"]))',
                'mask = unpack(_under(found, "mask/"), meta["shapes"])\n'
                "        mask = Mask({name: alive | True for name, alive in mask.items()})",
                "runs/test_run.py::test_a_run_stopped_after_any_event_ends_as_the_uninterrupted",
            ),
            Mutant(
                "the state is not put back",
                "runs/resume.py",
                "        restore(work.net, work.sgd, saved.state)\n",
                "",
                "runs/test_run.py::test_a_run_stopped_after_any_event_ends_as_the_uninterrupted",
            ),
            Mutant(
                "another configuration's checkpoint is taken",
                "runs/checkpoint.py",
                'if run_id is not None and meta.get("run_id") != run_id:',
                "if False:",
                "runs/test_checkpoint.py::test_another_configuration_is_refused",
            ),
        ),
    ),
    13: (
        "Tiny ImageNet's validation images",
        (
            Mutant(
                "classes in the files' order",
                "data/image_folder.py",
                "[label[row[1]] for row in rows]",
                "[number * len(names) // len(rows) for number in range(len(rows))]",
                "data/test_image_folder.py::test_every_image_has_its_own_class",
            ),
            Mutant(
                "one class for all",
                "data/image_folder.py",
                "[label[row[1]] for row in rows]",
                "[0 for row in rows]",
                "data/test_image_folder.py::test_every_image_has_its_own_class",
            ),
            Mutant(
                "classes numbered as the annotations come",
                "data/image_folder.py",
                "[label[row[1]] for row in rows]",
                "[list(dict.fromkeys(r[1] for r in rows)).index(row[1]) for row in rows]",
                "data/test_image_folder.py::test_every_image_has_its_own_class",
            ),
            Mutant(
                "grayscale images are left out of mind",
                "data/jpeg.py",
                'image = opened.convert("RGB")',
                "image = opened.copy()",
                "data/test_image_folder.py::test_grayscale_images_are_rgb",
            ),
        ),
    ),
    14: (
        "torch's own limits",
        (
            Mutant(
                "torch.quantile finds the threshold",
                "pruning/masks.py",
                "threshold = np.partition(inside, rank)[rank]",
                "t = __import__('torch')\n    threshold = t.quantile(t.from_numpy(\n"
                "        np.concatenate([v[a] for v, a in layers])), 1 - keep / living).item()",
                "pruning/test_masks.py::test_more_than_2_to_the_24_weights",
            ),
            Mutant(
                "scores are flattened by view",
                "pruning/masks.py",
                "torch.float32).numpy().ravel()",
                "torch.float32).view(-1).numpy()",
                "pruning/test_masks.py::test_a_channels_last_network_has_the_same_mask",
            ),
            Mutant(
                "scores are flattened as they lie in memory",
                "pruning/masks.py",
                "torch.float32).numpy().ravel()",
                'torch.float32).numpy().ravel("K")',
                "pruning/test_masks.py::test_a_channels_last_network_has_the_same_mask",
            ),
            Mutant(
                "oneDNN takes a strided 1x1 convolution",
                "models.py",
                'if x.device.type != "cpu":',
                "if True:",
                "test_gradients.py::test_every_layer_of_every_network_is_exact",
            ),
            Mutant(
                "a stack's shortcut is a plain convolution",
                "runs/stack.py",
                "many: nn.Module = type(layer)(",
                "many: nn.Module = nn.Conv2d(",
                "test_gradients.py::test_a_strided_shortcut_is_a_strided_convolution_to_all_who_look_at_it",
            ),
            Mutant(
                "one channel is left in both layouts",
                "training/forward.py",
                "return x.clone(memory_format=torch.contiguous_format)",
                "return x.contiguous()",
                "test_train.py::test_every_layer_has_the_layout_asked_for",
            ),
        ),
    ),
    15: (
        "checkpoints",
        (
            Mutant(
                "a numpy scalar inside",
                "runs/checkpoint.py",
                '"step": checkpoint.step,',
                '"step": __import__("numpy").int64(checkpoint.step),',
                "runs/test_checkpoint.py::test_the_last_two_are_kept_and_the_last_is_read",
            ),
            Mutant(
                "written straight to the final name",
                "storage/tensor_files.py",
                "    with atomic(path) as temporary:\n        temporary.write_bytes(content)",
                "    Path(path).write_bytes(content)",
                "runs/test_checkpoint.py::test_a_failed_write_leaves_what_was_there",
            ),
            Mutant(
                "a torn file is a traceback",
                "storage/tensor_files.py",
                "except (OSError, SafetensorError) as error:",
                "except OSError as error:",
                "runs/test_checkpoint.py::test_a_damaged_one_falls_back_to_the_one_before_and_says_so",
            ),
            Mutant(
                "a changed bit is believed",
                "storage/tensor_files.py",
                "if digest != _digest(tensors, text):",
                "if False:",
                "storage/test_tensor_files.py::test_every_flipped_byte_is_noticed",
            ),
        ),
    ),
    16: (
        "bad input that is found late or never",
        (
            Mutant(
                "a fraction of 1.5",
                "config/pruning.py",
                "fraction: float = Field(0.0, ge=0, le=1)",
                "fraction: float = Field(0.0, ge=0)",
                "config/test_settings.py::test_bad_input_is_one_line",
            ),
            Mutant(
                "levels = -1",
                "config/pruning.py",
                "levels: int = Field(20, ge=0, le=10_000)",
                "levels: int = Field(20, le=10_000)",
                "config/test_settings.py::test_bad_input_is_one_line",
            ),
            Mutant(
                "a density that keeps nothing, found at its level",
                "runs/checks.py",
                "if last < 1:",
                "if False:",
                "runs/test_run.py::test_the_impossible_is_refused_before_anything_is_written",
            ),
            Mutant(
                "layers that are not there, found at their level",
                "runs/checks.py",
                "    if config.perturbation.fraction:\n",
                "    if False:\n",
                "runs/test_run.py::test_the_impossible_is_refused_before_anything_is_written",
            ),
            Mutant(
                "augmentation without a seed",
                "data/batches.py",
                "flips = torch.rand(count, generator=generator) < 0.5",
                "flips = torch.rand(count) < 0.5",
                "data/test_dataset.py::test_batches_depend_on_seed_level_and_epoch_alone",
            ),
        ),
    ),
    17: (
        "Sign-In and cycles",
        (
            Mutant(
                "a reset changes theta",
                "training/sign_in.py",
                "u.copy_(weight / m)",
                "u.copy_(weight)",
                "training/test_sign_in.py::test_a_reset_changes_neither_the_weight_nor_its_velocity",
            ),
            Mutant(
                "a reset misses beta",
                "training/sign_in.py",
                "(self.beta**2 + 4 * weight.square()).sqrt()",
                "(self.beta + 4 * weight.square()).sqrt()",
                "training/test_sign_in.py::test_a_reset_changes_neither_the_weight_nor_its_velocity",
            ),
            Mutant(
                "a reset keeps the momentum of the old factors",
                "training/sign_in.py",
                "        dm.copy_(u * velocity / speed)\n        du.copy_(m * velocity / speed)\n",
                "",
                "training/test_sign_in.py::test_a_reset_changes_neither_the_weight_nor_its_velocity",
            ),
            Mutant(
                "a reset moves beta",
                "training/sign_in.py",
                "        dm.copy_(u * velocity / speed)\n        du.copy_(m * velocity / speed)\n",
                "        dm.zero_()\n        du.copy_(velocity / m)\n",
                "training/test_sign_in.py::test_a_reset_changes_neither_the_weight_nor_its_velocity",
            ),
            Mutant(
                "the mask acts on the gradient of m only",
                "training/sign_in.py",
                "products = torch._foreach_mul(partners, gradients)",
                "products = [p * (g if factors is m else g + (g == 0)) for p, g in zip(partners, gradients)]",
                "training/test_sign_in.py::test_the_trajectory_is_that_of_a_functional_implementation",
            ),
            Mutant(
                "weight decay on theta",
                "training/sign_in.py",
                "        super().step()\n",
                "        group, kept = self.param_groups[0], self.param_groups[0]['weight_decay']\n"
                "        for weight, a, b in zip(weights, m, u, strict=True):\n"
                "            a.grad += kept * weight * b\n"
                "            b.grad += kept * weight * a\n"
                "        group['weight_decay'] = 0.0\n"
                "        super().step()\n"
                "        group['weight_decay'] = kept\n",
                "training/test_sign_in.py::test_the_trajectory_is_that_of_a_functional_implementation",
            ),
            Mutant(
                "beta is not reset at a level's start",
                "training/optimizer.py",
                "        sgd.move(parameter, momentum.to(parameter.device))\n",
                "        pass\n",
                "training/test_sign_in.py"
                "::test_every_level_starts_at_beta_with_the_weights_and_the_momentum_of_its_policy",
            ),
            Mutant(
                "nothing is reset within a level",
                "training/steps.py",
                "            sgd.reset()\n",
                "            pass\n",
                "training/test_sign_in.py::test_resets_come_when_they_are_due",
            ),
            Mutant(
                "factors lost on resume",
                "runs/checkpoint.py",
                '("net/", "momentum/", "factor/")',
                '("net/", "momentum/")',
                "training/test_sign_in.py::test_a_run_stopped_after_any_event_ends_as_the_uninterrupted",
            ),
            Mutant(
                "a stack trains factors of its own",
                "runs/stack.py",
                "                    variable.data = self._part(theirs.data, slot)\n",
                "                    pass\n",
                "runs/test_stack.py::test_five_steps_are_those_of_each_alone",
            ),
            Mutant(
                "several cycles are one long one",
                "config/settings.py",
                "return self.train.epochs + (int",
                "return (level + 1) * self.train.epochs + (int",
                "training/test_sign_in.py::test_a_cumulative_level_repeats_its_schedule",
            ),
            Mutant(
                "a cycle's rate goes on where the last one ended",
                "training/steps.py",
                "learning_rate(train, step % cycle, per_epoch, warm=warm)",
                "learning_rate(train, step, per_epoch, warm=warm)",
                "training/test_sign_in.py::test_a_cumulative_level_repeats_its_schedule",
            ),
        ),
    ),
}


def main() -> int:
    """Run the mutations of the traps given, all by default; 0 if every one of them fails a test."""
    parser = argparse.ArgumentParser(description="Put known traps into the code; each must fail a test.")
    parser.add_argument("traps", type=int, nargs="*", metavar="TRAP", help=f"1 to {len(TRAPS)}")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if not set(options.traps) <= TRAPS.keys():
        parser.error(f"the traps are 1 to {len(TRAPS)}")
    chosen = [(n, m) for n, (_, all_of) in TRAPS.items() if n in (options.traps or TRAPS) for m in all_of]
    known = list(dict.fromkeys(test for _, mutant in chosen for test in mutant.tests.split()))
    parts = [known[first :: options.workers] for first in range(min(options.workers, len(known)))]
    began, context = time.monotonic(), multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(HEAVY)
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    with ProcessPoolExecutor(options.workers, context, max_tasks_per_child=1) as pool:
        for failed in pool.map(_tests_of, [None] * len(parts), parts):
            if failed is not None:
                print(f"without any mutation: {failed or 'the tests could not be run'}", file=sys.stderr)
                return 1
        print(f"{len(known)} tests pass without a mutation; {len(chosen)} mutations", flush=True)
        good = 0
        verdicts = pool.map(_attempt, [mutant for _, mutant in chosen])
        for (number, mutant), (killed, how) in zip(chosen, verdicts, strict=True):
            good += killed
            print(f"{number:2d}  {mutant.what:50s} {how}", flush=True)
    print(f"{good} of {len(chosen)} mutations fail a test, in {time.monotonic() - began:.0f} s")
    return 0 if good == len(chosen) else 1


def _attempt(mutant: Mutant) -> tuple[bool, str]:
    """Whether the mutation fails a test, and which one, or what else came of it."""
    count = (ROOT / "deepexp" / mutant.file).read_text(encoding="utf-8").count(mutant.old)
    if count != 1:
        return False, f"DOES NOT APPLY: its text stands {count} times in deepexp/{mutant.file}"
    failed = _tests_of(mutant, mutant.tests.split())
    if failed is None:
        return False, "SURVIVES"
    return bool(failed), failed or "NO VERDICT: the tests could not be run"


def _tests_of(mutant: Mutant | None, tests: list[str]) -> str | None:
    """The first of `tests` that fails on a mutated copy of this tree; None if none does, '' if none ran."""
    import pytest

    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for folder in ("deepexp", "signflow", "figures", "tests/deepexp"):
            shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        if mutant is not None:
            file = copy / "deepexp" / mutant.file
            file.write_text(
                file.read_text(encoding="utf-8").replace(mutant.old, mutant.new), encoding="utf-8"
            )
        os.chdir(copy)
        sys.path.insert(0, name)
        os.environ["PYTHONPATH"] = name  # of the processes that tests start
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.alarm(LIMIT)
        said = io.StringIO()
        options = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist"]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = pytest.main([*options, *(f"tests/deepexp/{test}" for test in tests)])
        os.chdir(ROOT)
    if code == pytest.ExitCode.OK:
        return None
    found = re.search(r"^(?:FAILED|ERROR) tests/deepexp/(\S+)", said.getvalue(), re.MULTILINE)
    return found[1] if found and code == pytest.ExitCode.TESTS_FAILED else ""


if __name__ == "__main__":
    raise SystemExit(main())
