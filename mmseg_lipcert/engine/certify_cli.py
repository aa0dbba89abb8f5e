"""The command line's side of a certification: its flags, and what they change in a config."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from ..certificates.smoothing import HIERARCHIES
from ..utils.cli import CommandLineError, load_definition
from .certified_config import (
    automatic_method,
    foreign_settings,
    has_denoiser,
    set_method,
)

__all__ = ["add_certify_arguments", "refuse_certify_flags", "request_certification"]

# Flags that only make sense with --certify.
_SETTING_FLAGS = (
    *("eps", "objects", "vanish_share", "fabricate_pixels"),
    *("sigma", "n0", "n", "draws_per_batch", "noise_at", "scale"),
    *("alpha", "tau", "correction", "k", "hierarchy", "shard", "denoiser"),
    *("autocast", "channels_last", "compile", "budget"),
)
_CERTIFY_FLAGS = (*_SETTING_FLAGS, "resume", "every", "limit")
# Settings whose flag has another name.
_FLAGS = dict(shard_draws="shard", object_classes="objects")


def add_certify_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--certify`` and the flags that go with it."""
    certify = parser.add_argument_group(
        "certification", "numbers in brackets are used where the config says nothing"
    )
    certify.add_argument(
        "--certify",
        nargs="?",
        const="auto",
        choices=("auto", "lipschitz", "smoothing", "denoise"),
        help="certify with this method; by default the config's, else lipschitz for a Lipschitz "
        "model and smoothing for any other",
    )
    certify.add_argument(
        "--eps", nargs="+", type=float, help="lipschitz: l2 norms of the attack, images in [0, 1]"
    )
    certify.add_argument(
        "--objects",
        nargs="+",
        metavar="CLASS",
        help="lipschitz: classes whose objects matter: certify that they stay detected and that "
        "none is invented",
    )
    certify.add_argument(
        "--vanish-share",
        type=float,
        metavar="SHARE",
        help="lipschitz: share of its pixels whose loss makes an object vanish (0.9)",
    )
    certify.add_argument(
        "--fabricate-pixels",
        type=int,
        metavar="N",
        help="lipschitz: fewest connected pixels of a false alarm (200)",
    )
    certify.add_argument(
        "--sigma",
        type=float,
        help="smoothing: standard deviation of the noise, images in [0, 1] (0.25)",
    )
    certify.add_argument("--n0", type=int, help="smoothing: draws that choose the class (10)")
    certify.add_argument("--n", type=int, help="smoothing: draws that test it (100)")
    certify.add_argument(
        "--budget",
        type=float,
        metavar="SECONDS",
        help="smoothing: choose n so that the draws of all images take about so long",
    )
    certify.add_argument(
        "--alpha", type=float, help="smoothing: probability that the certificate is wrong (0.001)"
    )
    certify.add_argument(
        "--tau",
        nargs="+",
        type=float,
        help="smoothing: a class must be predicted with more than this probability under noise; "
        "one radius each (0.75)",
    )
    certify.add_argument(
        "--correction",
        choices=("holm", "bonferroni", "k-fwer", "metric"),
        help="smoothing: how the error over all pixels is controlled (holm)",
    )
    certify.add_argument(
        "--k", type=int, help="smoothing: --correction k-fwer lets fewer than k pixels be wrong"
    )
    certify.add_argument(
        "--hierarchy",
        help="smoothing: groups of classes to fall back to: cityscapes, or a .py file that defines "
        "hierarchy = dict(num_classes=..., levels=[...])",
    )
    certify.add_argument(
        "--noise-at",
        choices=("original", "network"),
        help="smoothing: add the noise before or after the pipeline resizes the image",
    )
    certify.add_argument(
        "--scale", type=float, help="smoothing: size of the segmentor's input relative to the image"
    )
    certify.add_argument(
        "--draws-per-batch", type=int, metavar="B", help="smoothing: draws per forward pass"
    )
    certify.add_argument(
        "--autocast",
        choices=("bfloat16", "float16"),
        help="smoothing: precision of the segmentor, which makes it another base classifier with "
        "the same guarantee (float32)",
    )
    certify.add_argument(
        "--channels-last",
        action=argparse.BooleanOptionalAction,
        help="smoothing: memory layout of the segmentor (what is faster at the first image)",
    )
    certify.add_argument(
        "--compile",
        nargs="?",
        const="default",
        metavar="MODE",
        help="smoothing: compile the segmentor with torch.compile; the mode reduce-overhead "
        "records CUDA graphs",
    )
    certify.add_argument(
        "--shard",
        choices=("images", "draws"),
        help="smoothing: what several processes divide among them",
    )
    certify.add_argument(
        "--denoiser",
        help="denoise: a .py config of the denoiser, a diffusers folder or file, or a shipped one, "
        "mmseg_lipcert::denoiser_street-scenes",
    )
    certify.add_argument(
        "--resume", action="store_true", help="continue the certification in --out"
    )
    certify.add_argument("--every", type=int, metavar="K", help="take every K-th image")
    certify.add_argument("--limit", type=int, metavar="N", help="take at most N images")


