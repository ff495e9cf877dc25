"""The peers that whole epochs are measured against: PyTorch, JAX and scikit-learn.

Each trains a `Problem` the way its users would write it, with the same mathematics,

    v = momentum * v + (gradient + weight_decay * w),    w = w - learning_rate * v,

or Adam's, from the same start and on the same number of threads, and each is given its best case:

* rows are normalised float32 in memory up front: no peer gathers from uint8 or normalises;
* compiling and the first wake-up of thread pools happen in `prepare`;
* an epoch is one permutation, cut into full batches; the rows of a batch are gathered inside the
  timed run, as people do: ``X[rows]`` in PyTorch, ``X[rows]`` inside JAX's scan, scikit-learn's
  own shuffle.

One difference is left: scikit-learn does not decay biases (`Peer.decays_biases`).

Networks of images have peers of their own: both layouts of PyTorch, and JAX with channels last, a
call a step and a call an epoch. scikit-learn has no convolution.

Pause between timed runs of different peers: OpenBLAS, under NumPy and so under scikit-learn and
`Problem.loss`, keeps its idle threads spinning on their cores for about 100 ms after a product.
"""

from __future__ import annotations

from fastmlp.bench.jax_peer import JaxPeer
from fastmlp.bench.peer import Peer
from fastmlp.bench.problem import Problem
from fastmlp.bench.sklearn_peer import SklearnPeer
from fastmlp.bench.torch_peer import TorchPeer

# The layouts of PyTorch's images, and JAX's ways to train: the better one counts.
NCHW, CHANNELS_LAST = "PyTorch NCHW", "PyTorch channels_last"
JAX_STEPS, JAX_SCAN = "JAX jit, step by step", "JAX jit + scan"

PEERS: tuple[Peer, ...] = (
    TorchPeer("PyTorch eager"),
    TorchPeer("PyTorch fused SGD", fused=True),
    TorchPeer("PyTorch torch.compile", fused=True, compiled=True),
    TorchPeer("PyTorch bf16 autocast", fused=True, bfloat16=True),
    JaxPeer(JAX_SCAN),
    SklearnPeer(),
)

IMAGE_PEERS: tuple[Peer, ...] = (
    TorchPeer(NCHW, fused=True),
    TorchPeer(CHANNELS_LAST, fused=True, channels_last=True),
    TorchPeer("PyTorch torch.compile", fused=True, channels_last=True, compiled=True),
    TorchPeer("PyTorch bf16 autocast", fused=True, channels_last=True, bfloat16=True),
    JaxPeer(JAX_STEPS, scans=False),
    JaxPeer(JAX_SCAN),
)


def peers_of(problem: Problem) -> tuple[Peer, ...]:
    """Return the peers that train a problem, installed or not."""
    return IMAGE_PEERS if problem.has_images else PEERS
