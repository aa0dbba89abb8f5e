# Oxford-IIIT Pets: background and pet (the border is void), images of many sizes. One setting:
#   PETS_ROOT=/anywhere/oxford_pets python tools/train.py ...
# Made by tools/dataset_converters/oxford_pets.py. Folders and sizes are those of Kvasir-SEG.
_base_ = "./kvasir_seg.py"
dataset_type = "OxfordPetsDataset"
data_root = "{{$PETS_ROOT:data/oxford_pets}}"

# Pets stand upright.
train_pipeline = [step for step in _base_.train_pipeline if step.get("direction") != "vertical"]

pets = dict(type=dataset_type, data_root=data_root)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, **pets))
val_dataloader = dict(dataset=pets)
test_dataloader = val_dataloader
