"""Augment whole batches on the device of the images, by padded crops, resized crops and flips."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from deepexp.config.sections import Data


def augment(x: Tensor, index: Tensor, shifts: Tensor, flips: Tensor, config: Data) -> Tensor:
    """Pad, crop and flip the images of `x` at the positions `index`, and return them.

    Parameters
    ----------
    x : Tensor (n, H, W, C)
        All images.
    index : Tensor (B,)
        The positions of the images to return.
    shifts : Tensor (B, 2)
        The first row and column of each crop in the padded image, from 0 to twice the padding.
    flips : Tensor (B,)
        Whether to mirror each image from left to right.
    config : Data
        The settings, of which `crop_padding`, `padding_mode` and `flip` are used.

    Returns
    -------
    Tensor (B, H, W, C)
    """
    if config.crop_padding == 0 and config.flip == "none":
        return x[index]
    pad, (height, width) = config.crop_padding, x.shape[1:3]
    rows = torch.arange(height, device=x.device) + shifts[:, :1] - pad  # (B, H)
    columns = torch.arange(width, device=x.device) + shifts[:, 1:] - pad  # (B, W)
    columns = torch.where(flips[:, None], columns.flip(1), columns)
    outside = ((rows < 0) | (rows >= height))[:, :, None] | ((columns < 0) | (columns >= width))[:, None, :]
    if config.padding_mode == "reflect":
        rows, columns = _reflect(rows, height), _reflect(columns, width)
    # This indexing pads, crops and flips at once. A padded copy of `x` would cost memory and another pass.
    picked = x[
        index[:, None, None], rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None]
    ]
    return picked if config.padding_mode == "reflect" else picked.masked_fill_(outside[..., None], 0)


def resample(x: Tensor, boxes: Tensor, flips: Tensor, size: int) -> Tensor:
    """Cut a box out of each image and resize it to `size` x `size` pixels.

    The interpolation is bilinear between the centres of the pixels in the box, and ignores all other pixels.

    Parameters
    ----------
    x : Tensor (B, H, W, C)
        The images, with values from 0 to 255.
    boxes : Tensor (B, 4)
        The left edge, top edge, width and height of each box in pixels.
    flips : Tensor (B,)
        Whether to mirror each image from left to right.
    size : int
        The height and width of the result in pixels. No box may be wider or higher than this, since each
        pixel of the result is interpolated from only four pixels.

    Returns
    -------
    Tensor (B, size, size, C), float32
    """
    height, width = x.shape[1:3]
    left, top, wide, high = boxes.float().unsqueeze(2).unbind(1)  # (B, 1)
    step = (torch.arange(size, device=x.device) + 0.5) / size  # (size,)
    columns = torch.where(flips[:, None], step.flip(0), step)
    columns = (left + columns * wide - 0.5).clamp(left, left + wide - 1)  # (B, size)
    rows = (top + step * high - 0.5).clamp(top, top + high - 1)
    # With align_corners, the coordinates -1 and 1 of grid_sample are the centres of the outermost pixels.
    grid = torch.stack(
        torch.broadcast_tensors(
            (columns * (2 / (width - 1)) - 1)[:, None, :], (rows * (2 / (height - 1)) - 1)[:, :, None]
        ),
        -1,
    )
    planes = F.grid_sample(x.permute(0, 3, 1, 2).float(), grid, padding_mode="border", align_corners=True)
    return planes.permute(0, 2, 3, 1)


def _reflect(index: Tensor, size: int) -> Tensor:
    index = index.abs()
    # The edge pixel itself is not repeated.
    return torch.where(index >= size, 2 * (size - 1) - index, index)
