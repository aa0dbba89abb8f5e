from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModel
from mmseg.registry import MODELS
from torch import Tensor

from ...certificates.smoothing import draw_noise
from .native_strategy import NativeStrategy
from .one_step import patch_size, predict_clean


@MODELS.register_module()
class DenoisingDiffusion(BaseModel):
    r"""An unconditional diffusion model that learns to denoise at smoothing's noise levels.

    It sees ``y = x0 + s e``, crops with the noise of a level whose logarithm is uniform, each at
    its matched timestep, and learns to give x0 in one step, as :class:`DiffusersDenoiser` asks for
    it. The loss is the mean of

    ```math
    w(s) \, |\hat x_0 - x_0|^2, \qquad w(s) = 1 + \lambda / s^2 .
    ```

    With lambda 1 and ``prediction_type='v_prediction'`` it is the square error of the velocity
    (Salimans and Ho, "Progressive Distillation", 2022); lambda 0 is the square error of the image.

    Args:
        unet: Arguments of ``diffusers.UNet2DModel``. It may see patches of pixels, see
            :func:`~.one_step.patch_size`; ``sample_size`` is the side of the crops in patches.
        scheduler: Arguments of ``diffusers.DDPMScheduler``; ``prediction_type`` (``epsilon``,
            ``v_prediction`` or ``sample``) is what the network puts out.
        sigmas: Smallest and largest noise in training, images in [0, 1].
        snr_weight: lambda. Defaults to 1.
        autocast: Type of the activations in training, such as ``'bfloat16'``. Weights are kept in
            float32. Defaults to None: float32.
        test_sigmas: Noise of the validation, images in [0, 1].
        data_preprocessor: Has to give RGB images in [-1, 1]; by default it does.

    Raises:
        ImportError: Without the package ``diffusers``.
        ValueError: If the model is of a kind that cannot denoise, its size does not fit its
            resolutions, or a noise level is outside of the schedule's range.
    """

    def __init__(
        self,
        unet: Mapping[str, Any],
        scheduler: Mapping[str, Any],
        sigmas: Sequence[float] = (0.03, 1.0),
        snr_weight: float = 1.0,
        autocast: str | None = None,
        test_sigmas: Sequence[float] = (0.1, 0.25, 0.5),
        data_preprocessor: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            data_preprocessor
            or dict(type="ImgDataPreprocessor", mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True)
        )
        # Imported late: the package takes seconds to import, and who trains no denoiser need not
        # have it.
        try:
            from diffusers import DDPMScheduler, UNet2DModel

            from .schedulers import noise_family
        except ModuleNotFoundError as error:
            raise ImportError(
                f"{type(self).__name__} needs the packages of the extra 'denoise': "
                "pip install diffusers safetensors"
            ) from error
        low, high = sigmas
        if not 0 < low < high:
            raise ValueError(f"sigmas must satisfy 0 < low < high, got {tuple(sigmas)}")
        if not 0 <= snr_weight < math.inf:
            raise ValueError(f"snr_weight must be a number of at least 0, got {snr_weight}")
        self.scheduler = DDPMScheduler(**scheduler)
        config = dict(self.scheduler.config, _class_name="DDPMScheduler")
        # Training needs the gradients of what lies outside of the range, too.
        self.family = noise_family(config, clip=False)
        self.clipped_family = noise_family(config)
        for sigma in (low, high, *test_sigmas):
            self.family.timestep(2 * sigma)
        self.log_levels = math.log(2 * low), math.log(2 * high)
        self.test_sigmas = tuple(test_sigmas)
        self.snr_weight = snr_weight
        self.autocast = autocast and getattr(torch, autocast)
        self.patch = patch_size(unet)
        self.unet = UNet2DModel(**unet).to(memory_format=torch.channels_last)
        divisor = 2 ** (len(self.unet.config.block_out_channels) - 1)
        side = self.unet.config.sample_size
        if not isinstance(side, int) or side % divisor:
            raise ValueError(
                f"sample_size must be a multiple of {divisor}, which the network divides by, got "
                f"{side}"
            )
        self.crop = side * self.patch
        self.native = NativeStrategy(divisor * self.patch)

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = "loss"
    ) -> dict[str, Tensor] | list:
        """The loss of crops, or how well whole images are denoised.

        Args:
            inputs: RGB images (B, 3, H, W) in [-1, 1].
            data_samples: Of the images; ``'predict'`` needs them.
            mode: ``'loss'``, or ``'predict'`` for the data samples with ``psnr``: the peak
                signal-to-noise ratio in dB of the denoised image by sigma. The noise depends on
                the name of the image alone.

        Raises:
            ValueError: If the mode is another one, or crops have another size than the model says.
            FloatingPointError: If the loss is no longer a number.
        """
        if mode == "loss":
            return {"loss": self._loss(inputs)}
        if mode != "predict":
            raise ValueError(f"mode must be 'loss' or 'predict', got {mode!r}")
        for sample, image in zip(data_samples, inputs, strict=True):
            name = os.path.basename(sample.metainfo["img_path"])
            noise = draw_noise(0, name, "validation", 0, image.shape).to(image)
            sample.psnr = {sigma: self._psnr(image, noise, sigma) for sigma in self.test_sigmas}
        return data_samples

    def export(
        self, folder: str | os.PathLike[str], state: Mapping[str, Tensor], half: bool = False
    ) -> None:
        """Write a ``diffusers`` folder; no file of it is ever half written.

        Args:
            folder: Created if need be.
            state: State of this model, such as the averaged one of a checkpoint.
            half: Store float16 weights. Defaults to False.
        """
        from diffusers import DDPMPipeline, UNet2DModel

        unet = UNet2DModel.from_config(self.unet.config)
        own = "unet."
        unet.load_state_dict({k[len(own) :]: v for k, v in state.items() if k.startswith(own)})
        if half:
            unet = unet.half()
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            DDPMPipeline(unet, self.scheduler).save_pretrained(partial)
            for file in sorted(Path(partial).rglob("*.*")):
                place = folder / file.relative_to(partial)
                place.parent.mkdir(exist_ok=True)
                file.replace(place)

    def _loss(self, clean: Tensor) -> Tensor:
        if clean.shape[2:] != (self.crop, self.crop):
            height, width = clean.shape[2:]
            raise ValueError(
                f"crops are {height}x{width}, but the network's sample_size asks for "
                f"{self.crop}x{self.crop}"
            )
        low, high = self.log_levels
        levels = (low + (high - low) * torch.rand(len(clean))).exp()
        column = levels.to(clean)[:, None, None, None]
        noisy = clean + column * torch.randn_like(clean)
        autocast = torch.autocast(clean.device.type, self.autocast) if self.autocast else None
        with autocast or contextlib.nullcontext():
            found = predict_clean(self.unet, self.family, noisy, levels.tolist(), self.patch)
        loss = ((1 + self.snr_weight / column**2) * (found - clean).square()).mean()
        if not loss.isfinite():
            raise FloatingPointError(
                f"the loss is {loss.item()}: the training diverged; lower the learning rate "
                "(optim_wrapper.optimizer.lr)"
            )
        return loss

    def _psnr(self, image: Tensor, noise: Tensor, sigma: float) -> float:
        def denoise(noisy: Tensor, sigma: float, generators: None) -> Tensor:
            levels = [2 * sigma] * len(noisy)
            return predict_clean(self.unet, self.clipped_family, noisy, levels, self.patch)

        found = self.native(denoise, (image + 2 * sigma * noise)[None], sigma)[0]
        # Both lie in a range of width 2.
        return -10 * math.log10((found - image).square().mean().item() / 4)
