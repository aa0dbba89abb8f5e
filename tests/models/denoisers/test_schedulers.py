import math

import diffusers
import pytest
import torch

from mmseg_lipcert.models.denoisers.flow_matching import FlowMatching
from mmseg_lipcert.models.denoisers.karras import Karras
from mmseg_lipcert.models.denoisers.schedulers import noise_family
from mmseg_lipcert.models.denoisers.variance_preserving import VariancePreserving

LINEAR = dict(_class_name="DDPMScheduler")


@pytest.mark.parametrize(
    ("sigma", "expected"),
    [(0.05, 26.4), (0.1, 57.4), (0.12, 69.6), (0.25, 144.2), (0.5, 258.1), (1.0, 396.0)],
)
def test_timesteps_of_the_linear_schedule(sigma, expected):
    assert noise_family(LINEAR).timestep(2 * sigma) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("name", ["DDPM", "DDIM", "PNDM", "DPMSolverMultistep", "EulerDiscrete"])
@pytest.mark.parametrize("betas", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_timesteps_invert_the_schedule(name, betas):
    config = dict(_class_name=f"{name}Scheduler", beta_schedule=betas)
    family = noise_family(config)
    assert isinstance(family, VariancePreserving)
    # An independent construction of the schedules.
    steps = torch.arange(1000, dtype=torch.float64)
    if betas == "squaredcos_cap_v2":

        def alpha_bar(time):
            return torch.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

        rates = (1 - alpha_bar((steps + 1) / 1000) / alpha_bar(steps / 1000)).clamp(max=0.999)
    else:
        low, high = (
            getattr(diffusers, f"{name}Scheduler")().config[key]
            for key in ("beta_start", "beta_end")
        )
        power = 2 if betas == "scaled_linear" else 1
        rates = torch.linspace(low ** (1 / power), high ** (1 / power), 1000).double() ** power
    products = (1 - rates).cumprod(0)
    for step in (0, 1, 57, 400, 900):
        level = math.sqrt((1 - products[step]) / products[step])
        if level >= family.smallest_level:
            assert family.timestep(level) == pytest.approx(step, abs=1e-2)


def test_a_level_between_two_steps_gets_a_timestep_between():
    family = noise_family(LINEAR)
    level = math.sqrt(family.levels[100] * family.levels[101])
    assert family.timestep(level) == pytest.approx(100.5, abs=1e-6)


@pytest.mark.parametrize("level", [0.0, 0.005, 200.0])
@pytest.mark.parametrize(
    "config", [LINEAR, dict(_class_name="EDMEulerScheduler", sigma_min=0.01, sigma_max=80.0)]
)
def test_levels_outside_of_the_schedule_are_refused(config, level):
    with pytest.raises(ValueError, match=f"noise level {level:g} is outside of the"):
        noise_family(config).timestep(level)


@pytest.mark.parametrize("level", [0.0, -1.0, math.inf])
def test_flow_matching_refuses_levels_that_are_none(level):
    with pytest.raises(ValueError, match="positive"):
        noise_family(dict(_class_name="FlowMatchEulerDiscreteScheduler")).timestep(level)


@pytest.mark.parametrize("name", ["DDPM", "DPMSolverMultistep", "EulerDiscrete"])
def test_zero_terminal_signal_is_no_obstacle(name):
    family = noise_family(dict(_class_name=f"{name}Scheduler", rescale_betas_zero_snr=True))
    assert 0 < family.timestep(0.5) < 999
    assert len(family.levels) == 999


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (dict(_class_name="EDMEulerScheduler"), Karras),
        (dict(_class_name="EDMDPMSolverMultistepScheduler"), Karras),
        (dict(_class_name="FlowMatchEulerDiscreteScheduler", shift=3.0), FlowMatching),
        (
            dict(
                _class_name="DPMSolverMultistepScheduler",
                prediction_type="flow_prediction",
                use_flow_sigmas=True,
            ),
            FlowMatching,
        ),
    ],
)
def test_families(config, kind):
    assert isinstance(noise_family(config), kind)


@pytest.mark.parametrize("name", [None, "DDPMPipeline", "NoSuchScheduler"])
def test_what_is_no_scheduler_is_refused(name):
    with pytest.raises(ValueError, match="diffusers has no scheduler"):
        noise_family(dict(_class_name=name))


