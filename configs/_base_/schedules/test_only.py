# For networks that are only tested: set train_dataloader, val_dataloader and val_evaluator to None.
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=20),
    visualization=dict(type="SegVisualizationHook"),
)
