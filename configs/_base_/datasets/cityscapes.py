# Cityscapes, 19 classes, 1024x2048. The folder is one setting:
#   CITYSCAPES_ROOT=/anywhere/cityscapes python tools/train.py ...
# It holds leftImg8bit/ and gtFine/ with *_labelTrainIds.png (made by cityscapesscripts).
# The data_preprocessor must pad to `crop_size`: a downscaled image is smaller than the crop.
dataset_type = "CityscapesDataset"
data_root = "{{$CITYSCAPES_ROOT:data/cityscapes}}"
num_classes = 19
crop_size = (512, 1024)  # (H, W)

train_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedAnnotations"),
    dict(type="CheckLabels", num_classes=num_classes),
    dict(type="RandomResize", scale=(2048, 1024), ratio_range=(0.5, 2.0), keep_ratio=True),
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
    batch_size=2,
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
# The labels of the test split are not public.
test_dataloader = val_dataloader

# aAcc is the pooled pixel accuracy, mIoU the mean over classes of the pooled IoU; both in percent.
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
