import xml.etree.ElementTree as ElementTree

import pytest

from mmseg_lipcert.visualization import guarantee_svg


def certificate(curve=None, accuracy=0.9):
    def row(value):
        return dict(stability=value, pixel_accuracy=value and value * accuracy, mIoU=value)

    certified = [{"eps": 0.5, **row(0.4)}, {"eps": 0.1, **row(0.6)}]
    return dict(clean=row(1.0), certified=certified, accuracy_curve=curve)


def test_it_is_svg_without_references_and_always_the_same():
    drawn = guarantee_svg(certificate())
    root = ElementTree.fromstring(drawn)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    for element in root.iter():
        for name, value in element.attrib.items():
            if name.endswith("href"):
                assert value.startswith("#")
    assert guarantee_svg(certificate()) == drawn
    assert len(drawn) < 100_000


@pytest.mark.parametrize(
    "changed",
    [
        certificate(accuracy=0.8),
        certificate(curve=[dict(radius=0.0, pixel_accuracy=0.5)] * 2),
        {**certificate(), "certified": certificate()["certified"][:1]},
    ],
)
def test_it_shows_what_is_certified(changed):
    assert guarantee_svg(changed) != guarantee_svg(certificate())


def test_order_of_the_norms_does_not_matter():
    turned = {**certificate(), "certified": certificate()["certified"][::-1]}
    assert guarantee_svg(turned) == guarantee_svg(certificate())


def test_undefined_values_are_not_drawn():
    empty = dict(stability=None, pixel_accuracy=None, mIoU=None)
    undefined = dict(clean=empty, certified=[{"eps": 0.1, **empty}], accuracy_curve=None)
    assert b"nan" not in guarantee_svg(undefined).lower()
