"""Convert the authors' FFDNet for color images from .pth to safetensors.

Get ``ffdnet_color.pth`` from the releases of github.com/cszn/KAIR. The file is read as weights
only: no code that a .pth can carry is run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from ...models.denoisers.ffdnet_denoiser import FFDNetDenoiser
from ...utils.checkpoint import read_checkpoint, state_dict_of
from ...utils.failures import one_line_errors
from ...utils.user_error import UserError


def read_weights(path: Path) -> dict[str, Tensor]:
    """Weights of a .pth, without the prefix of a network that was trained on several GPUs.

    Raises:
        UserError: If the file holds anything else than weights.
    """
    loaded = read_checkpoint(path)
    weights = state_dict_of({"state_dict": loaded.get("params", loaded)}, path)
    return {key: value.contiguous() for key, value in weights.items()}


@one_line_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Run the converter from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="ffdnet_color.pth")
    parser.add_argument("output", type=Path, help=".safetensors file for FFDNetDenoiser")
    args = parser.parse_args(argv)
    if args.output.suffix != ".safetensors":
        raise UserError(f"the output is a .safetensors file, got {args.output}")
    weights = read_weights(args.checkpoint)
    draft = args.output.with_name(f"{args.output.name}.draft")
    save_file(weights, draft)
    try:
        FFDNetDenoiser(draft)
    except ValueError as error:
        draft.unlink()
        raise UserError(f"{args.checkpoint}: {error}") from error
    draft.rename(args.output)
    print(f"{sum(value.numel() for value in weights.values())} weights in {args.output}")
