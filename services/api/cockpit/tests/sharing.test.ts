import { describe, expect, it } from 'vitest'
import type { Heard, Tab, ToTab } from '../src/live/sharing'
import { Sharing } from '../src/live/sharing'

class World {
  now = Date.parse('2026-11-22T08:00:00Z')
  opened: { url: string; hear: (heard: Heard) => void; fail: () => void; closed: boolean }[] = []
  sharing = new Sharing({
    open: (url, hear, fail) => {
      const one = { url, hear, fail, closed: false }
      this.opened.push(one)
      return { close: () => void (one.closed = true) }
    },
    now: () => this.now,
  })

  tab(): Tab & { got: ToTab[]; types: () => string[] } {
    const got: ToTab[] = []
    return {
      got,
      post: (message) => void got.push(message),
      types: () => got.map((one) => (one.type === 'error' ? 'error' : `${one.heard.type}${one.heard.id}`)),
    }
  }

  join(tab: Tab, cursor = 10, key = 'desk a', at = '2026-11-22T08:00:00Z'): void {
    this.sharing.take(tab, { type: 'join', key, url: `/stream?cursor=${cursor}`, cursor, at })
  }

  say(type: string, id = '', data: object = { at: new Date(this.now).toISOString() }): void {
    for (const one of this.opened) if (!one.closed) one.hear({ type, id, data: JSON.stringify(data) })
  }
}

describe('one stream for all tabs', () => {
  it('opens once for seven tabs, and everybody hears everything', () => {
    const world = new World()
    const tabs = Array.from({ length: 7 }, () => world.tab())
    for (const tab of tabs) world.join(tab)
    expect(world.opened.length).toBe(1)
    world.say('order', '11')
    for (const tab of tabs) expect(tab.types()).toEqual(['order11'])
  })

  it('gives who joins later what came after their snapshot, and the server’s clock of now', () => {
    const world = new World()
    const first = world.tab()
    world.join(first)
    world.say('hello', '', { at: '2026-11-22T08:00:00Z', build: 'x', cursor: 10 })
    world.say('order', '11')
    world.now += 4000
    world.say('order', '12')
    world.say('devices')
    const late = world.tab()
    world.join(late, 11, 'desk a', '2026-11-22T08:00:02Z')
    expect(late.types()).toEqual(['hello', 'order12', 'devices'])
    const hello = late.got[0]
    expect(hello?.type === 'heard' && JSON.parse(hello.heard.data).at).toBe('2026-11-22T08:00:04.000Z')
  })

  it('asks for a new snapshot where what came in between is no longer kept', () => {
    const world = new World()
    world.join(world.tab(), 10)
    world.say('order', '20')
    world.now += 61_000
    world.say('order', '21')
    world.now += 1000
    const late = world.tab()
    world.join(late, 15)
    expect(late.types()).toEqual(['resync'])
  })

  it('never shares between accounts', () => {
    const world = new World()
    const desk = world.tab()
    const grid = world.tab()
    world.join(desk, 10, 'desk a')
    world.join(grid, 10, 'grid a')
    expect(world.opened.length).toBe(2)
    world.opened[0]?.hear({ type: 'order', id: '11', data: '{}' })
    expect(grid.types()).toEqual([])
  })

  it('closes with its last tab, and with tabs that died without a word', () => {
    const world = new World()
    const one = world.tab()
    const other = world.tab()
    world.join(one)
    world.join(other)
    world.sharing.take(one, { type: 'leave' })
    expect(world.opened[0]?.closed).toBe(false)
    world.now += 151_000
    world.say('hb')
    expect(world.opened[0]?.closed).toBe(true)
    expect(world.sharing.size).toBe(0)
    world.sharing.take(other, { type: 'here' })
    expect(other.types().at(-1)).toBe('error')
  })

  it('tells all tabs of a broken stream, and opens anew where one is silent', () => {
    const world = new World()
    const one = world.tab()
    const other = world.tab()
    world.join(one)
    world.join(other)
    world.opened[0]?.fail()
    expect([one.types(), other.types()]).toEqual([['error'], ['error']])
    world.join(one)
    expect(world.opened.length).toBe(2)
    world.now += 13_000
    world.join(other)
    expect(world.opened.length).toBe(3)
    expect(world.opened[1]?.closed).toBe(true)
    expect(one.types()).toEqual(['error', 'error'])
  })
})
