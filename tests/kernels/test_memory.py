"""No kernel reads or writes past the end of an array, not even what it then ignores.

In a process of its own (it would die) every array ends where a page ends, and the next page may not
be touched. Run as a script, this file is that process.
"""

import ctypes
import mmap
import os
import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from kernel_helpers import batches_of, entry, samples_of

from fastmlp.kernels.arguments import Part
from fastmlp.kernels.loops import gather as module
from fastmlp.kernels.loops.pack import lanes_of
from fastmlp.training.engine import Engine
from fastmlp.training.layers import network_layers
from fastmlp.training.optimizers import adam, sgd

gather = entry(module.gather)

WIDTHS = (1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 130)


def at_the_end(values: np.ndarray) -> np.ndarray:
    """Copy `values` to the end of a page before one that may not be touched."""
    size = -(-values.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size + mmap.PAGESIZE)
    first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    nothing_allowed = 0  # PROT_NONE
    after = ctypes.c_void_p(first + size)
    if ctypes.CDLL(None, use_errno=True).mprotect(after, mmap.PAGESIZE, nothing_allowed):
        raise OSError(ctypes.get_errno(), "mprotect failed")
    array = np.frombuffer(memory, values.dtype, values.size, size - values.nbytes)
    array = array.reshape(values.shape)
    array[...] = values
    return array


def gather_every_width(raw: Any, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    lanes = lanes_of(dtype)
    for width in WIDTHS:
        count = 3
        source = at_the_end(rng.integers(0, 256, (count, width)).astype(raw))
        scale, shift = (at_the_end(np.ones(width, dtype)) for _ in range(2))
        X = at_the_end(np.zeros((-(-width // lanes), count, lanes), dtype))
        mirrored = at_the_end(np.zeros((count, width), raw))
        for flips in (np.zeros(count, bool), np.ones(count, bool)):
            samples = samples_of(dtype, source, scale=scale, shift=shift)
            batches = batches_of(dtype, np.arange(count)[::-1].copy(), flips=flips)
            gather(samples, batches, 0, X, None, None, mirrored, Part(0, len(X), 0, count))
        assert X[0, 0, 0] == source[-1, -1] + 1.0


def train_every_width(dtype: str) -> None:
    rng = np.random.default_rng(0)
    for i, width in enumerate(WIDTHS):
        outputs = WIDTHS[-1 - i] + 1
        sizes = (width, outputs, outputs, 3)
        engine = Engine(
            [rng.normal(size=(n, k)) / np.sqrt(k) for k, n in pairwise(sizes)],
            [np.zeros(n) for n in sizes[1:]],
            batch_size=4,
            dtype=dtype,
            threads=1,
            layers=network_layers(sizes[1:-1], sizes[-1], residual=True),
        )
        images = at_the_end(rng.integers(0, 256, (7, width)).astype(np.uint8))
        labels = at_the_end(rng.integers(0, 3, 7))
        one = np.full(width, 1 / 64)
        samples = engine.samples(images, one, one, labels=labels)
        samples = samples._replace(scale=at_the_end(samples.scale), shift=at_the_end(samples.shift))
        # Some of these are one and the same array, unless products read pairs.
        room = engine.room
        buffers = (engine.parameters, engine.right, room.workspace, room.operands)
        copies = {id(buffer): at_the_end(buffer) for buffer in buffers}
        engine.parameters, engine.right, workspace, operands = (
            copies[id(buffer)] for buffer in buffers
        )
        engine.room = room._replace(workspace=workspace, operands=operands)
        engine.velocity, engine.squares = (at_the_end(0 * engine.parameters) for _ in range(2))
        order = at_the_end(np.arange(7))
        for steps in (sgd(2, 0.01, momentum=0.9), adam(2, 0.01, before=0)):
            assert np.isfinite(engine.epoch(samples, order, steps, penalties=True).losses).all()
        assert np.isfinite(engine.logits(samples)).all()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mprotect as on Linux")
def test_no_access_past_the_end() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-W", "ignore", __file__],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    for raw in (np.uint8, np.float32, np.float64):
        for number in (np.float32, np.float64):
            gather_every_width(raw, number)
    for name in ("float32", "float64", "bfloat16"):
        train_every_width(name)
