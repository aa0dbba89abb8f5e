# Trained on crops of 240x320, tested and certified on whole images of 360x480.
_base_ = [
    "../_base_/models/lip_deeplabv3.py",
    "../_base_/datasets/camvid.py",
    "../_base_/schedules/schedule_40e.py",
    "../_base_/default_runtime.py",
]
crop_size = (240, 320)
train_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedAnnotations"),
    dict(type="CheckLabels", num_classes=11),
    dict(type="RandomResize", scale=(480, 360), ratio_range=(0.6, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    sampler=dict(type="DefaultSampler", shuffle=True), dataset=dict(pipeline=train_pipeline)
)
model = dict(
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(
        num_classes=11,
        upsample_channels=(64, 32, 16),
        loss_decode=dict(temperature=100.0),
    ),
    train_cfg=dict(autocast="bfloat16"),  # activations only; kernels and inference stay in float32
)
max_epochs = 80
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_epochs, T_max=max_epochs)
