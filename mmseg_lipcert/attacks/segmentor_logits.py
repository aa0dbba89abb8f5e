from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from mmengine.structures import BaseDataElement
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..certificates.cells import cell_indices

# Binary heads of MMSegmentation give probabilities: float32 cannot tell larger ones from 1.
_SURE = 1 - 1e-6


class SegmentorLogits:
    """A segmentor as a differentiable map from images in [0, 1] to logits at the original size.

    It is the map that is tested: the segmentor's own data preprocessor and its ``predict``, with
    whole or sliding-window inference and the resizing of logits to the original size. Every call
    gets fresh metainfo, because sliding windows write into it. Native logits, as a
    LipEncoderDecoder gives them, are repeated as its predictions are. Binary heads become two
    classes that are equal at the head's threshold.

    Args:
        segmentor: In evaluation mode.
        samples: Of the images of a batch, with the metainfo of the test pipeline.
    """

    def __init__(self, segmentor: nn.Module, samples: Sequence[BaseDataElement]) -> None:
        self.segmentor = segmentor
        self.metas = [copy.deepcopy(sample.metainfo) for sample in samples]

    def predict(self, images: Tensor) -> list[SegDataSample]:
        """Predictions of the segmentor for a batch.

        Args:
            images: (N, 3, H, W) in [0, 1], in the channel order and size of the test pipeline.
        """
        samples = [SegDataSample(metainfo=copy.deepcopy(meta)) for meta in self.metas]
        batch = dict(inputs=list(255 * images), data_samples=samples)
        data = self.segmentor.data_preprocessor(batch, False)
        return self.segmentor.predict(data["inputs"], data["data_samples"])

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (N, K, H0, W0) of images (N, 3, H, W), K at least 2."""
        return torch.stack([self._logits(sample) for sample in self.predict(images)])

    @torch.no_grad()
    def labels(self, images: Tensor) -> Tensor:
        """Predicted labels (N, H0, W0) of images (N, 3, H, W)."""
        return torch.stack([sample.pred_sem_seg.data[0].long() for sample in self.predict(images)])

    def _logits(self, sample: SegDataSample) -> Tensor:
        logits, meta = sample.seg_logits.data, sample.metainfo
        native = "logit_stride" in meta
        if len(logits) == 1 and not native:
            threshold = torch.tensor(float(self.segmentor.decode_head.threshold))
            logits = logits.clamp(1 - _SURE, _SURE).logit() - threshold.logit().to(logits)
        if len(logits) == 1:
            logits = torch.cat((torch.zeros_like(logits), logits))
        if native:
            rows, columns = (
                cell_indices(original, resized, meta["logit_stride"]).to(logits.device)
                for original, resized in zip(meta["ori_shape"], meta["img_shape"], strict=True)
            )
            if logits.shape[1:] != (len(rows), len(columns)) or meta["logit_stride"] > 1:
                logits = logits[:, rows][:, :, columns]
        return logits
