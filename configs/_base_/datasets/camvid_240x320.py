# Trains on crops of 240x320, tests and certifies whole images of 360x480; epochs, not iterations.
_base_ = "./camvid.py"
crop_size = (240, 320)

train_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedAnnotations"),
    dict(type="CheckLabels", num_classes={{_base_.num_classes}}),
    dict(type="RandomResize", scale=(480, 360), ratio_range=(0.6, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    sampler=dict(type="DefaultSampler", shuffle=True), dataset=dict(pipeline=train_pipeline)
)
