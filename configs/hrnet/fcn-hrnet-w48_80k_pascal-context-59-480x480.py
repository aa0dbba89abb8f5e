# MMSegmentation's own config and checkpoints, with the folder of the data as one setting:
#   VOC2010_ROOT=/anywhere/VOCdevkit/VOC2010 python tools/test.py ...
_base_ = "mmseg::hrnet/fcn_hr48_4xb4-80k_pascal-context-59-480x480.py"
custom_imports = dict(imports=["mmseg_lipcert.registration"])
num_classes = 59
data_root = "{{$VOC2010_ROOT:data/VOCdevkit/VOC2010}}"
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
