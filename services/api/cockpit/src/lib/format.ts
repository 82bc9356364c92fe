/** Numbers, times and ages as people read them. */
import { intlLocale, t } from '../i18n'

let zone: string | undefined

/** Times are shown in the community's own time zone, wherever the reader is. */
export function setZone(value: string): void {
  zone = value
}

export function zoneName(): string | undefined {
  return zone
}

const times = new Map<string, Intl.DateTimeFormat>()

/** Made once for each language, zone and shape: making one costs as much as a hundred uses, and walls tell the time each second. */
function timeIn(language: string, shape: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${language} ${zone ?? ''} ${Object.entries(shape).join()}`
  let found = times.get(key)
  if (!found) {
    found = new Intl.DateTimeFormat(language, { timeZone: zone, ...shape })
    times.set(key, found)
  }
  return found
}

const MINUTES: Intl.DateTimeFormatOptions = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }
const SECONDS: Intl.DateTimeFormatOptions = { ...MINUTES, second: '2-digit' }
const WEEKDAY: Intl.DateTimeFormatOptions = { month: 'long', day: 'numeric', weekday: 'long' }
const SHORT: Intl.DateTimeFormatOptions = { month: 'numeric', day: 'numeric' }
const WITH_YEAR: Intl.DateTimeFormatOptions = { year: 'numeric', ...SHORT }

export function clock(at: string | number | Date, seconds = false): string {
  return timeIn('en-GB', seconds ? SECONDS : MINUTES).format(new Date(at))
}

export function day(at: string | number | Date): string {
  return timeIn(intlLocale.value, WEEKDAY).format(new Date(at))
}

function dayKey(at: number): string {
  return timeIn('en-CA', WITH_YEAR).format(new Date(at))
}

/** hh:mm, with the date before it when that was not today. */
export function moment(at: string, nowMs: number): string {
  const ms = Date.parse(at)
  if (dayKey(ms) === dayKey(nowMs)) return clock(ms)
  return `${timeIn(intlLocale.value, SHORT).format(new Date(ms))} ${clock(ms)}`
}

/** The date with its year: what lies far ahead, or is looked up long after. */
export function date(at: string | number | Date): string {
  return timeIn(intlLocale.value, WITH_YEAR).format(new Date(at))
}

export function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  if (seconds < 5) return t('age_now')
  if (seconds < 60) return t('age_s', { n: seconds })
  if (seconds < 3600) return t('age_min', { n: Math.floor(seconds / 60) })
  if (seconds < 86_400) return t('age_h', { n: Math.floor(seconds / 3600) })
  return t('age_d', { n: Math.floor(seconds / 86_400) })
}

const numbers = new Map<number, Intl.NumberFormat>()

/** At most `digits` after the point, thousands grouped; an absent number is a dash, never NaN. */
export function number(value: number | null | undefined, digits = 2): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–'
  const found =
    numbers.get(digits) ??
    new Intl.NumberFormat('en-US', { maximumFractionDigits: digits, signDisplay: 'negative' })
  numbers.set(digits, found)
  return found.format(value)
}

/** Three significant figures or so: what an eye takes from a wall. */
export function figure(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  return number(value, size >= 100 ? 0 : size >= 10 ? 1 : 2)
}

/** m:ss below an hour, h:mm:ss below a day, else days and hours. */
export function countdown(ms: number): string {
  const total = Math.floor(Math.abs(ms) / 1000)
  const two = (value: number) => String(value).padStart(2, '0')
  const hours = Math.floor(total / 3600)
  const minutes = Math.floor((total % 3600) / 60)
  if (hours >= 24) return t('days_hours', { d: Math.floor(hours / 24), h: hours % 24 })
  if (hours > 0) return `${hours}:${two(minutes)}:${two(total % 60)}`
  return `${minutes}:${two(total % 60)}`
}

const PREFIXED: ReadonlySet<string> = new Set(['W', 'Wh', 'VA', 'var'])

/** The factor and unit in which numbers up to `largest` read best: 563,738 W is 564 kW. */
export function unitFor(largest: number, unit: string): { factor: number; unit: string } {
  if (!PREFIXED.has(unit) || largest < 1000) return { factor: 1, unit }
  return largest < 1e6 ? { factor: 1e-3, unit: `k${unit}` } : { factor: 1e-6, unit: `M${unit}` }
}
