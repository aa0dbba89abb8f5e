# Generated street scenes with the 19 classes of Cityscapes, 256x512. Make them with
#   python tools/dataset_converters/street_scenes.py --out data/street_scenes
# The folder is one setting:
#   STREET_SCENES_ROOT=/anywhere/street_scenes python tools/train.py ...
# The data_preprocessor must pad to `crop_size`: a downscaled image is smaller than the crop.
dataset_type = "CityscapesDataset"
data_root = "{{$STREET_SCENES_ROOT:data/street_scenes}}"
num_classes = 19
crop_size = (256, 512)  # (H, W)

train_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedAnnotations"),
    dict(type="CheckLabels", num_classes=num_classes),
    dict(type="RandomResize", scale=(512, 256), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
# Original size: a resize would change the meaning of an l2 radius.
test_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedAnnotations"),
    dict(type="CheckLabels", num_classes=num_classes),
    dict(type="PackSegInputs"),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path="leftImg8bit/train", seg_map_path="gtFine/train"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path="leftImg8bit/test", seg_map_path="gtFine/test"),
        pipeline=test_pipeline,
    ),
)

# aAcc is the pooled pixel accuracy, mIoU the mean over classes of the pooled IoU; both in percent.
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
