"""Takes in what somebody sends as evidence: bounded at each step, decoded apart, stored, and only then told of."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from uuid import uuid4

import structlog
from starlette.requests import Request

from services.adapters.evidence import Bounds, Decoded, Decoder, NoRoom, Store, StoreAway, open_store
from services.api.uploads.multipart import OVERHEAD_BYTES, BadForm, Cut, Received, TooLarge, receive
from services.api.uploads.photo_form import receive_photos
from services.api.uploads.settings import EvidenceSettings
from services.api.web import meters
from services.api.web.problems import ApiError
from services.api.web.rates import Rate
from services.domain.evidence import EvidenceSort, Format, Limits, Reach, Signer, Unfit, admit, words
from services.domain.evidence.sorts import MAGIC_BYTES

log = structlog.get_logger(__name__)

_WAIT_S = 10.0
_NOT_KEPT = "照片暂时无法保存 · photos cannot be kept at present"
_NOT_THE_TYPE = frozenset({Unfit.EMPTY, Unfit.TYPE, Unfit.HEIC, Unfit.GIF, Unfit.MISMATCH, Unfit.SORT, Unfit.CODEC})


@dataclass(frozen=True, slots=True)
class Taken:
    """What stands in the store now. Hashes in hexadecimal; `fields`: the rest of the form."""

    sha256: str
    original_sha256: str
    thumb_sha256: str | None
    size: int
    decoded: Decoded
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class Lost:
    """A photo that was sent and is not kept, and what is answered where the report is refused for it.

    `kept_out`: for want of room in the store, for which nobody is refused."""

    why: ApiError
    kept_out: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """A form with photos. `digests`: of every photo as it came, whatever became of it."""

    taken: list[Taken]
    fields: dict[str, str]
    lost: list[Lost]
    digests: list[str]


class Intake:
    """One a process."""

    def __init__(self, settings: EvidenceSettings, key: str) -> None:
        self.limits: Limits = settings.evidence_limits
        self.reach: Reach = settings.on_site_reach
        own = settings.place_code_key
        self.signer = Signer(own.get_secret_value() if own else key)
        self.store: Store = open_store(settings.evidence_url, settings.evidence_spool)
        bounds = Bounds(
            memory=settings.evidence_decode_bytes,
            cpu_s=max(1, round(settings.evidence_decode_s)),
            wall_s=2 * settings.evidence_decode_s,
            at_once=settings.evidence_decoders,
        )
        self._decoder = Decoder(self.limits, bounds)
        self._rate = Rate(settings.evidence_per_min)
        self._turns = asyncio.Semaphore(settings.evidence_at_once)
        self._upload_s = settings.evidence_upload_s
        self._reserve = settings.evidence_reserve_bytes

    def check(self, request: Request, who: str, sort: EvidenceSort, files: int = 1) -> None:
        """What can be refused without a byte of the body. Raises ApiError 413 or 429."""
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > files * self.limits.bytes_of(sort) + OVERHEAD_BYTES:
            raise self._too_large(sort)
        wait_s = self._rate.wait_s(who)
        if wait_s > 0:
            meters.UPLOADS.labels(sort.value, "rate").inc()
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"上传过于频繁，请 {wait_s} 秒后再试 · too many uploads; try again in {wait_s} s",
                headers={"Retry-After": str(wait_s)},
            )

    async def take(self, request: Request, sort: EvidenceSort) -> Taken:
        """Reads the form, decodes the file, stores what it became. Raises ApiError 4xx, 503 or 507."""
        async with self._refusals(sort), self._turn(), self._room() as folder:
            taken = await self._take(request, sort, folder)
        self._count(taken, sort)
        return taken

    async def take_photos(self, request: Request, most: int) -> Sent:
        """A form with up to so many photos in fields `photo` and its other fields. Photos that cannot be used, that the
        store does not take, or for which there is no turn or room now, are told of: whoever calls for help is heard
        without a picture, and the caller knows by the fields whether somebody does. Raises ApiError 408, 413, 422."""
        sort, no_place, folder = EvidenceSort.PHOTO, None, None
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._turn())
                folder = await stack.enter_async_context(self._room())
            except ApiError as busy:
                no_place = Lost(busy)
            except (NoRoom, StoreAway) as error:
                no_place = self._kept_out(error)
            async with self._refusals(sort), self._reading(sort):
                files, fields = await self._form(request, folder, most)
            sent = Sent([], fields, [no_place] * len(files) if no_place else [], [one.digest for _, one in files])
            if no_place is None:
                await self._keep_photos(files, sent)
        for one in sent.taken:
            self._count(one, sort)
        return sent

    async def _form(
        self, request: Request, folder: Path | None, most: int
    ) -> tuple[list[tuple[Path, Received]], dict[str, str]]:
        def look(head: bytes, declared: str | None) -> None:
            """Whether it is a picture is asked once it is known what is called for."""

        return await receive_photos(request, folder, most, self.limits.bytes_of(EvidenceSort.PHOTO), look, MAGIC_BYTES)

    async def _keep_photos(self, files: list[tuple[Path, Received]], sent: Sent) -> None:
        for path, received in files:
            form = admit(EvidenceSort.PHOTO, received.head, received.declared)
            if isinstance(form, Unfit):
                sent.lost.append(Lost(self._unfit(EvidenceSort.PHOTO, form)))
                continue
            await asyncio.to_thread((into := path.with_suffix(".out")).mkdir)
            try:
                sent.taken.append(await self._stored(path, into, EvidenceSort.PHOTO, form, received))
            except (NoRoom, StoreAway) as error:
                sent.lost.append(self._kept_out(error))
            except ApiError as error:
                sent.lost.append(Lost(error))

    @staticmethod
    def _kept_out(error: NoRoom | StoreAway) -> Lost:
        log.warning("report_photo_lost", why=str(error))
        meters.UPLOADS.labels(EvidenceSort.PHOTO.value, "away" if isinstance(error, StoreAway) else "full").inc()
        return Lost(ApiError(HTTPStatus.SERVICE_UNAVAILABLE, _NOT_KEPT), kept_out=True)

    def _count(self, taken: Taken, sort: EvidenceSort) -> None:
        meters.UPLOADS.labels(sort.value, "stored").inc()
        meters.UPLOAD_BYTES.labels(sort.value).inc(taken.size)

    @asynccontextmanager
    async def _refusals(self, sort: EvidenceSort) -> AsyncIterator[None]:
        try:
            yield
        except NoRoom:
            raise self._refused(
                sort, "full", HTTPStatus.INSUFFICIENT_STORAGE,
                "证据存储空间已满，未保存，请联系值班 · the evidence store is full; nothing was kept, tell the desk",
            ) from None  # fmt: skip
        except StoreAway as error:
            log.warning("evidence_store_away", why=str(error))
            raise self._refused(
                sort, "away", HTTPStatus.SERVICE_UNAVAILABLE,
                "证据存储暂不可用，未保存，请重试 · the evidence store does not answer; nothing was kept",
            ) from None  # fmt: skip

    async def _take(self, request: Request, sort: EvidenceSort, folder: Path) -> Taken:
        source, form = folder / "source", Format.JPEG

        def look(head: bytes, declared: str | None) -> None:
            nonlocal form
            found = admit(sort, head, declared)
            if isinstance(found, Unfit):
                raise self._unfit(sort, found)
            form = found

        async with self._reading(sort):
            received = await receive(request, source, self.limits.bytes_of(sort), look, MAGIC_BYTES)
        return await self._stored(source, folder, sort, form, received)

    @asynccontextmanager
    async def _reading(self, sort: EvidenceSort) -> AsyncIterator[None]:
        """Bounded in time; what is wrong with the form is refused."""
        try:
            async with asyncio.timeout(self._upload_s):
                yield
        except TooLarge:
            raise self._too_large(sort) from None
        except BadForm as error:
            raise self._refused(
                sort, "form", HTTPStatus.UNPROCESSABLE_ENTITY, f"上传表单有误 · the form is not as asked: {error}"
            ) from None
        except (Cut, TimeoutError):
            raise self._refused(
                sort, "cut", HTTPStatus.REQUEST_TIMEOUT, "上传中断或超时，请重试 · the upload was cut or took too long"
            ) from None

    async def _stored(self, source: Path, folder: Path, sort: EvidenceSort, form: Format, received: Received) -> Taken:
        decoded = await self._decoder.decode(source, folder, sort, form)
        if isinstance(decoded, Unfit):
            raise self._unfit(sort, decoded)
        size = (await asyncio.to_thread(decoded.path.stat)).st_size
        thumb = await self.store.keep(decoded.thumb) if decoded.thumb else None
        name = await self.store.keep(decoded.path)
        return Taken(name, received.digest, thumb, size, decoded, received.fields)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_WAIT_S):
                await self._turns.acquire()
        except TimeoutError:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "上传人数过多，请稍后重试 · too many uploads at once; try again",
                headers={"Retry-After": "5"},
            ) from None
        try:
            yield
        finally:
            self._turns.release()

    @asynccontextmanager
    async def _room(self) -> AsyncIterator[Path]:
        """A folder of this upload's own, gone afterwards whatever happens."""
        folder = self.store.spool / uuid4().hex
        await asyncio.to_thread(self._make, folder)
        try:
            yield folder
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, mode=0o700)
            free = shutil.disk_usage(folder).free
        except OSError as error:
            if error.errno == 28:
                raise NoRoom(28, "no space left") from error
            raise StoreAway(error.errno, str(error)) from error
        if free < self._reserve:
            folder.rmdir()
            raise NoRoom(28, "what is left of the disk is for others")

    def _unfit(self, sort: EvidenceSort, why: Unfit) -> ApiError:
        said = words(why)
        status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE if why in _NOT_THE_TYPE else HTTPStatus.UNPROCESSABLE_ENTITY
        status = HTTPStatus.UNPROCESSABLE_ENTITY if why is Unfit.EMPTY else status
        return self._refused(sort, why.value, status, f"{said.zh} · {said.en}", errors=[{"code": why.value}])

    def _too_large(self, sort: EvidenceSort) -> ApiError:
        limit = self.limits.bytes_of(sort) / (1024 * 1024)
        return self._refused(
            sort,
            "too_large",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"文件过大，上限 {limit:g} MiB · the file is larger than {limit:g} MiB",
            headers={"Connection": "close"},
        )

    @staticmethod
    def _refused(
        sort: EvidenceSort,
        result: str,
        status: int,
        said: str,
        *,
        headers: dict[str, str] | None = None,
        errors: list[dict[str, object]] | None = None,
    ) -> ApiError:
        meters.UPLOADS.labels(sort.value, result).inc()
        return ApiError(status, said, headers=headers, errors=errors)
