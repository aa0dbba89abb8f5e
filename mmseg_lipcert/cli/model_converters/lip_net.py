"""Convert a checkpoint of the published 1-Lipschitz DeepLabV3 into a config and a checkpoint.

Source: the public code of Massena et al., "Fast and Flexible Robustness Certificates for Semantic
Segmentation", in both of its layouts. "onelip": orthogonal layers. "klip": every layer is
multiplied by a coefficient, and the running product of the coefficients is taken for the constant.

Kernels are evaluated once, multiplied by their coefficients and stored as plain convolutions: the
converted network computes the published logits. No constant of the checkpoint is used; the audit
bounds what the weights do.
"""

from __future__ import annotations

import argparse
import math
from importlib.metadata import version
from pathlib import Path

import torch
from mmcv.cnn import ConvModule
from mmengine.config import Config
from torch import Tensor, nn

from ...engine.loading import build_model
from ...lipschitz import AuditError
from ...models.backbones import LipNetEncoder
from ...models.layers import AOCConv2d, AOCConvTranspose2d
from ...utils.checkpoint import read_checkpoint, state_dict_of
from ...utils.cli import CommandLineError, load_config
from ...utils.failures import describe, one_line_errors

# Height and width at which the result is audited; the bound of these layers does not depend on it.
AUDITED = 64
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
FLOAT32 = torch.finfo(torch.float32)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "config", help="config of configs/lip_net for its data; its size may differ"
    )
    parser.add_argument("checkpoint", help="published checkpoint (.pth)")
    parser.add_argument("output", help="folder for config.py and checkpoint.pth; must not exist")
    for name in ("mean", "std"):
        parser.add_argument(
            f"--{name}",
            type=float,
            nargs=3,
            metavar=("R", "G", "B"),
            help=f"{name} that the images in [0, 1] were normalized with; klip does not store it",
        )
    return parser.parse_args()


class PublishedWeights:
    """A state dict in one of the two published layouts; it knows which keys have been read.

    Args:
        state: Names and tensors.
    """

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state
        self.unread = set(state)
        #: Whether layers carry coefficients.
        self.klip = any(key.endswith(".coeff") for key in state)
        #: Whether layers are the spectral ones of deel-torchlip, with zero padding.
        self.spectral = any(key.endswith("._w_bjorck") for key in state)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.read(f"classifier.{'mod.' if self.klip else ''}bias").numel()

    def read(self, key: str) -> Tensor:
        """One tensor, in float32.

        Raises:
            CommandLineError: If it is missing, or not finite in float32.
        """
        if key not in self.state:
            layout = "klip" if self.klip else "onelip"
            raise CommandLineError(f"the checkpoint has no {key}, which the layout {layout} has")
        self.unread.discard(key)
        stored = self.state[key]
        value = stored.float()
        finite = value.isfinite()
        if not finite.all():
            found = stored[~finite][0].item()
            raise CommandLineError(f"{key} of the checkpoint is not finite in float32: {found:g}")
        return value

    def coefficient(self, key: str) -> float:
        """One number.

        Raises:
            CommandLineError: If it is several numbers, or 0.
        """
        value = self.read(key)
        if value.numel() != 1 or value.item() == 0:
            raise CommandLineError(
                f"{key} of the checkpoint must be one number that is not 0 in float32, got "
                f"{self.state[key].flatten()[:4].tolist()} of shape {tuple(value.shape)}"
            )
        return value.item()

    def below(self, prefix: str) -> dict[str, Tensor]:
        """Everything whose name begins with the prefix, without it."""
        keys = [key for key in self.state if key.startswith(prefix)]
        return {key.removeprefix(prefix): self.read(key) for key in keys}


