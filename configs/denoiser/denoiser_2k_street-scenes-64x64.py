# The denoiser of the quickstart. Labels are not read.
_base_ = [
    "../_base_/models/denoiser.py",
    "../_base_/datasets/street_scenes.py",
    "../_base_/schedules/denoiser.py",
    "../_base_/default_runtime.py",
]
crop_size = (64, 64)
train_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(
        type="RandomResize",
        scale=(512, 256),
        ratio_range=(0.5, 1.0),
        keep_ratio=True,
        interpolation="area",
    ),
    dict(type="CheckedRandomCrop", crop_size=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
test_pipeline = [dict(type="LoadCheckedImage"), dict(type="PackSegInputs")]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_evaluator = dict(_delete_=True, type="DenoisingMetric")
test_evaluator = val_evaluator
model = dict(unet=dict(sample_size=crop_size[0]))
log_processor = dict(by_epoch=False)
