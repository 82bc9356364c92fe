/** Emergency contacts of one person: a list with one version, for its order is part of it. */
import { call, request } from './client'
import type { Purpose } from './people'
import type { components } from './schema'

type Schemas = components['schemas']
export type Contact = Schemas['ContactOut']
export type ContactWish = Schemas['ContactIn']
export type ContactChange = Schemas['ContactChangeIn']

/** What was answered, and the version of the whole list after it. */
export interface Versioned<T> {
  data: T
  version: number
}

const id = encodeURIComponent
const of = (person: string) => `/people/${id(person)}/contacts`

async function versioned<T>(...asked: Parameters<typeof request>): Promise<Versioned<T>> {
  const { data, etag } = await request<T>(...asked)
  return { data, version: Number(etag?.replaceAll('"', '') ?? 0) }
}

export const contacts = {
  list: (person: string) => versioned<Contact[]>('GET', of(person)),
  reveal: (person: string, purpose: Purpose) =>
    versioned<Contact[]>('POST', `${of(person)}/reveal`, { body: { purpose } }),
  add: (person: string, body: ContactWish, key: string) =>
    versioned<Contact>('POST', of(person), { body, key }),
  change: (contact: string, body: ContactChange, version: number) =>
    versioned<Contact>('PUT', `/contacts/${id(contact)}`, { body, version }),
  order: (person: string, ids: readonly string[], version: number) =>
    versioned<Contact[]>('PUT', `${of(person)}/order`, { body: { ids }, version }),
  remove: (contact: string, version: number) =>
    versioned<undefined>('DELETE', `/contacts/${id(contact)}`, { version }),
}

/** Accounts that may be somebody's own or their guardian's. */
export const accountsLike = async (community: string, words: string) => {
  const body = { words, community_id: community, state: 'active', limit: 8 }
  return (await call<Schemas['AccountPage']>('POST', '/users/search', { body })).items
}
