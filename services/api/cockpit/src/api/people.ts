/** People of the API: found, opened for a purpose, changed, their consents, copies and erasing. */
import { BASE, call, request } from './client'
import type { components } from './schema'

type Schemas = components['schemas']
export type Person = Schemas['PersonOut']
export type PersonPage = Schemas['PersonPage']
export type PersonFields = Schemas['PersonIn']
export type PersonTag = Schemas['TagOut']
export type Purpose = Schemas['Purpose']
export type Consent = Schemas['ConsentOut']
export type ConsentWish = Schemas['ConsentIn']
export type HealthReads = Schemas['HealthReadPage']
export type Erasure = Schemas['ErasureOut']
export type ErasureWhy = Schemas['ErasureIn']['reason']
export type MoveOutWhy = Schemas['MoveOutIn']['reason']
export type PeopleReport = Schemas['PeopleImportOut']

const id = encodeURIComponent
const at = (community: string) => `/communities/${id(community)}`
const of = (person: string) => `/people/${id(person)}`

/** What is looked for: in a body, for names and numbers in an address are kept by whatever stands on the way. */
export type PeopleQuery = Partial<Schemas['PeopleSearchIn']>

export function peopleSearch(asked: PeopleQuery): PeopleQuery {
  const words = asked.words?.trim()
  return { ...asked, words: words ? words : null, age: asked.age ?? null, limit: asked.limit ?? 100 }
}

export const people = {
  tags: (community: string) => call<PersonTag[]>('GET', `${at(community)}/person-tags`),
  find: (community: string, asked: PeopleQuery) =>
    call<PersonPage>('POST', `${at(community)}/people/search`, { body: peopleSearch(asked) }),
  /** One of them with the mask on, by id; undefined where there is none (any more). */
  masked: async (community: string, person: string) => {
    for (const moved_out of [false, true]) {
      const page = await people.find(community, { words: person, moved_out })
      const found = page.items.find((one) => one.id === person)
      if (found) return found
    }
    return undefined
  },
  reveal: (person: string, purpose: Purpose) =>
    call<Person>('POST', `${of(person)}/reveal`, { body: { purpose } }),
  add: (community: string, body: PersonFields, key: string) =>
    call<Person>('POST', `${at(community)}/people`, { body, key }),
  change: (person: string, body: PersonFields, version: number) =>
    call<Person>('PUT', of(person), { body, version }),
  moveOut: (person: string, reason: MoveOutWhy, version: number) =>
    call<Person>('POST', `${of(person)}/move-out`, { body: { reason }, version }),
  consents: (person: string) => call<Consent[]>('GET', `${of(person)}/consents`),
  consent: (person: string, body: ConsentWish, key: string) =>
    call<Consent>('POST', `${of(person)}/consents`, { body, key }),
  withdraw: (consent: string) => call<Consent>('POST', `/consents/${id(consent)}/withdraw`),
  reads: (person: string, cursor: string | null) =>
    call<HealthReads>('GET', `${of(person)}/health-reads?limit=50${cursor ? `&cursor=${id(cursor)}` : ''}`),
  /** Saved by the browser itself; the purpose goes with it, for a link sends no header. */
  copyUrl: (person: string) => `${BASE}${of(person)}/export?purpose=export`,
  sheetUrl: (community: string, purpose: Purpose, lang: string) =>
    `${BASE}${at(community)}/people/export?purpose=${purpose}&lang=${lang}`,
  sheet: (community: string, content: Blob, dryRun: boolean) =>
    call<PeopleReport>('POST', `${at(community)}/people/import?dry_run=${dryRun}`, {
      body: content,
      headers: { 'Content-Type': 'text/csv' },
      limit_s: 180,
    }),
  wouldErase: (person: string, reason: ErasureWhy) =>
    call<Erasure>('POST', `${of(person)}/erase`, { body: { reason, dry_run: true }, limit_s: 60 }),
  askErasure: (person: string, reason: ErasureWhy, key: string) =>
    call<Erasure>('POST', `${of(person)}/erase`, { body: { reason, dry_run: false }, key, limit_s: 60 }),
  approveErasure: (erasure: string) =>
    call<Erasure>('POST', `/erasures/${id(erasure)}/approve`, { limit_s: 300 }),
  takeBackErasure: (erasure: string) => call<undefined>('DELETE', `/erasures/${id(erasure)}`),
  erasures: async (community: string) => {
    const { data } = await request<Schemas['ErasurePage']>('GET', `${at(community)}/erasures?limit=100`)
    return data.items
  },
}
