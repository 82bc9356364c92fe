import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { effectScope, nextTick, ref } from 'vue'
import type { LinkStatus } from '../src/live/link'
import { RETURN_MS, usePolled } from '../src/live/usePolled'
import type { Live } from '../src/live/useLive'

const EVERY_MS = 60_000

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** A page that polls; `pass` lets time go by and everything settle. */
function world(chance: number) {
  vi.spyOn(Math, 'random').mockReturnValue(chance)
  const status = ref<LinkStatus>('connecting')
  const scope = effectScope()
  let asked = 0
  scope.run(() => usePolled({ status } as Live, EVERY_MS, () => Promise.resolve(++asked)))
  return {
    asked: () => asked,
    end: () => scope.stop(),
    async become(value: LinkStatus) {
      status.value = value
      await nextTick()
      await vi.advanceTimersByTimeAsync(0)
    },
    pass: (ms: number) => vi.advanceTimersByTimeAsync(ms),
  }
}

describe('usePolled', () => {
  it('asks at once when the page is live for the first time, and not before', async () => {
    const w = world(0.5)
    await w.pass(10 * EVERY_MS)
    expect(w.asked()).toBe(0)
    await w.become('live')
    expect(w.asked()).toBe(1)
    w.end()
  })

  it.each([0, 0.5, 0.999])('asks within the return’s spread after a loss, by chance %s', async (chance) => {
    const w = world(chance)
    await w.become('live')
    await w.become('lost')
    await w.pass(1_000)
    await w.become('live')
    expect(w.asked()).toBe(chance === 0 ? 2 : 1)
    await w.pass(RETURN_MS)
    expect(w.asked()).toBe(2)
    w.end()
  })

  it('asks nothing while the link is lost, nor after its end', async () => {
    const w = world(0.5)
    await w.become('live')
    await w.become('lost')
    await w.pass(10 * EVERY_MS)
    expect(w.asked()).toBe(1)
    await w.become('live')
    w.end()
    await w.pass(10 * EVERY_MS)
    expect(w.asked()).toBe(1)
  })
})
