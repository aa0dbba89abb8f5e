# Fine-tunes the plain network on crops with noise of a random level that FFDNet has removed, for
# certificates behind FFDNet. Give the plain network: --cfg-options load_from=CHECKPOINT
_base_ = ["./fast-scnn_60e_camvid-240x320.py", "../_base_/denoisers/ffdnet_color.py"]
train_pipeline = _base_.train_pipeline
train_pipeline[-1:-1] = [
    dict(type="AddGaussianNoise", sigma=(0.0, 0.5)),
    dict(type="Denoise", denoiser=_base_.denoiser),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
max_epochs = 20
optim_wrapper = dict(optimizer=dict(lr=5e-4))
train_cfg = dict(max_epochs=max_epochs, val_interval=10)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_epochs, T_max=max_epochs)
