"""What becomes of files that strangers send: honest ones are written anew, hostile ones refused, each in bounds."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import av
import pytest
from PIL import Image

from services.adapters.evidence import Bounds, Decoded, Decoder
from services.domain.evidence import EvidenceSort, Format, Limits, Unfit, admit
from tests import evidence_kit as kit

SMALL = Limits(clip_s=3.0, voice_s=3.0)


async def decode(
    tmp_path: Path,
    data: bytes,
    sort: EvidenceSort = EvidenceSort.PHOTO,
    *,
    declared: str | None = None,
    limits: Limits = SMALL,
    bounds: Bounds | None = None,
) -> Decoded | Unfit:
    """As the intake does it."""
    form = admit(sort, data[:64], declared)
    if isinstance(form, Unfit):
        return form
    into = tmp_path / f"out-{uuid4().hex}"
    into.mkdir()
    source = into / "source"
    source.write_bytes(data)
    return await Decoder(limits, bounds).decode(source, into, sort, form)


@pytest.mark.parametrize("tail", [b"", kit.zipped(), b"<?php system($_GET[0]); ?>"])
async def test_photo_keeps_its_pixels_and_nothing_else(tmp_path: Path, tail: bytes) -> None:
    data = kit.jpeg() + tail
    assert kit.SECRET.encode() in data
    found = await decode(tmp_path, data, declared="image/jpeg")
    assert isinstance(found, Decoded), found
    kept = found.path.read_bytes()
    for trace in (
        kit.SECRET.encode(),
        b"Exif",
        b"http://ns.adobe.com",
        b"ICC_PROFILE",
        b"PK\x03\x04",
        b"<?php",
        b"script",
    ):
        assert trace not in kept
    with Image.open(io.BytesIO(kept)) as picture:
        assert picture.size == (640, 480)
        assert dict(picture.getexif()) == {}
        red, blue = picture.getpixel((320, 100)), picture.getpixel((320, 400))
    assert isinstance(red, tuple) and isinstance(blue, tuple)
    assert red[0] > 150 > red[2] and blue[2] > 150 > blue[0]
    # What the file claims is told, as a claim, before it is gone.
    assert found.taken_at is not None and found.taken_at.isoformat() == "2026-11-20T10:30:00+08:00"
    assert found.latitude == pytest.approx(kit.LATITUDE, abs=1e-5)
    assert found.longitude == pytest.approx(kit.LONGITUDE, abs=1e-5)
    assert found.thumb is not None
    with Image.open(found.thumb) as thumb:
        assert (thumb.format, max(thumb.size)) == ("WEBP", 320)


async def test_photo_that_lies_on_its_side_is_set_upright(tmp_path: Path) -> None:
    found = await decode(tmp_path, kit.jpeg(turned=True))
    assert isinstance(found, Decoded)
    assert (found.width, found.height) == (480, 640)


async def test_photo_larger_than_what_is_kept_is_made_smaller(tmp_path: Path) -> None:
    found = await decode(tmp_path, kit.jpeg(9000, 7000))
    assert isinstance(found, Decoded)
    assert max(found.width or 0, found.height or 0) == SMALL.edge


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
async def test_png_of_every_sort_of_pixel_is_taken(tmp_path: Path, mode: str) -> None:
    found = await decode(tmp_path, kit.png(mode=mode))
    assert isinstance(found, Decoded), found
    assert (found.media_type, found.width, found.height) == ("image/png", 200, 100)


async def test_webp_is_taken(tmp_path: Path) -> None:
    found = await decode(tmp_path, kit.webp())
    assert isinstance(found, Decoded) and found.media_type == "image/webp"


HOSTILE: dict[str, tuple[Callable[[], bytes], EvidenceSort, str | None, Unfit]] = {
    "empty": (lambda: b"", EvidenceSort.PHOTO, "image/jpeg", Unfit.EMPTY),
    "bomb of 50,000 by 50,000": (kit.bomb_png, EvidenceSort.PHOTO, "image/png", Unfit.PIXELS),
    "truncated jpeg": (lambda: kit.jpeg()[:-3000], EvidenceSort.PHOTO, "image/jpeg", Unfit.DAMAGED),
    "first bytes of a jpeg": (lambda: kit.jpeg()[:40], EvidenceSort.PHOTO, "image/jpeg", Unfit.DAMAGED),
    "magic and noise": (lambda: b"\xff\xd8\xff" + os.urandom(5000), EvidenceSort.PHOTO, None, Unfit.DAMAGED),
    "png without its data": (lambda: kit.png()[:60], EvidenceSort.PHOTO, None, Unfit.DAMAGED),
    "svg with a script": (lambda: kit.SVG, EvidenceSort.PHOTO, "image/svg+xml", Unfit.TYPE),
    "svg that says it is a png": (lambda: kit.SVG, EvidenceSort.PHOTO, "image/png", Unfit.TYPE),
    "html as .jpg": (lambda: kit.HTML, EvidenceSort.PHOTO, "image/jpeg", Unfit.TYPE),
    "png that says it is a jpeg": (kit.png, EvidenceSort.PHOTO, "image/jpeg", Unfit.MISMATCH),
    "jpeg that says it is html": (kit.jpeg, EvidenceSort.PHOTO, "text/html", Unfit.MISMATCH),
    "gif of 10,000 frames": (kit.gif, EvidenceSort.PHOTO, "image/gif", Unfit.GIF),
    "moving webp": (lambda: kit.webp(5), EvidenceSort.PHOTO, "image/webp", Unfit.ANIMATED),
    "moving png": (kit.apng, EvidenceSort.PHOTO, "image/png", Unfit.ANIMATED),
    "heic": (lambda: kit.HEIC, EvidenceSort.PHOTO, "image/heic", Unfit.HEIC),
    "zip": (kit.zipped, EvidenceSort.PHOTO, "image/jpeg", Unfit.TYPE),
    "zip before a jpeg": (lambda: kit.zipped() + kit.jpeg(), EvidenceSort.PHOTO, "image/jpeg", Unfit.TYPE),
    "photo as a clip": (kit.jpeg, EvidenceSort.CLIP, "image/jpeg", Unfit.SORT),
    "jpeg as a signature": (kit.jpeg, EvidenceSort.SIGNATURE, "image/jpeg", Unfit.SORT),
    "large signature": (lambda: kit.png(2500, 2500, "1"), EvidenceSort.SIGNATURE, "image/png", Unfit.PIXELS),
    "playlist": (lambda: kit.PLAYLIST, EvidenceSort.CLIP, "video/mp4", Unfit.TYPE),
    "list of files": (lambda: kit.CONCAT, EvidenceSort.CLIP, "video/mp4", Unfit.TYPE),
    "mp4 head and noise": (
        lambda: b"\x00\x00\x00\x18ftypisom" + os.urandom(4000),
        EvidenceSort.CLIP,
        None,
        Unfit.DAMAGED,
    ),
    "webm head and noise": (lambda: b"\x1aE\xdf\xa3" + os.urandom(4000), EvidenceSort.CLIP, None, Unfit.DAMAGED),
    "ogg head and noise": (lambda: b"OggS" + os.urandom(4000), EvidenceSort.VOICE, None, Unfit.DAMAGED),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_file_is_refused_for_what_it_is(tmp_path: Path, name: str) -> None:
    made, sort, declared, why = HOSTILE[name]
    assert await decode(tmp_path, made(), sort, declared=declared) is why


@pytest.mark.parametrize(
    ("form", "video", "audio", "media_type"),
    [
        ("mp4", "libx264", "aac", "video/mp4"),
        ("mp4", "libx264", None, "video/mp4"),
        ("mov", "libx264", "aac", "video/mp4"),
        ("webm", "libvpx", "libopus", "video/webm"),
        ("webm", "libvpx-vp9", None, "video/webm"),
    ],
)
async def test_clip_is_carried_over_without_its_tags(
    tmp_path: Path, form: str, video: str, audio: str | None, media_type: str
) -> None:
    data = kit.clip(tmp_path / "made", form, video, audio) + b"PK\x03\x04tail"
    assert kit.SECRET.encode() in data
    found = await decode(tmp_path, data, EvidenceSort.CLIP)
    assert isinstance(found, Decoded), found
    assert (found.media_type, found.width, found.height) == (media_type, 160, 120)
    assert found.duration_s == pytest.approx(1.0, abs=0.1)
    assert found.latitude == pytest.approx(kit.LATITUDE, abs=1e-3)
    kept = found.path.read_bytes()
    assert kit.SECRET.encode() not in kept and b"29.7003" not in kept and b"PK\x03\x04tail" not in kept
    with av.open(str(found.path)) as container:
        assert [stream.type for stream in container.streams] == ["video"] + (["audio"] if audio else [])
        assert sum(1 for _ in container.decode(video=0)) == 25
    assert found.thumb is not None


@pytest.mark.parametrize(("form", "audio"), [("ipod", "aac"), ("ogg", "libopus"), ("webm", "libopus"), ("ogg", "flac")])
async def test_voice_note_is_carried_over(tmp_path: Path, form: str, audio: str) -> None:
    found = await decode(tmp_path, kit.clip(tmp_path / "made", form, None, audio), EvidenceSort.VOICE)
    if audio == "flac":
        assert found is Unfit.CODEC
        return
    assert isinstance(found, Decoded), found
    assert found.media_type.startswith("audio/") and found.thumb is None
    assert kit.SECRET.encode() not in found.path.read_bytes()


async def test_clip_with_tricks_is_refused(tmp_path: Path) -> None:
    plain = kit.clip(tmp_path / "made")
    assert await decode(tmp_path, kit.external(plain), EvidenceSort.CLIP) is Unfit.EXTERNAL
    assert await decode(tmp_path, kit.encrypted(plain), EvidenceSort.CLIP) is Unfit.ENCRYPTED
    assert await decode(tmp_path, plain[: len(plain) // 2], EvidenceSort.CLIP) is Unfit.DAMAGED
    assert await decode(tmp_path, plain, EvidenceSort.VOICE) is Unfit.STREAMS
    long = kit.clip(tmp_path / "long", audio=None, frames=100)
    assert await decode(tmp_path, long, EvidenceSort.CLIP) is Unfit.TOO_LONG
    large = kit.clip(tmp_path / "large", audio=None, frames=1, size=(1280, 720))
    assert await decode(tmp_path, large, EvidenceSort.CLIP, limits=Limits(pixels=500_000)) is Unfit.PIXELS
    old = kit.clip(tmp_path / "old", "mp4", "mpeg4", None)
    assert await decode(tmp_path, old, EvidenceSort.CLIP) is Unfit.CODEC


async def test_decoder_that_takes_too_much_memory_or_time_ends_alone(tmp_path: Path) -> None:
    big = kit.png(7000, 7000, "RGB")
    assert await decode(tmp_path, big, bounds=Bounds(memory=150 * 1024 * 1024)) is Unfit.COSTLY
    assert await decode(tmp_path, big, bounds=Bounds(wall_s=0.05)) is Unfit.COSTLY
    assert isinstance(await decode(tmp_path, big), Decoded)


async def test_decoder_that_crashes_is_a_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.adapters.evidence import media

    crash = tmp_path / "crash.py"
    crash.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(media, "_SCRIPT", crash)
    assert await decode(tmp_path, kit.jpeg()) is Unfit.DAMAGED


async def test_decoder_knows_no_secret_of_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.adapters.evidence import media

    monkeypatch.setenv("LINHUB_SECRET_KEY", "x" * 40)
    spy = tmp_path / "spy.py"
    spy.write_text(
        "import os, json; json.dump(dict(os.environ), open('" + str(tmp_path / "seen") + "', 'w')); os._exit(3)"
    )
    monkeypatch.setattr(media, "_SCRIPT", spy)
    assert await decode(tmp_path, kit.jpeg()) is Unfit.DAMAGED
    assert "LINHUB" not in (tmp_path / "seen").read_text()


def test_every_sort_names_its_formats_and_every_refusal_has_words() -> None:
    from services.domain.evidence import words

    for why in Unfit:
        assert words(why).zh and words(why).en
    for sort in EvidenceSort:
        assert any(admit(sort, head, None) in Format for head in (kit.png()[:64], b"\0\0\0\x18ftypisom" + bytes(9)))
