# A stock MMSegmentation network, trained from scratch on crops of 240x320, tested on 360x480.
_base_ = [
    "mmseg::_base_/models/fast_scnn.py",
    "../_base_/datasets/camvid_240x320.py",
    "../_base_/schedules/schedule_40e.py",
    "../_base_/default_runtime.py",
]
norm_cfg = dict(type="BN", momentum=0.03)
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(norm_cfg=norm_cfg),
    decode_head=dict(
        num_classes=11,
        norm_cfg=norm_cfg,
        loss_decode=dict(_delete_=True, type="CrossEntropyLoss", loss_weight=1.0),
    ),
    auxiliary_head=None,
)
max_epochs = 60
optim_wrapper = dict(optimizer=dict(_delete_=True, type="AdamW", lr=2e-3, weight_decay=1e-2))
train_cfg = dict(max_epochs=max_epochs, val_interval=20)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_epochs, T_max=max_epochs)
