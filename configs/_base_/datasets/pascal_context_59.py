# Pascal Context with 59 classes (background is void); images of about 375x500. One setting:
#   VOC2010_ROOT=/anywhere/VOCdevkit/VOC2010 python tools/train.py ...
# It holds JPEGImages/, SegmentationClassContext/ and ImageSets/SegmentationContext/, as made by
# MMSegmentation's tools/dataset_converters/pascal_context.py.
# The data_preprocessor must pad to `crop_size`: a downscaled image is smaller than the crop.
dataset_type = "PascalContextDataset59"
data_root = "{{$VOC2010_ROOT:data/VOCdevkit/VOC2010}}"
num_classes = 59
crop_size = (480, 480)  # (H, W)

train_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedAnnotations"),
    dict(type="CheckLabels", num_classes=num_classes),
    dict(type="RandomResize", scale=(520, 520), ratio_range=(0.5, 2.0), keep_ratio=True),
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
    batch_size=4,
    num_workers=2,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassContext"),
        ann_file="ImageSets/SegmentationContext/train.txt",
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
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassContext"),
        ann_file="ImageSets/SegmentationContext/val.txt",
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

# aAcc is the pooled pixel accuracy, mIoU the mean over classes of the pooled IoU; both in percent.
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
