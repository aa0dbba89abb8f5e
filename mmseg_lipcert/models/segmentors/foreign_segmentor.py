from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.logging import MMLogger
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..foreign import ForeignNetwork
from ..foreign.foreign_network import shape_text

#: What the outputs of a network are.
_OUTPUTS = ("logits", "labels")


@MODELS.register_module()
class ForeignSegmentor(EncoderDecoder):
    """A segmentor whose network, weights included, is a file of another program.

    It tests like any ``EncoderDecoder``: the usual data preprocessor (a network of fixed size:
    padding with its ``test_cfg=dict(size=...)``), whole images or sliding windows. There is no
    checkpoint: the tools take ``none`` in its place. It cannot be trained.

    Args:
        network: The file; one input, images (N, 3, H, W) as the data preprocessor leaves them.
        num_classes: Of the dataset.
        data_preprocessor: As for every segmentor; nothing is assumed, because a wrong mean, std or
            order of the channels is no error, but another network.
        output: ``'logits'`` (N, K, h, w), enlarged bilinearly where they are smaller than the
            image, or ``'labels'``, numbers of outputs (N, h, w) or (N, 1, h, w), enlarged by
            repetition. Defaults to ``'logits'``.
        output_classes: The class of each output; -1 drops an output: it is never predicted (logits
            only). Outputs of one class count as one, the largest. Defaults to None: output k is
            class k.
        threshold: Of a single output: what is above it is class 1, the rest class 0. 0 for a logit,
            0.5 for a probability. Defaults to None: several outputs.
        align_corners: How logits are enlarged. Defaults to False.
        test_cfg: ``mode='whole'``, or ``'slide'`` with ``crop_size`` and ``stride`` (logits only).
            Defaults to whole images.
        train_cfg: Ignored; ``mmseg.apis.init_model`` writes it into every model.
        pretrained: Ignored, likewise.
        init_cfg: Ignored, likewise.

    Raises:
        ValueError: If outputs and classes do not fit, or the network takes no images.
    """

    def __init__(
        self,
        network: dict | ForeignNetwork,
        num_classes: int,
        data_preprocessor: dict | nn.Module,
        output: str = "logits",
        output_classes: Sequence[int] | None = None,
        threshold: float | None = None,
        align_corners: bool = False,
        test_cfg: dict | None = None,
        train_cfg: None = None,
        pretrained: None = None,
        init_cfg: None = None,
    ) -> None:
        # An EncoderDecoder without its parts: what it has of its own is how images are tested.
        super(EncoderDecoder, self).__init__(data_preprocessor=data_preprocessor)
        self.network = MODELS.build(network) if isinstance(network, dict) else network
        self.num_classes = self.out_channels = num_classes
        self.output = output
        self.output_classes = None if output_classes is None else list(output_classes)
        self.threshold = threshold
        self.align_corners = align_corners
        self.train_cfg = None
        self.test_cfg = ConfigDict(test_cfg or dict(mode="whole"))
        # Says where the segmentor is; a distributed wrapper refuses modules without a parameter.
        self.anchor = nn.Parameter(torch.zeros(()))
        self._check()
        MMLogger.get_current_instance().info(f"{type(self).__name__}: {self.network.extra_repr()}")

    @property
    def path(self) -> str:
        """The file."""
        return str(self.network.path)

    @property
    def file_sha256(self) -> str:
        """SHA-256 of the file, which holds all of the network."""
        return self.network.file_sha256

    @property
    def differentiable(self) -> bool:
        """Whether gradients go through the network."""
        return self.network.differentiable and self.output == "logits"

    def _check(self) -> None:
        name = self.network.path.name
        shapes = self.network.input_shapes
        if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] not in (None, 3):
            raise ValueError(
                f"{name} takes {', '.join(map(shape_text, shapes))}; a segmentor takes one batch "
                "of images (n, 3, height, width)"
            )
        if self.output not in _OUTPUTS:
            raise ValueError(f"output must be 'logits' or 'labels', got {self.output!r}")
        if self.test_cfg.mode not in ("whole", "slide"):
            raise ValueError(
                f"test_cfg.mode must be 'whole' or 'slide', got {self.test_cfg.mode!r}"
            )
        continuous = self.test_cfg.mode == "slide" or self.threshold is not None
        if self.output == "labels" and continuous:
            raise ValueError(
                "labels cannot be averaged over windows or compared with a threshold: "
                "output='labels' goes with test_cfg.mode='whole' and without threshold"
            )
        if self.threshold is not None and (self.output_classes or self.num_classes != 2):
            raise ValueError(
                f"threshold={self.threshold} is for one output and two classes, without "
                f"output_classes; num_classes is {self.num_classes}"
            )
        wrong = [c for c in self.output_classes or () if not -1 <= c < self.num_classes]
        if wrong:
            raise ValueError(
                f"output_classes has {wrong[0]}; classes are 0..{self.num_classes - 1}, -1 drops "
                "an output"
            )
        if self.output == "labels" and -1 in (self.output_classes or ()):
            raise ValueError(
                "output_classes: a label cannot be dropped, because the second best class is not "
                "known; say which class it counts as"
            )
        shape = self.network.output_shape
        if self.output == "logits" and shape is not None and len(shape) == 4 and shape[1]:
            self._check_outputs(shape[1])

    def _check_outputs(self, count: int) -> None:
        """Refuse a number of outputs that the config does not explain."""
        wanted = len(self.output_classes or range(self.num_classes))
        if self.threshold is not None:
            wanted = 1
        if count == wanted:
            return
        name = self.network.path.name
        if count == 1:
            advice = (
                "give threshold=0 (the output is a logit) or 0.5 (a probability), or "
                "output='labels' (it is a map of labels)"
            )
        else:
            advice = (
                "give output_classes, the class of each output, -1 for outputs to drop, such as "
                f"[0, 1, ..., -1], {count} numbers"
            )
        raise ValueError(f"{name} has {count} outputs where the config says {wanted}: {advice}")

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits (N, num_classes, H, W) of preprocessed images (N, 3, H, W)."""
        logits = self._forward(inputs)
        if logits.shape[2:] != inputs.shape[2:]:
            logits = F.interpolate(
                logits,
                size=inputs.shape[2:],
                mode="bilinear",
                align_corners=self.align_corners,
            )
        return logits

    def _forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> Tensor:
        """Logits (N, num_classes, h, w) as the network gives them."""
        logits = self._run(inputs)
        if logits.ndim != 4:
            raise ValueError(
                f"{self.network.path.name} gives {tuple(logits.shape)}, no logits (n, classes, "
                "height, width): maps of labels need output='labels'"
            )
        self._check_outputs(logits.shape[1])
        logits = logits.float()
        if self.threshold is not None:
            return torch.cat([torch.zeros_like(logits), logits - self.threshold], dim=1)
        if self.output_classes is None:
            return logits
        kept = [c for c in self.output_classes if c >= 0]
        if kept == list(range(self.num_classes)) and self.output_classes[: len(kept)] == kept:
            return logits[:, : len(kept)]  # without a copy
        # Not -inf, of which interpolation would make NaN, nor what windows would add up to it.
        lowest = torch.full_like(logits[:, :1], 1e-6 * torch.finfo(logits.dtype).min)
        classes = [
            logits[:, [i for i, c in enumerate(self.output_classes) if c == k]].amax(1, True)
            if k in kept
            else lowest
            for k in range(self.num_classes)
        ]
        return torch.cat(classes, dim=1)

    def _run(self, inputs: Tensor) -> Tensor:
        """The output of the network for preprocessed images (N, 3, H, W)."""
        height, width = self.network.input_shapes[0][2:]
        if height not in (None, inputs.shape[2]) or width not in (None, inputs.shape[3]):
            size = (height or inputs.shape[2], width or inputs.shape[3])
            raise ValueError(
                f"{self.network.path.name} takes images of {size[0]}x{size[1]}, got "
                f"{inputs.shape[2]}x{inputs.shape[3]}: pad smaller ones, "
                f"data_preprocessor=dict(test_cfg=dict(size={size})), and cut larger ones into "
                f"windows, test_cfg=dict(mode='slide', crop_size={size}, "
                f"stride={(size[0] * 2 // 3, size[1] * 2 // 3)})"
            )
        return self.network(inputs)

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Predictions of preprocessed images (N, 3, H, W), at their original sizes."""
        if self.output == "logits":
            return super().predict(inputs, data_samples)
        labels = self._run(inputs)
        if labels.ndim == 4 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim != 3 or labels.is_floating_point():
            raise ValueError(
                f"{self.network.path.name} gives {labels.dtype} {tuple(labels.shape)}, no maps of "
                "labels (n, height, width) in integers: logits need output='logits'"
            )
        labels = self._classes(labels)
        samples = data_samples or [SegDataSample() for _ in labels]
        for sample, image in zip(samples, labels, strict=True):
            # Through float32, which holds classes exactly, because it can be resized.
            image = self._original(image[None].float(), inputs, sample.metainfo, "nearest-exact")
            sample.set_data(dict(pred_sem_seg=PixelData(data=image.long())))
        return samples

    def _classes(self, labels: Tensor) -> Tensor:
        """Classes (N, h, w) of numbers of outputs."""
        table = torch.as_tensor(
            self.output_classes or range(self.num_classes), device=labels.device
        )
        if labels.min() < 0 or labels.max() >= len(table):
            raise ValueError(
                f"{self.network.path.name} gives labels {int(labels.min())}..{int(labels.max())} "
                f"where the config says 0..{len(table) - 1}: give output_classes, the class of "
                "each label"
            )
        return table[labels.long()]

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Logits and labels at the original sizes, from logits (N, num_classes, H, W)."""
        samples = data_samples or [SegDataSample() for _ in seg_logits]
        for sample, logits in zip(samples, seg_logits, strict=True):
            logits = self._original(logits, seg_logits, sample.metainfo, "bilinear")
            # Seven times as fast as argmax on a CPU, and the same: the first of equals.
            labels = logits.max(0, keepdim=True).indices
            sample.set_data(
                dict(seg_logits=PixelData(data=logits), pred_sem_seg=PixelData(data=labels))
            )
        return samples

    def _original(self, maps: Tensor, inputs: Tensor, meta: dict, mode: str) -> Tensor:
        """Maps (C, h, w) of one image without padding and flip, at its original size."""
        corners = dict(align_corners=self.align_corners) if mode == "bilinear" else {}
        if maps.shape[1:] != inputs.shape[2:]:
            maps = F.interpolate(maps[None], size=inputs.shape[2:], mode=mode, **corners)[0]
        padding = meta.get("img_padding_size", meta.get("padding_size", (0, 0, 0, 0)))
        left, right, top, bottom = padding
        maps = maps[:, top : maps.shape[1] - bottom, left : maps.shape[2] - right]
        if meta.get("flip"):
            maps = maps.flip(2 if meta["flip_direction"] == "horizontal" else 1)
        size = tuple(meta.get("ori_shape", maps.shape[1:])[:2])
        if maps.shape[1:] != size:
            maps = F.interpolate(maps[None], size=size, mode=mode, **corners)[0]
        return maps

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Refuse training.

        Raises:
            TypeError: Always.
        """
        raise TypeError(f"{type(self).__name__} cannot be trained: its weights are a file")

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Refuse access to features.

        Raises:
            TypeError: Always.
        """
        raise TypeError(f"{type(self).__name__} has no features: its network is a file")
