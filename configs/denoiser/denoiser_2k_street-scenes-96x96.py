# The denoiser of the quickstart. Labels are not read.
_base_ = [
    "../_base_/models/denoiser.py",
    "../_base_/datasets/street_scenes.py",
    "../_base_/schedules/denoiser.py",
    "../_base_/default_runtime.py",
]
crop_size = (96, 96)
train_pipeline = [
    dict(type="LoadCheckedImage"),
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
log_processor = dict(by_epoch=False)
