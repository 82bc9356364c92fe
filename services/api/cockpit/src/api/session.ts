/**
 * Keeps this browser logged in: the access cookie lives minutes and is renewed before its end by whichever tab is first.
 *
 * All tabs share the cookies, so they share the knowledge of their end as well, and a lock: one renews, the others wait
 * and find it done. A laptop that slept over the end renews with its first call.
 */

const UNTIL = 'linhub.until'
const AHEAD_MS = 60_000
const LIMIT_MS = 20_000

/** The end of the access cookie by this machine's clock, epoch ms, and how long one lives. */
export interface Known {
  until: number
  life: number
}

/** What the page of the world around it needs here; tests put others in. */
export interface Ports {
  now(): number
  get(key: string): string | null
  /** null: forgotten. */
  set(key: string, value: string | null): void
  /** Runs alone among all tabs and the worker. */
  alone<T>(work: () => Promise<T>): Promise<T>
  /** How long the new access cookie lives, ms; null: the session is over. Throws where there was no answer. */
  renew(): Promise<number | null>
}

export class Keeper {
  constructor(
    private readonly ports: Ports,
    /** A service worker cannot see what the tabs know: it tries after a 401, whatever it knows itself. */
    private readonly blind = false,
  ) {}

  /** The server has just set an access cookie that lives so long. Its own clock and this one may differ. */
  learn(life: number): void {
    this.ports.set(UNTIL, `${this.ports.now() + life}/${life}`)
  }

  /** Logged out: there is nothing to renew. */
  forget(): void {
    this.ports.set(UNTIL, null)
  }

  /** Before a call: renews what is about to end. No answer is no harm, the call itself will tell. */
  async fresh(): Promise<void> {
    const known = this.known()
    if (known === null || !this.ending(known)) return
    await this.again(known.until).catch(() => false)
  }

  /** Whether a 401 may be only the end of the access cookie. `sentAt`: the end that was known when it was sent. */
  mayBeEnd(sentAt: number | null): boolean {
    return this.blind || sentAt !== null
  }

  /** After a 401: whether there is something new to try with. Throws where the server gave no answer to that. */
  async again(sentAt: number | null): Promise<boolean> {
    return this.ports.alone(async () => {
      const known = this.known()
      // Another tab has renewed while this one waited for its turn.
      if (known !== null && known.until !== sentAt && !this.ending(known)) return true
      // Another tab was told that it is over: asking once more would only be refused once more.
      if (known === null && sentAt !== null) return false
      const life = await this.ports.renew()
      if (life === null) {
        // Somebody may have logged in while this was asked.
        if (this.until() !== (known?.until ?? null)) return true
        this.forget()
        return false
      }
      this.learn(life)
      return true
    })
  }

  until(): number | null {
    return this.known()?.until ?? null
  }

  private known(): Known | null {
    const [until = 0, life = 0] = (this.ports.get(UNTIL) ?? '').split('/').map(Number)
    return until > 0 ? { until, life: life > 0 ? life : 10 * AHEAD_MS } : null
  }

  /** A minute before the end, or a third of its life where that is less. A clock put back must not keep it for ever. */
  private ending({ until, life }: Known): boolean {
    const left = until - this.ports.now()
    return left <= Math.min(AHEAD_MS, life / 3) || left > life + AHEAD_MS
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

/** How long what the server has just given lives, by the server's own clock where it tells it. */
export function lifeOf(expires_at: string, date: string | null): number {
  const end = Date.parse(expires_at)
  const told = date === null ? NaN : Date.parse(date)
  return end - (Number.isFinite(told) ? told : Date.now())
}

/** Tabs share it by the browser's storage, which workers have not. */
const shared = typeof localStorage === 'undefined' ? null : localStorage
const own = new Map<string, string>()

export const keeper = new Keeper(
  {
    now: Date.now,
    get: (key) => (shared ? shared.getItem(key) : (own.get(key) ?? null)),
    set: (key, value) => {
      if (value === null) {
        shared?.removeItem(key)
        own.delete(key)
      } else if (shared) shared.setItem(key, value)
      else own.set(key, value)
    },
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
      const { expires_at } = (await answer.json()) as { expires_at: string }
      return lifeOf(expires_at, answer.headers.get('Date'))
    },
  },
  shared === null,
)

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
