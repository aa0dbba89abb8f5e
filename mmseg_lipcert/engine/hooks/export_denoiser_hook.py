from __future__ import annotations

import os
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class ExportDenoiserHook(Hook):
    """Writes the weights of every checkpoint as a ``diffusers`` folder, for ``--denoiser``.

    With ``EMAHook`` these are the averaged weights: it puts them into the checkpoint.

    Args:
        out_dir: The folder. Defaults to None: ``denoiser`` in the work folder.
        half: Store float16 weights. Defaults to False.
    """

    # Behind EMAHook.
    priority = "LOW"

    def __init__(self, out_dir: str | os.PathLike[str] | None = None, half: bool = False) -> None:
        self.out_dir = out_dir
        self.half = half

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Export what the checkpoint is about to store."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        folder = self.out_dir or Path(runner.work_dir, "denoiser")
        model.export(folder, checkpoint["state_dict"], self.half)
