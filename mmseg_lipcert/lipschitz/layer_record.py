"""One line of the audit's table."""

from dataclasses import dataclass


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
