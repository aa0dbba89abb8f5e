from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from pathlib import Path

import torch
from torch import Tensor, nn

Shape = tuple[int | None, ...]


class ForeignNetwork(nn.Module):
    """A network in a file: bytes on a disk to a map from float tensors to one tensor.

    A format is one subclass, registered in ``mmseg.registry.MODELS``. Its constructor reads the
    file once (:meth:`read`), sets :attr:`input_shapes`, and :meth:`run` computes. Files come from
    outside: loading must run no code that is in them, and must not look at other files, so that the
    digest is that of everything that computes.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
    """

    #: Whether gradients go through the network.
    differentiable = False
    #: Shape of each input, with its batch first; None where any length will do.
    input_shapes: tuple[Shape, ...]
    #: Shape of the output, as far as the file says; None if it does not.
    output_shape: Shape | None = None

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"there is no {self.path}; nothing is downloaded")
        #: SHA-256 of the file.
        self.file_sha256 = ""

    def read(self) -> bytes:
        """Content of the file, whose digest is kept."""
        content = self.path.read_bytes()
        self.file_sha256 = hashlib.sha256(content).hexdigest()
        return content

    @abstractmethod
    def run(self, *inputs: Tensor) -> Tensor:
        """Compute for inputs of exactly the shapes of the file."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """Compute for any number of images.

        A fixed batch is run as often as needed; its last run is filled up with copies of the last
        image, whose outputs are dropped. Inputs of another length than the first belong to all
        images and are given to every run.

        Raises:
            ValueError: If an input has another shape than the file says.
        """
        for tensor, shape in zip(inputs, self.input_shapes, strict=True):
            fits = tensor.ndim == len(shape) and all(
                wanted in (None, length)
                for wanted, length in zip(shape[1:], tensor.shape[1:], strict=True)
            )
            if not fits:
                raise ValueError(
                    f"{self.path.name} takes {shape_text(shape)}, got {tuple(tensor.shape)}"
                )
        count, batch = len(inputs[0]), self.input_shapes[0][0]
        if batch in (None, count):
            return self.run(*inputs)
        outputs = []
        for start in range(0, count, batch):
            spare = max(0, start + batch - count)
            part = [
                _fill(tensor[start : start + batch], spare) if len(tensor) == count else tensor
                for tensor in inputs
            ]
            outputs.append(self.run(*part)[: batch - spare])
        return torch.cat(outputs)

    def extra_repr(self) -> str:
        """File, digest and shapes."""
        inputs = ", ".join(shape_text(shape) for shape in self.input_shapes)
        return f"{self.path}, sha256={self.file_sha256}, inputs: {inputs}"


def shape_text(shape: Shape) -> str:
    """Write a shape for a message: ``(n, 3, 360, 480)``, ``?`` where any length will do."""
    first, *others = shape or ("",)
    lengths = ["n" if first is None else first, *("?" if x is None else x for x in others)]
    return f"({', '.join(map(str, lengths))})"


def _fill(tensor: Tensor, spare: int) -> Tensor:
    if not spare:
        return tensor
    return torch.cat([tensor, tensor[-1:].expand(spare, *tensor.shape[1:])])
