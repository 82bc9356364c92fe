/** A stream shared with the other tabs where the browser can; a stream of its own where it cannot. */
import type { Source } from './link'
import type { FromTab, ToTab } from './sharing'

const HERE_MS = 30_000

let worker: SharedWorker | null | undefined

function shared(): SharedWorker | null {
  if (worker !== undefined) return worker
  try {
    worker =
      typeof SharedWorker === 'undefined'
        ? null
        : new SharedWorker(new URL('./stream.worker.ts', import.meta.url), { type: 'module' })
    // It could not be loaded: the next join goes without.
    worker?.addEventListener('error', () => (worker = null))
  } catch {
    worker = null
  }
  return worker
}

/** Whether tabs can share one stream here. */
export function canShare(): boolean {
  return shared() !== null
}

/** `key` names who looks at what: tabs of different accounts never share. `at`: the server's time of the snapshot. */
export function openSource(key: string, url: string, cursor: number, at: string): Source {
  const one = shared()
  if (!one) return new EventSource(url) as unknown as Source
  const listeners = new Map<string, (event: MessageEvent<string>) => void>()
  const port = one.port
  const tell = (message: FromTab) => port.postMessage(message)
  const source: Source = {
    onerror: null,
    addEventListener: (type, listener) => void listeners.set(type, listener),
    close() {
      clearInterval(timer)
      removeEventListener('pagehide', leave)
      one.removeEventListener('error', fail)
      port.onmessage = null
      leave()
    },
  }
  const leave = () => tell({ type: 'leave' })
  port.onmessage = ({ data }: MessageEvent<ToTab>) => {
    if (data.type === 'error') source.onerror?.()
    else
      listeners.get(data.heard.type)?.(
        new MessageEvent(data.heard.type, { data: data.heard.data, lastEventId: data.heard.id }),
      )
  }
  // The worker could not be loaded: nothing would ever be heard from it.
  const fail = () => source.onerror?.()
  one.addEventListener('error', fail)
  const timer = setInterval(() => tell({ type: 'here' }), HERE_MS)
  addEventListener('pagehide', leave)
  // Listeners are added right after this returns; the worker answers later.
  tell({ type: 'join', key, url: new URL(url, location.href).href, cursor, at })
  return source
}
