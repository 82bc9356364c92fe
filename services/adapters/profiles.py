"""Reads vendor profiles from their folders; refuses a wrong one by file, line and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from services.domain.codecs import BY_NAME as CODECS
from services.domain.profiles.mapper import Profiles, check_all
from services.domain.profiles.profile import Profile, Wrong

BUILT_IN = Path(__file__).parent.parent / "domain" / "profiles"
MAX_BYTES = 256 * 1024


class ProfileError(ValueError):
    """A profile that cannot be used. The text says file, line, field and what to do."""


def load(folder: Path | None = None) -> Profiles:
    """LinHub's own profiles and those of `folder`, which win over ours of the same name. Raises ProfileError."""
    if folder is not None and not folder.is_dir():
        raise ProfileError(f"there is no folder {folder}")
    found: dict[str, Profile] = {}
    for place in (BUILT_IN, folder):
        if place is None:
            continue
        mine: dict[str, Profile] = {}
        for path in sorted([*place.glob("*.yaml"), *place.glob("*.yml")]):
            profile = read(path)
            if profile.name in mine:
                raise ProfileError(f"{path}: there is another profile {profile.name} in this folder")
            mine[profile.name] = profile
            if profile.default:
                # The community's default takes the place of ours for the same format and kind.
                for other in [o for o in found.values() if (o.codec, o.kind) == (profile.codec, profile.kind)]:
                    found[other.name] = other.model_copy(update={"default": False})
        try:
            check_all(mine.values())
        except ValueError as error:
            raise ProfileError(f"{place}: {error}") from None
        found |= mine
    return Profiles(found)


def read(path: Path) -> Profile:
    """One file. Raises ProfileError."""
    try:
        raw = path.read_bytes()
        if len(raw) > MAX_BYTES:
            raise ProfileError(f"{path}: {len(raw)} bytes are no profile")
        root = yaml.compose(raw.decode("utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ProfileError(f"{path}: is not UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise ProfileError(f"{path}{line}: not YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(root, yaml.MappingNode):
        raise ProfileError(f"{path}: expected kind, fields, events …")
    lines: dict[tuple[str, ...], int] = {}
    document = _plain(path, root, (), lines, 0)
    if "name" in document:
        raise ProfileError(f"{path}:{lines[('name',)]}: name: a profile is called like its file")
    try:
        profile = Profile.model_validate({**document, "name": path.stem})
        profile.check(frozenset(CODECS))
    except ValidationError as error:
        first = error.errors()[0]
        where = tuple(str(step) for step in first["loc"])
        raise ProfileError(_said(path, lines, where, first["msg"])) from None
    except Wrong as wrong:
        raise ProfileError(_said(path, lines, wrong.path, str(wrong))) from None
    return profile


def _said(path: Path, lines: dict[tuple[str, ...], int], where: tuple[str, ...], words: str) -> str:
    line = next((lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in lines), 1)
    return f"{path}:{line}: {'.'.join(where) or 'profile'}: {words}"


def _plain(path: Path, node: yaml.Node, at: tuple[str, ...], lines: dict[tuple[str, ...], int], depth: int) -> Any:
    """Plain values, with the line of each. `ON` and `yes` stay words (as in YAML 1.2); names are always text."""
    if depth > 8:
        raise ProfileError(f"{path}:{node.start_mark.line + 1}: nested too deep")
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if not isinstance(key_node, yaml.ScalarNode) or key in result:
                words = f"{key!r} is given twice" if key in result else "a name must be text"
                raise ProfileError(f"{path}:{key_node.start_mark.line + 1}: {words}")
            lines[(*at, key)] = key_node.start_mark.line + 1
            result[key] = _plain(path, value_node, (*at, key), lines, depth + 1)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(path, inner, (*at, str(index)), lines, depth + 1) for index, inner in enumerate(node.value)]
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    text = str(node.value)
    if getattr(node, "style", None) is not None:
        return text
    if text in ("true", "false"):
        return text == "true"
    if text in ("", "~", "null"):
        return None
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
