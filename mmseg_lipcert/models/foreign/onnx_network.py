from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from .foreign_network import ForeignNetwork, Shape, shape_text

_TYPES = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
}
# They draw numbers of their own: the map would not be the same in every draw of noise.
_RANDOM = {
    *("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike"),
    *("RandomUniform", "RandomUniformLike"),
}
# They call what lies outside of the file: Python, compiled engines, other libraries.
_OUTSIDE = {"ATen", "EPContext", "PythonOp", "PythonOpGrad"}


@MODELS.register_module()
class OnnxNetwork(ForeignNetwork):
    """A network in an ONNX file, run by onnxruntime.

    An ONNX file is a table of operations and weights without code; only the operations that
    onnxruntime itself brings are run, no library of custom ones is ever loaded, and weights in
    other files are refused.

    Args:
        path: The file.
        output: Name of the output, where the file has several. Defaults to None: the only one.
        providers: Where onnxruntime computes, most wanted first, such as
            ``'CUDAExecutionProvider'``. Defaults to the CPU.
        threads: Threads of the CPU. Defaults to None: as many as PyTorch uses.

    Raises:
        ImportError: Without the packages ``onnx`` and ``onnxruntime``.
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no ONNX file, refers to other files or to code, draws random
            numbers, has another kind of inputs or outputs, or a provider is not there.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        output: str | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        threads: int | None = None,
    ) -> None:
        super().__init__(path)
        # Imported late: who certifies no ONNX file need not have them.
        try:
            import onnx
            import onnxruntime
        except ModuleNotFoundError as error:
            raise ImportError(
                f"{self.path} needs the packages of the extra 'onnx': pip install onnx onnxruntime"
            ) from error
        missing = [name for name in providers if name not in onnxruntime.get_available_providers()]
        if missing or not providers:
            raise ValueError(
                f"onnxruntime has no provider {', '.join(missing)}; this installation has "
                f"{', '.join(onnxruntime.get_available_providers())}"
            )
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        content = self.read()
        try:
            model = onnx.load_model_from_string(content)
        except Exception as error:  # protobuf's own, whose type depends on its implementation
            raise ValueError(f"{self.path} is no ONNX file: {error}") from error
        _check(self.path, model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers=list(providers))
        except Exception as error:  # onnxruntime has a type for each of its error codes
            raise ValueError(f"onnxruntime cannot run {self.path}: {error}") from error
        # onnxruntime falls back to the CPU by itself, with nothing but a line in its log.
        if self.session.get_providers()[0] != providers[0]:
            raise ValueError(
                f"onnxruntime cannot use {providers[0]} (a driver or library is missing), only "
                f"{', '.join(self.session.get_providers())}"
            )
        self._read_interface(output)

    def _read_interface(self, output: str | None) -> None:
        """Names, types and shapes of inputs and of the output."""
        inputs = self.session.get_inputs()
        for value in inputs:
            if value.type not in _TYPES:
                raise ValueError(
                    f"{self.path}: input {value.name} is a {value.type}; images with noise are "
                    f"numbers of one of {', '.join(_TYPES)}: export the network without its "
                    "conversion from integers"
                )
        self._inputs = [(value.name, _TYPES[value.type]) for value in inputs]
        self.input_shapes = tuple(_lengths(value.shape) for value in inputs)
        outputs = {value.name: value for value in self.session.get_outputs()}
        if output is None and len(outputs) > 1:
            raise ValueError(
                f"{self.path} has several outputs ({', '.join(outputs)}): say which one to use"
            )
        if output is not None and output not in outputs:
            raise ValueError(f"{self.path} has no output {output}, only {', '.join(outputs)}")
        self._output = output or next(iter(outputs))
        self.output_shape = _lengths(outputs[self._output].shape) or None

    def run(self, *inputs: Tensor) -> Tensor:
        """Run the session on the CPU's memory; the result goes back to where the images are.

        Raises:
            ValueError: Under autocast, which cannot reach into a file, or if onnxruntime fails.
        """
        device = inputs[0].device
        if torch.is_autocast_enabled(device.type):
            raise ValueError(
                f"autocast has no effect on {self.path.name}: remove autocast; a file computes in "
                "the precision that it was exported in"
            )
        feed = {
            name: tensor.detach().to("cpu", dtype).contiguous().numpy()
            for (name, dtype), tensor in zip(self._inputs, inputs, strict=True)
        }
        try:
            (output,) = self.session.run([self._output], feed)
        except Exception as error:  # see above
            shapes = ", ".join(str(value.shape) for value in feed.values())
            takes = ", ".join(shape_text(shape) for shape in self.input_shapes)
            raise ValueError(
                f"{self.path.name} cannot take inputs of {shapes}, although it says it takes "
                f"{takes}: {error}"
            ) from error
        return torch.from_numpy(output).to(device)


def _lengths(shape: Sequence[Any] | None) -> Shape:
    return tuple(length if isinstance(length, int) else None for length in shape or ())


def _check(path: Path, model: Any) -> None:
    """Refuse files that are not all of the network, or whose map changes from call to call."""
    for tensor in _tensors(model):
        if tensor.data_location == tensor.EXTERNAL:
            raise ValueError(
                f"{path}: weights lie in another file ({tensor.name}); write one file: "
                f"onnx.save(onnx.load({str(path)!r}), 'whole.onnx')"
            )
    nodes = list(_nodes(model))
    for node in nodes:
        if node.op_type in _RANDOM or (node.op_type == "Dropout" and _trains(node, nodes, model)):
            raise ValueError(
                f"{path}: {node.op_type} ({node.name or 'without a name'}) draws random numbers; "
                "a certificate needs the same map in every draw: export the network in evaluation "
                "mode"
            )
        if node.op_type in _OUTSIDE:
            raise ValueError(
                f"{path}: {node.op_type} ({node.name or 'without a name'}) calls code outside of "
                "the file, which is never done: export the network with standard operations"
            )


def _trains(dropout: Any, nodes: Sequence[Any], model: Any) -> bool:
    """Whether a dropout has a third input, training mode, that is not the constant False."""
    name = dropout.input[2] if len(dropout.input) > 2 else ""
    if not name:
        return False
    import onnx

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in nodes:
        if node.op_type == "Constant":
            constants[node.output[0]] = node.attribute[0].t
    return name not in constants or bool(onnx.numpy_helper.to_array(constants[name]).any())


def _graphs(model: Any) -> Iterator[Any]:
    """The graph, the graphs inside of its nodes, and the functions of a model."""
    waiting = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs


def _nodes(model: Any) -> Iterator[Any]:
    for graph in _graphs(model):
        yield from graph.node


def _tensors(model: Any) -> Iterator[Any]:
    for graph in _graphs(model):
        yield from getattr(graph, "initializer", ())
        for sparse in getattr(graph, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
    for node in _nodes(model):
        for attribute in node.attribute:
            yield from [attribute.t] if attribute.HasField("t") else []
            yield from attribute.tensors
