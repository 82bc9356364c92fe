import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LONGEST_MS, createRetry, isAway } from '../src/live/retry'

describe('a start without a server', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  /** The waits before each of `n` more attempts, in ms. */
  function waits(n: number, random: number): number[] {
    const at: number[] = [Date.now()]
    const retry = createRetry(
      () => {
        at.push(Date.now())
        if (at.length <= n) retry.later()
      },
      () => random,
    )
    retry.later()
    vi.advanceTimersByTime(n * LONGEST_MS)
    return at.slice(1).map((one, i) => one - (at[i] ?? 0))
  }

  it('is tried again, less and less often, at least every 30 seconds and for ever', () => {
    expect(waits(8, 1)).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000])
  })

  it('is not tried by all screens in the same instant', () => {
    expect(waits(7, 0)).toEqual([500, 1000, 2000, 4000, 8000, 15_000, 15_000])
  })

  it('waits as long as the server asks, but never longer than 30 seconds', () => {
    const run = vi.fn()
    const retry = createRetry(run, () => 1)
    retry.later(20)
    vi.advanceTimersByTime(19_999)
    expect(run).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1)
    expect(run).toHaveBeenCalledTimes(1)
    retry.later(3600)
    vi.advanceTimersByTime(LONGEST_MS)
    expect(run).toHaveBeenCalledTimes(2)
  })

  it('is tried at once when the network is back, and never twice for one failure', () => {
    const run = vi.fn()
    const retry = createRetry(run, () => 1)
    retry.hurry()
    expect(run).not.toHaveBeenCalled()
    retry.later()
    retry.hurry()
    vi.advanceTimersByTime(LONGEST_MS)
    expect(run).toHaveBeenCalledTimes(1)
  })

  it('is not tried once it has worked; the next failure waits shortly again', () => {
    const run = vi.fn()
    const retry = createRetry(run, () => 1)
    for (let i = 0; i < 6; i += 1) retry.later()
    retry.done()
    vi.advanceTimersByTime(LONGEST_MS)
    expect(run).not.toHaveBeenCalled()
    retry.later()
    vi.advanceTimersByTime(1000)
    expect(run).toHaveBeenCalledTimes(1)
  })

  it('is one only where an answer may still come', () => {
    expect([0, 429, 500, 502, 503].every(isAway)).toBe(true)
    expect([400, 401, 403, 404].some(isAway)).toBe(false)
  })
})
