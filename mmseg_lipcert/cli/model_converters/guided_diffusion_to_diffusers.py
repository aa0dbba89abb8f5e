"""Convert an unconditional checkpoint of guided-diffusion to a local diffusers folder.

Made for ``256x256_diffusion_uncond.pt`` (552,814,086 parameters); other sizes of the same topology
convert as well: residual up- and down-sampling, scale-shift norms, learned variance and the older
order of attention channels, in which q, k and v alternate head by head.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torch import Tensor

from ...utils.checkpoint import read_weights
from ...utils.cli import CommandLineError
from ...utils.failures import one_line_errors

RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
ENDS = {
    "input_blocks.0.0": "conv_in",
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Convert a guided-diffusion checkpoint.")
    parser.add_argument(
        "checkpoint", help="file of guided-diffusion, e.g. 256x256_diffusion_uncond.pt"
    )
    parser.add_argument("output", help="folder for --denoiser; must not exist")
    parser.add_argument("--image-size", type=int, default=256, help="size of its training images")
    parser.add_argument(
        "--head-channels",
        type=int,
        default=64,
        help="channels of an attention head (num_head_channels)",
    )
    parser.add_argument("--half", action="store_true", help="store the model in float16")
    return parser.parse_args()


class Blocks:
    """The blocks of a checkpoint, read from the names of its weights.

    Args:
        state: Weights in guided-diffusion's names.

    Raises:
        CommandLineError: If the names are those of another topology.
    """

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state
        outputs = self._count("output_blocks")
        upsamplers = [i for i in range(outputs) if self._upsampler(i) is not None]
        self.levels = len(upsamplers) + 1
        if "label_emb.weight" in state:
            raise CommandLineError(
                "the checkpoint is class-conditional; an unconditional one is needed"
            )
        if outputs == 0 or outputs % self.levels:
            raise CommandLineError(
                f"the checkpoint has {outputs} output blocks and {len(upsamplers)} residual "
                "upsamplers: not the topology of 256x256_diffusion_uncond.pt"
            )
        self.layers = outputs // self.levels - 1
        expected = self.levels * (self.layers + 1)
        if self.layers < 1 or self._count("input_blocks") != expected:
            raise CommandLineError(
                f"the checkpoint has {self._count('input_blocks')} input blocks, not {expected}"
            )

    def _count(self, name: str) -> int:
        numbers = {int(key.split(".")[1]) for key in self.state if key.startswith(f"{name}.")}
        return len(numbers)

    def _has_attention(self, block: str) -> bool:
        return f"{block}.1.qkv.weight" in self.state

    def _upsampler(self, number: int) -> str | None:
        place = 2 if self._has_attention(f"output_blocks.{number}") else 1
        block = f"output_blocks.{number}.{place}"
        return block if f"{block}.in_layers.0.weight" in self.state else None

    def _level(self, level: int) -> list[str]:
        """Input blocks of a level, its downsampler not included."""
        first = 1 + level * (self.layers + 1)
        return [f"input_blocks.{i}" for i in range(first, first + self.layers)]

    def pairs(self) -> Iterator[tuple[str, str, str]]:
        """Kind, original name and diffusers name of every block."""
        for level in range(self.levels):
            down = f"down_blocks.{level}"
            for i, block in enumerate(self._level(level)):
                yield "residual", f"{block}.0", f"{down}.resnets.{i}"
                if self._has_attention(block):
                    yield "attention", f"{block}.1", f"{down}.attentions.{i}"
            if level < self.levels - 1:
                sampler = f"input_blocks.{(level + 1) * (self.layers + 1)}.0"
                yield "residual", sampler, f"{down}.downsamplers.0"
            for i in range(self.layers + 1):
                number = level * (self.layers + 1) + i
                block, up = f"output_blocks.{number}", f"up_blocks.{level}"
                yield "residual", f"{block}.0", f"{up}.resnets.{i}"
                if self._has_attention(block):
                    yield "attention", f"{block}.1", f"{up}.attentions.{i}"
                upsampler = self._upsampler(number)
                if upsampler is not None:
                    yield "residual", upsampler, f"{up}.upsamplers.0"
        for place, kind, name in (
            (0, "residual", "resnets.0"),
            (1, "attention", "attentions.0"),
            (2, "residual", "resnets.1"),
        ):
            yield kind, f"middle_block.{place}", f"mid_block.{name}"

    def config(self, image_size: int, head_channels: int) -> dict:
        """Configuration of the UNet2DModel."""
        levels = [self._level(level) for level in range(self.levels)]
        attention = [self._has_attention(blocks[0]) for blocks in levels]
        channels = [len(self.state[f"{blocks[0]}.0.out_layers.3.weight"]) for blocks in levels]
        return dict(
            sample_size=image_size,
            in_channels=3,
            out_channels=len(self.state["out.2.weight"]),
            block_out_channels=channels,
            layers_per_block=self.layers,
            down_block_types=[
                "AttnDownBlock2D" if has else "ResnetDownsampleBlock2D" for has in attention
            ],
            up_block_types=[
                "AttnUpBlock2D" if has else "ResnetUpsampleBlock2D" for has in reversed(attention)
            ],
            downsample_type="resnet",
            upsample_type="resnet",
            attention_head_dim=head_channels,
            norm_num_groups=32,
            attn_norm_num_groups=32,
            resnet_time_scale_shift="scale_shift",
            freq_shift=0,
            flip_sin_to_cos=True,
        )


def convert(state: dict[str, Tensor], head_channels: int) -> tuple[Blocks, dict[str, Tensor]]:
    """Rename weights, and separate the interleaved q, k and v.

    Args:
        state: Weights in guided-diffusion's names.
        head_channels: Channels of an attention head.

    Raises:
        CommandLineError: If a weight is missing or left over.
    """
    blocks, left, converted = Blocks(state), dict(state), {}

    def move(source: str, target: str) -> None:
        for part in ("weight", "bias"):
            if f"{source}.{part}" not in left:
                raise CommandLineError(f"the checkpoint has no {source}.{part}")
            converted[f"{target}.{part}"] = left.pop(f"{source}.{part}")

    for source, target in ENDS.items():
        move(source, target)
    for kind, source, target in blocks.pairs():
        if kind == "residual":
            for name, new in RESIDUAL.items():
                if name != "skip_connection" or f"{source}.{name}.weight" in left:
                    move(f"{source}.{name}", f"{target}.{new}")
            continue
        move(f"{source}.norm", f"{target}.group_norm")
        move(f"{source}.proj_out", f"{target}.to_out.0")
        key = f"{target}.to_out.0.weight"
        converted[key] = converted[key].squeeze(-1)
        for part in ("weight", "bias"):
            qkv = left.pop(f"{source}.qkv.{part}")
            qkv = qkv.squeeze(-1) if part == "weight" else qkv
            # Every head has its q, k and v side by side.
            heads = qkv.view(len(qkv) // (3 * head_channels), 3, head_channels, *qkv.shape[1:])
            for number, name in enumerate(("to_q", "to_k", "to_v")):
                converted[f"{target}.{name}.{part}"] = heads[:, number].flatten(0, 1).contiguous()
    if left:
        raise CommandLineError(
            f"the checkpoint has {len(left)} weights of another topology: "
            f"{', '.join(sorted(left)[:3])}"
        )
    return blocks, converted


@one_line_errors
def main() -> None:
    """Convert the checkpoint."""
    args = parse_args()
    output = Path(args.output)
    if output.exists():
        raise CommandLineError(f"{output} exists already")
    state = read_weights(args.checkpoint)
    blocks, converted = convert(state, args.head_channels)
    with torch.device("meta"):
        unet = UNet2DModel(**blocks.config(args.image_size, args.head_channels))
    try:
        unet.load_state_dict(converted, assign=True)
    except RuntimeError as error:
        raise CommandLineError(f"the weights do not fit: {error}") from error
    scheduler = DDPMScheduler(variance_type="learned_range", clip_sample=True)
    # Written beside and moved: an interruption leaves no half-written model.
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    DDPMPipeline(unet.half() if args.half else unet, scheduler).save_pretrained(partial)
    partial.replace(output)
    parameters = sum(parameter.numel() for parameter in unet.parameters())
    print(f"{parameters:,} parameters in {output}")
