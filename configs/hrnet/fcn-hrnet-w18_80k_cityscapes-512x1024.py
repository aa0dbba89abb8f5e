# MMSegmentation's own config and checkpoints, with the folder of the data as one setting:
#   CITYSCAPES_ROOT=/anywhere/cityscapes python tools/test.py ...
_base_ = "mmseg::hrnet/fcn_hr18_4xb2-80k_cityscapes-512x1024.py"
custom_imports = dict(imports=["mmseg_lipcert.registration"])
num_classes = 19
data_root = "{{$CITYSCAPES_ROOT:data/cityscapes}}"
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
