"""Train a small diffusion model that denoises the images of a dataset, for --certify denoise."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import DefaultScope

from mmseg_lipcert.models.denoisers import DiffusersDenoiser
from mmseg_lipcert.utils.cli import CommandLineError, load_config
from mmseg_lipcert.utils.failures import describe, one_line_errors

try:
    from mmseg_lipcert.models.denoisers.training import (
        DenoiserTrainer,
        TrainingSettings,
        image_files,
        read_image,
        save_samples,
    )
except ModuleNotFoundError as error:
    raise SystemExit(
        f"error: {error}; training a denoiser needs: pip install diffusers safetensors"
    ) from error

_DEFAULT = TrainingSettings()
_SAMPLES = 3


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("config", help="MMSegmentation config whose training images are used")
    parser.add_argument("--work-dir", required=True, help="folder of the trained model")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, default=_DEFAULT.steps, help="optimizer steps")
    length.add_argument(
        "--minutes", type=float, help="train for this long instead, in all resumed parts together"
    )
    parser.add_argument("--batch", type=int, default=_DEFAULT.batch, help="crops per step")
    parser.add_argument(
        "--crop",
        type=int,
        default=_DEFAULT.crop,
        help="height and width of a crop, and of the tiles",
    )
    parser.add_argument(
        "--channels",
        type=int,
        nargs="+",
        default=_DEFAULT.channels,
        help="channels of each resolution, finest first",
    )
    parser.add_argument("--lr", type=float, default=_DEFAULT.lr, help="highest learning rate")
    parser.add_argument(
        "--sigmas",
        type=float,
        nargs=2,
        default=_DEFAULT.sigmas,
        metavar=("LOW", "HIGH"),
        help="smallest and largest noise, images in [0, 1]",
    )
    parser.add_argument("--seed", type=int, default=_DEFAULT.seed, help="random seed")
    parser.add_argument("--bf16", action="store_true", help="compute activations in bfloat16")
    parser.add_argument("--half", action="store_true", help="store the model in float16")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--workers", type=int, default=1, help="processes that read images")
    parser.add_argument("--resume", action="store_true", help="go on in --work-dir")
    parser.add_argument(
        "--save-every", type=int, default=500, metavar="STEPS", help="steps between checkpoints"
    )
    parser.add_argument(
        "--print-every", type=int, default=50, metavar="STEPS", help="steps between messages"
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="override settings of the config, such as train_dataloader.dataset.data_root=data/new",
    )
    args = parser.parse_args()
    for name, least in (("workers", 0), ("save_every", 1), ("print_every", 1)):
        if getattr(args, name) < least:
            parser.error(
                f"--{name.replace('_', '-')} must be at least {least}, got {getattr(args, name)}"
            )
    return args


def find_images(config: Config, loaders: tuple[str, ...]) -> list[str]:
    """Images of the first of these dataloaders that the config has.

    Raises:
        CommandLineError: If there is none, or it has no images.
    """
    loader = next((name for name in loaders if config.get(name) is not None), None)
    if loader is None:
        raise CommandLineError(f"config {config.filename} has no {' or '.join(loaders)}")
    with DefaultScope.overwrite_default_scope(config.get("default_scope", "mmseg")):
        try:
            files = image_files(config[loader].dataset)
        except OSError as error:
            raise CommandLineError(
                f"cannot read the images of {loader}: {describe(error)}"
            ) from error
    if not files:
        raise CommandLineError(f"{loader} has no images")
    return files


def build_settings(args: argparse.Namespace) -> TrainingSettings:
    """Settings of the training from the command line.

    Raises:
        CommandLineError: If a value is out of range.
    """
    try:
        return TrainingSettings(
            steps=None if args.minutes is not None else args.steps,
            minutes=args.minutes,
            batch=args.batch,
            crop=args.crop,
            channels=tuple(args.channels),
            lr=args.lr,
            sigmas=tuple(args.sigmas),
            seed=args.seed,
            bfloat16=args.bf16,
        )
    except ValueError as error:
        raise CommandLineError(str(error)) from error


def check_device(name: str) -> None:
    """Try a device.

    Raises:
        CommandLineError: If PyTorch does not know it, or the machine has none.
    """
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise CommandLineError(f"cannot use --device {name}: {describe(error)}") from error


def train(trainer: DenoiserTrainer, args: argparse.Namespace) -> None:
    """Train, print the progress and save the checkpoints.

    Raises:
        CommandLineError: If an image cannot be read or the training diverges.
    """
    first_step, first_share, first_seconds = trainer.step, trainer.share, trainer.seconds
    mean = math.nan
    try:
        for loss in trainer.train():
            mean = loss if math.isnan(mean) else 0.98 * mean + 0.02 * loss
            over = trainer.share >= 1
            if over or trainer.step % args.print_every == 0:
                spent = trainer.seconds - first_seconds
                left = spent * (1 - trainer.share) / (trainer.share - first_share)
                print(
                    f"step {trainer.step} ({trainer.share:.1%})  loss {mean:.4f}  "
                    f"{spent / (trainer.step - first_step):.2f} s per step  "
                    f"{left / 60:.1f} min left",
                    flush=True,
                )
            if over or trainer.step % args.save_every == 0:
                trainer.save_checkpoint()
                trainer.save_model(args.half)
    except OSError as error:
        # The last line: a process that reads images puts its traceback in front.
        raise CommandLineError(str(error).strip().splitlines()[-1]) from error
    except FloatingPointError as error:
        raise CommandLineError(f"{error}; try a lower --lr than {args.lr:g}") from error


def report(files: list[str], folder: Path) -> None:
    """Draw sample pictures of images that were not trained on, and print how good they are."""
    chosen = files[:: math.ceil(len(files) / _SAMPLES)]
    ratios = save_samples(
        folder / "samples.png", DiffusersDenoiser(folder), [read_image(file) for file in chosen]
    )
    for sigma, ratio in ratios.items():
        print(f"sigma {sigma:g}: {ratio:.2f} dB on {len(chosen)} images that were not trained on")
    print(f"Model and samples.png in {folder}")


@one_line_errors
def main() -> None:
    """Train."""
    args = parse_args()
    settings = build_settings(args)
    check_device(args.device)
    config = load_config(args.config, args.cfg_options, args.work_dir)
    files = find_images(config, ("train_dataloader",))
    unseen = find_images(config, ("test_dataloader", "val_dataloader"))
    trainer = DenoiserTrainer(files, settings, args.work_dir, args.workers, args.device)
    if trainer.checkpoint.exists() != args.resume:
        raise CommandLineError(
            f"{trainer.checkpoint} does not exist: start without --resume"
            if args.resume
            else f"{trainer.checkpoint} exists: go on with --resume, or choose another --work-dir"
        )
    if args.resume:
        try:
            trainer.resume()
        except ValueError as error:
            raise CommandLineError(
                f"{error}; resume with the old settings, or train anew in another --work-dir "
                "(--steps and --minutes fix the schedule of the learning rate: a longer training "
                "is another one from its first step on)"
            ) from error
    parameters = sum(p.numel() for p in trainer.unet.parameters())
    print(f"{parameters / 1e6:.2f} M parameters, {len(files)} images, from step {trainer.step} on")
    train(trainer, args)
    report(unseen, Path(args.work_dir))


if __name__ == "__main__":
    sys.exit(main())
