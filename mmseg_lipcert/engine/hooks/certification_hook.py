from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import broadcast_object_list, get_rank, is_main_process
from mmengine.hooks import Hook, LoggerHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from mmseg.registry import HOOKS
from torch.utils.data import Subset

from mmseg_lipcert.evaluation.metrics import LipschitzCertificateMetric
from mmseg_lipcert.models.segmentors import preprocessor_smallest_gain
from mmseg_lipcert.report import build_certificate, certificate_json, class_table, overview_table
from mmseg_lipcert.visualization import save_curve_figure

from ..certificate_store import CertificateStore
from ..certification_error import CertificationError
from ..checks import check_dataset, check_state_dict
from ..image_maps import half_precision, prediction_map, radius_map
from ..picture_writer import PictureWriter
from ..run_settings import run_settings, weights_digest


@HOOKS.register_module()
class CertificationHook(Hook):
    """Turns ``Runner.test()`` into a certification.

    Before: the checkpoint must fill the model, the model must have a Lipschitz bound, the data must
    be readable; the network is audited at the size of the first image. During: one JSON line and
    one npz (prediction, radius) per image, so that a crash loses nothing. After: the tables,
    certificate.json and a picture of the curve of radius against share changed, curve.png.

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
        check_state_dict(_unwrapped(runner.model), state_dict)
        self.checkpoint_digest = weights_digest(state_dict)

    def before_test(self, runner: Runner) -> None:
        """Check model, metric and data, find finished images and leave them out."""
        model = _unwrapped(runner.model)
        if not hasattr(model, "lipschitz_bound"):
            raise CertificationError(
                f"{type(model).__name__} has no Lipschitz bound: a Lipschitz certificate needs a "
                "LipEncoderDecoder"
            )
        if self.checkpoint_digest is None:
            raise CertificationError("no checkpoint was loaded: the weights are random")
        if getattr(runner.test_loop, "fp16", False):
            raise CertificationError("certify in full precision: fp16 changes the certified map")
        self.metric = self._find_metric(runner)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        torch.set_float32_matmul_precision("highest")
        model.attach_bound = True

        self.dataset = dataset = runner.test_loop.dataloader.dataset
        self.metric.image_root = dataset.data_prefix.get("img_path")
        indices = list(range(0, len(dataset), self.every))[: self.limit]
        self.store = CertificateStore(
            self.out_dir or Path(runner.work_dir) / "certification", get_rank()
        )
        self.metric.finished = self._open_store(runner)
        if self.show_dir is not None:
            self.pictures = PictureWriter(
                self.show_dir,
                dataset.metainfo,
                self.metric.region_query,
                self.metric.ignore_index,
                swap_channels=model.data_preprocessor._channel_conversion,
            )
        names = {i: self.metric.image_name(dataset.get_data_info(i)["img_path"]) for i in indices}
        self.wanted = set(names.values())
        self.metric.finished = {k: v for k, v in self.metric.finished.items() if k in self.wanted}
        remaining = [i for i in indices if names[i] not in self.metric.finished]
        if remaining:
            check_dataset(dataset, remaining, model.num_classes)
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
        runner.test_loop.dataloader = runner.build_dataloader(loader)

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict) -> None:
        """Audit at the first image, then note when the batch began."""
        if batch_idx == 0:
            self._audit(runner, data_batch)
        self._started = time.perf_counter()

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: list[BaseDataElement]
    ) -> None:
        """Write the artifacts of the batch."""
        seconds = time.perf_counter() - self._started
        entries = self.metric.results[-len(outputs) :]
        certifying = sum(entry["seconds_certificate"] for entry in entries)
        for entry, sample, image in zip(entries, outputs, data_batch["inputs"], strict=True):
            entry["seconds_forward"] = (seconds - certifying) / len(outputs)
            prediction, radius = prediction_map(sample), radius_map(sample)
            self.store.add(entry, dict(prediction=prediction, radius=half_precision(radius)))
            if self.pictures is not None:
                self.pictures.draw(entry, sample, image, prediction, radius)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Write the report."""
        if not is_main_process():
            return
        entries = [e for name, e in self.store.finished().items() if name in self.wanted]
        certificate = self._certificate(runner, entries)
        path = self.store.write("certificate.json", certificate_json(certificate))
        runner.logger.info("Per class, in percent\n" + class_table(certificate))
        runner.logger.info(
            "Guaranteed under any l2 perturbation of norm eps (images in [0, 1]), in percent\n"
            + overview_table(certificate)
        )
        curve = self.store.folder / "curve.png"
        save_curve_figure(curve, [entry["curve"] for entry in entries], certificate["curve"])
        runner.logger.info(f"Share of the predictions that an attack can change drawn in {curve}")
        runner.logger.info(f"Certificate written to {path}")

    def _find_metric(self, runner: Runner) -> LipschitzCertificateMetric:
        found = [
            metric
            for metric in runner.test_evaluator.metrics
            if isinstance(metric, LipschitzCertificateMetric)
        ]
        if len(found) != 1:
            raise CertificationError(
                f"the test evaluator must hold one LipschitzCertificateMetric, not {len(found)}"
            )
        return found[0]

    def _open_store(self, runner: Runner) -> dict[str, dict]:
        try:
            settings = run_settings(self.metric, runner.cfg, self.checkpoint_digest)
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

    def _audit(self, runner: Runner, data_batch: dict) -> None:
        if (self.store.folder / "audit.json").exists():
            return  # resumed: the same weights, already audited
        model = _unwrapped(runner.model)
        inputs = model.data_preprocessor(copy.deepcopy(data_batch), False)["inputs"]
        size = tuple(inputs.shape[2:])
        meta = data_batch["data_samples"][0].metainfo
        if tuple(meta["img_shape"][:2]) != tuple(meta["ori_shape"][:2]):
            runner.logger.warning(
                f"the test pipeline resizes images ({meta['ori_shape']} to {meta['img_shape']}): "
                "eps is the norm of a perturbation of the resized image"
            )
        started = time.perf_counter()
        network = model.lipschitz_audit(size, samples=inputs[:1], steps=3)
        preprocessing = model.preprocessing_norm()
        audit = {
            "bound": preprocessing * network.upper,
            "lower_bound": preprocessor_smallest_gain(model.data_preprocessor) * network.lower,
            "preprocessing": preprocessing,
            "network": network.upper,
        }
        if is_main_process():
            self.store.write("audit.json", certificate_json(audit))
        runner.logger.info(
            f"Lipschitz bound of the folded network at {size[0]}x{size[1]}: {network.upper:.6f} "
            f"(measured lower bound {network.lower:.4f}), preprocessing {preprocessing:.4f}, "
            f"together {audit['bound']:.6f}; {time.perf_counter() - started:.1f} s"
        )

    def _certificate(self, runner: Runner, entries: list[dict[str, Any]]) -> dict[str, Any]:
        model = _unwrapped(runner.model)
        return build_certificate(
            self.metric.summary,
            entries,
            json.loads((self.store.folder / "audit.json").read_text()),
            self.dataset.metainfo["classes"],
            {
                "type": type(model).__name__,
                "backbone": type(model.backbone).__name__,
                "decode_head": type(model.decode_head).__name__,
                "config": Path(runner.cfg.filename or "").name,
                "checkpoint": Path(runner.cfg.load_from or "").name,
                "weights_sha256": self.checkpoint_digest,
            },
            vanish_share=self.metric.region_query.vanish_share,
            seed=runner.seed,
        )


def _unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    return model.module if is_model_wrapper(model) else model
