"""What may be kept as evidence: sorts, formats told by their first bytes, limits, and the words of every refusal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from services.domain.vocabulary import Label


class EvidenceSort(StrEnum):
    PHOTO = "photo"
    CLIP = "clip"
    VOICE = "voice"
    SIGNATURE = "signature"


class Phase(StrEnum):
    """What a photo or clip shows: the place before or after the work, or something else."""

    BEFORE = "before"
    AFTER = "after"
    OTHER = "other"


class Format(StrEnum):
    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    MP4 = "mp4"
    WEBM = "webm"
    OGG = "ogg"


FORMATS: Mapping[EvidenceSort, frozenset[Format]] = {
    EvidenceSort.PHOTO: frozenset({Format.JPEG, Format.PNG, Format.WEBP}),
    EvidenceSort.CLIP: frozenset({Format.MP4, Format.WEBM}),
    EvidenceSort.VOICE: frozenset({Format.MP4, Format.WEBM, Format.OGG}),
    EvidenceSort.SIGNATURE: frozenset({Format.PNG}),
}

_DECLARED: Mapping[str, frozenset[Format]] = {
    "image/jpeg": frozenset({Format.JPEG}),
    "image/jpg": frozenset({Format.JPEG}),
    "image/png": frozenset({Format.PNG}),
    "image/webp": frozenset({Format.WEBP}),
    "video/mp4": frozenset({Format.MP4}),
    "video/quicktime": frozenset({Format.MP4}),
    "video/3gpp": frozenset({Format.MP4}),
    "audio/mp4": frozenset({Format.MP4}),
    "audio/x-m4a": frozenset({Format.MP4}),
    "audio/m4a": frozenset({Format.MP4}),
    "video/webm": frozenset({Format.WEBM}),
    "audio/webm": frozenset({Format.WEBM}),
    "audio/ogg": frozenset({Format.OGG}),
}
"""What a sender may call each format. `application/octet-stream` and nothing at all claim nothing."""

MAGIC_BYTES = 64
"""So many of a file's first bytes are enough for `sniff`."""

_HEIF = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis"})
_MP4 = frozenset({b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"avc1", b"mp41", b"mp42", b"M4A ", b"M4V ", b"qt  "})


class Unfit(StrEnum):
    """Why a file is refused."""

    EMPTY = "empty"
    TYPE = "type"
    HEIC = "heic"
    GIF = "gif"
    MISMATCH = "mismatch"
    SORT = "sort"
    TOO_LARGE = "too_large"
    PIXELS = "pixels"
    ANIMATED = "animated"
    DAMAGED = "damaged"
    STREAMS = "streams"
    CODEC = "codec"
    ENCRYPTED = "encrypted"
    EXTERNAL = "external"
    TOO_LONG = "too_long"
    COSTLY = "costly"


_WORDS: Mapping[Unfit, Label] = {
    Unfit.EMPTY: Label("文件是空的", "The file is empty"),
    Unfit.TYPE: Label(
        "只接收 JPEG、PNG、WebP 照片，MP4、WebM 短片，M4A、WebM、Ogg 语音",
        "Taken are JPEG, PNG and WebP photos, MP4 and WebM clips, and M4A, WebM and Ogg voice notes",
    ),
    Unfit.HEIC: Label(
        "不接收 HEIC/HEIF/AVIF 照片，请在手机相机设置中选“兼容性最佳”(JPEG) 后重拍或转换",
        "HEIC, HEIF and AVIF are not taken: set the phone's camera to “most compatible” (JPEG), or convert it",
    ),
    Unfit.GIF: Label("不接收 GIF 动图，请发照片或短片", "GIFs are not taken: send a photo or a clip"),
    Unfit.MISMATCH: Label("文件内容与所称类型不符", "What is in the file is not what its declared type says it is"),
    Unfit.SORT: Label("此类证据不能是这种文件", "This sort of evidence cannot be such a file"),
    Unfit.TOO_LARGE: Label("文件过大", "The file is too large"),
    Unfit.PIXELS: Label("图像尺寸超出上限", "The picture has more pixels than are taken"),
    Unfit.ANIMATED: Label("不接收动图，请发单张照片或短片", "Moving pictures are not taken: one photo, or a clip"),
    Unfit.DAMAGED: Label(
        "文件已损坏或不完整，无法打开，请重拍或重传",
        "The file is damaged or cut short: take it again, or send it again",
    ),
    Unfit.STREAMS: Label(
        "短片须恰有一路画面、至多一路声音，不得含字幕或附件；语音须恰有一路声音",
        "A clip has one track of pictures, at most one of sound, no subtitles and no attachments; a voice note has one "
        "of sound",
    ),
    Unfit.CODEC: Label(
        "不支持该编码；画面用 H.264/H.265/VP8/VP9/AV1，声音用 AAC/Opus/Vorbis",
        "Its coding is not taken: H.264, H.265, VP8, VP9 or AV1 for pictures; AAC, Opus or Vorbis for sound",
    ),
    Unfit.ENCRYPTED: Label("文件已加密", "The file is encrypted"),
    Unfit.EXTERNAL: Label("文件引用了外部内容", "The file refers to something outside itself"),
    Unfit.TOO_LONG: Label("时长超出上限", "It runs longer than is taken"),
    Unfit.COSTLY: Label(
        "文件解码所需的内存或时间超出上限，已拒绝", "To open the file takes more memory or time than is given to it"
    ),
}


