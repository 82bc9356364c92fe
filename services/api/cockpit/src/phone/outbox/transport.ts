/** One act over the API, under its own key and for its own account. Runs in the page and in the service worker. */
import { call } from '../../api/client'
import type { Evidence, Order } from '../../api/types'
import type { components } from '../../api/schema'
import type { Db } from './store'
import { filesOf } from './store'
import type { Entry, FileOf, Sent } from './types'

/** A cellar's uplink needs its time for a picture. */
const FILE_LIMIT_S = 300
const LIMIT_S = 30

const id = encodeURIComponent

export async function deliver(db: Db, entry: Entry, version: number): Promise<Sent> {
  const { act, key } = entry
  // Refused by the server (412) where another account's cookie is in the browser by now, whatever this page believes.
  const headers: Record<string, string> = entry.account === null ? {} : { 'X-LinHub-Account': entry.account }
  switch (act.kind) {
    case 'move': {
      const body = { ...act.body, version, acted_at: new Date(entry.madeAt).toISOString() }
      const order = await call<Order>('POST', `/orders/${id(act.order)}/moves`, {
        body,
        key,
        headers,
        limit_s: LIMIT_S,
      })
      return { order }
    }
    case 'evidence': {
      const [file] = await filesOf(db, entry)
      if (!file) return {}
      const form = new FormData()
      form.append('taken_at', act.takenAt)
      form.append('file', blobOf(file), file.name)
      const query = new URLSearchParams({ sort: act.sort, phase: act.phase })
      const path = `/orders/${id(act.order)}/evidence?${query}`
      await call<Evidence>('POST', path, { body: form, key, headers, limit_s: FILE_LIMIT_S })
      // A picture is a new version of the order: what waits behind it should not have to be refused to learn that.
      const order = await call<Order>('GET', `/orders/${id(act.order)}`, { limit_s: LIMIT_S }).catch(
        () => null,
      )
      return order ? { order } : {}
    }
    case 'report': {
      const form = new FormData()
      for (const [name, value] of Object.entries(act.fields)) form.append(name, value)
      for (const file of await filesOf(db, entry)) form.append('photo', blobOf(file), file.name)
      const path = `/communities/${id(act.community)}/reports`
      const opened = await call<components['schemas']['OpenedOut']>('POST', path, {
        body: form,
        key,
        headers,
        limit_s: FILE_LIMIT_S,
      })
      return { report: opened }
    }
  }
}

function blobOf(file: FileOf): Blob {
  return new Blob([file.bytes], { type: file.type })
}

/** What is kept of what the server answered, in the page and in the worker alike. */
export async function keep(db: Db, entry: Entry, sent: Sent): Promise<void> {
  if (entry.act.kind === 'report' && sent.report) {
    const { id: report, token } = sent.report
    const { community } = entry.act
    await db.put('reports', {
      id: report,
      token,
      community,
      title: entry.about,
      madeAt: entry.madeAt,
      account: entry.account,
    })
    // So that a page that shows the report as waiting finds it under its number now.
    await db.put('meta', report, `report:${entry.key}`)
  }
}

/** Two tabs, or a tab and the worker, take turns; where locks are missing (plain http), the keys alone keep order. */
export async function alone<T>(run: () => Promise<T>): Promise<T> {
  if (typeof navigator === 'undefined' || !('locks' in navigator)) return run()
  return navigator.locks.request('linhub-outbox', run) as Promise<T>
}
