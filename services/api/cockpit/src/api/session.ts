/**
 * Keeps this browser logged in: the access cookie lives minutes and is renewed before its end by whichever tab is first.
 *
 * All tabs share the cookies, so they share the knowledge of their end as well, and a lock: one renews, the others wait
 * and find it done. A laptop that slept over the end renews with its first call.
 */

const UNTIL = 'linhub.until'
const AHEAD_MS = 60_000
const LIMIT_MS = 20_000

/** What the page of the world around it needs here; tests put others in. */
export interface Ports {
  now(): number
  get(key: string): string | null
  set(key: string, value: string): void
  /** Runs alone among all tabs. */
  alone<T>(work: () => Promise<T>): Promise<T>
  /** The new end, epoch ms; null: the session is over. Throws where there was no answer. */
  renew(): Promise<number | null>
}

export class Keeper {
  constructor(private readonly ports: Ports) {}

  /** The server has just said when the access cookie ends. */
  learn(expires_at: string): void {
    this.ports.set(UNTIL, `${Date.parse(expires_at)}`)
  }

  /** Before a call: renews what is about to end. No answer is no harm, the call itself will tell. */
  async fresh(): Promise<void> {
    const until = this.until()
    if (until === null || this.ports.now() < until - AHEAD_MS) return
    await this.again(until).catch(() => false)
  }

  /** After a 401: whether there is something new to try with. `sentAt`: the end that was known when the call was sent. */
  async again(sentAt: number | null): Promise<boolean> {
    return this.ports.alone(async () => {
      const until = this.until()
      // Another tab has renewed while this one waited for its turn.
      if (until !== null && until !== sentAt && this.ports.now() < until - AHEAD_MS) return true
      const renewed = await this.ports.renew()
      if (renewed === null) return false
      this.ports.set(UNTIL, `${renewed}`)
      return true
    })
  }

  until(): number | null {
    const known = Number(this.ports.get(UNTIL))
    return known > 0 ? known : null
  }
}

let running: Promise<unknown> = Promise.resolve()

/** Where a browser has no locks (a page without TLS), tabs may race; the server has a few seconds' patience for that. */
function alone<T>(work: () => Promise<T>): Promise<T> {
  // Not there on pages without TLS, whatever the types say.
  const locks = navigator.locks as LockManager | undefined
  if (locks) return locks.request('linhub.renew', work) as Promise<T>
  const next = running.then(work, work)
  running = next.catch(() => undefined)
  return next
}

export const keeper = new Keeper({
  now: Date.now,
  get: (key) => localStorage.getItem(key),
  set: (key, value) => localStorage.setItem(key, value),
  alone,
  renew: async () => {
    const answer = await fetch('/api/v1/auth/refresh', {
      method: 'POST',
      headers: { 'X-LinHub': '1', Accept: 'application/json' },
      credentials: 'same-origin',
      cache: 'no-store',
      signal: AbortSignal.timeout(LIMIT_MS),
    })
    if (answer.status === 401) return null
    if (!answer.ok) throw new Error(`renewal answered ${answer.status}`)
    return Date.parse(((await answer.json()) as { expires_at: string }).expires_at)
  },
})

/** Renews in time for as long as the page is open, and right after waking: walls stay logged in by this. */
export function stayLoggedIn(): () => void {
  const turn = (): void => {
    if (localStorage.getItem('linhub.known') !== null) void keeper.fresh()
  }
  const timer = setInterval(turn, 15_000)
  const woken = (): void => {
    if (document.visibilityState === 'visible') turn()
  }
  document.addEventListener('visibilitychange', woken)
  addEventListener('online', turn)
  return () => {
    clearInterval(timer)
    document.removeEventListener('visibilitychange', woken)
    removeEventListener('online', turn)
  }
}
