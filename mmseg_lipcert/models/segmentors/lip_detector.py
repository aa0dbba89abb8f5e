from __future__ import annotations

from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ...certificates.detection import DenseDetector, DetectionRule
from .lip_encoder_decoder import LipEncoderDecoder


@MODELS.register_module()
class LipDetector(LipEncoderDecoder):
    """Finds boxes of objects by a Lipschitz backbone and a :class:`LipDetectionHead`. Experimental.

    It is trained on label maps like a segmentor. Folding, audit and bound are those of
    :class:`LipEncoderDecoder`; the bound is that of all outputs together.

    Args:
        *args: Arguments of ``EncoderDecoder``.
        **kwargs: Arguments of ``EncoderDecoder``. ``test_cfg`` may hold ``min_score``,
            ``nms_iou`` and ``max_skew`` of :class:`DetectionRule`, and shifts, but not ``mirror``.

    Raises:
        ValueError: If ``test_cfg.mirror`` is asked for: mirroring exchanges left and right sides.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self._mirror:
            raise ValueError(
                "a detector has no mean with mirror images, whose left side is the right one: set "
                "test_cfg.mirror=False"
            )

    @property
    def rule(self) -> DetectionRule:
        """How the outputs become boxes."""
        names = ("min_score", "nms_iou", "max_skew")
        settings = {name: self.test_cfg[name] for name in names if name in self.test_cfg}
        head = self.decode_head
        return DetectionRule(self.logit_stride, head.base_side, head.side_gain, **settings)

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Find boxes.

        Args:
            inputs: Preprocessed images (N, 3, H, W).
            data_samples: Their samples; new ones by default.

        Returns:
            Samples with ``outputs`` (K + 5, h, w) and their ``detector``, whose boxes are in pixels
            of the image without padding; the metainfo ``input_size`` is the size of the network's
            image.
        """
        size = tuple(inputs.shape[2:])
        if data_samples is None:
            data_samples = [SegDataSample(metainfo=dict(img_shape=size)) for _ in inputs]
        for sample, outputs in zip(data_samples, self.network(inputs), strict=True):
            detector = DenseDetector(outputs, tuple(sample.img_shape[:2]), self.rule)
            sample.set_metainfo(dict(input_size=size))
            sample.set_data(dict(outputs=PixelData(data=outputs), detector=detector))
        return data_samples
