from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, broadcast_object_list, get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from mmseg.registry import HOOKS
from torch import nn
from torch.utils.data import SequentialSampler

from ...evaluation.metrics import CertificateMetric
from ...report import (
    certificate_json,
    class_table,
    joint_digest,
    object_table,
    overview_table,
    write_html_report,
)
from ...utils.failures import describe
from ...utils.user_error import UserError
from ..certificate_store import CertificateStore
from ..certification_error import CertificationError
from ..certifiers import CERTIFIERS, Certifier
from ..checks import check_checkpoint, check_classes, check_dataset, file_digest, refuse_fp16
from ..image_list import ImageList
from ..run_settings import run_settings, weights_digest

# Lines of progress of a run.
_PROGRESS_LINES = 10
# Settings that the line before the first image names.
_NAMED = (*("eps", "sigma", "n0", "n", "alpha", "taus", "correction"), *("autocast", "scale"))


@HOOKS.register_module()
class CertificationHook(Hook):
    """Turns ``Runner.test()`` into a certification.

    The kind of certificate is that of the certificate metric in the test evaluator, whose work the
    hook does. Before: the checkpoint must fill the model, the model must fit the kind, the data
    must be readable. During: one JSON line and one npz (prediction, radius) per image, so that a
    crash loses nothing. After, from what is stored: the tables, certificate.json, pictures of the
    whole dataset and report.html.

    Args:
        out_dir: Folder of the results. Defaults to ``certification`` in the work folder.
        resume: Continue the certification in ``out_dir``. Defaults to False.
        every: Take every k-th image of the dataset. Defaults to 1.
        limit: Take at most so many of them. Defaults to None.
        show_dir: Folder of a picture of each image's certificate and one of its objects; none are
            drawn by default.
    """

    # In front of the logger, which writes the figures that the hook adds.
    priority = "NORMAL"

    def __init__(
        self,
        out_dir: str | None = None,
        resume: bool = False,
        every: int = 1,
        limit: int | None = None,
        show_dir: str | None = None,
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be at least 1, got {limit}")
        self.out_dir = out_dir
        self.resume = resume
        self.every = every
        self.limit = limit
        self.show_dir = None if show_dir is None else Path(show_dir)
        self.checkpoint_digest: str | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse a checkpoint that does not fill the model exactly."""
        state_dict = checkpoint.get("state_dict", checkpoint)
        check_checkpoint(_unwrapped(runner.model), state_dict)
        self.checkpoint_digest = weights_digest(state_dict)

    def before_test(self, runner: Runner) -> None:
        """Check model, metric and data, find finished images and leave them out."""
        if self.checkpoint_digest is None:
            self.checkpoint_digest = file_digest(_unwrapped(runner.model))
        if self.checkpoint_digest is None:
            raise CertificationError("no checkpoint was loaded: the weights are random")
        refuse_fp16(getattr(runner.test_loop, "fp16", False))
        self.store = CertificateStore(
            self.out_dir or Path(runner.work_dir) / "certification", get_rank()
        )
        self.certifier = certifier = _certifier(runner)
        dataset = runner.test_loop.dataloader.dataset
        check_classes(dataset.metainfo.get("classes"), certifier.segmentor.num_classes)
        transforms = runner.cfg.test_dataloader.dataset.get("pipeline", ())
        pipeline = certifier.pipeline(transforms)
        self.images = ImageList(dataset, pipeline, self.every, self.limit)
        certifier.fit_budget(self.images)
        settings = self._settings(runner)
        finished = _decided_by_main(lambda: self._finished(settings))
        remaining = self.images.without(finished)
        if len(remaining):
            pixels = check_dataset(
                remaining,
                len(dataset.metainfo["classes"]),
                certifier.metric.ignore_index,
                labeled=not finished,
            )
            certifier.check_size(max(pixels))
        audit = self._audit()
        self.store.begin(settings)
        certifier.begin(self.store.void)
        if is_main_process():
            if audit != self.store.read("audit.json"):
                self.store.write("audit.json", certificate_json(audit))
            self._draw_missing(finished)
        runner.logger.info(
            f"Certifying {len(remaining)} images ({len(finished)} already finished) by "
            f"{certifier.method} ({_named(settings)}); results in {self.store.folder}"
        )
        self._total, self._began = len(remaining), time.perf_counter()
        loader = copy.deepcopy(runner.cfg.test_dataloader)
        # One at a time: what is certified is the network on one image.
        loader.update(dataset=remaining, batch_size=1)
        # Without rounding up no image is certified twice, and there may be none at all.
        loader["sampler"] = dict(type="DefaultSampler", shuffle=False, round_up=False)
        if certifier.shared_images:
            loader["sampler"] = SequentialSampler(remaining)
        runner.test_loop.dataloader = runner.build_dataloader(loader)

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict) -> None:
        """Check the image, then note when it began."""
        (image,), (sample,) = data_batch["inputs"], data_batch["data_samples"]
        self.certifier.check(image, sample)
        self._started = time.perf_counter()

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: list[BaseDataElement]
    ) -> None:
        """Certify the image, record it and draw its pictures."""
        if self.certifier.shared_images and not is_main_process():
            return  # every process has the same image: it counts once
        predicted = time.perf_counter()
        (image,), (sample,) = data_batch["inputs"], outputs
        pixels = self.certifier.pixels(image)
        result = self.certifier.certify(sample, pixels)
        entry = {
            **result.entry,
            "seconds_certificate": time.perf_counter() - predicted,
            "seconds_forward": predicted - self._started,
            "data_sha256": self.images.digest(result.name),
        }
        self.store.add(entry, result.maps)
        if self.show_dir is not None:
            self.certifier.draw(self.show_dir, entry, result.maps, pixels, result.target)
        self._log_progress(runner, batch_idx + 1)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Look whether the model is still the one that began, then report."""
        self._finish()
        figures = _decided_by_main(lambda: self._report(runner))
        prefix = self.certifier.metric.prefix
        figures = {f"{prefix}/{name}": value for name, value in figures.items()}
        metrics.update(figures)
        # MMEngine gives the backends of the visualizer what validation finds, but not tests.
        runner.visualizer.add_scalars({n: v for n, v in figures.items() if math.isfinite(v)})

    def _settings(self, runner: Runner) -> dict[str, Any]:
        """What decides the numbers."""
        try:
            return {
                "method": self.certifier.method,
                "ignore_index": self.certifier.metric.ignore_index,
                **self.certifier.settings(),
                **run_settings(runner.cfg, self.checkpoint_digest),
            }
        except ValueError as error:
            raise CertificationError(str(error)) from error

    def _finished(self, settings: dict[str, Any]) -> dict[str, dict]:
        """Entries of the images that are finished, by name.

        Raises:
            CertificationError: If they must not be continued.
        """
        entries = self.store.open(settings, self.resume)
        finished = {name: entries[name] for name in self.images.names if name in entries}
        for name, entry in finished.items():
            if entry["data_sha256"] != self.images.digest(name):
                raise CertificationError(
                    f"cannot resume {self.store.folder}: {self.images.info(name)['img_path']} or "
                    "its labels have changed since they were certified; choose another folder"
                )
        return finished

    def _audit(self) -> dict[str, float]:
        """What is found out at the first image, now or in the run that is continued."""
        data = self.images[0]
        self.certifier.model.eval()
        self.certifier.check(data["inputs"], data["data_samples"])
        found = self.certifier.audit({key: [value] for key, value in data.items()})
        known = self.store.read("audit.json")
        return known if all(isinstance(known.get(name), float) for name in found) else found

    def _finish(self) -> None:
        """Void everything if the model has changed on the way; wait for all processes."""
        reason = None
        try:
            self.certifier.finish()
        except (UserError, ValueError) as error:
            reason = str(error)
        reasons = list(filter(None, all_gather_object(reason)))
        if reasons:
            self.store.void(reasons[0])
            raise CertificationError(f"the certificate is void: {reasons[0]}")

    def _draw_missing(self, finished: dict[str, dict]) -> None:
        """Draw the pictures that an interrupted run has left out."""
        if self.show_dir is None:
            return
        for name, entry in finished.items():
            if all((self.show_dir / path).is_file() for path in self.certifier.pictures(entry)):
                continue
            data = self.images.read(name)
            target = data["data_samples"].gt_sem_seg.data[0].numpy()
            with np.load(self.store.map_path(name)) as maps:
                pixels = self.certifier.pixels(data["inputs"])
                self.certifier.draw(self.show_dir, entry, dict(maps), pixels, target)

    def _log_progress(self, runner: Runner, done: int) -> None:
        if done % max(1, self._total // _PROGRESS_LINES) == 0:
            left = (time.perf_counter() - self._began) / done * (self._total - done)
            runner.logger.info(f"{done} of {self._total} images, eta: {left / 60:.1f} minutes")

    def _report(self, runner: Runner) -> dict[str, float]:
        """Write the report of all images from what is stored; give its figures."""
        stored = self.store.finished()
        missing = [name for name in self.images.names if name not in stored]
        if missing:
            raise CertificationError(
                f"{len(missing)} images are not in {self.store.folder}, among them {missing[0]}: "
                "all processes must write into the same folder"
            )
        entries = [stored[name] for name in sorted(self.images.names)]
        certifier = self.certifier
        certificate = certifier.report(
            entries,
            self.store.read("audit.json"),
            {
                **certifier.model_parts(),
                "config": Path(runner.cfg.filename or "").name,
                "checkpoint": Path(
                    runner.cfg.load_from or getattr(certifier.segmentor, "path", "")
                ).name,
                "weights_sha256": self.checkpoint_digest,
                "data_sha256": joint_digest(entries),
            },
            runner.seed,
        )
        path = self.store.write("certificate.json", certificate_json(certificate))
        runner.logger.info("Per class, in percent\n" + class_table(certificate))
        runner.logger.info(
            f"{certifier.headline}, in percent (rows without a norm are measured)\n"
            + overview_table(certificate)
        )
        if certificate["fabrication"]:
            runner.logger.info("Objects, guaranteed\n" + object_table(certificate))
        curve = self.store.folder / "curve.png"
        certifier.draw_summary(curve, entries, certificate)
        runner.logger.info(f"Certificate written to {path}, its curve to {curve}")
        self._write_page(runner)
        return certifier.metric.compute_metrics(entries)

    def _write_page(self, runner: Runner) -> None:
        """Write report.html; the certificate is complete without it."""
        try:
            page = write_html_report(self.store.folder)
        except Exception as error:
            runner.logger.error(
                f"report.html was not written: {describe(error)}; certificate.json is complete; "
                f"try again with lipcert report {self.store.folder}"
            )
        else:
            runner.logger.info(f"Report written to {page}")


def _certifier(runner: Runner) -> Certifier:
    """Certifier of the certificate metric, which is taken out of the evaluator."""
    metrics = runner.test_loop.evaluator.metrics
    found = [metric for metric in metrics if isinstance(metric, CertificateMetric)]
    if len(found) != 1:
        raise CertificationError(
            f"the test evaluator must hold one certificate metric, not {len(found)}"
        )
    (metric,) = found
    for certifier in CERTIFIERS.values():
        if type(metric) is certifier.metric_type:
            metrics.remove(metric)
            return certifier(_unwrapped(runner.model), metric)
    raise CertificationError(
        f"no certifier goes with the metric {type(metric).__name__}; use one of "
        f"{', '.join(sorted({c.metric_type.__name__ for c in CERTIFIERS.values()}))}"
    )


def _named(settings: dict[str, Any]) -> str:
    """The settings that matter most, as text."""
    values = {name: settings[name] for name in _NAMED if settings.get(name) is not None}
    return ", ".join(
        f"{name} {' '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}"
        for name, value in values.items()
    )


def _decided_by_main(decide: Callable[[], Any]) -> Any:
    """What the first process finds, or the error that it meets, in every process."""
    answer: list[Any] = [None, None]
    if is_main_process():
        try:
            answer[0] = decide()
        except Exception as error:
            answer[1] = error
    broadcast_object_list(answer)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]


def _unwrapped(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model
