"""Tensors on disk: no byte of a file can change unseen, and the same contents are the same file."""

import os

import pytest
import torch
from safetensors.torch import save_file

from deepexp.storage import tensor_files

HELD = {"w": torch.arange(6.0).view(2, 3), "bits": torch.tensor([7], dtype=torch.uint8)}
META = {"run_id": "mine", "rows": [{"loss": 0.1, "none": None}]}


def test_what_is_written_is_read(tmp_path):
    held = {**HELD, "count": torch.tensor(3)}
    tensor_files.write(held, tmp_path / "x.safetensors", META)
    found, meta = tensor_files.read(tmp_path / "x.safetensors")
    assert meta == META
    assert found.keys() == held.keys()
    for name, tensor in held.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype


def test_every_flipped_byte_is_noticed(tmp_path):
    path = tmp_path / "x.safetensors"
    tensor_files.write(HELD, path, META)
    content = path.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"x\.safetensors' is damaged") as error:
            tensor_files.read(path)
        assert "\n" not in str(error.value)


def test_the_same_contents_are_the_same_bytes_with_the_umasks_mode(tmp_path):
    before = os.umask(0o027)
    try:
        for number in range(8):  # a hash map's order would change within these
            tensor_files.write(HELD, tmp_path / f"{number}.safetensors", META)
    finally:
        os.umask(before)
    files = list(tmp_path.iterdir())
    assert len({file.read_bytes() for file in files}) == 1
    assert {file.stat().st_mode & 0o777 for file in files} == {0o640}


def test_others_files_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file(HELD, path)
    with pytest.raises(tensor_files.Damaged, match="it has no checksum"):
        tensor_files.read(path)
    with pytest.raises(ValueError, match="must hold saved tensors, but there is no such file"):
        tensor_files.read(tmp_path / "none.safetensors")
