/**
 * One stream for all tabs of a browser that look at the same: a browser opens six connections to a host at most, so the
 * seventh tab with a stream of its own would wait for ever, and its questions with it. Runs in a shared worker; the
 * world outside comes in as `Ports`.
 */
export interface Heard {
  type: string
  data: string
  /** The event's cursor; '' where it has none. */
  id: string
}

export interface Upstream {
  close(): void
}

export interface Ports {
  open(url: string, hear: (heard: Heard) => void, fail: () => void): Upstream
  now(): number
}

export interface Tab {
  post(message: ToTab): void
}

export type FromTab =
  | { type: 'join'; key: string; url: string; cursor: number; at: string }
  | { type: 'leave' }
  | { type: 'here' }

export type ToTab = { type: 'heard'; heard: Heard } | { type: 'error' }

/** What is kept for a tab that joins: enough for the time between its snapshot and its joining. */
const KEPT_MS = 60_000
const KEPT_MOST = 3000
/** The server's heart beats every 5 s: a stream this silent is dead. */
const SILENT_MS = 12_000
/** A tab that hides says that it is there once a minute; one that says nothing for longer is gone. */
const GONE_MS = 150_000

interface Stream {
  upstream: Upstream
  tabs: Map<Tab, number>
  kept: { heard: Heard; at: number }[]
  /** The cursor from which on `kept` has everything. */
  since: number
  hello: { data: Record<string, unknown>; at: number } | null
  heardAt: number
}

export class Sharing {
  private readonly streams = new Map<string, Stream>()

  constructor(private readonly ports: Ports) {}

  get size(): number {
    return this.streams.size
  }

  take(tab: Tab, message: FromTab): void {
    if (message.type === 'join') this.join(tab, message)
    else if (message.type === 'leave') this.leave(tab)
    else if (!this.stay(tab)) tab.post({ type: 'error' })
  }

  private join(tab: Tab, asked: Extract<FromTab, { type: 'join' }>): void {
    this.leave(tab)
    const now = this.ports.now()
    let stream = this.streams.get(asked.key)
    if (stream && now - stream.heardAt > SILENT_MS) {
      this.fail(asked.key, stream)
      stream = undefined
    }
    if (!stream) {
      this.open(asked, tab, now)
      return
    }
    stream.tabs.set(tab, now)
    if (asked.cursor < stream.since) {
      tab.post({ type: 'heard', heard: { type: 'resync', data: '{"why":"joined late"}', id: '' } })
      return
    }
    if (stream.hello) {
      // The server's clock has gone on since it said hello.
      const at = new Date(Date.parse(String(stream.hello.data.at)) + now - stream.hello.at).toISOString()
      const data = JSON.stringify({ ...stream.hello.data, at })
      tab.post({ type: 'heard', heard: { type: 'hello', data, id: '' } })
    }
    const asOf = Date.parse(asked.at)
    for (const { heard } of stream.kept) {
      const newer = heard.id === '' ? timeOf(heard) >= asOf : Number(heard.id) > asked.cursor
      if (newer) tab.post({ type: 'heard', heard })
    }
  }

  private open(asked: Extract<FromTab, { type: 'join' }>, tab: Tab, now: number): void {
    const stream: Stream = {
      upstream: { close: () => undefined },
      tabs: new Map([[tab, now]]),
      kept: [],
      since: asked.cursor,
      hello: null,
      heardAt: now,
    }
    this.streams.set(asked.key, stream)
    stream.upstream = this.ports.open(
      asked.url,
      (heard) => this.hear(asked.key, stream, heard),
      () => this.fail(asked.key, stream),
    )
  }

  private hear(key: string, stream: Stream, heard: Heard): void {
    if (this.streams.get(key) !== stream) return
    const now = this.ports.now()
    stream.heardAt = now
    if (heard.type === 'hello')
      stream.hello = { data: JSON.parse(heard.data) as Record<string, unknown>, at: now }
    else if (heard.type !== 'hb') this.keep(stream, heard, now)
    for (const [tab, seen] of stream.tabs) {
      if (now - seen > GONE_MS) stream.tabs.delete(tab)
      else tab.post({ type: 'heard', heard })
    }
    if (stream.tabs.size === 0) this.close(key, stream)
  }

  private keep(stream: Stream, heard: Heard, now: number): void {
    stream.kept.push({ heard, at: now })
    let drop = 0
    while (
      drop < stream.kept.length &&
      (stream.kept.length - drop > KEPT_MOST || now - (stream.kept[drop]?.at ?? now) > KEPT_MS)
    )
      drop += 1
    for (const { heard: old } of stream.kept.splice(0, drop)) {
      if (old.id !== '') stream.since = Math.max(stream.since, Number(old.id))
    }
  }

  private stay(tab: Tab): boolean {
    for (const stream of this.streams.values()) {
      if (!stream.tabs.has(tab)) continue
      stream.tabs.set(tab, this.ports.now())
      return true
    }
    return false
  }

  private leave(tab: Tab): void {
    for (const [key, stream] of this.streams) {
      if (stream.tabs.delete(tab) && stream.tabs.size === 0) this.close(key, stream)
    }
  }

  private fail(key: string, stream: Stream): void {
    if (this.streams.get(key) !== stream) return
    this.close(key, stream)
    for (const tab of stream.tabs.keys()) tab.post({ type: 'error' })
  }

  private close(key: string, stream: Stream): void {
    this.streams.delete(key)
    stream.upstream.close()
  }
}

/** The server's time of an event that has no cursor. */
function timeOf(heard: Heard): number {
  const at = /"at":"([^"]+)"/.exec(heard.data)?.[1]
  return at === undefined ? Infinity : Date.parse(at)
}
