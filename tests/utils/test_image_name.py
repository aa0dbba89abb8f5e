import pytest

from mmseg_lipcert.utils.image_name import check_unique, image_name


def test_name_is_the_path_below_the_root_without_extension():
    assert image_name("/data/img/a/b.png", "/data/img") == "a/b"
    assert image_name("/data/img/a/b.c.png", "/data/img") == "a/b.c"
    assert image_name("/elsewhere/b.png", "/data/img") == "elsewhere/b"


def test_images_that_would_share_a_name_are_named():
    paths = ("d/a.png", "d/b.png")
    check_unique({path: image_name(path) for path in paths})
    with pytest.raises(ValueError, match="d/a.png and d/a.jpg are both called d/a"):
        check_unique({path: image_name(path) for path in ("d/a.png", "d/a.jpg")})


def test_a_name_that_is_not_utf8_is_refused():
    with pytest.raises(ValueError, match=r"b'a/\\xff.png' is not UTF-8.*rename it"):
        image_name("a/\udcff.png", "a")
