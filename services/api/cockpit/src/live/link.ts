/**
 * Keeps one page joined to one community: a snapshot, then one EventSource, watched by a clock of its own.
 *
 * A frozen server raises no error in EventSource, so silence is what counts: with nothing heard for `staleAfterMs` the
 * link is dropped and made anew. Every join begins with a snapshot, because what changed on devices during a gap is not
 * replayed by the cursor. The world outside (fetch, EventSource, timers) comes in as `Ports`.
 */
import { ApiError } from '../api/client'
import type { Snapshot, StreamEvent } from '../api/types'

export type LinkStatus = 'connecting' | 'live' | 'stale' | 'lost'

export interface Source {
  onerror: (() => void) | null
  addEventListener(type: string, listener: (event: MessageEvent<string>) => void): void
  close(): void
}

export interface Ports {
  snapshot(limitS: number): Promise<Snapshot>
  /** `at`: the server's time of the snapshot that the stream goes on from. */
  open(cursor: number, at: string): Source
  now(): number
  after(ms: number, run: () => void): () => void
  random(): number
}

export interface Hearer {
  onSnapshot(snapshot: Snapshot): void
  onEvent(event: StreamEvent, cursor: number | null): void
  onStatus(status: LinkStatus): void
  /** The server answered that this person may not (any more): 401, 403 or 404. Nothing is tried again. */
  onRefused(error: ApiError): void
}

export const STREAMED: readonly StreamEvent['type'][] = [
  'hello',
  'alert',
  'order',
  'devices',
  'kpis',
  'hb',
  'resync',
]
const REFUSALS: ReadonlySet<number> = new Set([401, 403, 404])
const FIRST_BACKOFF_MS = 500
/** A server that is slow to answer is given more time at the next attempt, up to so many times as long. */
const MOST_PATIENCE = 4
/** With half of it as jitter, two hundred pages are back within ten seconds of the server and never at once. */
const LONGEST_BACKOFF_MS = 6_000

/** Half to all of the doubled wait: two hundred pages do not come back in the same instant. */
export function backoffMs(
  attempt: number,
  random: number,
  first = FIRST_BACKOFF_MS,
  longest = LONGEST_BACKOFF_MS,
): number {
  const whole = Math.min(longest, first * 2 ** Math.min(attempt, 10))
  return whole * (0.5 + random / 2)
}

export class Link {
  private source: Source | null = null
  private cancelTimer: (() => void) | null = null
  private attempt = 0
  private generation = 0
  private heardAt = 0
  private stopped = true
  status: LinkStatus = 'connecting'

  constructor(
    private readonly ports: Ports,
    private readonly hearer: Hearer,
    private readonly staleAfterMs: number,
  ) {}

  start(): void {
    this.stopped = false
    void this.join()
  }

  stop(): void {
    this.stopped = true
    this.generation += 1
    this.drop()
  }

  /** Joins at once instead of waiting out the back-off: the machine woke up, or its network came back. */
  hurry(): void {
    if (this.stopped) return
    if (this.status === 'live' && this.ports.now() - this.heardAt < this.staleAfterMs) return
    this.attempt = 0
    void this.join()
  }

  private async join(): Promise<void> {
    this.drop()
    const generation = ++this.generation
    let snapshot: Snapshot
    try {
      const patience = Math.min(MOST_PATIENCE, 2 ** Math.max(0, this.attempt - 1))
      snapshot = await this.ports.snapshot((this.staleAfterMs / 1000) * patience)
    } catch (error) {
      if (generation !== this.generation) return
      if (error instanceof ApiError && REFUSALS.has(error.status)) this.hearer.onRefused(error)
      else this.again('lost')
      return
    }
    if (generation !== this.generation) return
    this.hearer.onSnapshot(snapshot)
    this.listen(snapshot, generation)
  }

  private listen(snapshot: Snapshot, generation: number): void {
    const source = this.ports.open(snapshot.cursor, snapshot.at)
    this.source = source
    this.watch(generation)
    for (const type of STREAMED) {
      source.addEventListener(type, (message) => {
        if (generation === this.generation) this.hear(type, message, generation)
      })
    }
    source.onerror = () => {
      if (generation === this.generation) this.again('lost')
    }
  }

  private hear(type: StreamEvent['type'], message: MessageEvent<string>, generation: number): void {
    this.heardAt = this.ports.now()
    this.attempt = 0
    const event = { type, data: JSON.parse(message.data) } as StreamEvent
    if (event.type === 'resync') {
      void this.join()
      return
    }
    this.watch(generation)
    this.set('live')
    const cursor = message.lastEventId === '' ? null : Number(message.lastEventId)
    this.hearer.onEvent(event, Number.isSafeInteger(cursor) ? cursor : null)
  }

  /** Silence from here on for the whole time-out means the link is dead, whatever the socket says. */
  private watch(generation: number): void {
    this.cancelTimer?.()
    this.cancelTimer = this.ports.after(this.staleAfterMs, () => {
      if (generation === this.generation) this.again('stale')
    })
  }

  private again(status: LinkStatus): void {
    this.drop()
    this.set(status)
    const generation = ++this.generation
    this.cancelTimer = this.ports.after(backoffMs(this.attempt++, this.ports.random()), () => {
      if (generation === this.generation) void this.join()
    })
  }

  private drop(): void {
    this.cancelTimer?.()
    this.cancelTimer = null
    if (this.source) {
      this.source.onerror = null
      this.source.close()
      this.source = null
    }
  }

  private set(status: LinkStatus): void {
    if (this.status === status) return
    this.status = status
    this.hearer.onStatus(status)
  }
}
