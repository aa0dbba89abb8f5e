# Fine-tunes a trained network with an unconstrained classifier, certified through its weights:
#   python tools/model_converters/free_classifier.py CONFIG_44e CHECKPOINT_44e START.pth
#   python tools/train.py THIS_CONFIG --cfg-options load_from=START.pth
_base_ = "./lip-unet_m_44e_camvid-240x320.py"
model = dict(decode_head=dict(free_classifier=True))
max_epochs = 4
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_epochs, T_max=max_epochs)
