"""Accuracy and loss on a set of images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from deepexp.config.machine import Machine
from deepexp.data.batches import in_order
from deepexp.data.dataset import Dataset
from deepexp.data.images import Files, Images
from deepexp.training.forward import in_precision, laid_out

EVALUATION_BATCH = 1000


@torch.no_grad()
def evaluate(
    net: nn.Module, images: Images | Files, dataset: Dataset, machine: Machine
) -> tuple[float, float] | tuple[None, None]:
    """Measure a network's loss and accuracy on a set of images, and leave it in evaluation mode.

    Parameters
    ----------
    net : nn.Module
        The network.
    images : Images or Files
        The images of `dataset` on which to evaluate.
    dataset : Dataset
        The data set, which determines the normalisation and the device.
    machine : Machine
        The settings for precision and memory format.

    Returns
    -------
    loss : float or None
        The mean cross-entropy; None if there are no images.
    accuracy : float or None
        The fraction of correct answers, in [0, 1]; None if there are no images.
    """
    if not len(images):
        return None, None
    net.eval()
    forward = in_precision(net, machine)
    loss = torch.zeros((), dtype=torch.float64, device=dataset.mean.device)
    correct = torch.zeros_like(loss)
    for x, y in in_order(dataset, images, EVALUATION_BATCH):
        logits = forward(laid_out(x, machine))
        loss += F.cross_entropy(logits, y, reduction="sum")
        correct += (logits.argmax(1) == y).sum()
    return loss.item() / len(images), correct.item() / len(images)
