from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import broadcast_object_list, get_rank, is_main_process
from mmengine.hooks import Hook, LoggerHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from mmseg.datasets import BaseSegDataset
from mmseg.registry import HOOKS
from torch.utils.data import SequentialSampler, Subset

from mmseg_lipcert.evaluation.metrics import CertificateMetric
from mmseg_lipcert.report import certificate_json, class_table, overview_table, write_html_report
from mmseg_lipcert.utils.failures import describe
from mmseg_lipcert.utils.image_name import check_unique

from ..certificate_store import CertificateStore
from ..certification_error import CertificationError
from ..checks import check_checkpoint, check_classes, check_dataset, file_digest
from ..methods import METHODS, CertificationMethod
from ..picture_writer import PictureWriter
from ..run_settings import data_digest, run_settings, weights_digest


@HOOKS.register_module()
class CertificationHook(Hook):
    """Turns ``Runner.test()`` into a certification.

    The kind of certificate is that of the metric in the test evaluator. Before: the checkpoint must
    fill the model, the model must fit the method, the data must be readable. During: one JSON line
    and one npz (prediction, radius) per image, so that a crash loses nothing. After: the tables,
    certificate.json, pictures of the whole dataset and report.html.

    Args:
        out_dir (str, optional): Folder of the results. Defaults to ``certification`` in the work
            folder.
        resume (bool): Continue the certification in ``out_dir``. Defaults to False.
        every (int): Take every k-th image of the dataset. Defaults to 1.
        limit (int, optional): Take at most so many of them. Defaults to None.
        show_dir (str, optional): Folder of a picture of each image's certificate and one of its
            objects; none are drawn by default.
    """

    priority = "LOWEST"

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
        self.show_dir = show_dir
        self.checkpoint_digest: str | None = None
        self.pictures: PictureWriter | None = None

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
        self.metric = _certificate_metric(runner)
        self.store = CertificateStore(
            self.out_dir or Path(runner.work_dir) / "certification", get_rank()
        )
        self.method = self._method(runner)
        self.dataset = dataset = runner.test_loop.dataloader.dataset
        if not isinstance(dataset, BaseSegDataset):
            raise CertificationError(
                f"a {type(dataset).__name__} cannot be certified: images are named by the folder "
                "of one dataset; certify its datasets one by one"
            )
        classes = dataset.metainfo.get("classes")
        check_classes(classes, self.method.num_classes)
        self.metric.image_root = dataset.data_prefix.get("img_path")
        self.method.prepare(dataset)
        indices = list(range(0, len(dataset), self.every))[: self.limit]
        self.metric.finished = self._open_store(runner)
        if self.show_dir is not None:
            self.pictures = PictureWriter(
                self.show_dir,
                dataset.metainfo,
                self.metric.ignore_index,
                swap_channels=self.method.segmentor.data_preprocessor._channel_conversion,
            )
        infos = {i: dataset.get_data_info(i) for i in indices}
        names = {i: self.metric.image_name(info["img_path"]) for i, info in infos.items()}
        self.infos = {names[i]: info for i, info in infos.items()}
        try:
            check_unique({info["img_path"]: names[i] for i, info in infos.items()})
        except ValueError as error:
            raise CertificationError(str(error)) from error
        self.metric.finished = {k: v for k, v in self.metric.finished.items() if k in self.infos}
        self._check_finished()
        remaining = [i for i in indices if names[i] not in self.metric.finished]
        if remaining:
            pixels = check_dataset(
                dataset,
                remaining,
                len(classes),
                self.metric.ignore_index,
                labeled=not self.metric.finished,
            )
            self.method.check_size(max(pixels))
        self.store.begin(self.settings)
        self.method.begin(self.store.void)
        runner.logger.info(
            f"Certifying {len(remaining)} images ({len(self.metric.finished)} already finished); "
            f"results in {self.store.folder}"
        )
        for hook in runner.hooks:
            if isinstance(hook, LoggerHook):  # about twenty lines with the time that is left
                hook.interval = max(1, min(hook.interval, len(remaining) // 20))
        loader = copy.deepcopy(runner.cfg.test_dataloader)
        loader["dataset"] = Subset(dataset, remaining)
        # Without rounding up no image is certified twice, and there may be none at all.
        loader["sampler"] = dict(type="DefaultSampler", shuffle=False, round_up=False)
        if self.method.shared_images:
            loader["sampler"] = SequentialSampler(loader["dataset"])
        runner.test_loop.dataloader = runner.build_dataloader(loader)

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict) -> None:
        """Check the batch, then note when it began."""
        self.method.start(data_batch, first=batch_idx == 0)
        self._started = time.perf_counter()

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: list[BaseDataElement]
    ) -> None:
        """Write the artifacts of the batch."""
        seconds = time.perf_counter() - self._started
        if self.method.shared_images and not is_main_process():
            self.metric.results.clear()  # every process has the same entries: they count once
            return
        entries = self.metric.results[-len(outputs) :]
        certifying = sum(entry["seconds_certificate"] for entry in entries)
        for entry, sample, image in zip(entries, outputs, data_batch["inputs"], strict=True):
            entry["seconds_forward"] = (seconds - certifying) / len(outputs)
            entry["data_sha256"] = self._data_digest(entry["image"])
            maps = self.method.maps(sample)
            self.store.add(entry, maps)
            if self.pictures is not None:
                self.method.draw(self.pictures, entry, sample, image, maps)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Write the report."""
        self.method.finish()
        if not is_main_process():
            return
        entries = [e for name, e in self.store.finished().items() if name in self.infos]
        certificate = self.method.report(
            entries,
            self.dataset.metainfo["classes"],
            {
                **self.method.model_parts(),
                "config": Path(runner.cfg.filename or "").name,
                "checkpoint": Path(
                    runner.cfg.load_from or getattr(self.method.segmentor, "path", "")
                ).name,
                "weights_sha256": self.checkpoint_digest,
                "data_sha256": _joint_digest(entries),
            },
        )
        path = self.store.write("certificate.json", certificate_json(certificate))
        runner.logger.info("Per class, in percent\n" + class_table(certificate))
        runner.logger.info(
            f"{self.method.headline}, in percent (rows without a norm are measured)\n"
            + overview_table(certificate)
        )
        self.method.draw_summary(entries, certificate)
        runner.logger.info(f"Certificate written to {path}")
        self._write_page(runner)

    def _data_digest(self, image: str) -> str:
        info = self.infos[image]
        return data_digest(info["img_path"], info.get("seg_map_path"), self.dataset.backend_args)

    def _check_finished(self) -> None:
        """Refuse to continue where an image or its labels have changed since."""
        for name, entry in self.metric.finished.items():
            if entry["data_sha256"] != self._data_digest(name):
                raise CertificationError(
                    f"cannot resume {self.store.folder}: {self.infos[name]['img_path']} or its "
                    "labels have changed since they were certified; choose another folder"
                )

    def _write_page(self, runner: Runner) -> None:
        """Write report.html; the certificate is complete without it."""
        try:
            page = write_html_report(self.store.folder)
        except Exception as error:
            runner.logger.error(
                f"report.html was not written: {describe(error)}; certificate.json is complete; "
                f"try again with tools/analysis_tools/render_report.py {self.store.folder}"
            )
        else:
            runner.logger.info(f"Report written to {page}")

    def _method(self, runner: Runner) -> CertificationMethod:
        for method in METHODS.values():
            if type(self.metric) is method.metric_type:
                return method(runner, _unwrapped(runner.model), self.metric, self.store)
        raise CertificationError(
            f"no certification method goes with the metric {type(self.metric).__name__}; use "
            f"{' or '.join(method.metric_type.__name__ for method in METHODS.values())}"
        )

    def _open_store(self, runner: Runner) -> dict[str, dict]:
        try:
            self.settings = settings = {
                "method": self.method.name,
                "ignore_index": self.metric.ignore_index,
                **self.method.settings(),
                **run_settings(runner.cfg, self.checkpoint_digest),
            }
        except ValueError as error:
            raise CertificationError(str(error)) from error
        # One process decides, so that no process finds the folder that another one just made.
        answer: list[Any] = [None, None]
        if is_main_process():
            try:
                answer[0] = self.store.open(settings, self.resume)
            except CertificationError as error:
                answer[1] = error
        broadcast_object_list(answer)
        if answer[1] is not None:
            raise answer[1]
        return answer[0]


def _joint_digest(entries: Sequence[dict[str, Any]]) -> str:
    """SHA-256 of the names and digests of all images, in the order of their names."""
    digest = hashlib.sha256()
    for entry in sorted(entries, key=lambda entry: entry["image"]):
        digest.update(f"{entry['data_sha256']}  {entry['image']}\n".encode())
    return digest.hexdigest()


def _certificate_metric(runner: Runner) -> CertificateMetric:
    metrics = runner.test_evaluator.metrics
    found = [metric for metric in metrics if isinstance(metric, CertificateMetric)]
    if len(found) != 1:
        raise CertificationError(
            f"the test evaluator must hold one certificate metric, not {len(found)}"
        )
    return found[0]


def _unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    return model.module if is_model_wrapper(model) else model
