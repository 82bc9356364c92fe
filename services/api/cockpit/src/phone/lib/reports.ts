/** Reports that this phone has sent, or that the account logged in here has: each followed with what opens it. */
import { call } from '../../api/client'
import type { CallOptions } from '../../api/client'
import type { components } from '../../api/schema'
import { idempotencyKey } from '../../api/key'
import { keeper } from '../../api/session'
import { store } from '../outbox/outbox'

export type Followed = components['schemas']['ReportOut']
export type Mine = components['schemas']['MineOut']
export type Told = components['schemas']['ToldOut']

const path = (id: string, what = '') => `/reports/${encodeURIComponent(id)}${what}`

/** A link may bring the token in its fragment, which is never sent to a server nor written into its logs. */
export async function tokenOf(id: string): Promise<string | null> {
  const brought = /^#t=([\w=-]{8,128})$/.exec(location.hash)?.[1]
  const db = await store()
  const known = await db.get('reports', id)
  if (brought && !known) {
    await db.put('reports', {
      id,
      token: brought,
      community: '',
      title: '',
      madeAt: Date.now(),
      account: null,
    })
  }
  if (brought) history.replaceState(history.state, '', location.pathname)
  return known?.token ?? brought ?? null
}

async function asked<T>(method: string, id: string, what: string, options: CallOptions = {}): Promise<T> {
  const token = await tokenOf(id)
  return call<T>(method, path(id, what), { ...options, headers: token ? { 'X-Report-Token': token } : {} })
}

/** All of these raise ApiError. */
export const follow = (id: string) => asked<Followed>('GET', id, '')
export const rate = (id: string, rating: number, comment: string) =>
  asked<components['schemas']['RatedOut']>('POST', id, '/rating', {
    body: { rating, comment: comment.trim() || null },
  })
export const inform = (id: string, text: string, key = idempotencyKey()) =>
  asked<components['schemas']['DoneOut']>('POST', id, '/information', { body: { text }, key })
export const urge = (id: string) => asked<components['schemas']['DoneOut']>('POST', id, '/urge')
export const withdraw = (id: string) => asked<components['schemas']['DoneOut']>('POST', id, '/withdraw')

/** As an address for an image: the token goes into a header, which an image of itself cannot send. */
export async function photo(id: string, photoId: string): Promise<string | null> {
  const token = await tokenOf(id)
  if (token === null) await keeper.fresh()
  const answer = await fetch(`/api/v1${path(id, `/photos/${encodeURIComponent(photoId)}?small=true`)}`, {
    headers: token ? { 'X-Report-Token': token } : {},
  }).catch(() => null)
  return answer?.ok ? URL.createObjectURL(await answer.blob()) : null
}

export async function told(
  community: string,
  category: string,
  building: string,
  x: number | null,
  y: number | null,
): Promise<readonly Told[]> {
  const query = new URLSearchParams({ category })
  if (building) query.set('building_id', building)
  if (x !== null && y !== null) {
    query.set('x', `${x}`)
    query.set('y', `${y}`)
  }
  const page = await call<{ items: Told[] }>(
    'GET',
    `/communities/${encodeURIComponent(community)}/reports/told?${query}`,
  )
  return page.items
}
