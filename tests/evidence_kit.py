"""Pictures, clips and voice notes for tests: honest ones, and those that somebody sends who means harm."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import av
from PIL import Image

SECRET = "SECRETTITLE"
LATITUDE, LONGITUDE = 29.7003, 116.0005


def jpeg(width: int = 640, height: int = 480, *, exif: bool = True, turned: bool = False) -> bytes:
    """With a place, a time, a comment and a colour that tells up from down, as a phone writes it."""
    picture = Image.new("RGB", (width, height), (200, 30, 30))
    picture.paste((30, 30, 200), (0, height // 2, width, height))
    info = Image.Exif()
    if exif:
        info[0x010E] = SECRET
        info[0x8825] = {1: "N", 2: (29.0, 42.0, 1.08), 3: "E", 4: (116.0, 0.0, 1.8)}
        info[0x8769] = {0x9003: "2026:11:20 10:30:00", 0x9011: "+08:00", 0x9286: SECRET.encode()}
    if turned:
        info[0x0112] = 6
    out = io.BytesIO()
    picture.save(out, "JPEG", exif=info, comment=SECRET.encode(), xmp=f"<x>{SECRET}</x>".encode())
    return out.getvalue()


def png(width: int = 200, height: int = 100, mode: str = "RGBA") -> bytes:
    out = io.BytesIO()
    Image.new(mode, (width, height)).save(out, "PNG")
    return out.getvalue()


def webp(frames: int = 1) -> bytes:
    out = io.BytesIO()
    pictures = [Image.new("RGB", (64, 64), (n * 20 % 255, 0, 0)) for n in range(frames)]
    pictures[0].save(out, "WEBP", **({"save_all": True, "append_images": pictures[1:]} if frames > 1 else {}))
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb_png(width: int = 50_000, height: int = 50_000, rows: int = 4000) -> bytes:
    """Says that it is gigantic; what there is of it is zeros, packed a thousand to one."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes((width * 3 + 1) * min(rows, 40)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def gif(frames: int = 10_000) -> bytes:
    """Ten thousand frames of one pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    frame = b"\x21\xf9\x04\x00\x01\x00\x00\x00" + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02D\x01\x00"
    return head + frame * frames + b";"


def apng(frames: int = 5) -> bytes:
    out = io.BytesIO()
    pictures = [Image.new("RGB", (32, 32), (n * 40, 0, 0)) for n in range(frames)]
    pictures[0].save(out, "PNG", save_all=True, append_images=pictures[1:])
    return out.getvalue()


def zipped(name: str = "evil.html", text: bytes = b"<script>alert(1)</script>") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, text)
    return out.getvalue()


def clip(
    path: Path,
    form: str = "mp4",
    video: str | None = "libx264",
    audio: str | None = "aac",
    *,
    frames: int = 25,
    size: tuple[int, int] = (160, 120),
    subtitles: bool = False,
) -> bytes:
    """One second by default, tagged with a title and a place."""
    with av.open(str(path), "w", format=form) as out:
        out.metadata.update(
            {"title": SECRET, "location": "+29.7003+116.0005/", "creation_time": "2026-11-20T02:30:00Z"}
        )
        pictures: Any = out.add_stream(video, rate=25) if video else None
        sound: Any = out.add_stream(audio, rate=48_000) if audio else None
        if pictures is not None:
            pictures.width, pictures.height = size
            pictures.pix_fmt = "yuv420p"
        if sound is not None:
            sound.layout = "mono"
        for n in range(frames if pictures is not None else 0):
            frame = av.VideoFrame.from_image(Image.new("RGB", size, (n * 9 % 255, 30, 90)))
            frame.pts = n
            out.mux(pictures.encode(frame))
        if pictures is not None:
            out.mux(pictures.encode(None))
        if sound is not None:
            _hum(out, sound, frames * 48_000 // 25)
    return path.read_bytes()


def _hum(out: Any, stream: Any, samples: int) -> None:
    size = stream.codec_context.frame_size or 960
    for n in range(max(1, samples // size)):
        frame = av.AudioFrame(format=stream.format.name, layout="mono", samples=size)
        frame.sample_rate, frame.pts = 48_000, n * size
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def external(mp4: bytes, target: bytes = b"file:///etc/passwd\x00") -> bytes:
    """The same clip, whose data reference names another file instead of itself (ISO/IEC 14496-12, 8.7.2)."""
    at = mp4.index(b"url \x00\x00\x00\x01")
    return mp4[:at] + b"url \x00\x00\x00\x00" + mp4[at + 8 :]


def encrypted(mp4: bytes) -> bytes:
    """Says that its pictures are encrypted (ISO/IEC 14496-12, 8.12)."""
    return mp4.replace(b"avc1\x00\x00\x00\x00\x00\x00\x00\x01", b"encv\x00\x00\x00\x00\x00\x00\x00\x01", 1)


PLAYLIST = b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n"
CONCAT = b"ffconcat version 1.0\nfile /etc/passwd\n"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><html><script>fetch('/api/v1/auth/me')</script></html>"
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200)
