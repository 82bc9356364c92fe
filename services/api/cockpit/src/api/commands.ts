/** Commands of the API: the ledger, two people's words about it, batches, and lamps by the sun. */
import type { Answer } from './client'
import { call, request } from './client'
import type { components } from './schema'
import type { Device } from './types'

type Schemas = components['schemas']
export type Command = Schemas['LedgerCommandOut']
export type CommandDetail = Schemas['CommandDetailOut']
export type CommandPage = Schemas['CommandPage']
export type CommandState = Schemas['CommandState']
export type CommandWish = Schemas['CommandIn']
export type Batch = Schemas['CommandBatchOut']
export type BatchPage = Schemas['CommandBatchPage']
export type BatchWish = Schemas['CommandBatchIn']
export type Lamps = Schemas['LampScheduleOut']
export type LampsWish = Schemas['LampScheduleIn']
export type Params = CommandWish['params']
export type Place = Schemas['PlaceOut']
export type Registered = Schemas['RegisteredDevice']
export type Verdict = Schemas['ReviewIn']['verdict']

const id = encodeURIComponent
const at = (community: string) => `/communities/${id(community)}`

export interface LedgerQuery {
  state?: 'open' | 'all'
  only?: readonly CommandState[]
  to_review?: boolean
  single?: boolean
  device_id?: string
  batch_id?: string
  limit?: number
}

export function ledgerQuery(asked: LedgerQuery): URLSearchParams {
  const query = new URLSearchParams({ state: asked.state ?? 'open', limit: String(asked.limit ?? 50) })
  for (const one of asked.only ?? []) query.append('only', one)
  for (const name of ['to_review', 'single'] as const) if (asked[name]) query.set(name, 'true')
  for (const name of ['device_id', 'batch_id'] as const) {
    const value = asked[name]?.trim()
    if (value) query.set(name, value)
  }
  return query
}

async function everyPage<T>(path: string, asked: Record<string, string>): Promise<T[]> {
  const found: T[] = []
  const query = new URLSearchParams({ ...asked, limit: '500' })
  for (;;) {
    const page = await call<{ items: T[]; next: string | null }>('GET', `${path}?${query}`)
    found.push(...page.items)
    if (page.next === null) return found
    query.set('cursor', page.next)
  }
}

const acts = <T>(of: (one: string) => string) => ({
  approve: (one: string, note: string) => call<T>('POST', `${of(one)}/approve`, { body: { note } }),
  reject: (one: string, why: string) => call<T>('POST', `${of(one)}/reject`, { body: { why } }),
  review: (one: string, verdict: Verdict, note: string) =>
    call<T>('POST', `${of(one)}/review`, { body: { verdict, note } }),
})
const command = (one: string) => `/commands/${id(one)}`
const batch = (one: string) => `/command-batches/${id(one)}`

export const commands = {
  /** With the server's clock: what counts down counts by it. */
  list: (community: string, asked: LedgerQuery): Promise<Answer<CommandPage>> =>
    request('GET', `${at(community)}/commands?${ledgerQuery(asked)}`),
  one: (of: string) => call<CommandDetail>('GET', command(of)),
  ask: (community: string, body: CommandWish, key: string) =>
    call<Command>('POST', `${at(community)}/commands`, { body, key }),
  cancel: (of: string, why: string) =>
    call<CommandDetail>('POST', `${command(of)}/cancel`, { body: { why } }),
  ...acts<CommandDetail>(command),

  batches: (community: string, waiting: boolean, limit = 50) =>
    call<BatchPage>('GET', `${at(community)}/command-batches?waiting=${waiting}&limit=${limit}`),
  batch: (of: string) => call<Batch>('GET', batch(of)),
  tell: (community: string, body: BatchWish, key: string) =>
    call<Batch>('POST', `${at(community)}/command-batches`, { body, key, limit_s: 60 }),
  stop: (of: string, why: string) => call<Batch>('POST', `${batch(of)}/stop`, { body: { why } }),
  ofBatch: acts<Batch>(batch),

  lamps: (community: string) => call<Lamps[]>('GET', `${at(community)}/lamp-schedules`),
  /** `version` 0: a new one. */
  putLamps: (community: string, of: string, body: LampsWish, version: number) =>
    call<Lamps>(
      'PUT',
      `${at(community)}/lamp-schedules/${id(of)}`,
      version ? { body, version } : { body, headers: { 'If-None-Match': '*' } },
    ),
  removeLamps: (community: string, of: string, version: number) =>
    call<undefined>('DELETE', `${at(community)}/lamp-schedules/${id(of)}`, { version }),

  /** All of a kind. */
  devices: (community: string, kind: string) => everyPage<Device>(`${at(community)}/devices`, { kind }),
  /** With the 网格 and building of each. */
  registered: (community: string, kind: string) =>
    everyPage<Registered>(`${at(community)}/registry/devices`, { kind }),
  places: (community: string, sort: 'grid' | 'building') =>
    everyPage<Place>(`${at(community)}/places`, { sort }),
  /** Never of what people wear: that takes a purpose. */
  device: (of: string) => call<Device>('GET', `/devices/${id(of)}`),
}