def refuse_certify_flags(args: argparse.Namespace) -> None:
    """Refuse flags of a certification that was not asked for."""
    given = _given(args, _CERTIFY_FLAGS)
    if given:
        raise CommandLineError(f"{', '.join(given)} need --certify")


def _given(args: argparse.Namespace, names: Sequence[str]) -> list[str]:
    """Flags among ``names`` that were given, as the user writes them."""
    return [
        f"--{name.replace('_', '-')}"
        for name in names
        if getattr(args, name) is not None and getattr(args, name) is not False
    ]


def request_certification(config: Config, args: argparse.Namespace) -> None:
    """Make a config certify, whatever it evaluates otherwise: hook, metric and model."""
    if args.tta:
        raise CommandLineError("--certify and --tta exclude each other: TTA is another network")
    if args.show:
        raise CommandLineError("--certify draws files, not windows: use --show-dir")
    method = automatic_method(config, args.denoiser) if args.certify == "auto" else args.certify
    settings = {name: getattr(args, name) for name in _SETTING_FLAGS}
    settings["object_classes"] = settings.pop("objects")
    shard = settings.pop("shard")
    settings["shard_draws"] = None if shard is None else shard == "draws"
    given = [name for name, value in settings.items() if value is not None]
    foreign = [_FLAGS.get(name, name) for name in foreign_settings(method, given)]
    if foreign:
        flags = ", ".join(_given(args, foreign))
        raise CommandLineError(f"{flags} cannot go with --certify {method}")
    if method == "denoise" and not (args.denoiser or has_denoiser(config)):
        raise CommandLineError(
            "--certify denoise needs a denoiser: give --denoiser FOLDER, or set it in the config"
        )
    if args.budget is not None and args.n is not None:
        raise CommandLineError("--budget chooses n: give one of --n and --budget")
    hooks = list(config.get("custom_hooks") or [])
    hook = next((hook for hook in hooks if hook.get("type") == "CertificationHook"), None)
    if hook is None:
        hook = dict(type="CertificationHook")
        hooks.append(hook)
    values = dict(out_dir=args.out, show_dir=args.show_dir, resume=args.resume or None)
    values.update(every=args.every, limit=args.limit)
    hook.update({name: value for name, value in values.items() if value is not None})
    config.custom_hooks = hooks
    if args.hierarchy is not None and args.hierarchy not in HIERARCHIES:
        settings["hierarchy"] = load_definition(args.hierarchy, "hierarchy")
    if args.denoiser is not None and Path(args.denoiser).suffix == ".py":
        settings["denoiser"] = load_definition(args.denoiser, "denoiser")
    try:
        set_method(config, method, seed=args.seed, **settings)
    except ValueError as error:
        raise CommandLineError(str(error)) from error
