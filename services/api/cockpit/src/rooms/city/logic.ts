/** What the room of city platforms works out by itself: words for how it goes, and what a form's fields come to. */
import type {
  Catalogue,
  DataClass,
  Subscription,
  SubscriptionEdit,
  SubscriptionWish,
  Way,
} from '../../api/city'
import type { ApiError } from '../../api/client'
import { named, say, t } from '../../i18n'
import { kindLabel, severityLabel } from '../../lib/catalogue'
import { age, moment, number } from '../../lib/format'
import { bilingual, inWords } from '../../lib/refusals'

/** Of the API (services/domain/access.py), which decides. */
export const editsCity = (role: string) => role === 'admin'

export const CLASSES: readonly DataClass[] = ['text', 'location', 'device', 'health']
export const SEVERITIES = ['critical', 'major', 'minor', 'info'] as const
export const MARKS = ['Actual', 'Exercise', 'Test'] as const
export const FORMATS = ['structured', 'binary'] as const
/** For how long the keys before a new one sign as well, hours; null: until somebody ends them. */
export const OVERLAPS_H = [1, 24, 72, 168, 720] as const

export const isNew = (part: string) => part === 'new'
/** A way of which this page knows nothing is called as the API calls it. */
export const wayWords = (way: string) => named('city_way_', way)
/** Whether the system sends; else the platform fetches. */
export const sends = (way: Way) => way !== 'pull'

/** The part of an event's name that filters name: `cn.linhub.alert.raised.v1` is `alert.raised`. */
export const typeOf = (name: string) => name.replace(/^cn\.linhub\./, '').replace(/\.v\d+$/, '')
export const familyOf = (type: string) => type.split('.')[0] ?? type

export interface Family {
  name: string
  types: { type: string; label: string; requires: readonly DataClass[] }[]
}

/** What can be subscribed to: of the catalogue all but the event of tests, which needs no subscription. */
export function familiesOf(catalogue: Catalogue): Family[] {
  const found = new Map<string, Family>()
  for (const one of catalogue.items) {
    const type = typeOf(one.type)
    const family = familyOf(type)
    if (family === 'subscription') continue
    const into = found.get(family) ?? { name: family, types: [] }
    into.types.push({ type, label: say(one), requires: one.requires })
    found.set(family, into)
  }
  return [...found.values()]
}

/** `*`, a family or one type, in words. */
export function patternWords(pattern: string, labels: ReadonlyMap<string, string>): string {
  if (pattern === '*') return t('city_all_types')
  if (pattern.endsWith('.*'))
    return t('city_family_all', { family: named('city_family_', familyOf(pattern)) })
  return labels.get(pattern) ?? pattern
}

export function labelsOf(catalogue: Catalogue | null): Map<string, string> {
  return new Map((catalogue?.items ?? []).map((one) => [typeOf(one.type), say({ zh: one.zh, en: one.en })]))
}

type Filtered = Pick<Subscription, 'types' | 'communities' | 'severities' | 'kinds'>

/** What it holds back, in one line each; types first. */
export function filterWords(
  one: Filtered,
  labels: ReadonlyMap<string, string>,
  communityName: (id: string) => string,
): string[] {
  const comma = t('list_comma')
  return [
    one.types.map((type) => patternWords(type, labels)).join(comma),
    one.communities.map(communityName).join(comma),
    one.severities.map(severityLabel).join(comma),
    one.kinds.map(kindLabel).join(comma),
  ].filter(Boolean)
}

const CAUGHT_UP_MS = 5000

/** How far behind it is. Events that come within seconds are not told of: they are on their way. */
export function lagWords(one: Pick<Subscription, 'way' | 'progress'>, now: number): string {
  const { behind, behind_since } = one.progress
  if (behind === null) return t('city_lag_theirs')
  const since = behind_since === null ? 0 : now - Date.parse(behind_since)
  if (behind === 0 || since < CAUGHT_UP_MS) return t('city_lag_none')
  return t('city_lag', { n: number(behind), age: age(since) })
}

export const lags = (one: Pick<Subscription, 'progress'>, now: number) =>
  (one.progress.behind ?? 0) > 0 &&
  one.progress.behind_since !== null &&
  now - Date.parse(one.progress.behind_since) >= CAUGHT_UP_MS

const REFUSED = 'address refused: '

/** Why something was not taken, in words; what the door says otherwise stands as it is. */
export function errorWords(error: string | null): string {
  if (!error) return ''
  const ended = /^(expired|refused): (.*)$/.exec(error)
  if (ended)
    return t(ended[1] === 'expired' ? 'city_err_expired' : 'city_err_gave_up', {
      why: errorWords(ended[2] ?? ''),
    })
  if (error.startsWith(REFUSED)) {
    const what = error.slice(REFUSED.length)
    return t('city_err_address', {
      what: named('city_addr_', slug(what)) === slug(what) ? what : named('city_addr_', slug(what)),
    })
  }
  const status = /^(?:HTTP )?([1-5]\d\d)\b/.exec(error)?.[1]
  if (status) {
    if (status === '410') return t('city_err_gone')
    return t(status.startsWith('3') ? 'city_err_redirect' : 'city_err_status', { status })
  }
  const word = named('city_err_', slug(error))
  return word === slug(error) ? error : word
}

const slug = (text: string) => text.toLowerCase().replaceAll(/[^a-z0-9]+/g, '_')

export interface Tone {
  tone: 'good' | 'wait' | 'bad' | 'off'
  word: string
}

/** How it stands, worst first: stopped, failing, behind, well. */
export function standing(one: Subscription, now: number): Tone {
  if (one.state === 'disabled') return { tone: 'bad', word: t('city_disabled') }
  if (one.state === 'paused') return { tone: 'off', word: t('city_paused') }
  if (one.progress.failures > 0) return { tone: 'bad', word: t('city_failing') }
  if (lags(one, now)) return { tone: 'wait', word: t('city_catching_up') }
  return { tone: 'good', word: t('city_active') }
}

