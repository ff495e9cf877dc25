"""TrainConfig: every hyper-parameter of a training run, checked once, to and from TOML."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from fastmlp.errors import ConfigError, shown, suggest
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.machine.toml import is_table, read_toml, to_toml
from fastmlp.training.constraints import (
    COUNT,
    Constraint,
    choice,
    flag,
    hidden_layers,
    integer,
    optional,
    real,
    tuple_of,
)
from fastmlp.training.layers import ORDER, Layer, count_heads, misplaced, network_layers
from fastmlp.training.metrics import SELECTED
from fastmlp.training.optimizers import OPTIMIZERS, Factors
from fastmlp.training.rules import RULES
from fastmlp.training.schedule import SCHEDULES
from fastmlp.training.showing import ConfigShowing

Initialization = Literal["torch", "he", "glorot", "normal", "zeros"]
Stopping = Literal["best", "rises"]
Normalize = Literal["channel", "feature", "range", "none"]
Dtype = Literal["float32", "float64", "bfloat16"]
Reduction = Literal["mean", "sum"]
ClassWeight = Literal["none", "balanced"]


@dataclass(frozen=True, kw_only=True, repr=False)
class TrainConfig(ConfigShowing):
    """Every hyper-parameter of a training run.

    Values are checked and brought to plain Python types on construction (a list of widths becomes a
    tuple, a NumPy scalar or a whole learning rate a float), so equal settings are equal objects.

    Parameters
    ----------
    hidden : tuple of int or str
        Widths of the hidden layers; ``()`` gives softmax regression. After a width may stand an activation or a
        dropout of its own, as a layer of `fastmlp.training.layers` or as its text:
        ``(512, "tanh", 128, "dropout 0.5")``. Before all widths may stand convolutions and pools of images,
        ``("conv 6 5", "maxpool 2", 120)``, or with all that a convolution takes
        ``("conv 6 5 stride 2 padding 1", "batchnorm", "relu", "avgpool 2")``. "batchnorm" may follow a width, too.
    activation : str
        What follows each width or convolution (and its batchnorm) that no activation follows in `hidden`; a name
        of `fastmlp.kernels.activations.ACTIVATIONS`.
    residual : bool
        Add a hidden layer's input to its output wherever the layer before it has the same width, or a convolution
        (padding "same") keeps the shape that convolutions before it have made.
    initialization : {"torch", "he", "glorot", "normal", "zeros"}
        How weights and biases start; see `fastmlp.training.network.initialize`.
    initialization_std : float
        Standard deviation of weights and biases; only ``initialization="normal"`` reads it.
    optimizer : str
        A name of `fastmlp.training.optimizers.OPTIMIZERS`: "sgd", "adam", "adamw" or "rmsprop",
        as in ``torch.optim``.
    learning_rate : float
        At epoch 0. `fastmlp.find_learning_rate` finds one; on the command line of train that is "auto".
    momentum : float
        From 0 up to, not including, 1; only ``optimizer="sgd"`` reads it.
    nesterov : bool
        Nesterov's momentum; needs ``optimizer="sgd"`` and a momentum above 0.
    betas : (float, float)
        How much of the mean gradient, and of the mean square, a step keeps; only Adam and AdamW read them.
    alpha : float
        How much of the mean square a step keeps; only RMSProp reads it.
    epsilon : float
        Added to the root of the mean square, in Adam and RMSProp.
    weight_decay : float
        Added to each gradient as ``weight_decay * weight`` (penalty ``weight_decay / 2 * w**2``).
    decay_biases : bool
        Whether biases decay too, as they do in PyTorch.
    learning_rate_factors, weight_decay_factors : tuple of float
        What the learning rate, or the weight decay, of each convolution and linear layer is multiplied by, the
        output layer last; 0 keeps a layer as it is. A batchnorm has the factor of the layer that it follows.
        ``()`` for none.
    batch_size : int
        Images per step; the last, smaller batch of an epoch is trained on too.
    reduction : {"mean", "sum"}
        Whether gradients are averaged or summed over a batch. With "sum" a learning rate of r takes the
        steps of r * batch_size with "mean". Losses are reported as means either way.
    epochs : int
        Most passes over the training images; early stopping may end a run before.
    schedule : str
        How the learning rate changes; a name of `fastmlp.training.schedule.SCHEDULES`. "step" multiplies it after
        every so many epochs, "cosine" lets it fall towards 0, "one_cycle" lets it rise and fall, step by step.
    step_epochs, step_factor : int, float
        With ``schedule="step"``, the rate is multiplied by the factor after every so many epochs.
    warmup_epochs : int
        Over so many epochs the rate rises evenly, step by step, to that of the schedule.
    patience : int or None
        Epochs to wait, counted as `stopping` says, before training stops; None never stops early.
    stopping : {"best", "rises"}
        Count epochs without a new best validation loss, or rises of validation loss in a row.
    restore_best : bool
        Return the parameters of the epoch with the lowest validation loss, not the last epoch's.
    select : str
        What takes the place of the validation loss in `patience` and `restore_best`: a metric of the validation part,
        such as "accuracy", "f1_macro", "balanced_accuracy" or "roc_auc", of a regression "r2", "mae" or "rmse"; see
        `fastmlp.training.metrics.metrics_of`.
    flip : bool
        Mirror each training image left to right with probability 1/2, anew each epoch.
    shift : int
        Move each training image by up to so many pixels up or down and left or right, anew each epoch. What comes into
        sight repeats the image's edge. 0 for none.
    cutout : int
        Set a square of so many pixels a side, at a place drawn anew each epoch, to the mean of the training images
        (grey levels to the nearest one). It may reach over the edge. 0 for none.
    mixup : float
        Mix each training row with another of its batch, and their labels or targets alike (grey levels to the nearest
        one): the shares follow the beta distribution of this parameter, as in H. Zhang et al., mixup, 2018, and are
        drawn for each row. The row with the larger share says what is counted as right. 0 for none.
    normalize : {"channel", "feature", "range", "none"}
        What the mean and standard deviation that scale the pixels are taken over; rows that are no pictures have no
        channels, so that "channel" takes each feature by itself. "range" scales grey levels from
        0..255 to -1..1, whatever the images, and "none" leaves them.
    dropout : float
        Probability, below 1, with which a training step takes an output of a hidden layer as zero; the
        others are divided by 1 - dropout. Evaluation takes all of them.
    label_smoothing : float
        The share of a label's probability, below 1, that training divides evenly between all classes, as in
        ``torch.nn.CrossEntropyLoss``. The training loss is that of the smoothed labels.
    class_weight : {"none", "balanced"}
        With "balanced" a row of the training part counts by the weight of its class, which is scikit-learn's:
        ``rows / (classes * rows of the class)``. Weights of rows are multiplied by it.
    seed : int
        Of initialisation, data order, flips, shifts, cut-outs, mix-ups and dropout.
    dtype : {"float32", "float64", "bfloat16"}
        Of the arithmetic; with bfloat16, parameters are kept and updated in float32.
    threads : int or None
        None uses the cores this process may use. Results do not depend on it.

    Raises
    ------
    ConfigError
        If a value has the wrong type, is out of range or contradicts another; the message names
        the parameter, what was found and what was expected.
    """

    hidden: tuple[int | str, ...] = (256,)
    activation: str = "relu"
    residual: bool = False
    initialization: Initialization = "torch"
    initialization_std: float = 0.01
    optimizer: str = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, ...] = (0.9, 0.999)
    alpha: float = 0.99
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    decay_biases: bool = True
    learning_rate_factors: tuple[float, ...] = ()
    weight_decay_factors: tuple[float, ...] = ()
    batch_size: int = 64
    reduction: Reduction = "mean"
    epochs: int = 20
    schedule: str = "constant"
    step_epochs: int = 10
    step_factor: float = 0.1
    warmup_epochs: int = 0
    patience: int | None = None
    stopping: Stopping = "best"
    restore_best: bool = True
    select: str = "loss"
    flip: bool = False
    shift: int = 0
    cutout: int = 0
    mixup: float = 0.0
    normalize: Normalize = "channel"
    dropout: float = 0.0
    label_smoothing: float = 0.0
    class_weight: ClassWeight = "none"
    seed: int = 0
    dtype: Dtype = "float32"
    threads: int | None = None

    def __post_init__(self) -> None:
        """Store each value as its plain type, or say which one is wrong."""
        for name, constraint in _CONSTRAINTS.items():
            value = getattr(self, name)
            try:
                plain = constraint.convert(value)
            except (TypeError, ValueError, OverflowError):
                raise ConfigError(
                    f"{name}: found {shown(value)}, expected {constraint.expected}"
                ) from None
            object.__setattr__(self, name, plain)
        if problem := misplaced(self.hidden):
            raise ConfigError(f"hidden: found {problem}, expected {ORDER}")
        for rule in RULES:
            if not rule.holds(self):
                raise ConfigError(rule.message.format_map(self.as_dict()))

    @classmethod
    def from_toml(cls, path: str | Path, base: Self | None = None) -> Self:
        """Read a configuration from a TOML file.

        Parameters
        ----------
        path : str or Path
            A file with fields of TrainConfig as keys, all at top level or all under ``[config]``.
            With ``[config]``, other tables (``[data]``, ``[grid]``) are left to who knows them.
        base : TrainConfig, optional
            What fields have that the file does not name; by default their defaults.

        Returns
        -------
        TrainConfig

        Raises
        ------
        ConfigError
            If the file cannot be read, is not TOML, or holds an unknown name or a wrong value.
        """
        return cls.from_document(path, read_toml(Path(path)), base)

    @classmethod
    def from_document(
        cls, path: str | Path, document: dict[str, Any], base: Self | None = None
    ) -> Self:
        """Read what `from_toml` does from a file's content: a pipe can be read but once."""
        fields = document.get("config", document)
        try:
            if not isinstance(fields, dict):
                raise ConfigError(f"config: found {shown(fields)}, expected a table, [config]")
            if fields is not document:
                stray = [name for name, value in document.items() if not is_table(value)]
                if stray:
                    raise ConfigError(
                        f"{stray[0]}: found outside [config], expected every parameter inside it"
                    )
            return (base or cls()).replace(**fields)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    def to_toml(self) -> str:
        """Return every field as a line of TOML, in the order of the class; None is left out.

        Equal configurations give equal text, and `from_toml` of the text gives an equal
        configuration. Put ``[config]`` above it where the file has other tables.
        """
        return "".join(
            f"{name} = {to_toml(value)}\n"
            for name, value in self.as_dict().items()
            if value is not None
        )

    def replace(self, /, **changes: Any) -> Self:
        """Return a copy with some fields changed, checked as on construction.

        Parameters
        ----------
        **changes : object
            Fields, and their new values.

        Raises
        ------
        ConfigError
            If a name is not a field (the nearest is suggested) or a value is wrong.
        """
        for name in changes:
            if name not in _CONSTRAINTS:
                raise ConfigError(f"{name}: no such parameter; {suggest(name, _CONSTRAINTS)}")
        return dataclasses.replace(self, **changes)

    def layers(self, outputs: int) -> tuple[Layer, ...]:
        """Return the layers of the network that is trained.

        Parameters
        ----------
        outputs : int
            Of the last layer.
        """
        return network_layers(
            self.hidden,
            outputs,
            activation=self.activation,
            residual=self.residual,
            dropout=self.dropout,
        )

    def layer_factors(self) -> Factors | None:
        """Return what rate and decay of each layer are multiplied by; None where all layers are alike."""
        rates, decays = self.learning_rate_factors, self.weight_decay_factors
        if not rates and not decays:
            return None
        ones = (1.0,) * (count_heads(self.hidden) + 1)
        return Factors(rates or ones, decays or ones)

    def compatible_dict(self) -> dict[str, Any]:
        """Return the fields by name, without those that came later than version 0.1 and have their default.

        Files that version 0.1 wrote then still belong to the same settings.
        """
        plain = {field.name: field.default for field in dataclasses.fields(self)}
        return {
            name: value
            for name, value in self.as_dict().items()
            if name not in LATER_FIELDS or value != plain[name]
        }

    def as_dict(self) -> dict[str, Any]:
        """Return all fields by name; ``TrainConfig(**config.as_dict())`` equals ``config``."""
        return {name: getattr(self, name) for name in _CONSTRAINTS}


