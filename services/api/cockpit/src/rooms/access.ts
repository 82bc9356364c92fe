/** What the rooms of keys, screens and audit ask of the API. */
import { call, request } from '../api/client'
import type { components } from '../api/schema'
import { lifeOf } from '../api/session'

type Schemas = components['schemas']
export type Display = Schemas['DisplayOut']
export type DisplayPage = Schemas['DisplayPage']
export type Service = Schemas['ServiceOut']
export type Key = Schemas['KeyOut']
export type NewKey = Schemas['NewKeyOut']
export type Audit = Schemas['AuditOut']
export type Chain = Schemas['ChainOut']
/** `until`: its end by this machine's clock, which on televisions may be years off. */
export type Pairing = Schemas['PairingOut'] & { until: number }

const id = encodeURIComponent

export const access = {
  displays: (community: string, all: boolean) =>
    call<DisplayPage>(
      'GET',
      `/communities/${id(community)}/displays?limit=200&state=${all ? 'all' : 'open'}`,
    ),
  pair: (community: string, body: Schemas['DisplayIn']) =>
    call<Display>('POST', `/communities/${id(community)}/displays`, { body }),
  rename: (one: Display, name: string, place: string) =>
    call<Display>('PUT', `/displays/${id(one.id)}`, { body: { name, place }, version: one.version }),
  cutOff: (one: Display) => call<Display>('POST', `/displays/${id(one.id)}/revoke`),

  services: () => call<Schemas['ServicePage']>('GET', '/service-accounts?limit=200'),
  makeService: (body: Schemas['ServiceIn']) => call<Service>('POST', '/service-accounts', { body }),
  switchService: (one: Service) =>
    call<Service>('POST', `/service-accounts/${id(one.id)}/${one.disabled ? 'enable' : 'disable'}`),
  keys: (all: boolean) => call<Schemas['KeyPage']>('GET', `/keys?limit=200&state=${all ? 'all' : 'open'}`),
  makeKey: (account: string, body: Schemas['KeyIn']) =>
    call<NewKey>('POST', `/service-accounts/${id(account)}/keys`, { body }),
  rotate: (one: Key) => call<NewKey>('POST', `/keys/${id(one.id)}/rotate`, { body: {} }),
  revoke: (one: Key) => call<Key>('POST', `/keys/${id(one.id)}/revoke`),

  /** In a body: whoever did it may be looked for by name. */
  audit: (filters: Record<string, string>) =>
    call<Schemas['AuditPage']>('POST', '/audit/search', { body: { limit: 100, ...filters } }),

  chain: () => call<Chain>('GET', '/audit/chain', { limit_s: 60 }),

  askPairing: async (): Promise<Pairing> => {
    const { data, date } = await request<Schemas['PairingOut']>('POST', '/displays/pairings')
    // The header tells whole seconds: rather a second early than a code that has run out.
    return { ...data, until: Date.now() + lifeOf(data.expires_at, date) - 1000 }
  },
  claim: (pairing: Pairing) =>
    call<Schemas['ClaimOut']>('POST', `/displays/pairings/${id(pairing.id)}/claim`, {
      body: { secret: pairing.secret },
    }),
  leaveScreen: () => call<undefined>('POST', '/displays/me/logout'),
  refreshScreen: (build: string) =>
    call<Schemas['RefreshOut']>('POST', '/displays/me/refresh', { body: { build } }),
}
