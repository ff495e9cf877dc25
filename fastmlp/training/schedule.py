"""The learning rate of an epoch: constant, step decay or cosine."""

import math

from fastmlp.training.config import TrainConfig


def learning_rate(config: TrainConfig, epoch: int) -> float:
    """Return the learning rate of one epoch.

    Parameters
    ----------
    config : TrainConfig
        Its `schedule` chooses the formula, with `learning_rate` as the rate of epoch 0:

        - ``"constant"``: ``learning_rate``.
        - ``"step"``: ``learning_rate * step_factor ** (epoch // step_epochs)``, PyTorch's StepLR.
        - ``"cosine"``: ``learning_rate * (1 + cos(pi * epoch / epochs)) / 2``, PyTorch's
          CosineAnnealingLR: it falls towards 0, which it would reach one epoch after the last.
    epoch : int
        Counted from 0.

    Returns
    -------
    float
        A function of these two alone, so a resumed run goes on with the same rates.
    """
    match config.schedule:
        case "step":
            return config.learning_rate * config.step_factor ** (epoch // config.step_epochs)
        case "cosine":
            return config.learning_rate * (1 + math.cos(math.pi * epoch / config.epochs)) / 2
        case "constant":
            return config.learning_rate
