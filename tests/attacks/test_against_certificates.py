"""An attack may reach a certificate, never beat it; a wrong certificate is beaten."""

import pytest
import torch

from mmseg_lipcert.attacks import (
    AttackRun,
    AttackSettings,
    SegmentorLogits,
    attack_accuracy,
    minimal_norm,
)
from mmseg_lipcert.attacks.ball import norms
from mmseg_lipcert.attacks.objectives.error_objective import ErrorObjective
from mmseg_lipcert.certificates import robustness_radius, worst_case

from .ensemble import strongest


@pytest.fixture
def forgotten(trained, monkeypatch):
    """The network with trap 1: it is 1-Lipschitz, but its normalized input is 32 times as
    sensitive, and the certificate forgets that."""
    monkeypatch.setattr(type(trained), "preprocessing_norm", lambda self: 1.0)
    return trained


def attacked_accuracy(model, scenes, eps, **options):
    """Clean, attacked and certified pixel accuracy of each scene."""
    inputs, samples = scenes
    images = torch.stack(inputs).float() / 255
    target = torch.stack([sample.gt_sem_seg.data[0] for sample in samples])
    logits_of = SegmentorLogits(model, samples)
    found = attack_accuracy(logits_of, images, target, eps, **options)
    best = strongest(list(found.values()))
    assert (norms(best.delta) <= eps * (1 + 1e-6)).all()
    bound, valid = model.lipschitz_bound(tuple(target.shape[1:])), target != 255
    clean = logits_of(images)
    return [
        (
            (clean[n].argmax(0) == target[n])[valid[n]].double().mean().item(),
            (best.score[n] / valid[n].sum()).item(),
            worst_case(clean[n], target[n], "pixel_accuracy", eps, bound).item(),
        )
        for n in range(len(images))
    ]


@pytest.mark.parametrize("eps", [0.002, 0.02, 0.1])
def test_no_attack_beats_the_certificate(trained, scenes, eps):
    for before, reached, guaranteed in attacked_accuracy(trained, scenes, eps, steps=15):
        assert before > 0.3, "the network must have learned something to lose"
        assert guaranteed <= reached < before
        assert before - reached > 0.2 * (before - guaranteed), "the attack must be worth the name"


def test_a_forgotten_preprocessing_factor_is_caught(forgotten, scenes):
    for _, reached, guaranteed in attacked_accuracy(forgotten, scenes, 0.1, steps=5):
        assert reached < guaranteed


def test_no_shortest_perturbation_beats_the_radius(trained, scenes):
    inputs, samples = scenes
    images = torch.stack(inputs[:1]).float() / 255
    target = samples[0].gt_sem_seg.data
    logits_of = SegmentorLogits(trained, samples[:1])
    _, length = minimal_norm(logits_of, images, ErrorObjective(target, 0.3), steps=300)
    bound = trained.lipschitz_bound(tuple(target.shape[1:]))
    radius = robustness_radius(logits_of(images)[0], target[0], "pixel_accuracy", 0.3, bound)
    assert 0 < radius <= length.item() < 10 * radius


def run_on(model, scenes, **settings):
    run = AttackRun(model, AttackSettings(**{"eps": [0.02, 0.1], "steps": 4, **settings}), 19)
    return run.attack(*scenes)


def test_run_of_a_sound_model_has_no_violation(trained, scenes):
    for line, maps, counterexamples in run_on(trained, scenes, thresholds=[0.3]):
        assert line["violations"] == [] and counterexamples == []
        assert [found["attack"] for found in line["attacks"][0]] == list(
            AttackSettings([1]).attacks
        )
        assert all(
            found["norm"] <= eps * (1 + 1e-6)
            for eps, attacks in zip(line["eps"], line["attacks"], strict=True)
            for found in attacks
        )
        assert line["minimal"][0]["norm"] >= line["minimal"][0]["radius"] > 0
        assert set(maps) == {"prediction_0.02", "prediction_0.1"}
        assert maps["prediction_0.1"].shape == (32, 64)


