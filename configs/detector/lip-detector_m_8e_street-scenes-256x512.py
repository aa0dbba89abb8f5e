# Boxes of people and cars, experimental. It begins with the backbone of the quickstart, so that a
# few minutes suffice.
_base_ = [
    "../_base_/models/lip_shift_unet.py",
    "../_base_/datasets/street_scenes.py",
    "../_base_/schedules/schedule_muon_100e.py",
    "../_base_/default_runtime.py",
]
object_classes = [11, 13]  # person, car
min_pixels = 50
crop_size = (160, 320)
train_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedAnnotations"),
    dict(type="RandomResize", scale=(512, 256), ratio_range=(0.9, 1.3), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(pipeline=train_pipeline),
)
model = dict(
    type="LipDetector",
    data_preprocessor=dict(size=crop_size),
    backbone=dict(
        init_cfg=dict(
            type="Pretrained",
            checkpoint="demo/checkpoints/lip-shift-unet_m_street-scenes.pth",
            prefix="backbone.",
        )
    ),
    decode_head=dict(
        _delete_=True,
        type="LipDetectionHead",
        in_channels=64,
        channels=128,
        object_classes=object_classes,
        min_pixels=min_pixels,
        depth=4,
        layers_cfg=dict(norm_cfg=None, act_cfg=None),
        loss_decode=dict(
            type="TemperatureCrossEntropyLoss", temperature=20.0, class_weight=[8.0, 4.0, 1.0]
        ),
    ),
    test_cfg=dict(_delete_=True, mode="whole", min_score=0.03, nms_iou=0.5, max_skew=0.8),
)
val_evaluator = dict(
    _delete_=True, type="DetectionMetric", object_classes=object_classes, min_pixels=min_pixels
)
test_evaluator = val_evaluator
max_epochs = 8
train_cfg = dict(max_epochs=max_epochs, val_interval=8)
param_scheduler = _base_.param_scheduler
param_scheduler[0].update(end=30)
param_scheduler[1].update(end=max_epochs, T_max=max_epochs)
custom_hooks = [dict(type="EMAHook", ema_type="ExponentialMovingAverage", momentum=0.02)]
