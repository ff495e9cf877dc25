"""Reverse-mode differentiation on NumPy, small enough to read in one sitting.

A loss, however long, is made of small steps: a product, a sum, an exponential. Each step returns a
Tensor, which holds the value and one edge to each input. An edge is a line of calculus: given how
the loss changes with the step's result, it says how the loss changes with that input. For
z = x * y the edge to x multiplies by y, and the edge to y multiplies by x.

`backward()` starts at the loss, which changes with itself at rate 1, and follows the edges back,
the latest step first. A tensor used twice gets two contributions and they add up, so it passes its
gradient on only when every step that used it has passed on its own: a topological order. An entry
that broadcasting copied was used many times, so there too the contributions add up. One such walk
gives the gradient of every parameter. `check_gradients` nudges one entry at a time instead, twice
the whole formula for each: slow, but it relies on no calculus, and so it can judge the edges.

>>> x = Tensor([1.0, 2.0, 3.0])
>>> (x * x).sum().backward()
>>> x.grad
array([2., 4., 6.])
"""

from fastmlp.autograd.check import check_gradients
from fastmlp.autograd.images import avg_pool2d, batch_norm, conv2d, flatten, max_pool2d
from fastmlp.autograd.networks import cross_entropy, mlp, mlp_loss, network, network_loss
from fastmlp.autograd.tensor import Tensor

__all__ = [
    "Tensor",
    "avg_pool2d",
    "batch_norm",
    "check_gradients",
    "conv2d",
    "cross_entropy",
    "flatten",
    "max_pool2d",
    "mlp",
    "mlp_loss",
    "network",
    "network_loss",
]