def test_run_of_an_unsound_model_keeps_the_counterexample(forgotten, scenes):
    found = []
    for line, _, counterexamples in run_on(
        forgotten, scenes, attacks=["knapsack"], thresholds=[0.3], steps=20
    ):
        confirmed = [violation for violation in line["violations"] if violation["confirmed"]]
        assert len(confirmed) == len(counterexamples)
        found += counterexamples
    assert {"knapsack", "minimal"} == {case["attack"] for case in found}
    case = next(case for case in found if case["attack"] == "knapsack")
    assert "pixel_accuracy" in case["metrics"]
    # It reproduces: the image, changed by so little, is predicted worse than certified.
    image = torch.from_numpy(case["image"])
    delta, target = torch.from_numpy(case["delta"]), torch.from_numpy(case["target"])
    assert delta.double().norm() <= case["eps"] * (1 + 1e-6)
    logits_of = SegmentorLogits(forgotten, scenes[1][:1])
    clean = logits_of(image.unsqueeze(0) / 255)[0]
    attacked = logits_of(image.unsqueeze(0) / 255 + delta).argmax(1)[0]
    guaranteed = worst_case(
        clean, target, "pixel_accuracy", case["eps"], forgotten.lipschitz_bound((32, 64))
    )
    valid = target != 255
    assert (attacked == target)[valid].double().mean() < guaranteed.item()


REGIONS = dict(eps=[0.02], attacks=["knapsack"], vanish=2, fabricate=[13], fabricate_pixels=20)


def test_no_object_vanishes_and_none_is_invented_below_its_radius(trained, scenes):
    inputs, samples = scenes
    run = AttackRun(trained, AttackSettings(**REGIONS, steps=15), 19)
    ((line, _, counterexamples),) = run.attack(inputs[:1], samples[:1])
    assert [row["kind"] for row in line["regions"]] == ["vanish", "vanish", "fabricate"]
    assert line["violations"] == [] and counterexamples == []
    assert line["regions"][0]["pixels"] >= line["regions"][1]["pixels"] >= 50
    assert all(row["radius"] <= row["norm"] for row in line["regions"])
    found = [row["norm"] / row["radius"] for row in line["regions"] if row["radius"] > 0]
    assert found and min(found) < 20, "the attack must be worth the name"


def test_a_forgotten_factor_lets_objects_vanish_below_their_radius(forgotten, scenes):
    inputs, samples = scenes
    run = AttackRun(forgotten, AttackSettings(**REGIONS, steps=15), 19)
    ((line, _, counterexamples),) = run.attack(inputs[:1], samples[:1])
    broken = [v for v in line["violations"] if v["attack"] in ("vanish", "fabricate")]
    assert broken and all(violation["confirmed"] for violation in broken)
    for violation in broken:
        assert violation["metrics"][0].startswith(f"{violation['attack']}/")
    assert {case["attack"] for case in counterexamples} >= {v["attack"] for v in broken}


def test_only_a_difference_in_float64_counts(trained, scenes, monkeypatch):
    # A certificate that is wrong in float32 only: rounding, no refutation.
    run = AttackRun(trained, AttackSettings([0.02], attacks=["knapsack"], steps=2), 19)
    honest = run._certify

    def rounded_up(image, sample):
        return {**honest(image, sample), "correct_lost": [0]}

    monkeypatch.setattr(run, "_certify", rounded_up)
    for line, _, counterexamples in run.attack(*scenes):
        (violation,) = line["violations"]
        assert violation["metrics"] == ["pixel_accuracy"] and not violation["confirmed"]
        assert counterexamples == []


def test_settings_are_checked():
    with pytest.raises(ValueError, match="-0.1"):
        AttackSettings([0.1, -0.1])
    with pytest.raises(ValueError, match="unknown attack 'fgsm'"):
        AttackSettings([0.1], attacks=["fgsm"])
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        AttackSettings([0.1], steps=0)
    with pytest.raises(ValueError, match="vanish must be at least 0, got -1"):
        AttackSettings([0.1], vanish=-1)
    with pytest.raises(ValueError, match="vanish_share must be in .*got 1.5"):
        AttackSettings([0.1], vanish_share=1.5)
    with pytest.raises(ValueError, match="fabricate_pixels must be at least 1, got 0"):
        AttackSettings([0.1], fabricate_pixels=0)
    with pytest.raises(ValueError, match="thresholds"):
        AttackSettings([0.1], thresholds=[1.5])
    assert AttackSettings([0.5, 0.1, 0.5]).eps == [0.1, 0.5]
