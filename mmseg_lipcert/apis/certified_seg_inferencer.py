from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS, METRICS, MODELS
from torch import nn

from ..attacks import SegmentorLogits
from ..engine import CertificationError
from ..engine.certified_config import (
    automatic_method,
    foreign_settings,
    has_denoiser,
    set_method,
)
from ..engine.certifiers import CERTIFIERS, CertifiedResult
from ..engine.checks import (
    check_classes,
    check_ignored,
    check_weights,
    file_digest,
    refuse_fp16,
)
from ..engine.loading import fill_model
from ..engine.run_settings import weights_digest
from ..utils.shipped import checkpoint_file
from ..utils.user_error import UserError
from .explanation import Explanation, explain_result
from .image_reader import Image, ImageReader, Labels


class CertifiedSegInferencer:
    """Certifies images from Python, with the numbers of ``tools/test.py --certify``.

    Args:
        config: Config of the segmentor, with or without a certificate metric: a file,
            ``PACKAGE::PATH`` for one that an installed package ships, or a ``Config``, which is not
            changed.
        checkpoint: Its weights, which must fill it: a file, or ``mmseg_lipcert::NAME`` for one that
            is shipped. Defaults to None: for a segmentor that is a file itself, such as an
            ``OnnxSegmentor``.
        method: ``'lipschitz'``, ``'smoothing'`` or ``'denoise'``. Defaults to None: the config's,
            else lipschitz for a Lipschitz segmentor and smoothing for any other.
        device: Defaults to None: a GPU if there is one, else the CPU.
        sigma: Standard deviation of the noise, images in [0, 1].
        n0: Draws that choose the classes.
        n: Draws that test them.
        alpha: Probability that the certificate of an image is wrong.
        tau: Probabilities to be exceeded, one per radius.
        correction: ``'holm'``, ``'bonferroni'``, ``'k-fwer'`` or ``'metric'``.
        k: Of ``'k-fwer'``.
        denoiser: Config of a denoiser, or a diffusers model.
        hierarchy: Groups of classes to fall back to.
        noise_at: ``'original'`` or ``'network'``: before or after the pipeline changes the image.
        scale: Size of the segmentor's input relative to the image.
        draws_per_batch: Draws per forward pass.
        seed: Seed of the noise.

            These belong to smoothing and denoising, the denoiser to the latter only. None keeps the
            config's value, or the default of ``SmoothedSegmentor`` or
            ``SmoothingCertificateMetric``.

    Raises:
        CertificationError: If model, checkpoint or test pipeline cannot be certified.
        ValueError: If a setting is out of range or does not go with the method.

    Examples:
        >>> certify = CertifiedSegInferencer("config.py", "checkpoint.pth")  # doctest: +SKIP
        >>> certify("street.png").stability(0.1)  # doctest: +SKIP
        0.968
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | Config,
        checkpoint: str | os.PathLike[str] | None = None,
        method: str | None = None,
        device: str | None = None,
        *,
        sigma: float | None = None,
        n0: int | None = None,
        n: int | None = None,
        alpha: float | None = None,
        tau: float | Sequence[float] | None = None,
        correction: str | None = None,
        k: int | None = None,
        denoiser: dict | str | os.PathLike[str] | None = None,
        hierarchy: str | dict | None = None,
        noise_at: str | None = None,
        scale: float | None = None,
        draws_per_batch: int | None = None,
        seed: int | None = None,
    ) -> None:
        if isinstance(config, Config):
            config = copy.deepcopy(config)
        elif "::" in os.fspath(config):
            config = get_config(os.fspath(config))
        else:
            config = Config.fromfile(config)
        settings = dict(sigma=sigma, n0=n0, n=n, noise_at=noise_at, scale=scale, seed=seed)
        settings.update(alpha=alpha, tau=tau, correction=correction, k=k, denoiser=denoiser)
        settings.update(hierarchy=hierarchy, draws_per_batch=draws_per_batch)
        #: ``'lipschitz'``, ``'smoothing'`` or ``'denoise'``.
        self.method = _request(config, method, settings)
        self._scope = config.get("default_scope", "mmseg")
        with DefaultScope.overwrite_default_scope(self._scope):
            # The dataset says what its classes and labels are; its files need not exist.
            dataset = DATASETS.build(dict(config.test_dataloader.dataset, lazy_init=True))
            #: The model that certifies, in evaluation mode.
            self.model: nn.Module = MODELS.build(config.model)
            metric = METRICS.build(config.test_evaluator)
            metric.dataset_meta = dataset.metainfo
            check_ignored(dataset, metric.ignore_index)
            self._certifier = CERTIFIERS[self.method](self.model, metric)
            num_classes = self._certifier.segmentor.num_classes
            check_classes(dataset.metainfo.get("classes"), num_classes)
            pipeline = self._certifier.pipeline(config.test_dataloader.dataset.pipeline)
            self._reader = ImageReader(dataset, pipeline, self._certifier.exact)
        if checkpoint is not None:
            fill_model(self.model, checkpoint_file(checkpoint), for_inference=True)
        elif file_digest(self.model) is None:
            raise CertificationError("no checkpoint was given: the weights are random")
        self.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
        self._digest = weights_digest(self.model.state_dict())
        self._audited = False

    @torch.no_grad()
    def __call__(
        self,
        image: Image | Sequence[Image],
        eps: float | Sequence[float] | None = None,
        *,
        target: Labels | Sequence[Labels] | None = None,
        name: str | Sequence[str] | None = None,
    ) -> CertifiedResult | list[CertifiedResult]:
        """Certify one image, or several one after the other.

        Args:
            image: File, or array (H, W, 3), uint8, BGR; or a list of them.
            eps: Lipschitz: l2 norms of the perturbation, images in [0, 1], for which figures are
                made; None: the config's. Smoothing has the radii of sigma and tau.
            target: Labels: a file, which is read as the dataset reads its own, or a map (H, W) of
                classes, 255 where ignored; a list of them for a list of images.
            name: Of the image: noise depends on it. By default a file is named as in a
                certification of the config's dataset, an array by its content.

        Returns:
            What is guaranteed; a list for a list.

        Raises:
            CertificationError: If an image cannot be read or certified as it is, or the model's
                answer to the first image has changed.
            TypeError: If image or labels are of another type.
            ValueError: If an array does not hold an image, labels do not fit, or eps is wrong.
        """
        if not isinstance(image, (list, tuple)):
            (result,) = self([image], eps, target=[target], name=[name])
            return result
        results = [
            self._certify(one, eps, *options)
            for one, *options in zip(
                image,
                _one_each(target, len(image), "target"),
                _one_each(name, len(image), "name"),
                strict=True,
            )
        ]
        if results:
            self._finish()
        return results

    def _certify(
        self,
        image: Image,
        eps: float | Sequence[float] | None,
        target: Labels | None,
        name: str | None,
    ) -> CertifiedResult:
        self._check_model()
        certifier = self._certifier.with_eps(eps)
        with DefaultScope.overwrite_default_scope(self._scope):
            inputs, sample, pixels = self._reader(image, target, name)
            data = dict(inputs=[inputs], data_samples=[sample])
            certifier.check(inputs, sample)
            try:
                if not self._audited:
                    self._certifier.audit(data)
                    self._audited = True
                (sample,) = self.model.test_step(data)
            except ValueError as error:
                raise CertificationError(f"{sample.img_path}: {error}") from error
            rgb = np.ascontiguousarray(pixels[..., ::-1]).astype(np.uint8)
            return certifier.certify(sample.cpu(), rgb)

    def explain(
        self,
        image: Image,
        region: np.ndarray | tuple[int, int] | None = None,
        *,
        to: str | int | None = None,
        share: float = 0.5,
        steps: int = 0,
        name: str | None = None,
    ) -> Explanation:
        """Show what would have to be different for another answer, and how far away that is.

        The counterfactual lies along the gradient of the margins that are cheapest to close. The
        radius is the guarantee of the certificate: no image nearer than it, found by whatever
        means, has another answer.

        Args:
            image: File, or array (H, W, 3), uint8, BGR.
            region: The pixels that the question is about: a boolean map (H, W), or the row and
                column of one. Defaults to None: all.
            to: Class, by name or index, that they are to become. Defaults to None: any other than
                they are predicted as.
            share: Share of them, in (0, 1], that is to change. Defaults to 0.5.
            steps: Gradient steps in search of a nearer counterfactual than the one on the straight
                line. Defaults to 0.
            name: Of the image, as for a certificate.

        Raises:
            CertificationError: If the method has no gradient that a guarantee goes with, or the
                image cannot be certified as it is.
            ValueError: If region, class or share are wrong.
        """
        if self.method != "lipschitz":
            raise CertificationError(
                f"explanations rest on a Lipschitz bound: method={self.method!r} has none"
            )
        result = self(image, name=name)
        classes = self._certifier.metric.dataset_meta["classes"]
        if isinstance(to, str):
            if to not in classes:
                raise ValueError(f"to: {to!r} is no class, which are {', '.join(classes)}")
            to = classes.index(to)
        with DefaultScope.overwrite_default_scope(self._scope):
            inputs, sample, _ = self._reader(image, None, name)
            images = inputs[None].to(next(self.model.parameters()).device).float() / 255
            return explain_result(
                result, SegmentorLogits(self.model, [sample]), images, region, to, share, steps
            )

    def _finish(self) -> None:
        """Look whether the model still answers as at the first image, as a run does at its end."""
        try:
            with DefaultScope.overwrite_default_scope(self._scope):
                self._certifier.finish()
        except (UserError, ValueError) as error:
            raise CertificationError(
                f"what was certified with this model is void: {error}"
            ) from error

    def _check_model(self) -> None:
        """Refuse what would change the certified map, and notice weights that changed."""
        training = [name for name, part in self.model.named_modules() if part.training]
        if training:
            raise CertificationError(
                f"the model is in training mode ({training[0] or 'model'}): call "
                "inferencer.model.eval()"
            )
        device = next(self.model.parameters()).device
        if torch.is_autocast_enabled(device.type):
            raise CertificationError(
                "certify in full precision: autocast changes the certified map; smoothing has the "
                "segmentor's own autocast='bfloat16' in its config"
            )
        weights = self.model.state_dict()
        digest = weights_digest(weights)
        if digest != self._digest:
            check_weights(weights)
            self._certifier.forget()
            self._audited, self._digest = False, digest


def _request(config: Config, method: str | None, settings: dict[str, Any]) -> str:
    """Make a config certify by a method, and give its name."""
    if config.get("test_dataloader") is None:
        raise ValueError(
            f"config {config.filename} has no test_dataloader: its pipeline reads images"
        )
    refuse_fp16((config.get("test_cfg") or {}).get("fp16", False))
    if method is None:
        method = automatic_method(config, settings["denoiser"])
    if method not in CERTIFIERS:
        raise ValueError(f"method must be one of {', '.join(CERTIFIERS)}, or None, got {method!r}")
    given = [key for key, value in settings.items() if value is not None]
    foreign = foreign_settings(method, given)
    if foreign:
        raise ValueError(f"{', '.join(foreign)} cannot go with method={method!r}")
    if method == "denoise" and not (settings["denoiser"] or has_denoiser(config)):
        raise ValueError(
            "method='denoise' needs a denoiser: give denoiser=FOLDER, or set it in the config"
        )
    set_method(config, method, **settings)
    return method


def _one_each(values: Any, count: int, what: str) -> Sequence[Any]:
    """One value per image of a list."""
    if values is None:
        return [None] * count
    if not isinstance(values, (list, tuple)) or len(values) != count:
        given = f"{len(values)}" if isinstance(values, (list, tuple)) else type(values).__name__
        raise ValueError(f"{what} must be a list of {count}, one per image, got {given}")
    return values
