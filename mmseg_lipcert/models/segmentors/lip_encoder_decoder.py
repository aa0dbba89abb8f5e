from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ...certificates import predicted_labels
from ...certificates.cells import cell_indices, repeat_labels
from ...lipschitz import LipschitzAudit, audit
from ..layers import ClassMajorConv2d, fold_network
from .native_logits import MeanLogits, NativeLogits
from .preprocessing import preprocessor_norm


@MODELS.register_module()
class LipEncoderDecoder(EncoderDecoder):
    """Encoder-decoder that keeps native logits and knows its own Lipschitz bound.

    Differences from MMSegmentation's ``EncoderDecoder``:

    - Inference runs on a folded copy of the network: plain convolutions with frozen weights. It is
      made once when evaluation begins and dropped when training goes on or weights are loaded.
    - ``seg_logits`` of a prediction are the head's native logits, never interpolated;
      ``pred_sem_seg`` has the original size of the image, by nearest-neighbor repetition.
    - :meth:`lipschitz_audit` bounds the map from the network's input to these logits, from the
      weights that run. With ``free_classifier`` in the decode head it bounds the features in front
      of the classifier.

    Args:
        *args: Arguments of ``EncoderDecoder``.
        **kwargs: Arguments of ``EncoderDecoder``. ``train_cfg`` may hold ``autocast='bfloat16'``:
            training then computes activations in that type; inference never does. ``test_cfg`` may
            hold ``mirror=True`` and ``shifts=[(rows, columns), ...]``: the logits are then the mean
            over the image as it is shifted (see :class:`NativeLogits`) and over mirror images, at
            the cost of so many forward passes and no change of the bound.

    Raises:
        ValueError: If ``test_cfg`` asks for another mode than ``'whole'``: averaging overlapping
            windows changes the certified map. If its shifts are no pairs of whole numbers from 0,
            or there are several views and a free classifier.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        mode = (self.test_cfg or {}).get("mode", "whole")
        if mode != "whole":
            raise ValueError(f"a Lipschitz segmentor is tested in mode 'whole', got {mode!r}")
        self.shifts = _checked_shifts((self.test_cfg or {}).get("shifts", [(0, 0)]))
        if self.has_free_classifier and (self._mirror or self.shifts != [(0, 0)]):
            raise ValueError(
                "a free classifier is certified on the image as it is: set test_cfg.mirror=False "
                f"and shifts=[(0, 0)], got mirror={self._mirror} and shifts={self.shifts}"
            )
        self._forget_folded()
        self.register_load_state_dict_post_hook(lambda module, _: module._forget_folded())

    def train(self, mode: bool = True) -> LipEncoderDecoder:
        """Switch between training and evaluation."""
        if mode or self.training:
            self._forget_folded()
        return super().train(mode)

    def _apply(self, fn, *args, **kwargs):
        self._forget_folded()
        return super()._apply(fn, *args, **kwargs)

    def _forget_folded(self) -> None:
        # Kept outside of the registered modules: the folded copy is not part of the state dict.
        self.__dict__["_folded"] = None
        self.__dict__["_audits"] = {}
        self.__dict__["_stride"] = None

    @property
    def network(self) -> nn.Module:
        """The map from preprocessed images to native logits: folded in evaluation mode."""
        if self.training:
            return NativeLogits(self)
        if self._folded is None:
            # Weights made in inference mode could not be audited later.
            with torch.inference_mode(False), torch.no_grad():
                networks = [
                    NativeLogits(segmentor, self.shifts, self._mirror)
                    for segmentor in self._members()
                ]
                network = networks[0] if len(networks) == 1 else MeanLogits(networks)
                folded = fold_network(network).to(memory_format=torch.channels_last)
                for part in list(folded.modules()):
                    if isinstance(part, NativeLogits):
                        _store_logits_by_class(part.decode_head)
            self.__dict__["_folded"] = folded
        return self._folded

    def _members(self) -> list[LipEncoderDecoder]:
        """The segmentors whose logits are averaged in evaluation."""
        return [self]

    @property
    def _mirror(self) -> bool:
        return (self.test_cfg or {}).get("mirror", False)

    @property
    def forward_passes(self) -> int:
        """Networks times shifts times (with the mirror image) 2: forward passes per image."""
        return len(self._members()) * len(self.shifts) * (2 if self._mirror else 1)

    @torch.no_grad()
    def add_to_logits(self, shifts: Tensor) -> None:
        """Add a constant to the logits of each class, shape (K,): the bound stays what it is."""
        for segmentor in self._members():
            classifier = segmentor.decode_head.conv_seg
            getattr(classifier, "conv", classifier).bias.add_(shifts)
        self._forget_folded()

    @property
    def logit_stride(self) -> int:
        """Rows of the network's input per row of native logits."""
        if self._stride is None:
            side = 2 * getattr(self.backbone, "total_stride", 128)
            with torch.no_grad():
                logits = self.network(torch.zeros(1, 3, side, side).to(next(self.parameters())))
            self.__dict__["_stride"] = side // logits.shape[2]
        return self._stride

    @property
    def has_free_classifier(self) -> bool:
        """Whether the bound is that of the features in front of an unconstrained classifier."""
        return getattr(self.decode_head, "free_classifier", False)

    def lipschitz_audit(
        self, image_size: tuple[int, int], samples: Tensor | None = None, steps: int = 15
    ) -> LipschitzAudit:
        """Bound the joint l2 norm of the folded network, from the weights that run.

        With a free classifier the bound is that of the features in front of the 1x1 convolution
        that the network must end in, and the result holds its weight.

        Args:
            image_size: Height and width of the network's input.
            samples: Preprocessed images (N, 3, H, W) at which a lower bound is measured. Defaults
                to None: no lower bound.
            steps: Effort of that measurement. Defaults to 15.

        Raises:
            RuntimeError: In training mode: its weights still move.
        """
        if self.training:
            raise RuntimeError("the audit needs evaluation mode: call model.eval() first")
        if samples is not None or image_size not in self._audits:
            self._audits[image_size] = audit(
                self.network, (1, 3, *image_size), samples, steps, self.has_free_classifier
            )
        return self._audits[image_size]

    def preprocessing_norm(self) -> float:
        """Norm of the map from images in [0, 1] to the network's input, from the preprocessor."""
        return preprocessor_norm(self.data_preprocessor)

    def lipschitz_bound(self, image_size: tuple[int, int]) -> float:
        """Joint l2 Lipschitz bound from images in [0, 1] to the native logits (or features)."""
        return self.preprocessing_norm() * self.lipschitz_audit(image_size).upper

    def _forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> Tensor:
        return self.network(inputs)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Compute the losses of preprocessed images (N, 3, H, W)."""
        with self._training_autocast(inputs.device.type):
            logits = self.network(inputs)
        losses = self.decode_head.loss_by_feat(logits.float(), data_samples)
        losses = {f"decode.{name}": value for name, value in losses.items()}
        if self.with_auxiliary_head:
            losses.update(
                self._auxiliary_head_forward_train(self.extract_feat(inputs), data_samples)
            )
        return losses

    def _training_autocast(self, device_type: str) -> contextlib.AbstractContextManager:
        dtype = (self.train_cfg or {}).get("autocast")
        if dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(device_type, dtype=getattr(torch, dtype))

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Predict labels and keep the native logits.

        Args:
            inputs: Preprocessed images (N, 3, H, W).
            data_samples: Their samples; new ones by default.

        Returns:
            Samples with ``seg_logits`` (K, h, w) at native resolution (of a binary
            head: shifted so that its threshold lies at 0) and
            ``pred_sem_seg`` (1, H0, W0) at the original size; the metainfo ``input_size`` is that
            of the network's image, ``logit_stride`` how many rows of it one row of logits stands
            for, ``forward_passes`` how many the logits are the mean of.
        """
        logits = self.network(inputs)
        if self.out_channels == 1:
            logits = logits - math.log(
                self.decode_head.threshold / (1 - self.decode_head.threshold)
            )
        carried = dict(
            input_size=tuple(inputs.shape[2:]),
            logit_stride=self.logit_stride,
            forward_passes=self.forward_passes,
        )
        if data_samples is None:
            shape = dict(ori_shape=tuple(inputs.shape[2:]), img_shape=tuple(inputs.shape[2:]))
            data_samples = [SegDataSample(metainfo=shape) for _ in inputs]
        for sample, native in zip(data_samples, logits, strict=True):
            labels = predicted_labels(native)
            meta = sample.metainfo
            rows, columns = (
                cell_indices(original, resized, carried["logit_stride"])
                for original, resized in zip(meta["ori_shape"], meta["img_shape"], strict=True)
            )
            labels = repeat_labels(labels, rows, columns)
            sample.set_metainfo(carried)
            sample.set_data(
                dict(seg_logits=PixelData(data=native), pred_sem_seg=PixelData(data=labels[None]))
            )
        return data_samples


def _checked_shifts(shifts: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    pairs = [tuple(shift) for shift in shifts]
    if not pairs or any(
        len(pair) != 2 or any(not isinstance(v, int) or v < 0 for v in pair) for pair in pairs
    ):
        raise ValueError(
            f"shifts must be pairs of whole numbers (rows, columns) from 0, got {shifts}"
        )
    return pairs


def _store_logits_by_class(head: nn.Module) -> None:
    # The audit reads a free classifier off a convolution of the traced graph.
    if getattr(head, "free_classifier", False):
        return
    wrapped = isinstance(head.conv_seg, ConvModule)
    holder, name = (head.conv_seg, "conv") if wrapped else (head, "conv_seg")
    conv = getattr(holder, name)
    if ClassMajorConv2d.can_replace(conv):
        setattr(holder, name, ClassMajorConv2d(conv))
