# ESPNet (p=2, q=8) for CamVid, as others trained it (github.com/sacmehta/ESPNet).
# Twelve outputs: the classes of the dataset in its order, then void, which is never predicted.
_base_ = [
    "../_base_/datasets/camvid.py",
    "../_base_/schedules/test_only.py",
    "../_base_/default_runtime.py",
]
train_dataloader = None  # the validation images are for plan_smoothing.py
val_cfg = dict(type="ValLoop")
model = dict(
    type="OnnxSegmentor",
    path="{{$MODELS_ROOT:models}}/espnet_camvid.onnx",
    num_classes=11,
    output_classes=[*range(11), -1],
    # BGR: (x - mean) / std / 255.
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[110.47, 109.11, 106.14],
        std=[255 * s for s in (70.81, 71.26, 68.57)],
    ),
)
