"""Opens one file that a stranger sent, writes it anew without what hides in it, and says what it is.

Runs as a process of its own, started with this file's path, under limits it cannot lift: whatever a decoder does to a
hostile file (crash, loop, swallow memory), only this process ends. It imports nothing of ours.
Answers one line of JSON: {"refused": name of an Unfit} or {"format", "media_type", "width", …}.
"""

from __future__ import annotations

import json
import re
import resource
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from PIL import Image

THUMB_EDGE = 320
DECODED_FRAMES = 8
"""A clip that opens and whose first pictures decode is one; the rest is carried over as it is."""
_TAKEN_AT, _TAKEN_OFFSET, _EXIF_IFD, _GPS_IFD = 0x9003, 0x9011, 0x8769, 0x8825
_VIDEO = {"mp4": {"h264", "hevc", "av1"}, "webm": {"vp8", "vp9", "av1"}}
_AUDIO = {"mp4": {"aac", "opus"}, "webm": {"opus"}, "ogg": {"opus", "vorbis"}}


class Refused(Exception):
    """With the name of an Unfit."""


def confine(memory: int, seconds: int, written: int) -> None:
    """Memory, processor time and size of files of this process from here on, for good."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (written, written))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))


# ------------------------------------------------------------------ pictures


def photo(source: Path, into: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Decoded whole, turned upright, in sRGB, not larger than `edge`, and written anew from its pixels alone."""
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # the size is looked at below, by our own limit and without a mere warning
    form = str(given["format"])
    names = {"jpeg": ["JPEG", "MPO"], "png": ["PNG"], "webp": ["WEBP"]}[form]
    with Image.open(source, formats=names) as opened:
        if opened.width * opened.height > given["pixels"] or min(opened.size) < 1:
            raise Refused("pixels")
        if form != "jpeg" and getattr(opened, "n_frames", 1) > 1:
            raise Refused("animated")
        claims = _claims_of(opened)
        edge = int(given["edge"])
        opened.draft("RGB", (edge, edge))  # a JPEG much larger than what is kept is decoded smaller to begin with
        opened.load()
        upright = ImageOps.exif_transpose(opened)
    picture = _plain(upright)
    picture.thumbnail((edge, edge), reducing_gap=2.0)
    options: dict[str, Any] = {"quality": 90} if form != "png" else {}
    picture.save(into / "object", {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP"}[form], **options)
    width, height = picture.size
    _thumbnail(picture, into)
    return {"media_type": f"image/{form}", "width": width, "height": height, **claims}


def _plain(image: Image.Image) -> Image.Image:
    """The pixels and nothing else: no profile, no comment, no Exif, no XMP goes along."""
    from PIL import Image, ImageCms

    profile = image.info.get("icc_profile")
    clear = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    mode = "RGBA" if clear else "RGB"
    if profile and image.mode in ("RGB", "RGBA", "CMYK", "L"):
        try:
            import io

            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            turned = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode=mode)
            image = turned if turned is not None else image
        except (ImageCms.PyCMSError, ValueError, OSError):
            image = image.convert(mode)
    if image.mode.startswith(("I", "F")):
        image = image.point(lambda value: value / 256).convert("L")
    image = image.convert(mode)
    bare = Image.new(mode, image.size)
    bare.paste(image)
    return bare


def _thumbnail(image: Image.Image, into: Path) -> None:
    image.thumbnail((THUMB_EDGE, THUMB_EDGE))
    image.save(into / "thumb", "WEBP", quality=75)


def _claims_of(image: Image.Image) -> dict[str, Any]:
    """When and where the file says it was taken. Anybody can write that, so it is a claim."""
    try:
        exif = image.getexif()
        inner, gps = exif.get_ifd(_EXIF_IFD), exif.get_ifd(_GPS_IFD)
    except Exception:  # a broken Exif block is no reason to refuse the picture
        return {}
    claims: dict[str, Any] = {}
    when, offset = inner.get(_TAKEN_AT), inner.get(_TAKEN_OFFSET)
    if isinstance(when, str) and re.fullmatch(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d", when.strip("\0 ")):
        date, _, time = when.strip("\0 ").partition(" ")
        zone = offset.strip("\0 ") if isinstance(offset, str) else ""
        claims["taken_at"] = f"{date.replace(':', '-')}T{time}" + (zone if re.fullmatch(r"[+-]\d\d:\d\d", zone) else "")
    latitude, longitude = _degrees(gps.get(2), gps.get(1), "S"), _degrees(gps.get(4), gps.get(3), "W")
    return claims | _placed(latitude, longitude)


def _degrees(parts: Any, side: Any, negative: str) -> float | None:
    try:
        degrees, minutes, seconds = (float(part) for part in parts)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    value = degrees + minutes / 60 + seconds / 3600
    return -value if side == negative else value


def _placed(latitude: float | None, longitude: float | None) -> dict[str, float]:
    if latitude is None or longitude is None or not (abs(latitude) <= 90 and abs(longitude) <= 180):
        return {}
    return {} if latitude == longitude == 0 else {"latitude": latitude, "longitude": longitude}


# ------------------------------------------------------------------ clips and voice


def recording(source: Path, into: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Its packets carried over into a fresh container, and nothing else: no tags, chapters, tracks of data, or tail."""
    import av

    form, voice = str(given["format"]), given["sort"] == "voice"
    if form == "mp4":
        _check_boxes(source)
    with source.open("rb") as file:
        # From an open file and with the format named, the library has no reason to open anything else.
        container = av.open(
            file, format={"mp4": "mp4", "webm": "matroska", "ogg": "ogg"}[form], metadata_errors="ignore"
        )
        with container:
            return _carried_over(container, into, form, voice, given)


def _carried_over(container: Any, into: Path, form: str, voice: bool, given: dict[str, Any]) -> dict[str, Any]:
    import av

    video, audio = _streams(container, form, voice)
    claims = _container_claims(container)
    width = height = None
    if video is not None:
        width, height = video.codec_context.width, video.codec_context.height
        if width < 1 or height < 1:
            raise Refused("damaged")
        if width * height > given["pixels"]:
            raise Refused("pixels")
    kept = [stream for stream in (video, audio) if stream is not None]
    for stream in kept:
        stream.codec_context.thread_count = 1
    left = {stream.index: DECODED_FRAMES for stream in kept}
    seen: Any = None
    longest = 0.0
    target = {"mp4": "mp4", "webm": "webm", "ogg": "ogg"}[form]
    options = {"fflags": "+bitexact"} | ({"movflags": "+faststart"} if form == "mp4" else {})
    with av.open(str(into / "object"), "w", format=target, options=options) as out:
        copies = {stream.index: out.add_stream_from_template(stream) for stream in kept}
        for copy in copies.values():
            copy.metadata.clear()
        out.metadata.clear()
        starts: dict[int, int] = {}
        for packet in container.demux(kept):
            if packet.dts is None:
                continue
            index = packet.stream.index
            if left[index] > 0:
                for frame in packet.decode():
                    left[index] -= 1
                    if index == getattr(video, "index", None):
                        if frame.width * frame.height > given["pixels"]:
                            raise Refused("pixels")
                        seen = seen or frame
            at = packet.pts if packet.pts is not None else packet.dts
            starts.setdefault(index, at)
            longest = max(longest, float((at - starts[index] + (packet.duration or 0)) * packet.time_base))
            if longest > given["seconds"]:
                raise Refused("too_long")
            packet.stream = copies[index]
            out.mux(packet)
    if any(number == DECODED_FRAMES for number in left.values()) or longest <= 0:
        raise Refused("damaged")  # not one picture, or not one sound, could be decoded
    if seen is not None:
        _thumbnail(_still(seen), into)
    media_type = f"{'audio' if voice else 'video'}/{form}"
    return {"media_type": media_type, "width": width, "height": height, "duration_s": round(longest, 3), **claims}


def _streams(container: Any, form: str, voice: bool) -> tuple[Any, Any]:
    """(pictures, sound) to carry over. Tracks of data, as phones write them, and covers are left behind."""
    found: dict[str, list[Any]] = {}
    for stream in container.streams:
        if stream.type in ("subtitle", "attachment"):
            raise Refused("streams")
        cover = stream.type == "video" and "attached_pic" in str(getattr(stream, "disposition", "")).lower()
        if not cover:
            found.setdefault(stream.type, []).append(stream)
    videos, audios = found.get("video", []), found.get("audio", [])
    if len(videos) != (0 if voice else 1) or len(audios) > 1 or (voice and not audios):
        raise Refused("streams")
    for stream, known in (*((one, _VIDEO) for one in videos), *((one, _AUDIO) for one in audios)):
        if stream.codec_context is None or stream.codec_context.codec.canonical_name not in known.get(form, set()):
            raise Refused("codec")
    return (videos or [None])[0], (audios or [None])[0]


def _still(frame: VideoFrame) -> Image.Image:
    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
    turn = int(getattr(frame, "rotation", 0) or 0)
    return _plain(image.rotate(turn, expand=True) if turn else image)


def _container_claims(container: Any) -> dict[str, Any]:
    tags = {str(name).lower(): str(value) for name, value in container.metadata.items()}
    claims: dict[str, Any] = {}
    made = tags.get("com.apple.quicktime.creationdate") or tags.get("creation_time", "")
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)", made) and not made.startswith("19"):
        claims["taken_at"] = made
    where = tags.get("com.apple.quicktime.location.iso6709") or tags.get("location", "")
    if point := re.match(r"([+-]\d+(?:\.\d+)?)([+-]\d+(?:\.\d+)?)", where):
        claims |= _placed(float(point[1]), float(point[2]))
    return claims


# ------------------------------------------------------------------ boxes of MP4 (ISO/IEC 14496-12)

_INSIDE = {b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl"}
_MOST_INDEX = 32 * 1024 * 1024


def _check_boxes(source: Path) -> None:
    """What points outside the file, or is encrypted, is refused before a demuxer sees it."""
    size = source.stat().st_size
    with source.open("rb") as file:
        for kind, at, end in _boxes(file, 0, size):
            if kind == b"moov":
                if end - at > _MOST_INDEX:
                    raise Refused("costly")
                _walk(file, kind, at, end, 0)
            elif kind == b"pssh":
                raise Refused("encrypted")


def _boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, begin, end) of the contents of each box; what does not fit ends the walk, as it does in a demuxer."""
    while at + 8 <= end:
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            raw = file.read(8)
            if len(raw) < 8:
                return
            size, head = struct.unpack(">Q", raw)[0], 16
        elif size == 0:
            size = end - at
        if size < head or at + size > end:
            if kind in (b"moov", b"dref", b"stsd"):
                raise Refused("damaged")
            return
        yield kind, at + head, at + size
        at += size


def _walk(file: BinaryIO, parent: bytes, at: int, end: int, depth: int) -> None:
    for kind, begin, stop in _boxes(file, at, end):
        if kind in (b"rmra", b"rmda", b"rdrf"):
            raise Refused("external")
        if kind == b"pssh":
            raise Refused("encrypted")
        if kind == b"dref":
            for _, inner, _ in _boxes(file, begin + 8, stop):
                file.seek(inner)
                if not int.from_bytes(file.read(4), "big") & 1:  # flag 1: the media lies in this very file
                    raise Refused("external")
        elif kind == b"stsd":
            if any(
                entry in (b"encv", b"enca", b"drms", b"drmi", b"drmt") for entry, _, _ in _boxes(file, begin + 8, stop)
            ):
                raise Refused("encrypted")
        elif kind in _INSIDE and depth < 8:
            _walk(file, kind, begin, stop, depth + 1)


# ------------------------------------------------------------------ the process


def run(given: dict[str, Any]) -> dict[str, Any]:
    source, into = Path(given["source"]), Path(given["into"])
    work = photo if given["sort"] in ("photo", "signature") else recording
    try:
        found = work(source, into, given)
    except Refused as refused:
        return {"refused": str(refused)}
    except MemoryError:
        return {"refused": "costly"}
    except OSError as error:
        # EFBIG, ENOMEM: our own limits. ENOSPC: the disk's. All else is what the libraries say of a broken file.
        if error.errno in (28, 122):
            raise
        return {"refused": "costly" if error.errno in (12, 27) else "damaged"}
    except Exception:
        return {"refused": "damaged"}
    return found | {"thumb": (into / "thumb").exists()}


def main() -> None:
    given = json.loads(sys.argv[1])
    confine(given["memory"], given["cpu_s"], given["written"])
    print(json.dumps(run(given)))  # noqa: T201


if __name__ == "__main__":
    main()
