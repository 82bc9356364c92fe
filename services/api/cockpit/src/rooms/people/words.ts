/** What the room of people knows without asking: purposes of a role, what erasing takes, how two changes go together. */
import type { Consent, Erasure, Person, PersonFields, Purpose } from '../../api/people'
import { named } from '../../i18n'
import { metricNamed } from '../../lib/catalogue'

/** Why each role may open one person (services/domain/people/privacy.py); the API decides. */
const PURPOSES: Record<string, readonly Purpose[]> = {
  grid: ['duty', 'visit', 'emergency'],
  desk: ['duty', 'visit', 'emergency', 'rules'],
  admin: ['duty', 'visit', 'emergency', 'rules', 'export'],
}
export const purposesOf = (role: string): readonly Purpose[] => PURPOSES[role] ?? []
/** To enter, change, import; to approve that somebody is erased. */
export const keepsPeople = (role: string) => role === 'desk' || role === 'admin'
/** To hand out a copy and to ask for erasing. */
export const handsOut = (role: string) => role === 'admin'

export const CONSENTS = ['vitals', 'location', 'family'] as const
export const AGES = ['0-5', '6-17', '18-59', '60-69', '70-79', '80-89', '90+'] as const
export const MOVES_OUT = ['moved', 'deceased', 'care_home', 'other'] as const
/** Who an emergency contact is most often; anything else is typed in. */
export const RELATIONS = ['daughter', 'son', 'spouse', 'sibling', 'guardian', 'neighbour'] as const
/** How many there may be (services/adapters/notices/book.py); the API refuses more. */
export const MOST_CONTACTS = 5

/** The ids with one of them a place up (-1) or down (1); at an end it stays. */
export function moved(ids: readonly string[], id: string, by: -1 | 1): string[] {
  const from = ids.indexOf(id)
  const to = from + by
  const all = [...ids]
  if (from >= 0 && to >= 0 && to < all.length) all.splice(to, 0, ...all.splice(from, 1))
  return all
}

export const ERASED_FOR = ['request', 'moved_out', 'deceased', 'mistake'] as const

/** How one consent stands: the one in force, else one that begins later, else the newest that is over. */
export function standingConsent(all: readonly Consent[], what: string, now: number): Consent | null {
  const of = all.filter((one) => one.what === what)
  const later = of.find((one) => !one.withdrawn_at && Date.parse(one.starts_at) > now)
  return of.find((one) => one.valid) ?? later ?? of[0] ?? null
}

/** What is counted and stays without the person; everything else that is counted goes. */
const STAYS: ReadonlySet<string> = new Set(['orders', 'alerts', 'reports', 'devices'])

export interface Counted {
  name: string
  n: number
}

/** What erasing takes away and what stays, each with its number; what there is none of is left out. */
export function erased(counts: Erasure['counts']): { goes: Counted[]; stays: Counted[] } {
  const all = Object.entries(counts)
    .filter(([, n]) => n > 0)
    .map(([name, n]) => ({ name, n }))
  return {
    goes: all.filter((one) => !STAYS.has(one.name)),
    stays: all.filter((one) => STAYS.has(one.name)),
  }
}

/** What a change of a person says: all of it, as it was revealed. */
export function fieldsOf(person: Person | null): PersonFields {
  return {
    name: person?.name ?? '',
    phone: person?.phone ?? null,
    birth_year: person?.birth_year ?? null,
    household_id: person?.household_id ?? null,
    tags: [...(person?.tags ?? [])].sort(),
    account_id: person?.account_id ?? null,
    guardian_id: person?.guardian_id ?? null,
  }
}

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)

/**
 * One's own changes over what somebody else wrote meanwhile: what one has not touched is theirs, what both have is one's
 * own until it is looked at (`both`).
 */
export function merged(
  before: PersonFields,
  mine: PersonFields,
  theirs: PersonFields,
): { fields: PersonFields; both: (keyof PersonFields)[] } {
  const fields: Record<string, unknown> = {}
  const both: (keyof PersonFields)[] = []
  for (const name of Object.keys(before) as (keyof PersonFields)[]) {
    const touched = !same(mine[name], before[name])
    fields[name] = touched ? mine[name] : theirs[name]
    if (touched && !same(theirs[name], before[name]) && !same(theirs[name], mine[name])) both.push(name)
  }
  return { fields: fields as unknown as PersonFields, both }
}

/** What somebody read of a person: a metric by its label, anything else in words. */
export function readWhat(what: string): string {
  const known = named('read_', what)
  return known === what ? metricNamed(what) : known
}
