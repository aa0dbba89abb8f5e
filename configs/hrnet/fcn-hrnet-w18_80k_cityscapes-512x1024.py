# The small variant: MMSegmentation's own config and checkpoints.
_base_ = "mmseg::hrnet/fcn_hr18_4xb2-80k_cityscapes-512x1024.py"
custom_imports = dict(imports=["mmseg_lipcert.registration"])
num_classes = 19