export function lastWords(one: Subscription, now: number): string {
  const { delivered_at, delivered } = one.progress
  if (!sends(one.way)) return t('city_pulled')
  if (!delivered_at) return t('city_never_delivered')
  return t('city_delivered', { at: moment(delivered_at, now), n: number(delivered) })
}

export function failureWords(one: Subscription, now: number): string {
  const { last_error, failing_since, failures, next_at } = one.progress
  if (one.state === 'disabled') return errorWords(one.state_why) || t('city_disabled')
  if (!last_error || !failing_since) return ''
  return t('city_failing_since', {
    why: errorWords(last_error),
    age: age(now - Date.parse(failing_since)),
    n: failures,
    next: moment(next_at, now),
  })
}

export interface Fields {
  account_id: string
  name: string
  way: Way
  url: string
  format: SubscriptionEdit['format']
  everything: boolean
  types: string[]
  communities: string[]
  severities: SubscriptionEdit['severities']
  kinds: string[]
  classes: DataClass[]
  classes_reason: string
  mark: SubscriptionEdit['mark']
  from: 'now' | 'seq'
  start: string
}

export function fieldsOf(one: Subscription | null, ways: readonly Way[], account: string): Fields {
  return {
    account_id: one?.account_id ?? account,
    name: one?.name ?? '',
    way: one?.way ?? ways[0] ?? 'webhook',
    url: one?.url ?? '',
    format: one?.format ?? 'structured',
    everything: one?.types.includes('*') ?? true,
    types: one?.types.filter((type) => type !== '*') ?? [],
    communities: [...(one?.communities ?? [])],
    severities: [...(one?.severities ?? [])],
    kinds: [...(one?.kinds ?? [])],
    classes: [...(one?.classes ?? [])],
    classes_reason: one?.classes_reason ?? '',
    mark: one?.mark ?? 'Actual',
    from: 'now',
    start: '',
  }
}

/** What a change says: all of it, with the state it is to have. */
export function editOf(form: Fields, state: SubscriptionEdit['state']): SubscriptionEdit {
  return {
    name: form.name.trim(),
    url: form.way === 'webhook' ? form.url.trim() : null,
    format: form.format,
    types: form.everything ? ['*'] : tidied(form.types),
    communities: form.communities,
    severities: form.severities,
    kinds: form.kinds,
    classes: form.classes,
    classes_reason: form.classes.length ? form.classes_reason.trim() : '',
    mark: form.mark,
    state,
  }
}

export function wishOf(form: Fields): SubscriptionWish {
  return {
    ...editOf(form, 'active'),
    account_id: form.account_id,
    // Which ways it takes, the API says itself (`ways` of the catalogue).
    way: form.way as SubscriptionWish['way'],
    ...(form.from === 'seq' && form.start !== '' ? { start: Number(form.start) } : {}),
  }
}

/** A family takes in its types. */
export function tidied(types: readonly string[]): string[] {
  return types.filter((one) => one.endsWith('.*') || !types.includes(`${familyOf(one)}.*`))
}

/** Pausing and resuming change the state alone. */
export function turned(one: Subscription, state: SubscriptionEdit['state']): SubscriptionEdit {
  return editOf({ ...fieldsOf(one, [], ''), classes_reason: one.classes_reason }, state)
}

/** What will hold deliveries up at this address, before anything is sent: the door to it is in the network's hands. */
export function addressDoubt(url: string): string {
  let parts: URL
  try {
    parts = new URL(url.trim())
  } catch {
    return ''
  }
  const host = parts.hostname.replace(/^\[|\]$/g, '')
  const inside =
    /^(10\.|127\.|0\.|169\.254\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.)/.test(
      host,
    ) ||
    /^(::1?$|f[cd][0-9a-f]{2}:|fe[89ab][0-9a-f]:|::ffff:)/i.test(host) ||
    /(^|\.)(localhost|local|internal|lan)$/i.test(host)
  if (inside) return t('city_url_inside')
  if (parts.protocol === 'http:') return t('city_url_plain')
  if (parts.port && parts.port !== '8443') return t('city_url_port')
  return ''
}

/** Keys that a made subscription shows this once: whatever the answer has beside the subscription itself. */
export function shownOnce(made: Record<string, unknown>): { name: string; value: string }[] {
  return Object.entries(made).flatMap(([name, value]) =>
    typeof value === 'string' && value !== '' ? [{ name, value }] : [],
  )
}

/** What an answer shows once, by the API's name where this page has no word. */
export const onceWords = (name: string) => named('city_once_', name)

export const keyStands = (one: { ends_at: string | null }, now: number) =>
  one.ends_at === null || Date.parse(one.ends_at) > now

export const overlapWords = (hours: number) =>
  hours % 24 === 0 && hours > 24 ? t('city_key_days', { n: hours / 24 }) : t('city_key_hours', { n: hours })

/** What is wrong at one field of the body that was sent; empty: nothing there. */
export function faultAt(error: ApiError, field: string): string {
  const found = error.problem.errors?.find((one) => one.where === `body.${field}`)
  return found?.what ? cleaned(found.what) : ''
}

/** Why it was refused: of a body that is not valid all of it, else the refusal. */
export function faultsOf(error: ApiError): string {
  const faults = (error.problem.errors ?? []).flatMap((one) => (one.what ? [cleaned(one.what)] : []))
  return faults.length ? faults.join(' ') : inWords(error)
}

const cleaned = (what: string) => bilingual(what.replace(/^Value error, /, ''))
