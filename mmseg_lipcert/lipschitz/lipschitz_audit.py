"""The result of an audit, and the lines of its table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from prettytable import PrettyTable
from torch import Tensor


@dataclass(frozen=True)
class LayerRecord:
    """Bound of one operation of the traced graph.

    Args:
        name: Path of the module that runs the operation.
        operation: Name of the ATen operation.
        shape: Shape of its output.
        bound: Upper bound of its own Lipschitz constant.
        method: How the bound was obtained.
        share: Share of the sum of the absolute logarithms of all bounds, with the sign of
            `log(bound)`: what the layer contributes to a chain.
    """

    name: str
    operation: str
    shape: tuple[int, ...]
    bound: float
    method: str
    share: float = 0.0


@dataclass(frozen=True)
class LipschitzAudit:
    """Bounds of the joint l2 Lipschitz constant of a model at one input shape.

    Args:
        upper: Proven upper bound, for the shape below.
        lower: Largest ratio that was measured, None if no samples were given.
        input_shape: Shape of the input (N, ...) that was traced.
        layers: One record per operation that is not a mere copy.
        classifier: Weight (K, C) of the free classifier behind the bounded features, None where
            the bound is that of the model's outputs.
    """

    upper: float
    lower: float | None
    input_shape: tuple[int, ...]
    layers: tuple[LayerRecord, ...]
    classifier: Tensor | None = field(default=None, compare=False, repr=False)

    @property
    def gap(self) -> float | None:
        """`upper / lower`: 1 where the bound is exact, None without a lower bound."""
        if self.lower is None:
            return None
        return self.upper / self.lower if self.lower > 0 else float("inf")

    def table(self) -> str:
        """Return the records and the bounds as plain text."""
        table = PrettyTable(["module", "operation", "output", "bound", "method", "share"])
        table.align = "l"
        for layer in self.layers:
            table.add_row(
                [
                    layer.name or "(model)",
                    layer.operation.removeprefix("aten::"),
                    "x".join(str(size) for size in layer.shape),
                    f"{layer.bound:.8g}",
                    layer.method,
                    f"{layer.share:+.1%}",
                ]
            )
        lower = "not measured" if self.lower is None else f"{self.lower:.8g}"
        return f"{table.get_string()}\nupper bound {self.upper:.8g}, lower bound {lower}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {
            "upper": self.upper,
            "lower": self.lower,
            "gap": self.gap,
            "input_shape": list(self.input_shape),
            "layers": [{**asdict(layer), "shape": list(layer.shape)} for layer in self.layers],
        }
