"""What may be a chest radiograph: real ones pass, small, coloured and blank pictures do not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cxrjax.base import InputError
from cxrjax.data import screening
from cxrjax.data.decode import decode
from cxrjax.data.sources.image_files import images_under


def colour_photo():
    """Sky, grass and a face, with noise: [200, 300, 3]."""
    photo = np.random.default_rng(0).integers(0, 30, (200, 300, 3)).astype(np.uint8)
    photo[:100] += np.array([90, 150, 220], np.uint8)
    photo[100:] += np.array([60, 140, 50], np.uint8)
    photo[70:130, 120:180] += np.array([90, 20, 10], np.uint8)
    return Image.fromarray(photo)


@pytest.fixture(scope="module")
def radiograph(small_phantom):
    return Image.fromarray(small_phantom.images[0])


@pytest.mark.parametrize("folder", ["nih-mini", "nih-originals", "kermany-mini", "dicom"])
def test_real_radiographs_pass(shared, folder):
    paths = images_under(shared / folder)[0]
    for path in paths[:: 1 + len(paths) // 50]:  # all 1,333 pass; these take seconds
        screening.check_reduced(decode(path.read_bytes(), path.name, check=screening.check_opened).pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "CMYK", "I", "F"])
def test_grey_passes_in_any_mode(radiograph, mode):
    screening.check_opened(radiograph.convert("RGB" if mode == "CMYK" else "L").convert(mode))


def test_grey_passes_as_a_jpeg_and_as_sixteen_bits(radiograph):
    buffer = io.BytesIO()
    radiograph.convert("RGB").save(buffer, "JPEG", quality=20)
    with Image.open(buffer) as image:
        assert screening.coloured(image) == 0
    screening.check_opened(Image.fromarray(np.asarray(radiograph).astype(np.uint16) * 16))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "YCbCr", "HSV"])
def test_a_colour_photo_is_refused_in_any_mode(mode):
    with pytest.raises(InputError, match=r"^is in colour: (9\d|100) % of its pixels, and radiographs are grey$"):
        screening.check_opened(colour_photo().convert(mode))


def test_colour_under_transparency_is_seen():
    """Where an image is transparent its channels still reach the grey image."""
    photo = colour_photo()
    photo.putalpha(0)
    assert screening.coloured(photo) > 0.9


def test_the_share_and_the_limit_of_colour(radiograph):
    marked = radiograph.convert("RGB")
    ImageDraw.Draw(marked).rectangle((0, 0, 255, 20), fill=(255, 255, 0))  # 21 of 256 rows: 8 %
    assert screening.coloured(marked) == pytest.approx(21 / 256, abs=0.01)
    screening.check_opened(marked)
    ImageDraw.Draw(marked).rectangle((0, 0, 255, 30), fill=(255, 255, 0))  # 12 %
    with pytest.raises(InputError, match="is in colour: 12 %"):
        screening.check_opened(marked)
    assert screening.coloured(Image.new("RGB", (200, 200), (100, 100, 132))) == 0
    assert screening.coloured(Image.new("RGB", (200, 200), (100, 100, 133))) == 1


def test_small_images_are_refused(radiograph):
    screening.check_opened(radiograph.resize((128, 500)))
    with pytest.raises(InputError, match="has 500 x 127 pixels; each side must have at least 128"):
        screening.check_opened(radiograph.resize((500, 127)))


def test_blank_images_are_refused():
    blank = np.random.default_rng(0).integers(100, 110, (256, 256)).astype(np.uint8)
    blank[:5, :100] = 255  # less than 1 %
    with pytest.raises(InputError, match="is blank: 98 % of its pixels lie within 9 of 255 grey levels"):
        screening.check_reduced(blank)
    blank[:15] = 255
    screening.check_reduced(blank)


def test_decode_shows_the_upright_image_of_its_own_size():
    seen = []
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200)).save(buffer, "JPEG", exif=exif)
    decode(buffer.getvalue(), "x", check=lambda image: seen.append((image.size, image.mode)))
    assert seen == [((200, 300), "RGB")]
