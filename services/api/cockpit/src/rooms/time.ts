/** Times as the fields of forms write them, by the community's clock. */
import { zoneName } from '../lib/format'

/** Minutes that the zone is ahead of UTC at this moment. */
function offsetMin(at: Date, zone: string | undefined): number {
  const parts = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    timeZoneName: 'longOffset',
  }).formatToParts(at)
  const name = parts.find((part) => part.type === 'timeZoneName')?.value ?? 'GMT'
  const found = /GMT([+-])(\d\d):(\d\d)/.exec(name)
  if (!found) return 0
  return (found[1] === '-' ? -1 : 1) * (Number(found[2]) * 60 + Number(found[3]))
}

/** What `<input type="datetime-local">` holds for this moment. */
export function toField(at: Date, zone = zoneName()): string {
  return new Date(at.getTime() + offsetMin(at, zone) * 60_000).toISOString().slice(0, 16)
}

/** The moment such a field means. In the hour that a change of clocks skips or repeats, one of both. */
export function fromField(value: string, zone = zoneName()): Date {
  const guess = new Date(`${value}:00Z`)
  const first = new Date(guess.getTime() - offsetMin(guess, zone) * 60_000)
  return new Date(guess.getTime() - offsetMin(first, zone) * 60_000)
}

/** The local day of a moment, `2026-11-22`. */
export function dayOf(at: Date, zone = zoneName()): string {
  return toField(at, zone).slice(0, 10)
}
