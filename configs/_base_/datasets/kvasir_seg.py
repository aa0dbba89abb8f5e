# Kvasir-SEG: polyps, two classes, images of many sizes. The folder is one setting:
#   KVASIR_ROOT=/anywhere/kvasir_seg python tools/train.py ...
# Made by tools/dataset_converters/kvasir_seg.py, which says how it splits.
# The data_preprocessor must pad to `crop_size`: a downscaled image is smaller than the crop.
dataset_type = "KvasirSegDataset"
data_root = "{{$KVASIR_ROOT:data/kvasir_seg}}"
num_classes = 2
crop_size = (256, 256)  # (H, W)

train_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedAnnotations"),
    dict(type="CheckLabels", num_classes=num_classes),
    dict(type="RandomResize", scale=(512, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.95),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomFlip", prob=0.5, direction="vertical"),
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
        data_prefix=dict(img_path="img_dir/train", seg_map_path="ann_dir/train"),
        pipeline=train_pipeline,
    ),
)
# There is no third part: watch a training with it, choose nothing by it.
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path="img_dir/test", seg_map_path="ann_dir/test"),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

# aAcc is the pooled pixel accuracy, mIoU the mean over classes of the pooled IoU; both in percent.
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
