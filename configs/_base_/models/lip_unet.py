# 1-Lipschitz U-Net. One gray level of every channel is 1/255: the preprocessing has norm 1.
data_preprocessor = dict(
    type="SegDataPreProcessor",
    mean=[127.5, 127.5, 127.5],
    std=[255.0, 255.0, 255.0],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
)
model = dict(
    type="LipEncoderDecoder",
    data_preprocessor=data_preprocessor,
    backbone=dict(type="LipUNet", size="M", skip="split"),
    decode_head=dict(
        type="LipFCNHead",
        in_channels=64,
        channels=64,
        num_convs=0,
        upsample_channels=(32, 16),
        num_classes=19,
        loss_decode=dict(type="TemperatureCrossEntropyLoss", temperature=50.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
