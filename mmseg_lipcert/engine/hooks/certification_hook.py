from __future__ import annotations

import copy
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import broadcast_object_list, get_rank, is_main_process
from mmengine.hooks import Hook, LoggerHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from mmseg.registry import HOOKS
from torch.utils.data import Subset

from mmseg_lipcert.certificates import flip_costs
from mmseg_lipcert.certificates.cells import cell_indices, repeat_labels
from mmseg_lipcert.evaluation.metrics import LipschitzCertificateMetric
from mmseg_lipcert.report import certificate_json, class_table, environment, overview_table
from mmseg_lipcert.visualization import save_certificate_figure

from ..certificate_store import CertificateStore
from ..certification_error import CertificationError
from ..checks import check_dataset, check_state_dict


@HOOKS.register_module()
class CertificationHook(Hook):
    """Turns ``Runner.test()`` into a certification.

    Before: the checkpoint must fill the model, the model must have a Lipschitz bound, the data must
    be readable; the network is audited at the size of the first image. During: one JSON line and
    one npz (prediction, radius) per image, so that a crash loses nothing. After: certificate.json
    and the tables.

    Args:
        out_dir (str, optional): Folder of the results. Defaults to ``certification`` in the work
            folder.
        resume (bool): Continue the certification in ``out_dir``. Defaults to False.
        every (int): Take every k-th image of the dataset. Defaults to 1.
        limit (int, optional): Take at most so many of them. Defaults to None.
        show_dir (str, optional): Folder of pictures; none are drawn by default.
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

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse a checkpoint that does not fill the model exactly."""
        state_dict = checkpoint.get("state_dict", checkpoint)
        check_state_dict(_unwrapped(runner.model), state_dict)
        self.checkpoint_digest = _digest(state_dict)

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
        model.attach_bound = True

        self.dataset = dataset = runner.test_loop.dataloader.dataset
        self.metric.image_root = dataset.data_prefix.get("img_path")
        indices = list(range(0, len(dataset), self.every))[: self.limit]
        self.store = CertificateStore(
            self.out_dir or Path(runner.work_dir) / "certification", get_rank()
        )
        self.metric.finished = self._open_store(runner)
        names = {i: self.metric.image_name(dataset.get_data_info(i)["img_path"]) for i in indices}
        wanted = set(names.values())
        self.metric.finished = {k: v for k, v in self.metric.finished.items() if k in wanted}
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
            logits = sample.seg_logits.data
            radius = flip_costs(logits) / sample.metainfo["lipschitz_bound"]
            rows, columns = (
                cell_indices(original, resized, sample.metainfo["logit_stride"])
                for original, resized in zip(
                    sample.metainfo["ori_shape"], sample.metainfo["img_shape"], strict=True
                )
            )
            radius = repeat_labels(radius, rows, columns).float().cpu().numpy()
            prediction = sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)
            # Rounding to float16 must not raise a radius.
            stored = radius.astype(np.float16)
            stored = np.where(stored > radius, np.nextafter(stored, np.float16(0)), stored)
            self.store.add(entry, dict(prediction=prediction, radius=stored))
            if self.show_dir is not None:
                self._draw(runner, entry, sample, image, prediction, radius)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Write the report."""
        if not is_main_process():
            return
        certificate = self._certificate(runner)
        path = self.store.write("certificate.json", certificate_json(certificate))
        runner.logger.info("Per class, in percent\n" + class_table(certificate))
        runner.logger.info(
            "Guaranteed under any l2 perturbation of norm eps (images in [0, 1]), in percent\n"
            + overview_table(certificate)
        )
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
        settings = {
            "method": "lipschitz",
            "eps": self.metric.eps,
            "thresholds": self.metric.thresholds,
            "ignore_index": self.metric.ignore_index,
            "weights": self.checkpoint_digest,
            "model": hashlib.sha256(str(runner.cfg.model).encode()).hexdigest(),
            "pipeline": hashlib.sha256(
                str(runner.cfg.test_dataloader.dataset.get("pipeline")).encode()
            ).hexdigest(),
        }
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
        started = time.perf_counter()
        network = model.lipschitz_audit(size, samples=inputs[:1], steps=3)
        preprocessing = model.preprocessing_norm()
        audit = {
            "bound": preprocessing * network.upper,
            "lower_bound": preprocessing * network.lower,
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

    def _draw(
        self,
        runner: Runner,
        entry: dict[str, Any],
        sample: BaseDataElement,
        image: torch.Tensor,
        prediction: np.ndarray,
        radius: np.ndarray,
    ) -> None:
        pixels = image.cpu().permute(1, 2, 0).numpy()
        if _unwrapped(runner.model).data_preprocessor._channel_conversion:
            pixels = pixels[..., ::-1]
        meta = self.dataset.metainfo
        valid = max(entry["valid"], 1)
        accuracy = ", ".join(
            f"{100 * (entry['correct'] - lost) / valid:.1f}% at {eps:g}"
            for eps, lost in zip(entry["eps"], entry["correct_lost"], strict=True)
        )
        save_certificate_figure(
            Path(self.show_dir) / f"{entry['image']}.png",
            pixels,
            sample.gt_sem_seg.data[0].cpu().numpy(),
            prediction,
            radius,
            meta["classes"],
            meta["palette"],
            f"{entry['image']}: pixel accuracy {100 * entry['correct'] / valid:.1f}%, "
            f"certified {accuracy}",
            self.metric.ignore_index,
        )

    def _certificate(self, runner: Runner) -> dict[str, Any]:
        summary = self.metric.summary
        entries = list(self.store.finished().values())
        classes = self.dataset.metainfo["classes"]
        model = _unwrapped(runner.model)

        def named(row: dict[str, Any]) -> dict[str, Any]:
            per_class = dict(zip(classes, row["per_class"], strict=True))
            return {**row, "per_class": per_class}

        lipschitz = json.loads((self.store.folder / "audit.json").read_text())
        # The audit was made at the size of the first image; other sizes may have larger bounds.
        lipschitz["bound"] = max(entry["lipschitz"] for entry in entries)
        lipschitz["network"] = lipschitz["bound"] / lipschitz["preprocessing"]
        forward = float(np.mean([entry["seconds_forward"] for entry in entries]))
        certifying = float(np.mean([entry["seconds_certificate"] for entry in entries]))
        return {
            "schema": 1,
            "method": "lipschitz",
            "norm": "l2",
            "units": "[0,1] input pixels",
            "images": summary["images"],
            "seed": runner.seed,
            "lipschitz": lipschitz,
            "smoothing": None,
            "clean": named(summary["clean"]),
            "certified": [named(row) for row in summary["certified"]],
            "radius": summary["radius"],
            "cost": {
                "forward_passes_per_image": 1,
                "seconds_per_image": forward + certifying,
                "seconds_forward_per_image": forward,
            },
            "model": {
                "type": type(model).__name__,
                "backbone": type(model.backbone).__name__,
                "decode_head": type(model.decode_head).__name__,
                "config": Path(runner.cfg.filename or "").name,
                "checkpoint": Path(runner.cfg.load_from or "").name,
                "weights_sha256": self.checkpoint_digest,
            },
            "environment": environment(),
        }


def _unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    return model.module if is_model_wrapper(model) else model


def _digest(state_dict: dict[str, torch.Tensor]) -> str:
    """SHA-256 of all weights, so that a resumed certification has the same ones."""
    digest = hashlib.sha256()
    for key in sorted(state_dict):
        digest.update(key.encode())
        digest.update(state_dict[key].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
