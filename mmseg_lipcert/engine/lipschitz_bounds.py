from __future__ import annotations

from torch import Tensor

from mmseg_lipcert.models.segmentors import LipEncoderDecoder, preprocessor_smallest_gain


def measured_bounds(model: LipEncoderDecoder, inputs: Tensor) -> dict[str, float]:
    """Audit a Lipschitz segmentor at the size of an image, with a lower bound measured there.

    Args:
        model: In evaluation mode.
        inputs: Preprocessed images (N, 3, H, W); the first is measured at.

    Returns:
        ``bound``, from images in [0, 1] to the certified output: ``preprocessing * network``;
        ``lower_bound``, measured; ``preprocessing`` and ``network``.

    Raises:
        AuditError: If there is no bound, or the lower bound exceeds it.
    """
    network = model.lipschitz_audit(tuple(inputs.shape[2:]), samples=inputs[:1], steps=3)
    preprocessing = model.preprocessing_norm()
    return {
        "bound": preprocessing * network.upper,
        "lower_bound": preprocessor_smallest_gain(model.data_preprocessor) * network.lower,
        "preprocessing": preprocessing,
        "network": network.upper,
    }
