/** City platforms: their subscriptions and what becomes of the events; cases that they opened here. */
import { call } from './client'
import type { components } from './schema'

type Schemas = components['schemas']
export type Subscription = Schemas['SubscriptionOut']
export type SubscriptionWish = Schemas['SubscriptionIn']
export type SubscriptionEdit = Schemas['SubscriptionEdit']
export type Made = Schemas['NewSubscriptionOut']
export type Way = Schemas['Way']
export type DataClass = Schemas['DataClass']
export type SigningKey = Schemas['SigningKeyOut']
export type SigningKeyWish = Schemas['SigningKeyIn']
export type Attempt = Schemas['CityAttemptOut']
export type AttemptPage = Schemas['CityAttemptPage']
export type DeadLetter = Schemas['DeadLetterOut']
export type DeadLetterPage = Schemas['DeadLetterPage']
export type Catalogue = Schemas['SchemaList']
export type Case = Schemas['DeskCaseOut']
export type CasePage = Schemas['DeskCasePage']
export type CaseState = Schemas['CaseState']
export type Community = Schemas['CommunityOut']

const id = encodeURIComponent
const of = (one: string) => `/city/subscriptions/${id(one)}`

/** What is asked for is named; what is left empty is not. */
export function queryOf(asked: Record<string, string | number | boolean | null | undefined>): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(asked)) {
    if (value !== null && value !== undefined && value !== '') query.set(name, String(value))
  }
  return query.size ? `?${query}` : ''
}

async function everyPage<T>(path: string): Promise<T[]> {
  const found: T[] = []
  let cursor: string | null = null
  do {
    const page: { items: T[]; next: string | null } = await call(
      'GET',
      path + queryOf({ limit: 200, cursor }),
    )
    found.push(...page.items)
    cursor = page.next
  } while (cursor !== null)
  return found
}

export const city = {
  catalogue: () => call<Catalogue>('GET', '/city/schemas'),
  accounts: () => everyPage<Schemas['ServiceOut']>('/service-accounts'),

  all: () => everyPage<Subscription>('/city/subscriptions'),
  one: (which: string) => call<Subscription>('GET', of(which)),
  make: (body: SubscriptionWish, key: string) => call<Made>('POST', '/city/subscriptions', { body, key }),
  change: (which: string, body: SubscriptionEdit, version: number) =>
    call<Subscription>('PUT', of(which), { body, version }),
  remove: (which: string, version: number) => call<undefined>('DELETE', of(which), { version }),

  keys: (which: string) => call<Schemas['SigningKeys']>('GET', `${of(which)}/keys`),
  makeKey: (which: string, body: SigningKeyWish) =>
    call<Schemas['NewSigningKeyOut']>('POST', `${of(which)}/keys`, { body }),
  endKey: (which: string, key: string) =>
    call<Schemas['SigningKeys']>('POST', `${of(which)}/keys/${id(key)}/end`),

  test: (which: string) => call<Schemas['TestOut']>('POST', `${of(which)}/test`),
  replay: (which: string, first: number, last: number) =>
    call<Subscription>('POST', `${of(which)}/replay`, { body: { first, last } }),
  attempts: (which: string, ok: boolean | null, cursor: string | null, limit: number) =>
    call<AttemptPage>('GET', `${of(which)}/attempts${queryOf({ ok, cursor, limit })}`),
  deadLetters: (which: string, all: boolean, cursor: string | null, limit: number) =>
    call<DeadLetterPage>('GET', `${of(which)}/dead-letters${queryOf({ all, cursor, limit })}`),
}

export interface CaseQuery {
  state: CaseState | ''
  over: boolean | null
  late: boolean
}

export const cases = {
  of: (community: string, asked: CaseQuery, cursor: string | null, limit: number) =>
    call<CasePage>(
      'GET',
      `/communities/${id(community)}/cases${queryOf({ ...asked, late: asked.late || null, cursor, limit })}`,
    ),
  ofOrder: (order: string) => call<Schemas['DeskCases']>('GET', `/orders/${id(order)}/cases`),
  givePhoto: (one: string, evidence_id: string) =>
    call<Case>('POST', `/city/cases/${id(one)}/photos`, { body: { evidence_id } }),
  takePhoto: (one: string, evidence: string) =>
    call<undefined>('DELETE', `/city/cases/${id(one)}/photos/${id(evidence)}`),
}
