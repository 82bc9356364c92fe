/** The community's plan as everybody may see it; kept, so that it is there without a network. */
import { ApiError, call } from '../../api/client'
import type { components } from '../../api/schema'
import { store } from '../outbox/outbox'

export type Places = components['schemas']['ReportPlacesOut']
export type Category = components['schemas']['CategoryOut']

async function kept<T>(name: string, path: string): Promise<T | null> {
  const db = await store()
  try {
    const fresh = await call<T>('GET', path)
    await db.put('meta', fresh, name)
    return fresh
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    return ((await db.get('meta', name)) as T | undefined) ?? null
  }
}

/** null: never seen on this phone, and no network to ask. */
export const placesOf = (community: string) =>
  kept<Places>(`places:${community}`, `/communities/${encodeURIComponent(community)}/report-places`)

export const communitiesToReport = () =>
  kept<components['schemas']['ReportCommunityOut'][]>('report-communities', '/report-communities')

export const categories = async () =>
  (await kept<{ items: Category[] }>('report-categories', '/report-categories'))?.items ?? null
