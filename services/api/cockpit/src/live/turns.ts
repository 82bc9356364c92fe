/**
 * Who of several tabs keeps a stream, where they cannot share one: a browser opens six connections to a host at most, so
 * a seventh tab would wait for ever. A tab in sight streams; hidden ones rest as soon as another one is shown. A hidden
 * tab goes on where none is in sight, for it still has to ring.
 *
 * The last word of a tab that is closed is often lost, and one that crashed says none. So the one that streams holds a
 * lock of the browser, for which the others wait. Without locks (a page without TLS) these rest until one is shown.
 */
export type Said = 'shown' | 'took' | 'left' | 'asks'

export interface TurnPorts {
  say(word: Said): void
  visible(): boolean
  after(ms: number, run: () => void): () => void
  random(): number
}

export interface Streaming {
  take(): void
  rest(): void
}

/** Hidden tabs wait this long, and as long again by chance, before one of them goes on. */
const CONTEND_MS = 700

export class Turns {
  private streams = false
  private cancel: (() => void) | null = null

  constructor(
    private readonly ports: TurnPorts,
    private readonly stream: Streaming,
  ) {}

  start(): void {
    if (this.ports.visible()) this.shown()
    else {
      this.contend()
      this.ports.say('asks')
    }
  }

  /** This tab has come into sight. */
  shown(): void {
    this.ports.say('shown')
    this.take()
  }

  /** This tab goes away. */
  leave(): void {
    this.settle()
    if (this.streams) this.ports.say('left')
    this.rest()
  }

  /** None streams: the one that did is gone. */
  alone(): void {
    if (this.streams) return
    this.ports.say('took')
    this.take()
  }

  hear(word: Said): void {
    if (word === 'asks') {
      if (this.streams) this.ports.say('took')
    } else if (word === 'left') {
      if (!this.streams) this.contend()
    } else {
      this.settle()
      if (word === 'shown' && !this.ports.visible()) this.rest()
    }
  }

  private contend(): void {
    this.settle()
    this.cancel = this.ports.after(CONTEND_MS * (1 + this.ports.random()), () => this.alone())
  }

  private settle(): void {
    this.cancel?.()
    this.cancel = null
  }

  private take(): void {
    this.settle()
    if (this.streams) return
    this.streams = true
    this.stream.take()
  }

  private rest(): void {
    if (!this.streams) return
    this.streams = false
    this.stream.rest()
  }
}

/** The browser's lock of this name: with the tab that streams, and free the moment that is gone, however it went. */
class Place {
  private readonly locks = 'locks' in navigator ? navigator.locks : null
  private waiting: AbortController | null = null
  private end: () => void = () => undefined

  constructor(
    private readonly name: string,
    private readonly free: () => void,
  ) {}

  /** At once: who held it hears of that by a word. */
  hold(): void {
    this.forgo()
    const over = new Promise<void>((done) => (this.end = done))
    this.locks?.request(this.name, { steal: true }, () => over).catch(() => undefined)
  }

  queue(): void {
    this.forgo()
    this.waiting = new AbortController()
    this.locks?.request(this.name, { signal: this.waiting.signal }, this.free).catch(() => undefined)
  }

  forgo(): void {
    this.end()
    this.waiting?.abort()
  }
}

/** In turns with the other tabs of this browser that speak of `key`; gives back how to stop. */
export function takeTurns(key: string, stream: Streaming): () => void {
  if (typeof BroadcastChannel === 'undefined') {
    stream.take()
    return () => stream.rest()
  }
  const name = `linhub.turns ${key}`
  const channel = new BroadcastChannel(name)
  const place = new Place(name, () => turns.alone())
  const turns: Turns = new Turns(
    {
      say: (word) => channel.postMessage(word),
      visible: () => document.visibilityState === 'visible',
      after: (ms, run) => {
        const timer = setTimeout(run, ms)
        return () => clearTimeout(timer)
      },
      random: Math.random,
    },
    {
      take: () => {
        place.hold()
        stream.take()
      },
      rest: () => {
        stream.rest()
        place.queue()
      },
    },
  )
  channel.onmessage = ({ data }: MessageEvent<Said>) => turns.hear(data)
  const look = () => {
    if (document.visibilityState === 'visible') turns.shown()
  }
  const leave = () => turns.leave()
  document.addEventListener('visibilitychange', look)
  addEventListener('pageshow', look)
  addEventListener('pagehide', leave)
  turns.start()
  if (document.visibilityState !== 'visible') place.queue()
  return () => {
    document.removeEventListener('visibilitychange', look)
    removeEventListener('pageshow', look)
    removeEventListener('pagehide', leave)
    turns.leave()
    place.forgo()
    channel.close()
  }
}
