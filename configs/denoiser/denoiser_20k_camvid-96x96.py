# For denoised smoothing on CamVid. Labels are not read.
_base_ = [
    "../_base_/models/denoiser.py",
    "../_base_/datasets/camvid.py",
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
max_iters = 20000
train_cfg = dict(max_iters=max_iters, val_interval=2000)
default_hooks = dict(checkpoint=dict(interval=1000))
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_iters, T_max=max_iters)
