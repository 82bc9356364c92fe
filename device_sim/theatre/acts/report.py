"""A resident reports something with a photo (随手拍), follows it to its end, and says how it was done."""

from __future__ import annotations

from device_sim.theatre.api import Json
from device_sim.theatre.evidence import photo
from device_sim.theatre.performance import Performance

GOOD, BAD = 5, 1


async def report(performance: Performance) -> None:
    """One that the desk files and that is rated 5; one that goes out at once, is rated 1, and is done again."""
    p = performance
    resident = next(account.username for account in p.api.accounts.values() if account.role == "resident")
    first, order = await _reported(p, resident, "clutter", "楼道里堆了三个纸箱和一辆童车")
    p.check("it waits until the desk files it (立案)", order["state"] == "created", order["state"])
    body = {"version": order["version"]}
    await p.api.call("POST", f"reports/{first['id']}/file", as_user=p.witness, json=body)
    order = await p.api.get(f"orders/{order['id']}", as_user=p.witness)
    p.check("filed, it is dispatched", order["state"] == "dispatched", order["state"])
    await _done(p, resident, first, order)
    said = await _rated(p, resident, first, GOOD)
    p.check(f"rated {GOOD}, nobody is sent again", not said["rework"], said["words"]["zh"])
    stands = await p.api.get(f"orders/{order['id']}", as_user=p.witness)
    p.check("the order keeps the rating", stands["rating"] == GOOD and stands["state"] == "closed", stands["rating"])

    second, order = await _reported(p, resident, "rubbish", "垃圾桶满了，味道很大")
    p.check("it goes out at once", order["state"] == "dispatched", order["state"])
    await _done(p, resident, second, order)
    said = await _rated(p, resident, second, BAD)
    p.check(f"rated {BAD}, somebody is sent again (返工)", bool(said["rework"]), said["words"]["zh"])
    again = await p.api.get(f"orders/{order['id']}", as_user=p.witness)
    p.check("the order is open again", again["state"] == "dispatched" and again["reworks"] == 1, again["state"])
    await _done(p, resident, second, again)


async def _reported(p: Performance, resident: str, category: str, text: str) -> tuple[Json, Json]:
    """The report as the resident is answered, and the order that the desk sees."""
    form = {"category": category, "text": text, "at_home": "true"}
    picture = ("photo.png", photo(f"{category} {p.began.isoformat()}"), "image/png")
    path = f"communities/{p.cast.community}/reports"
    made = await p.api.call("POST", path, as_user=resident, data=form, files={"photo": picture})
    p.outcome.devices.append(f"#{made['number']}")
    p.check(f"{category}: it is received, with its photo", made["photos"] == 1, made["words"]["zh"])
    listed = await p.api.get(path, as_user=p.witness)
    (found,) = (item for item in listed["items"] if item["id"] == made["id"])
    return made, await p.api.get(f"orders/{found['order_id']}", as_user=p.witness)


async def _done(p: Performance, resident: str, made: Json, order: Json) -> None:
    """Accepted, arrived, resolved with a photo, verified, closed; the reporter reads how it goes."""
    worker = await p.worker(order)
    for move, state in (("accept", "accepted"), ("arrive", "arrived")):
        order = await p.api.move(order["id"], move, as_user=worker, note=f"{p.story.label.zh} {move}")
        p.check(f"{worker}: {move}", order["state"] == state, order["state"], vital=True)
    await p.picture(order, "photo_after", worker)
    await p.finish(order, worker)
    own = await p.api.get(f"reports/{made['id']}", as_user=resident)
    steps = [step["step"] for step in own["steps"]]
    p.check("whoever reported it reads each step", len(steps) >= 4, ", ".join(steps))
    if own["rating"] is None:
        p.check("and is asked how it was done", bool(own["to_rate"]), own["stage"])


async def _rated(p: Performance, resident: str, made: Json, rating: int) -> Json:
    return await p.api.call("POST", f"reports/{made['id']}/rating", as_user=resident, json={"rating": rating})
