from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from mmengine.registry import OPTIMIZERS
from torch import Tensor

# Coefficients of the quintic Newton-Schulz iteration: all singular values end within 0.7 and 1.2.
_QUINTIC = (3.4445, -4.7750, 2.0315)


@OPTIMIZERS.register_module()
class MuonAdam(torch.optim.Adam):
    """Muon for parameters that are matrices, Adam for all others.

    Muon replaces the momentum of a matrix by (nearly) its polar factor, so that every direction
    moves alike. Trained for equal time, the pointwise 1-Lipschitz blocks of this package reach a
    much lower loss with it than with Adam (docs/networks.md).

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.

    Args:
        params: Parameters to train.
        lr: Learning rate of the matrices: the spectral norm of a step. Defaults to 0.01.
        momentum: Nesterov momentum of the matrices. Defaults to 0.95.
        adam_lr: Learning rate of the other parameters. Defaults to 2e-3.
        betas: Moments of Adam. Defaults to (0.9, 0.99).

    Raises:
        ValueError: If a number is out of range, or parameter groups are given.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.01,
        momentum: float = 0.95,
        adam_lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        if not lr > 0 or not 0 <= momentum < 1:
            raise ValueError(f"lr must be above 0 and momentum in [0, 1), got {lr} and {momentum}")
        params = list(params)
        if any(isinstance(group, dict) for group in params):
            raise ValueError("MuonAdam makes its own groups: paramwise settings are not supported")
        matrices = [p for p in params if p.ndim == 2]
        others = [p for p in params if p.ndim != 2]
        groups = [dict(params=others, lr=adam_lr, matrices=False)] if others else []
        if matrices:
            groups.append(dict(params=matrices, lr=lr, matrices=True))
        super().__init__(groups, lr=adam_lr, betas=(betas[0], betas[1]))
        self.momentum = momentum

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> Tensor | None:
        """Make one step; returns the loss of the closure, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        taken = []
        for group in self.param_groups:
            if not group["matrices"]:
                continue
            for matrix in group["params"]:
                if matrix.grad is not None:
                    self._step_matrix(matrix, group["lr"])
                    taken.append((matrix, matrix.grad))
                    matrix.grad = None  # Adam passes over parameters without a gradient
        super().step()
        for matrix, gradient in taken:
            matrix.grad = gradient
        return loss

    def _step_matrix(self, matrix: Tensor, lr: float) -> None:
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
            state["step"] = torch.zeros(())  # Adam's loading of states wants one everywhere
        buffer = state["momentum_buffer"].mul_(self.momentum).add_(matrix.grad)
        matrix.sub_(lr * _polar_factor(matrix.grad + self.momentum * buffer))


def _polar_factor(matrix: Tensor) -> Tensor:
    """Approximate U V^T of the singular value decomposition U S V^T, in bfloat16."""
    a, b, c = _QUINTIC
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = (wide / (wide.norm() + 1e-12)).bfloat16()
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    x = x.to(matrix.dtype)
    return x if matrix.shape[0] <= matrix.shape[1] else x.T
