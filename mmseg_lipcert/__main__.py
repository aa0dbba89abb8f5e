"""The console script ``lipcert``; also ``python -m mmseg_lipcert``, which launchers can start."""

from __future__ import annotations

import ast
import sys
from importlib import import_module
from pathlib import Path

# Command -> its module in ``cli``, which says in the first line of its docstring what it does.
COMMANDS = {
    "demo": "demo",
    "train": "train",
    "test": "test",
    "attack": "attack",
    "audit": "audit",
    "plan": "plan",
    "report": "report",
    "explain": "explain",
    "detect": "detect",
    "street-scenes": "dataset_converters.street_scenes",
    "camvid": "dataset_converters.camvid",
    "kvasir-seg": "dataset_converters.kvasir_seg",
    "oxford-pets": "dataset_converters.oxford_pets",
    "finish-lip-checkpoint": "model_converters.finish_lip_checkpoint",
    "free-classifier": "model_converters.free_classifier",
    "join-ensemble": "model_converters.join_ensemble",
    "lip-net": "model_converters.lip_net",
    "ffdnet-to-safetensors": "model_converters.ffdnet_to_safetensors",
    "guided-diffusion-to-diffusers": "model_converters.guided_diffusion_to_diffusers",
}


def usage() -> str:
    """The list of all commands; read from the files, as importing them takes seconds."""
    lines = ["usage: lipcert COMMAND ...", "", "lipcert COMMAND --help says more.", ""]
    for command, module in COMMANDS.items():
        file = Path(__file__).with_name("cli").joinpath(*module.split(".")).with_suffix(".py")
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        lines.append(f"  {command:<30} {text.splitlines()[0]}")
    return "\n".join(lines)


def main() -> int:
    """Run the command that the first argument names; 2 if there is none of this name."""
    command, *arguments = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help"):
        print(usage())
        return 0
    if command not in COMMANDS:
        print(f"error: no command {command!r}; lipcert --help lists them", file=sys.stderr)
        return 2
    # What the parser of the command calls itself in its messages, and a certificate its command.
    sys.argv = [f"lipcert {command}", *arguments]
    try:
        tool = import_module(f".cli.{COMMANDS[command]}", __package__)
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return tool.main()


if __name__ == "__main__":
    sys.exit(main())
