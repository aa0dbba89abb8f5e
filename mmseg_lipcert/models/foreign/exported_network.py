from __future__ import annotations

import io
import json
import math
import operator
import os
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from .foreign_network import ForeignNetwork, Shape

# Numbers of the archive's format: torch._export.serde.schema.
_TYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    4: torch.preserve_format,
}
_STRIDED = 7
# Arithmetic of sizes; everything else must be an operation of ATen.
_SCALAR = {
    "_operator": ("add", "sub", "mul", "floordiv", "mod", "neg", "truediv", "getitem")
    + ("eq", "ne", "ge", "gt", "le", "lt"),
    "math": ("ceil", "floor", "trunc"),
    "torch": ("sym_float", "sym_int", "sym_max", "sym_min", "sym_not"),
}
_MODULES = {"_operator": operator, "math": math, "torch": torch}


@MODELS.register_module()
class ExportedNetwork(ForeignNetwork):
    """A network in a ``.pt2`` file of ``torch.export.save``, gradients included.

    ``torch.export.load`` unpickles parts of a file and evaluates texts in it, so that a file can
    run any code. It is not used: the graph is read as JSON, the weights as raw numbers, and the
    nodes are run one by one; only operations of ATen and arithmetic of sizes exist. TorchScript is
    refused: nothing but its own interpreter reads it, and that runs code of the file at once.

    Args:
        path: The file, of PyTorch 2.9 or newer.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, holds pickled weights, other operations, operations on
            files, own random numbers, or parts that change from call to call.
    """

    differentiable = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        content = self.read()
        try:
            self._load(_Archive(content))
        except (KeyError, IndexError, TypeError, ValueError, zipfile.BadZipFile) as error:
            if _is_torchscript(content):
                raise ValueError(
                    f"{self.path} is TorchScript, which runs code of the file while it is loaded "
                    "(__setstate__, default arguments), and is never loaded: export the network "
                    "with torch.export.save or torch.onnx.export where it was made"
                ) from None
            raise ValueError(
                f"{self.path} is no file of torch.export.save, of PyTorch 2.9 or newer ({error!r})"
            ) from error
        except _Refused as error:
            raise ValueError(f"{self.path}: {error}") from None
        self.eval().requires_grad_(False)

    def _load(self, archive: _Archive) -> None:
        program = archive.program["graph_module"]
        graph, signature = program["graph"], program["signature"]
        self._weights: dict[str, str] = {}
        images = []
        for spec in signature["input_specs"]:
            ((kind, value),) = spec.items()
            if kind == "user_input":
                images.append(value["arg"]["as_tensor"]["name"])
            elif kind in ("parameter", "buffer", "tensor_constant"):
                name = value["arg"]["name"]
                key = value.get(f"{kind}_name")
                self._weights[name] = f"weight_{len(self._weights)}"
                self.register_buffer(self._weights[name], archive.tensor(key))
            else:
                raise _Refused(f"it has an input of the kind {kind}; only tensors can be loaded")
        kinds = {kind for spec in signature["output_specs"] for kind in spec}
        if kinds != {"user_output"} or len(graph["outputs"]) != 1:
            raise _Refused(
                f"it has {len(graph['outputs'])} outputs of the kinds {', '.join(sorted(kinds))}; "
                "one tensor is needed: return the logits alone, in evaluation mode"
            )
        self._images = images
        self._nodes = [_Node(node) for node in graph["nodes"]]
        self._output = graph["outputs"][0]["as_tensor"]["name"]
        values = graph["tensor_values"]
        self.input_shapes = tuple(_shape(values[name]["sizes"]) for name in images)
        self.output_shape = _shape(values[self._output]["sizes"])
        self._types = [_TYPES[values[name]["dtype"]] for name in images]

    def run(self, *inputs: Tensor) -> Tensor:
        """Run the nodes one after the other, where the images are.

        Raises:
            ValueError: If a node fails, or changes the weights.
        """
        weights = {name: self.get_buffer(place) for name, place in self._weights.items()}
        before = [weight._version for weight in weights.values()]
        # Copies: nodes may work in place.
        images = [
            tensor.to(dtype, copy=True) for tensor, dtype in zip(inputs, self._types, strict=True)
        ]
        values: dict[str, Any] = {**weights, **dict(zip(self._images, images, strict=True))}
        for node in self._nodes:
            try:
                node.run(values, inputs[0].device)
            except (RuntimeError, IndexError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{self.path.name}: {node.target} fails for inputs of "
                    f"{', '.join(str(tuple(x.shape)) for x in inputs)}: {error}"
                ) from error
        if [weight._version for weight in weights.values()] != before:
            raise ValueError(
                f"{self.path.name} changes its own weights; a certificate needs the same map in "
                "every draw: export the network in evaluation mode"
            )
        return values[self._output]


def _is_torchscript(content: bytes) -> bool:
    try:
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    except zipfile.BadZipFile:
        return False
    return any(name.endswith("/constants.pkl") for name in names)


class _Refused(Exception):
    """What a file holds that is not loaded."""


