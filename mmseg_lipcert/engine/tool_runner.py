from __future__ import annotations

import logging
from typing import Any

from mmengine.logging import MMLogger
from mmengine.runner import Runner

from ..utils.failures import work_begins

# How the records begin that fill the console before the first image: config, machine, hooks.
_DUMPS = ("Config:", "\n" + 60 * "-" + "\nSystem environment:", "Hooks will be executed")


class ToolRunner(Runner):
    """MMEngine's runner as the tools start it.

    What it says of config, machine and hooks, some 400 lines, goes to its log file; with
    ``log_level='DEBUG'`` to the console, too. A failure behind the first batch is one of the work
    (:func:`mmseg_lipcert.utils.failures.work_begins`).
    """

    def build_logger(
        self, log_level: int | str = "INFO", log_file: str | None = None, **kwargs: Any
    ) -> MMLogger:
        """Build the logger."""
        logger = super().build_logger(log_level, log_file, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler) and handler.level > logging.DEBUG:
                handler.addFilter(lambda record: not record.getMessage().startswith(_DUMPS))
        return logger

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call all hooks; note the first batch."""
        if fn_name in ("before_train_iter", "before_val_iter", "before_test_iter"):
            work_begins()
        super().call_hook(fn_name, **kwargs)
