"""Rewriting safetensors files: what is not made anew keeps every byte, and the library reads the result."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from langtailor.errors import ArtifactError
from langtailor.models.safetensors_file import read_tensor, rewrite_weights, stored_tensors, tensor_digests

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int8, torch.bool, torch.float8_e4m3fn]


def tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(7, 3), (5,), (), (0, 4), (2, 3, 2)]
    return {
        f"block.{i}.{str(dtype).removeprefix('torch.')}": torch.randn(shape, generator=generator).to(dtype)
        for i, shape in enumerate(shapes)
        for dtype in DTYPES
    }


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    bits = [t.reshape(-1).view(torch.uint8).tolist() for t in (one, other)]
    return one.dtype == other.dtype and one.shape == other.shape and bits[0] == bits[1]


@given(st.integers(0, 40), st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
def test_other_tensors_keep_every_byte_whatever_the_size_of_the_new_ones(tmp_path_factory, rows, dtype):
    folder = tmp_path_factory.mktemp("weights")
    old = {**tensors(), "table": torch.randn(9, 4).to(dtype), "bias": torch.randn(9).to(dtype)}
    save_file(old, folder / "old", {"format": "pt", "note": "çğ"})

    def remake(table: torch.Tensor) -> torch.Tensor:
        return table[torch.arange(rows) % 9]

    rewrite_weights(folder / "old", folder / "new", rows, {"table": remake, "bias": remake})
    new = load_file(folder / "new")
    assert new.keys() == old.keys()
    assert all(same(new[name], remake(old[name]) if name in ("table", "bias") else old[name]) for name in old)
    with safe_open(folder / "new", "pt") as stream:
        assert stream.metadata() == {"format": "pt", "note": "çğ"}


def test_a_file_in_which_nothing_is_made_anew_says_the_same(tmp_path):
    save_file(tensors(), tmp_path / "old")
    rewrite_weights(tmp_path / "old", tmp_path / "new", 3, {})
    assert tensor_digests(tmp_path / "old") == tensor_digests(tmp_path / "new")
    first, second = ([(t.name, t.dtype, t.shape) for t in stored_tensors(tmp_path / n)] for n in ("old", "new"))
    assert first == second


def test_digests_tell_tensors_apart_by_their_bytes(tmp_path):
    save_file({"a": torch.zeros(4), "b": torch.zeros(4), "c": torch.ones(4)}, tmp_path / "file")
    digests = tensor_digests(tmp_path / "file")
    assert digests["a"] == digests["b"] != digests["c"]


def test_a_tensor_is_read_as_the_library_reads_it(tmp_path):
    save_file(tensors(), tmp_path / "file")
    assert all(same(read_tensor(tmp_path / "file", name), tensor) for name, tensor in tensors().items())


def test_a_new_tensor_of_another_shape_or_precision_than_stated_is_a_defect(tmp_path):
    save_file({"table": torch.zeros(4, 2)}, tmp_path / "old")
    for wrong in (torch.zeros(2, 2), torch.zeros(3, 2, dtype=torch.bfloat16), torch.zeros(3, 3)):
        with pytest.raises(ValueError, match="table was rewritten as"):
            rewrite_weights(tmp_path / "old", tmp_path / "new", 3, {"table": lambda _, wrong=wrong: wrong})


@pytest.mark.parametrize("keep", [0, 4, 30, -1])
def test_a_cut_file_is_refused(tmp_path: Path, keep: int):
    save_file({"table": torch.from_numpy(np.arange(12.0))}, tmp_path / "old")
    (tmp_path / "cut").write_bytes((tmp_path / "old").read_bytes()[:keep])
    with pytest.raises(ArtifactError):
        rewrite_weights(tmp_path / "cut", tmp_path / "new", 3, {})


@pytest.mark.parametrize("header", [b"[]", b'{"a": {"dtype": "F32"}}', b'{"a": 1}', b"\xff"])
def test_a_foreign_header_is_refused(tmp_path: Path, header: bytes):
    (tmp_path / "file").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ArtifactError, match="not a safetensors file"):
        stored_tensors(tmp_path / "file")


def test_a_header_that_claims_to_be_huge_is_refused(tmp_path: Path):
    (tmp_path / "file").write_bytes(struct.pack("<Q", 1 << 62) + json.dumps({}).encode())
    with pytest.raises(ArtifactError, match="not a safetensors file"):
        stored_tensors(tmp_path / "file")
