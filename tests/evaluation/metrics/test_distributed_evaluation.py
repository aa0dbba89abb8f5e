"""Two processes give the figures of one."""

import json
import os
import socket

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mmseg_lipcert.evaluation.metrics import LipschitzCertificateMetric

IMAGES = 5


def sample(index):
    generator = torch.Generator().manual_seed(index)
    logits = torch.randn(4, 10, 12, generator=generator)
    target = torch.randint(0, 3 + index % 2, (1, 10, 12), generator=generator)
    return dict(
        seg_logits=dict(data=logits),
        gt_sem_seg=dict(data=target),
        lipschitz_bound=1.2,
        img_path=f"{index}.png",
        img_shape=(10, 12),
        ori_shape=(10, 12),
        logit_stride=1,
    )


def evaluate(indices):
    metric = LipschitzCertificateMetric(eps=[0.1, 0.6])
    metric.dataset_meta = dict(classes=("a", "b", "c", "d"))
    for index in indices:
        metric.process({}, [sample(index)])
    return metric.evaluate(IMAGES)


def worker(rank, port, path):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    # As MMEngine's sampler does it: every second image, repeated to equal numbers.
    figures = evaluate([index % IMAGES for index in range(rank, IMAGES + 1, 2)])
    if rank == 0:
        with open(path, "w") as file:
            json.dump(figures, file)
    dist.destroy_process_group()


def test_two_processes_give_the_figures_of_one(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = tmp_path / "figures.json"
    mp.spawn(worker, args=(port, str(path)), nprocs=2)
    assert json.loads(path.read_text()) == evaluate(range(IMAGES))