def choices_of(field: str) -> tuple[str, ...]:
    """Return the names that a field of TrainConfig chooses from; none where it is no choice."""
    return _CONSTRAINTS[field].choices


# Fields that files of version 0.1 do not have.
LATER_FIELDS = (
    *("dropout", "label_smoothing", "warmup_epochs", "class_weight", "shift", "cutout", "mixup"),
    *("learning_rate_factors", "weight_decay_factors", "betas", "alpha", "epsilon", "select"),
)

_FACTORS = tuple_of(
    real(lambda number: number >= 0, "of at least 0"),
    "a list of finite numbers of at least 0, one for each convolution and linear layer; () for none",
)
_POSITIVE = real(lambda number: number > 0, "above 0")


def _is_share(number: float) -> bool:
    return 0 <= number < 1


_CONSTRAINTS: Mapping[str, Constraint] = {
    "hidden": hidden_layers(),
    "activation": choice(ACTIVATIONS),
    "residual": flag(),
    "initialization": choice(get_args(Initialization)),
    "initialization_std": _POSITIVE,
    "optimizer": choice(OPTIMIZERS),
    "learning_rate": _POSITIVE,
    "momentum": real(_is_share, "from 0 up to, not including, 1"),
    "nesterov": flag(),
    "betas": tuple_of(
        real(_is_share, "from 0 up to, not including, 1"),
        "two numbers from 0 up to 1, such as (0.9, 0.999)",
    ),
    "alpha": real(_is_share, "from 0 up to, not including, 1"),
    "epsilon": real(lambda number: number >= 0, "of at least 0"),
    "weight_decay": real(lambda number: number >= 0, "of at least 0"),
    "decay_biases": flag(),
    "learning_rate_factors": _FACTORS,
    "weight_decay_factors": _FACTORS,
    "batch_size": COUNT,
    "reduction": choice(get_args(Reduction)),
    "epochs": COUNT,
    "schedule": choice(SCHEDULES),
    "step_epochs": COUNT,
    "step_factor": real(lambda number: 0 < number <= 1, "above 0 and at most 1"),
    "warmup_epochs": integer(0, 2**31 - 1),
    "patience": optional(COUNT),
    "stopping": choice(get_args(Stopping)),
    "restore_best": flag(),
    "select": choice(SELECTED),
    "flip": flag(),
    "shift": integer(0, 2**15),
    "cutout": integer(0, 2**15),
    "mixup": real(lambda number: number >= 0, "of at least 0"),
    "normalize": choice(get_args(Normalize)),
    "dropout": real(_is_share, "from 0 up to, not including, 1"),
    "label_smoothing": real(_is_share, "from 0 up to, not including, 1"),
    "class_weight": choice(get_args(ClassWeight)),
    "seed": integer(0, 2**63 - 1),
    "dtype": choice(get_args(Dtype)),
    "threads": optional(integer(1, 1024)),
}
