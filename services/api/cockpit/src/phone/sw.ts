/**
 * The phone page's service worker: the page itself from the phone, and what waits is sent with the tab closed.
 *
 * It keeps the files of exactly one build and nothing else: no answer of the API is ever put into a cache here. A new
 * build waits beside the old one until the person says so, or until no tab of it is open.
 */
import { sendAll } from './outbox/send'
import { openStore } from './outbox/store'
import { alone, deliver, keep } from './outbox/transport'

declare const __BUILD__: string
declare const __SHELL__: readonly string[]

interface Extendable extends Event {
  waitUntil(promise: Promise<unknown>): void
}
interface FetchEvent extends Extendable {
  request: Request
  respondWith(answer: Promise<Response> | Response): void
}
interface SyncEvent extends Extendable {
  tag: string
}
interface Worker extends EventTarget {
  skipWaiting(): Promise<void>
  clients: {
    claim(): Promise<void>
    matchAll(options: { includeUncontrolled: boolean }): Promise<{ postMessage(data: unknown): void }[]>
  }
}
const worker = self as unknown as Worker

const PREFIX = 'linhub-phone-'
const CACHE = PREFIX + __BUILD__
const PAGE = '/m/'

worker.addEventListener('install', (event) => {
  ;(event as Extendable).waitUntil(
    (async () => {
      const cache = await caches.open(CACHE)
      // Past the browser's own cache: a half-old shell would be worse than none.
      await cache.addAll([PAGE, ...__SHELL__].map((path) => new Request(path, { cache: 'reload' })))
    })(),
  )
})

worker.addEventListener('activate', (event) => {
  ;(event as Extendable).waitUntil(
    (async () => {
      const names = await caches.keys()
      await Promise.all(
        names.filter((name) => name.startsWith(PREFIX) && name !== CACHE).map((name) => caches.delete(name)),
      )
      await worker.clients.claim()
    })(),
  )
})

worker.addEventListener('message', (event) => {
  if ((event as MessageEvent).data === 'now') void worker.skipWaiting()
})

worker.addEventListener('fetch', (event) => {
  const { request } = event as FetchEvent
  const url = new URL(request.url)
  if (request.method !== 'GET' || url.origin !== location.origin) return
  if (url.pathname.startsWith('/api/') || url.pathname.startsWith('/n/')) return
  if (request.mode === 'navigate') {
    if (url.pathname === '/m' || url.pathname.startsWith(PAGE))
      (event as FetchEvent).respondWith(page(request))
    return
  }
  if (url.pathname.startsWith('/assets/') || __SHELL__.includes(url.pathname)) {
    ;(event as FetchEvent).respondWith(file(request, url.pathname))
  }
})

async function page(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE)
  return (await cache.match(PAGE)) ?? fetch(request)
}

/** Files are named by what is in them; slices of the font are kept as they are needed. */
async function file(request: Request, path: string): Promise<Response> {
  const cache = await caches.open(CACHE)
  const known = await cache.match(path)
  if (known) return known
  const answer = await fetch(request)
  if (answer.ok && /\.(woff2|css)$/.test(path)) await cache.put(path, answer.clone())
  return answer
}

worker.addEventListener('sync', (event) => {
  if ((event as SyncEvent).tag === 'outbox') (event as SyncEvent).waitUntil(flush())
})

async function flush(): Promise<void> {
  const db = await openStore()
  try {
    const user = (await db.get('meta', 'user')) as { id: string } | undefined
    const loggedOut = await db.get('meta', 'logout')
    const ending = await alone(() =>
      sendAll(db, {
        account: user && !loggedOut ? user.id : null,
        send: (entry, version) => deliver(db, entry, version),
        onDone: (entry, sent) => keep(db, entry, sent),
      }),
    )
    for (const client of await worker.clients.matchAll({ includeUncontrolled: true }))
      client.postMessage('outbox')
    // A failed sync is tried again by the browser, at its own pace.
    if (ending === 'network' || ending === 'busy') throw new Error(ending)
  } finally {
    db.close()
  }
}