class _Archive:
    """Graph and weights of an archive, read without unpickling."""

    def __init__(self, content: bytes) -> None:
        self.files = zipfile.ZipFile(io.BytesIO(content))
        names = [name.split("/", 1)[1] for name in self.files.namelist()]
        self.root = self.files.namelist()[0].split("/", 1)[0]
        (model,) = [name for name in names if name.startswith("models/")]
        self.program = self.json(model)
        name = model.removeprefix("models/").removesuffix(".json")
        #: Place and description of every weight by its name.
        self.weights = {}
        for folder in ("weights", "constants"):
            listed = self.json(f"data/{folder}/{name}_{folder}_config.json")["config"]
            self.weights.update({key: (folder, value) for key, value in listed.items()})

    def json(self, name: str) -> Any:
        return json.loads(self.files.read(f"{self.root}/{name}"))

    def tensor(self, key: str) -> Tensor:
        folder, entry = self.weights[key]
        meta = entry["tensor_meta"]
        if entry["use_pickle"] or meta is None or meta["layout"] != _STRIDED:
            raise _Refused(f"{key} is pickled, which could run code, and is never loaded")
        content = bytearray(self.files.read(f"{self.root}/data/{folder}/{entry['path_name']}"))
        dtype = _TYPES[meta["dtype"]]
        values = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        sizes, strides = ([n["as_int"] for n in meta[part]] for part in ("sizes", "strides"))
        # Copied, so that memory is aligned; what lies outside of the content is an error.
        try:
            return values.as_strided(sizes, strides, meta["storage_offset"]["as_int"]).clone()
        except RuntimeError as error:
            raise _Refused(f"{key} does not fit its description: {error}") from error


class _Node:
    """One operation of the graph."""

    def __init__(self, node: dict[str, Any]) -> None:
        self.target = node["target"]
        self.inputs = [(part["name"], *_pair(part["arg"])) for part in node["inputs"]]
        self.outputs = [_pair(output) for output in node["outputs"]]
        unknown = {kind for _, kind, _ in self.inputs} - set(_READERS)
        if unknown:
            raise _Refused(f"{self.target} has an argument of the kind {unknown.pop()}")
        self.function = _function(self.target)
        if isinstance(self.function, torch._ops.OpOverload):
            self._check()

    def _check(self) -> None:
        """Refuse operations on files, and those that draw random numbers."""
        if any(argument.name == "filename" for argument in self.function._schema.arguments):
            raise _Refused(f"{self.target} reads or writes files, which is never done")
        given = {name: content for name, _, content in self.inputs}
        # Dropout that is switched off, and attention without it.
        drawn = given.get("train", True) if "train" in given else given.get("dropout_p", None)
        may_draw = torch.Tag.nondeterministic_seeded in self.function.tags
        optional = "scaled_dot_product_attention" in self.target and drawn is None
        if may_draw and not optional and (drawn is None or drawn):
            raise _Refused(
                f"{self.target} draws random numbers; a certificate needs the same map in every "
                "draw: export the network in evaluation mode"
            )

    def run(self, values: dict[str, Any], device: torch.device) -> None:
        """Compute from values by name, and add the results to them."""
        inputs = {name: _READERS[kind](content, values) for name, kind, content in self.inputs}
        for name, kind, _ in self.inputs:
            if kind == "as_device":
                inputs[name] = device
        if isinstance(self.function, torch._ops.OpOverload):
            result = self.function(**inputs)
        else:
            result = self.function(*inputs.values())
        results = (result,) if len(self.outputs) == 1 else result
        for (kind, place), value in zip(self.outputs, results or (), strict=bool(self.outputs)):
            if kind == "as_tensors":
                values.update({p["name"]: v for p, v in zip(place, value, strict=True)})
            elif kind != "as_none":
                values[place.get("name", place.get("as_name"))] = value


def _function(target: str) -> Callable[..., Any]:
    """The operation of a name; only names that are listed lead anywhere."""
    module, _, name = target.rpartition(".")
    if name in _SCALAR.get(module, ()):
        return getattr(_MODULES[module], name)
    parts = target.split(".")
    if parts[:3] == ["torch", "ops", "aten"] and len(parts) == 5:
        function = getattr(getattr(torch.ops.aten, parts[3], None), parts[4], None)
        if isinstance(function, torch._ops.OpOverload):
            return function
    raise _Refused(f"{target} is no operation of ATen; nothing else is run")


def _pair(union: dict[str, Any]) -> tuple[str, Any]:
    """Kind and content of a tagged value."""
    ((kind, content),) = union.items()
    return kind, content


def _tensor_or_none(union: dict[str, Any], values: dict[str, Any]) -> Tensor | None:
    return values[union["as_tensor"]["name"]] if "as_tensor" in union else None


def _scalar(union: dict[str, Any], values: dict[str, Any]) -> Any:
    """A number that may depend on the size of the image."""
    kind, content = _pair(union)
    return values[content] if kind == "as_name" else content


#: From the content of an argument, and the values by name, to what the operation gets.
_READERS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "as_none": lambda content, values: None,
    "as_int": lambda content, values: content,
    "as_ints": lambda content, values: content,
    "as_bool": lambda content, values: content,
    "as_bools": lambda content, values: content,
    "as_string": lambda content, values: content,
    # Infinity is a text.
    "as_float": lambda content, values: float(content),
    "as_floats": lambda content, values: [float(number) for number in content],
    "as_tensor": lambda content, values: values[content["name"]],
    "as_tensors": lambda content, values: [values[item["name"]] for item in content],
    "as_optional_tensor": _tensor_or_none,
    "as_optional_tensors": lambda content, values: [_tensor_or_none(x, values) for x in content],
    "as_sym_int": _scalar,
    "as_sym_float": _scalar,
    "as_sym_bool": _scalar,
    "as_sym_ints": lambda content, values: [_scalar(item, values) for item in content],
    "as_scalar_type": lambda content, values: _TYPES[content],
    "as_memory_format": lambda content, values: _MEMORY_FORMATS[content],
    "as_layout": lambda content, values: torch.strided,
    # Where the images are, whatever the file says.
    "as_device": lambda content, values: None,
}


def _shape(sizes: Sequence[dict[str, Any]]) -> Shape:
    return tuple(size.get("as_int") for size in sizes)
