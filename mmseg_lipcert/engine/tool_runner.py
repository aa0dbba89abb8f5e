from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import torch.distributed
from mmengine.device import get_device
from mmengine.dist import is_distributed
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from ..utils.failures import blame, work_begins

# How the records begin that fill the console and say nothing of the run: config, machine, hooks,
# what MMEngine does by itself, and what it deprecates in its own parts.
_DUMPS = (
    *("Config:", "\n" + 60 * "-" + "\nSystem environment:", "Hooks will be executed", "Exp name:"),
    *("Distributed training is not used", "Load checkpoint from"),
    *('"FileClient" will be', '"HardDiskBackend" is the alias', "The prefix is not set in metric"),
)
# And of a certification, which reports its own progress.
_TEST_LINES = ("Iter(test)", "Epoch(test)")


class ToolRunner(Runner):
    """MMEngine's runner as the tools start it.

    What it says of config, machine and hooks, some 400 lines, and the warnings of Python go to its
    log file; with ``log_level='DEBUG'`` to the console, too. A failure behind the first batch is
    one of the work (:func:`mmseg_lipcert.utils.failures.work_begins`). Where there is no
    accelerator, several processes talk over gloo, whatever backend the config names.
    """

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Join the other processes; MMEngine's own way needs a GPU for each."""
        if self._launcher == "pytorch" and get_device() == "cpu" and not is_distributed():
            seconds = env_cfg.get("dist_cfg", {}).get("timeout")
            timeout = None if seconds is None else timedelta(seconds=seconds)
            torch.distributed.init_process_group("gloo", timeout=timeout)
        super().setup_env(env_cfg)

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """Wrap the model for several processes, on CPUs too, where a wrapper's config says nothing.

        A network without trainable weights, such as one in a file, stays as it is: there is nothing
        to synchronize, and PyTorch refuses to try.
        """
        if not self.distributed:
            return super().wrap_model(model_wrapper_cfg, model)
        if not any(weight.requires_grad for weight in model.parameters()):
            return model.to(get_device())
        if get_device() != "cpu":
            return super().wrap_model(model_wrapper_cfg, model)
        return MMDistributedDataParallel(
            module=revert_sync_batchnorm(model),  # which needs GPUs
            broadcast_buffers=False,
            find_unused_parameters=self.cfg.get("find_unused_parameters", False),
        )

    def build_optim_wrapper(self, optim_wrapper: Any) -> OptimWrapper:
        """Build the optimizer; what is wrong in its settings is the config's."""
        with blame("cannot build optim_wrapper of the config"):
            return super().build_optim_wrapper(optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build the schedules of its settings in the same way."""
        with blame("cannot build param_scheduler of the config"):
            return super().build_param_scheduler(scheduler)

    def build_logger(
        self, log_level: int | str = "INFO", log_file: str | None = None, **kwargs: Any
    ) -> MMLogger:
        """Build the logger."""
        logger = super().build_logger(log_level, log_file, **kwargs)
        hooks = self.cfg.get("custom_hooks") or ()
        certifies = any(hook.get("type") == "CertificationHook" for hook in hooks)
        hidden = _DUMPS + _TEST_LINES if certifies else _DUMPS
        warned = logging.getLogger("py.warnings")
        warned.handlers, warned.propagate = [logging.NullHandler()], False
        for handler in logger.handlers:
            shown = not isinstance(handler, logging.FileHandler)
            if shown and handler.level > logging.DEBUG:
                handler.addFilter(lambda record: not record.getMessage().startswith(hidden))
            else:
                warned.addHandler(handler)
        logging.captureWarnings(True)
        return logger

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call all hooks; note the first batch."""
        if fn_name in ("before_train_iter", "before_val_iter", "before_test_iter"):
            work_begins()
        super().call_hook(fn_name, **kwargs)
