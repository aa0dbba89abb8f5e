"""Oracles: dense operators and Jacobians of small models."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

DenseNorm = Callable[[Callable[[Tensor], Tensor], tuple[int, ...]], float]
JacobianNorm = Callable[[nn.Module, Tensor], float]


@pytest.fixture(scope="session")
def dense_norm() -> DenseNorm:
    """Largest singular value of a linear map, from the images of all basis vectors."""

    def norm(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> float:
        size = int(torch.Size(shape).numel())
        basis = torch.eye(size, dtype=torch.float64).view(size, *shape)
        images = function(basis).reshape(size, -1)
        return float(torch.linalg.matrix_norm(images, 2))

    return norm


@pytest.fixture(scope="session")
def jacobian_norm() -> JacobianNorm:
    """Largest singular value of a model's whole Jacobian at one input, in float64."""

    def norm(model: nn.Module, image: Tensor) -> float:
        def flat(value: Tensor) -> Tensor:
            return torch.cat([leaf.flatten() for leaf in pytree.tree_leaves(model(value))])

        jacobian = torch.autograd.functional.jacobian(flat, image.double())
        return float(torch.linalg.matrix_norm(jacobian.reshape(jacobian.shape[0], -1), 2))

    return norm
