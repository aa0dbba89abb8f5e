# Trained with noise of the standard deviation that it is certified with.
_base_ = "./fcn-hrnet-w48_80k_pascal-context-59-480x480.py"
train_pipeline = _base_.train_pipeline
train_pipeline.insert(-1, dict(type="AddGaussianNoise", sigma=0.25))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