def test_other_families_are_refused():
    with pytest.raises(ValueError, match="ScoreSdeVeScheduler .* is neither"):
        noise_family(dict(_class_name="ScoreSdeVeScheduler"))


@pytest.mark.parametrize("name", ["DDPMScheduler", "EDMEulerScheduler"])
def test_other_predictions_are_refused(name):
    with pytest.raises(ValueError, match="prediction must be"):
        noise_family(dict(_class_name=name, prediction_type="score"))


DDIM = dict(_class_name="DDIMScheduler")
EDM = dict(_class_name="EDMEulerScheduler")
FLOW = dict(_class_name="FlowMatchEulerDiscreteScheduler")
LEVELS = "must be positive, finite and strictly increasing, got"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DDIM | dict(beta_schedule="nonsense"), "NotImplementedError: nonsense"),
        (DDIM | dict(num_train_timesteps="1000"), "TypeError: linspace"),
        (DDIM | dict(num_train_timesteps=0), "the schedule has no noise levels: 0 timesteps"),
        (DDIM | dict(trained_betas=[]), "the schedule has no noise levels"),
        (DDIM | dict(trained_betas=[0.1, math.nan]), rf"{LEVELS} nan after 0.3333 at timestep 1"),
        (DDIM | dict(trained_betas=[0.3, 0.0]), rf"{LEVELS} 0.6547 after 0.6547 at timestep 1"),
        (DDIM | dict(trained_betas=[0.1, 1.9, 1.9]), rf"{LEVELS} nan after 0.3333 at timestep 1"),
        (DDIM | dict(beta_start=0.0, beta_end=0.0), rf"{LEVELS} 0 at timestep 0"),
        (DDIM | dict(beta_end=-0.1), LEVELS),
        (DDIM | dict(clip_sample_range=0.0), "clip must be a positive number, got 0.0"),
        (DDIM | dict(thresholding=True), "thresholding=True, but dynamic thresholding is not"),
        (EDM | dict(sigma_data=0.0), "sigma_data must be a positive number, got 0.0"),
        (EDM | dict(sigma_data="0.5"), "TypeError"),
        (EDM | dict(sigma_min=5.0, sigma_max=1.0), "0 < sigma_min < sigma_max, got 5.0 and 1.0"),
        (EDM | dict(sigma_min=0.0), "0 < sigma_min < sigma_max, got 0.0"),
        (FLOW | dict(invert_sigmas=True), "invert_sigmas=True, but"),
        (FLOW | dict(num_train_timesteps=0), "IndexError"),
        (dict(_class_name="VQDiffusionScheduler"), "TypeError: .*num_vec_classes"),
        (dict(_class_name="KarrasVeScheduler"), "the installed diffusers has it no more"),
    ],
)
def test_broken_settings_are_refused(config, message):
    name = config["_class_name"]
    with pytest.raises(ValueError, match=f"the scheduler {name} cannot be used: .*{message}"):
        noise_family(config)


@pytest.mark.parametrize("value", [0, -1, math.inf])
def test_flow_matching_refuses_scales_that_are_none(value):
    with pytest.raises(ValueError, match="num_timesteps must be a positive number"):
        FlowMatching(value)


@pytest.mark.parametrize(
    ("config", "clip", "expected"),
    [
        (LINEAR, None, 1.0),
        (LINEAR | dict(clip_sample_range=1.5), None, 1.5),
        (LINEAR | dict(clip_sample=False), None, None),
        (LINEAR, False, None),
        (dict(_class_name="PNDMScheduler"), None, None),
        (dict(_class_name="PNDMScheduler"), True, 1.0),
    ],
)
def test_clipping_follows_the_scheduler_unless_told(config, clip, expected):
    assert noise_family(config, clip).clip == expected


def test_clipping():
    family = noise_family(LINEAR | dict(prediction_type="sample", clip_sample_range=0.5))
    found = family.clean(torch.zeros(3), 1.0, torch.tensor([-2.0, 0.25, 0.75]))
    assert found.tolist() == [-0.5, 0.25, 0.5]
