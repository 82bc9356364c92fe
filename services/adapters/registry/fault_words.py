"""What is wrong with a row of a device list, in Chinese and English."""

from __future__ import annotations

from services.adapters.registry.provision import Fault
from services.domain.vocabulary import Label

_FAULTS: dict[str, tuple[str, str]] = {
    "twice": ("{value} stands in line {other} too", "{value} 在第 {other} 行已出现"),
    "no_community": ("there is no community {value}", "没有社区 {value}"),
    "foreign": ("{value} belongs to community {other}; ids are unique", "{value} 属于社区 {other}；设备 id 全局唯一"),
    "exists": ("{value} is registered already; change it by import", "{value} 已登记；如需更改请用 import"),
    "own_gateway": ("{value} cannot be its own gateway", "{value} 不能是自己的网关"),
    "no_gateway": ("there is no gateway {value} in {other}", "社区 {other} 中没有网关 {value}"),
    "gateway_behind": (
        "{value} cannot be a gateway: it speaks through {other} itself",
        "{value} 不能作网关：它自己经 {other} 上报",
    ),
    "is_gateway": (
        "{value} cannot speak through a gateway: {other} speaks through it",
        "{value} 不能经网关上报：{other} 正经它上报",
    ),
    "no_building": ("there is no building {value} in {other}", "社区 {other} 中没有楼栋 {value}"),
    "no_unit": ("there is no unit {value} in {other}", "社区 {other} 中没有单元 {value}"),
    "no_household": ("there is no household {value} in {other}", "社区 {other} 中没有住户 {value}"),
    "no_grid": ("there is no grid {value} in {other}", "社区 {other} 中没有网格 {value}"),
    "unit_elsewhere": ("unit {value} is in building {other}", "单元 {value} 在楼栋 {other}，与所填楼栋不符"),
    "household_elsewhere": ("household {value} is in unit {other}", "住户 {value} 在单元 {other}，与所填单元不符"),
    "household_building": ("household {value} is in building {other}", "住户 {value} 在楼栋 {other}，与所填楼栋不符"),
    "floor_above": (
        "floor {value} is above the roof: the building has {other} floors",
        "楼层 {value} 超出楼栋层数 {other}",
    ),
    "no_person": ("there is no person {value} in {other}", "社区 {other} 中没有人员 {value}"),
    "still_behind": ("{other} still speaks through {value}", "{other} 仍经 {value} 上报"),
    "address_twice": (
        "address {value} stands in line {other} too, behind the same gateway",
        "地址 {value} 在第 {other} 行已出现（同一网关下）",
    ),
    "address_taken": (
        "address {value} is that of {other} behind the same gateway",
        "地址 {value} 已被同一网关下的 {other} 使用",
    ),
    "service_name": ("{value}: names that begin with svc- are the services' own", "{value}：svc- 开头的名称保留给服务"),
    "no_kind": ("there is no device kind {value!r}; there are: {other}", "没有设备类型 {value!r}；可用：{other}"),
    "no_codec": ("there is no wire format {value!r}; there are: {other}", "没有报文格式 {value!r}；可用：{other}"),
    "no_profile": ("there is no vendor profile {value!r}; there are: {other}", "没有厂商配置 {value!r}；可用：{other}"),
    "profile_kind": (
        "vendor profile {value} does not fit (its kind, the device's): {other}",
        "厂商配置 {value} 与设备类型不符（配置的类型，设备的类型）：{other}",
    ),
    "profile_format": (
        "vendor profile {value} does not fit (its format, the one that is spoken): {other}",
        "厂商配置 {value} 与报文格式不符（配置的格式，实际的格式）：{other}",
    ),
    "no_column": ("unknown column {value!r}; known are {other}", "未知的列 {value!r}；可用的列：{other}"),
    "missing": ("{value} is missing", "缺少 {value}"),
    "bad_id": (
        "{value!r} is no id: small letters, digits, - and _, 64 at most, beginning with a letter or digit",
        "{value!r} 不是有效 id：仅限小写字母、数字、- 与 _，最长 64，以字母或数字开头",
    ),
    "bad_value": ("{value!r}: {other}", "{value!r}：{other}"),
    "unknown": ("no device {value} is registered", "没有登记设备 {value}"),
    "no_secret": (
        "{value} has no secret of its own; it speaks through {other}",
        "{value} 没有自己的密钥；它经 {other} 上报",
    ),
    "revoked": (
        "{value} is revoked; --readmit lets it in again with a new secret",
        "{value} 已被吊销；加 --readmit 可用新密钥重新准入",
    ),
    "retired": ("{value} is out of service; import it again first", "{value} 已停用；请先重新导入"),
}


def words(fault: Fault) -> Label:
    en, zh = _FAULTS[fault.fault]
    return Label(zh.format(value=fault.value, other=fault.other), en.format(value=fault.value, other=fault.other))
