# ENet for CamVid, as others trained it (github.com/davidtvs/PyTorch-ENet, save/ENet_default).
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
    path="{{$MODELS_ROOT:models}}/enet_camvid.onnx",
    num_classes=11,
    output_classes=[*range(11), -1],
    # RGB in [0, 1].
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[0, 0, 0],
        std=[255, 255, 255],
        bgr_to_rgb=True,
    ),
)
