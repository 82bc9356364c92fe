import { describe, expect, it } from 'vitest'
import { ApiError } from '../src/api/client'
import type { Snapshot, StreamEvent } from '../src/api/types'
import type { LinkStatus, Source } from '../src/live/link'
import { Link, backoffMs } from '../src/live/link'
import { AT, snapshot } from './fixtures/snapshot'

class FakeSource implements Source {
  onerror: (() => void) | null = null
  closed = false
  private readonly listeners = new Map<string, (event: MessageEvent<string>) => void>()

  constructor(readonly cursor: number) {}

  addEventListener(type: string, listener: (event: MessageEvent<string>) => void): void {
    this.listeners.set(type, listener)
  }

  close(): void {
    this.closed = true
  }

  send(event: StreamEvent, id = ''): void {
    const message = { data: JSON.stringify(event.data), lastEventId: id } as MessageEvent<string>
    this.listeners.get(event.type)?.(message)
  }
}

/** A world with a clock that only moves when told. */
function world(staleAfterMs = 15_000) {
  let time = 0
  let timers: { at: number; run: () => void }[] = []
  const sources: FakeSource[] = []
  const statuses: LinkStatus[] = []
  const events: [string, number | null][] = []
  const refusals: number[] = []
  const limits: number[] = []
  let snapshots = 0
  let answer: () => Promise<Snapshot> = () => Promise.resolve(snapshot({ cursor: 100 + snapshots }))
  const link = new Link(
    {
      snapshot: (limitS) => {
        snapshots += 1
        limits.push(limitS)
        return answer()
      },
      open: (cursor) => {
        const source = new FakeSource(cursor)
        sources.push(source)
        return source
      },
      now: () => time,
      after: (ms, run) => {
        const timer = { at: time + ms, run }
        timers.push(timer)
        return () => {
          timers = timers.filter((one) => one !== timer)
        }
      },
      random: () => 1,
    },
    {
      onSnapshot: () => undefined,
      onEvent: (event, cursor) => events.push([event.type, cursor]),
      onStatus: (status) => statuses.push(status),
      onRefused: (error) => refusals.push(error.status),
    },
    staleAfterMs,
  )
  const settle = async () => {
    for (let i = 0; i < 5; i++) await Promise.resolve()
  }
  return {
    link,
    sources,
    statuses,
    events,
    refusals,
    limits,
    settle,
    snapshots: () => snapshots,
    answers: (next: () => Promise<Snapshot>) => (answer = next),
    async pass(ms: number) {
      const until = time + ms
      for (;;) {
        const due = timers.filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at)[0]
        if (!due) break
        time = due.at
        timers = timers.filter((timer) => timer !== due)
        due.run()
        await settle()
      }
      time = until
    },
  }
}

const HB: StreamEvent = { type: 'hb', data: { at: AT } }

describe('Link', () => {
  it('opens the stream where the snapshot ends and is live at the first word', async () => {
    const w = world()
    w.link.start()
    await w.settle()
    expect(w.sources.map((source) => source.cursor)).toEqual([101])
    expect(w.statuses).toEqual([])
    w.sources[0]?.send({ type: 'hello', data: { cursor: 101, build: 'b', at: AT } }, '101')
    expect(w.statuses).toEqual(['live'])
    expect(w.events).toEqual([['hello', 101]])
  })

  it('calls a silent server stale though its socket stays open, and joins anew with a snapshot', async () => {
    const w = world()
    w.link.start()
    await w.settle()
    w.sources[0]?.send(HB)
    await w.pass(14_999)
    expect(w.statuses).toEqual(['live'])
    await w.pass(1)
    expect(w.statuses).toEqual(['live', 'stale'])
    expect(w.sources[0]?.closed).toBe(true)
    await w.pass(1000)
    expect(w.snapshots()).toBe(2)
    expect(w.sources).toHaveLength(2)
    w.sources[1]?.send(HB)
    expect(w.statuses).toEqual(['live', 'stale', 'live'])
  })

  it('gives a server that is slow to answer more time at each attempt, and the usual one once it is live', async () => {
    const w = world()
    w.answers(() => Promise.reject(new ApiError(0, { title: 'unreachable', status: 0, detail: '' })))
    w.link.start()
    await w.settle()
    await w.pass(30_000)
    expect(w.limits.slice(0, 4)).toEqual([15, 15, 30, 60])
    w.answers(() => Promise.resolve(snapshot({ cursor: 101 })))
    await w.pass(8001)
    expect(w.sources).toHaveLength(1)
    w.sources[0]?.send(HB)
    await w.pass(16_000)
    expect(w.limits.at(-1)).toBe(15)
  })

  it('stays live as long as the heart beats', async () => {
    const w = world()
    w.link.start()
    await w.settle()
    for (let i = 0; i < 20; i++) {
      w.sources[0]?.send(HB)
      await w.pass(5000)
    }
    expect(w.statuses).toEqual(['live'])
    expect(w.snapshots()).toBe(1)
  })

  it('backs off longer each time while nobody answers', async () => {
    const w = world()
    w.answers(() => Promise.reject(new ApiError(0, { title: 'unreachable', status: 0, detail: '' })))
    w.link.start()
    await w.settle()
    expect(w.statuses).toEqual(['lost'])
    await w.pass(60_000)
    // 0.5 + 1 + 2 + 4 + 8 s, then every 8 s: a dozen tries in the minute, not a hundred.
    expect(w.snapshots()).toBeGreaterThan(5)
    expect(w.snapshots()).toBeLessThan(16)
  })

  it('takes a fresh snapshot when the server says resync', async () => {
    const w = world()
    w.link.start()
    await w.settle()
    w.sources[0]?.send({ type: 'resync', data: { why: 'gap' } })
    await w.settle()
    expect(w.snapshots()).toBe(2)
    expect(w.sources[0]?.closed).toBe(true)
    expect(w.sources[1]?.cursor).toBe(102)
  })

  it('hears nothing more from a stream it has dropped', async () => {
    const w = world()
    w.link.start()
    await w.settle()
    const old = w.sources[0]
    old?.onerror?.()
    await w.pass(1000)
    const heard = w.events.length
    old?.send(HB)
    expect(w.events).toHaveLength(heard)
    expect(w.statuses).toEqual(['lost'])
  })

  it('stops asking once it is refused', async () => {
    const w = world()
    w.answers(() => Promise.reject(new ApiError(401, { title: 'Unauthorized', status: 401, detail: '' })))
    w.link.start()
    await w.settle()
    await w.pass(120_000)
    expect(w.refusals).toEqual([401])
    expect(w.snapshots()).toBe(1)
  })

  it('does nothing more after stop', async () => {
    const w = world()
    w.link.start()
    await w.settle()
    w.link.stop()
    await w.pass(120_000)
    expect(w.sources[0]?.closed).toBe(true)
    expect(w.snapshots()).toBe(1)
  })
})

describe('backoffMs', () => {
  it('spreads pages over half of the wait and never exceeds the longest', () => {
    expect(backoffMs(0, 0)).toBe(250)
    expect(backoffMs(0, 1)).toBe(500)
    expect(backoffMs(3, 0)).toBe(2000)
    expect(backoffMs(50, 1)).toBe(6_000)
  })
})