class Conversion:
    """Copies published weights into plain convolutions.

    Attributes:
        constant: Running product of the coefficients, as the published code computes it.

    Args:
        weights: The published weights.
    """

    def __init__(self, weights: PublishedWeights) -> None:
        self.weights = weights
        self.constant = 1.0

    def widths(self) -> list[int]:
        """Output channels of the encoder's layers."""
        inner = "module." if self.weights.klip else ""
        found = []
        while (key := f"encoder.encoder.{3 * len(found) + 2}.{inner}bias") in self.weights.state:
            found.append(self.weights.state[key].numel())
        return found

    def size(self) -> str:
        """Row of the encoder's table.

        Raises:
            CommandLineError: If the widths are those of no row.
        """
        widths = self.widths()
        for name, (stages, depth) in LipNetEncoder.SIZES.items():
            if widths == [width for width in stages for _ in range(depth)]:
                return name
        known = "; ".join(f"{name}: {d} x {w}" for name, (w, d) in LipNetEncoder.SIZES.items())
        raise CommandLineError(
            f"the encoder.encoder layers have widths {widths or 'of no known layout'}, "
            f"which is none of {known}"
        )

    def block(self, target: ConvModule, conv: str, norm: str | None = None) -> None:
        """Copy a convolution and the centering behind its activation."""
        self.constant *= abs(self.convolution(target, conv))
        if norm is not None:
            self.centering(target.norm, norm)

    def branches(self, targets: nn.ModuleList) -> None:
        """Copy the concatenated branches; the head divides them by the root of their number."""
        inner = "module_list." if self.weights.klip else ""
        default = 1 / math.sqrt(len(targets))
        squares = 0.0
        for index, target in enumerate(targets):
            key = f"aspp.convs.coeffs.{index}"
            share = self.weights.coefficient(key) if key in self.weights.state else default
            gain = self.convolution(target, f"aspp.convs.{inner}{index}", share / default)
            squares += (gain * default) ** 2
        self.constant *= math.sqrt(squares)

    def convolution(self, target: ConvModule, prefix: str, factor: float = 1.0) -> float:
        """Copy one convolution times its coefficient and a factor; return their product."""
        if self.weights.klip:
            factor *= self.weights.coefficient(f"{prefix}.coeff")
            prefix += ".mod"
        state = self.weights.below(f"{prefix}.")
        try:
            layer = evaluated(target.conv, state, self.weights.spectral)
        except RuntimeError as error:
            installed = ", ".join(f"{name} {version(name)}" for name in ("orthogonium", "torch"))
            raise CommandLineError(
                f"{prefix} does not fit a layer of the installed {installed}: {describe(error)}"
            ) from error
        with torch.no_grad():
            target.conv.weight.copy_(layer.weight * factor)
            if target.conv.bias is not None:
                target.conv.bias.zero_()
            if layer.bias is not None:
                target.conv.bias.copy_(layer.bias * factor)
        return factor

    def centering(self, target: nn.Module, prefix: str) -> None:
        """Copy a batch centering. A mean that training never updated is one zero."""
        if self.weights.klip:
            prefix += ".module"
        for name in ("running_mean", "bias"):
            value = self.weights.read(f"{prefix}.{name}").flatten()
            if value.numel() not in (1, target.num_features):
                raise CommandLineError(
                    f"{prefix}.{name} has {value.numel()} entries, its layer {target.num_features}"
                )
            with torch.no_grad():
                getattr(target, name).copy_(value)

    def wrappers(self) -> None:
        """Read the constants of the klip layers without coefficients."""
        for key in sorted(self.weights.unread):
            if key.endswith(".lipconstant"):
                self.constant *= self.weights.coefficient(key)


def evaluated(
    plain: nn.Conv2d | nn.ConvTranspose2d, state: dict[str, Tensor], spectral: bool
) -> nn.Module:
    """A layer like ``plain`` whose ``weight`` and ``bias`` a parametrized state dict gives.

    Raises:
        RuntimeError: If names or shapes do not fit.
    """
    transposed = isinstance(plain, nn.ConvTranspose2d)
    channels = (plain.in_channels, plain.out_channels)
    # Padding and dilation do not enter the kernel.
    settings = dict(kernel_size=plain.kernel_size, stride=plain.stride, bias="bias" in state)
    if spectral:
        layer = spectral_layer(transposed)(*channels, **settings)
        layer.load_state_dict(state)
        return layer.eval()
    layer = (AOCConvTranspose2d if transposed else AOCConv2d)(*channels, **settings)
    layer.conv.load_state_dict(state)
    return layer.eval().fold()


def spectral_layer(transposed: bool) -> type[nn.Module]:
    """The layer of deel-torchlip that checkpoints of type "spectral" use."""
    try:
        from deel import torchlip
    except ImportError as error:
        raise CommandLineError(
            "the checkpoint has spectral layers of deel-torchlip: pip install deel-torchlip"
        ) from error
    return torchlip.SpectralConvTranspose2d if transposed else torchlip.SpectralConv2d


def published_weights(path: Path) -> PublishedWeights:
    """Read a state dict, saved alone or inside of a checkpoint, from one GPU or several."""
    state = read_checkpoint(path)
    for name in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    state = state_dict_of(state, path)
    for key, value in state.items():
        if value.dtype not in FLOATS:
            raise CommandLineError(
                f"{key} of the checkpoint must be a dense tensor of floats (16 to 64 bits), got "
                f"{value.dtype}"
            )
    return PublishedWeights(state)


def normalization(args: argparse.Namespace, weights: PublishedWeights) -> dict[str, list[float]]:
    """Mean and std of the network's input, for images in [0, 1]."""
    if weights.klip:
        if args.mean is None or args.std is None:
            raise CommandLineError(
                "a klip checkpoint does not hold the mean and std that its images were normalized "
                "with: give both, e.g. --mean 0.485 0.456 0.406 --std 0.229 0.224 0.225"
            )
        return {name: channels(f"--{name}", getattr(args, name)) for name in ("mean", "std")}
    values = {}
    for name in ("mean", "std"):
        key = f"input_norm.{name}"
        stored = values[name] = channels(key, weights.read(key).flatten().tolist())
        given = getattr(args, name)
        if given is not None and not torch.allclose(torch.tensor(given), torch.tensor(stored)):
            raise CommandLineError(f"--{name} {given}, but the checkpoint holds {stored}")
    return values