def words(why: Unfit) -> Label:
    return _WORDS[why]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of each sort is taken. Bytes as they come; `pixels` as the file declares; `edge` of what is kept."""

    photo_bytes: int = 20 * 1024 * 1024
    clip_bytes: int = 100 * 1024 * 1024
    voice_bytes: int = 10 * 1024 * 1024
    signature_bytes: int = 512 * 1024
    pixels: int = 64_000_000
    edge: int = 4096
    clip_s: float = 120.0
    voice_s: float = 300.0

    def bytes_of(self, sort: EvidenceSort) -> int:
        return {
            EvidenceSort.PHOTO: self.photo_bytes,
            EvidenceSort.CLIP: self.clip_bytes,
            EvidenceSort.VOICE: self.voice_bytes,
            EvidenceSort.SIGNATURE: self.signature_bytes,
        }[sort]

    @property
    def most_bytes(self) -> int:
        return max(map(self.bytes_of, EvidenceSort))

    def seconds_of(self, sort: EvidenceSort) -> float:
        return self.voice_s if sort is EvidenceSort.VOICE else self.clip_s

    def pixels_of(self, sort: EvidenceSort) -> int:
        """A signature is strokes on a small field; a frame of a clip is 8K at most."""
        match sort:
            case EvidenceSort.SIGNATURE:
                return min(self.pixels, 4_000_000)
            case EvidenceSort.PHOTO:
                return self.pixels
            case _:
                return min(self.pixels, 7680 * 4320)


def sniff(head: bytes) -> Format | Unfit:
    """What a file is by its first bytes; its name and what its sender calls it do not count."""
    if not head:
        return Unfit.EMPTY
    if head.startswith(b"\xff\xd8\xff"):
        return Format.JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Format.PNG
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return Format.WEBP
    if head.startswith((b"GIF87a", b"GIF89a")):
        return Unfit.GIF
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in _HEIF:
            return Unfit.HEIC
        return Format.MP4 if brand in _MP4 or brand.startswith((b"3gp", b"iso")) else Unfit.TYPE
    if head.startswith(b"\x1aE\xdf\xa3"):
        return Format.WEBM
    return Format.OGG if head.startswith(b"OggS") else Unfit.TYPE


def admit(sort: EvidenceSort, head: bytes, declared: str | None) -> Format | Unfit:
    """Whether a file of these first bytes may be decoded at all. `declared`: the part's Content-Type."""
    found = sniff(head)
    if isinstance(found, Unfit):
        return found
    claimed = (declared or "").partition(";")[0].strip().lower()
    if claimed not in ("", "application/octet-stream") and found not in _DECLARED.get(claimed, frozenset()):
        return Unfit.MISMATCH
    return found if found in FORMATS[sort] else Unfit.SORT


_REFERENCES = ("photo", "clip", "video", "voice", "picture", "snapshot")
MAX_REFERENCE = 512


def references(trigger: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, reference) of pictures that a device's event names. They are names or addresses of somebody else's store:
    shown as text, never fetched by the server."""
    data = trigger.get("data")
    if not isinstance(data, Mapping):
        return
    for name in _REFERENCES:
        given = data.get(name)
        if isinstance(given, str) and given:
            yield name, given[:MAX_REFERENCE]
