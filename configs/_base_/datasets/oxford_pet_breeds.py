# Oxford-IIIT Pets: background and 37 breeds.
# Made by tools/dataset_converters/oxford_pets.py with --breeds, in the folder of oxford_pets.py.
_base_ = "./oxford_pets.py"
dataset_type = "OxfordPetBreedsDataset"
num_classes = 38

train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
for step in (*train_pipeline, *test_pipeline):
    if step["type"] == "CheckLabels":
        step["num_classes"] = num_classes
del step

breeds = dict(type=dataset_type, data_prefix=dict(seg_map_path="breed_dir/test"))
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_prefix=dict(seg_map_path="breed_dir/train"),
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, **breeds))
test_dataloader = val_dataloader