def channels(name: str, values: list[float]) -> list[float]:
    """A mean or std of the three channels that float32 can compute with.

    Raises:
        CommandLineError: If it is not.
    """
    if len(values) not in (1, 3):
        raise CommandLineError(f"{name} must have 1 or 3 entries, got {len(values)}: {values[:4]}")
    # The preprocessor holds 255 times the values.
    if not all(255 * abs(value) <= FLOAT32.max for value in values):
        raise CommandLineError(f"{name} must be finite, also 255 times as large, got {values}")
    if name.endswith("std") and not min(values) >= 1 / FLOAT32.max:
        raise CommandLineError(
            f"{name} must be positive and 1 / std finite in float32 (at least "
            f"{1 / FLOAT32.max:.3g}), got {values}"
        )
    return values * (3 // len(values))


def converted_config(
    config: Config, weights: PublishedWeights, size: str, normalized: dict
) -> Config:
    """The config with the checkpoint's size and normalization, and plain convolutions.

    Raises:
        CommandLineError: If the config is of another network or another number of classes.
    """
    model = config.model
    parts = (model.backbone.type, model.decode_head.type)
    if parts != ("LipNetEncoder", "LipNetHead"):
        raise CommandLineError(
            f"the config builds {' and '.join(parts)}; choose one of configs/lip_net"
        )
    classes = weights.classes
    if model.decode_head.num_classes != classes:
        raise CommandLineError(
            f"the checkpoint has {classes} classes, the config {model.decode_head.num_classes}: "
            "choose a config for the data it was trained on"
        )
    stages, _ = LipNetEncoder.SIZES[size]
    plain = dict(conv_cfg=dict(type="Conv2d"), upsample_cfg=dict(type="deconv"))
    if weights.spectral:
        plain["padding_mode"] = "zeros"
    model.backbone.update(size=size, layers_cfg=plain)
    model.decode_head.update(
        in_channels=stages[-1],
        channels=stages[-1],
        upsample_channels=[stages[-1] // 2 ** (i + 1) for i in range(len(stages))],
        layers_cfg=plain,
    )
    preprocessor = {name: [255 * v for v in values] for name, values in normalized.items()}
    model.data_preprocessor.update(preprocessor, bgr_to_rgb=True)
    for name in ("launcher", "work_dir"):
        config.pop(name)
    return config


def fill(model: nn.Module, weights: PublishedWeights) -> Conversion:
    """Copy all published weights but the normalization into a network of plain convolutions.

    Raises:
        CommandLineError: If a weight is missing, left over or of another shape.
    """
    conversion = Conversion(weights)
    for index, target in enumerate(model.backbone.layers):
        conversion.block(target, f"encoder.encoder.{3 * index}", f"encoder.encoder.{3 * index + 2}")
    head = model.decode_head
    conversion.branches(head.branches)
    conversion.block(head.project, "aspp.project.0", "aspp.project.2")
    conversion.block(head.refine, "upsampling.0")
    for index, target in enumerate(head.upsample):
        conversion.block(target, f"upsampling.{3 * index + 2}", f"upsampling.{3 * index + 4}")
    conversion.block(head.conv_seg, "classifier")
    conversion.wrappers()
    return conversion


@one_line_errors
@torch.no_grad()
def main() -> None:
    """Convert, audit the result, and save it."""
    args = parse_args()
    output = Path(args.output)
    if output.exists():
        raise CommandLineError(f"{output} exists already; choose another folder")
    config = load_config(args.config)
    weights = published_weights(Path(args.checkpoint))
    size = Conversion(weights).size()
    normalized = normalization(args, weights)
    config = converted_config(config, weights, size, normalized)
    model = build_model(config).eval()
    conversion = fill(model, weights)
    if weights.unread:
        raise CommandLineError(
            f"the checkpoint has weights without a place: {', '.join(sorted(weights.unread)[:10])}"
        )
    scale = 1 / min(normalized["std"])
    if not weights.klip:  # The published network divides its logits by min(std).
        classifier = model.decode_head.conv_seg.conv
        classifier.weight.mul_(scale)
        classifier.bias.mul_(scale)
    try:
        audit = model.eval().lipschitz_audit((AUDITED, AUDITED))
    except AuditError as error:
        raise CommandLineError(f"the converted network has no bound: {describe(error)}") from error
    bound = audit.upper * scale
    if not 0 < bound < math.inf:
        raise CommandLineError(f"the converted network has the bound {bound:g}, not a positive one")
    output.mkdir(parents=True)
    config.dump(output / "config.py")
    torch.save(dict(state_dict=model.state_dict(), meta={}), output / "checkpoint.pth")
    published = conversion.constant * scale if weights.klip else 1.0
    print(f"{'klip' if weights.klip else 'onelip'} {size}, {weights.classes} classes")
    print(f"constant that the published code computes with: {published:.6g}")
    print(f"audited bound, of images in [0, 1]:            {bound:.6g}")
    print(f"lipcert test {output / 'config.py'} {output / 'checkpoint.pth'} --certify")
