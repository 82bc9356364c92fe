import { beforeEach, describe, expect, it } from 'vitest'
import type { Ports } from '../src/api/session'
import { Keeper, lifeOf } from '../src/api/session'

const LIFE = 600_000
const MINUTE = 60_000

/** One browser: its storage, its lock and its clock, and the server behind it, shared by all of its tabs. */
class Browser implements Ports {
  at = 1_000_000
  readonly kept = new Map<string, string>()
  renewals = 0
  most = 0
  private running = 0
  private turn: Promise<unknown> = Promise.resolve()
  answer: () => Promise<number | null> = () => Promise.resolve(LIFE)

  now = () => this.at
  get = (key: string) => this.kept.get(key) ?? null
  set = (key: string, value: string | null) => {
    if (value === null) this.kept.delete(key)
    else this.kept.set(key, value)
  }
  alone = <T>(work: () => Promise<T>): Promise<T> => {
    const next = this.turn.then(work, work)
    this.turn = next.catch(() => undefined)
    return next
  }
  renew = async () => {
    this.renewals += 1
    this.running += 1
    this.most = Math.max(this.most, this.running)
    try {
      await Promise.resolve()
      return await this.answer()
    } finally {
      this.running -= 1
    }
  }
  tabs = (count: number) => Array.from({ length: count }, () => new Keeper(this))
}

let browser: Browser
beforeEach(() => {
  browser = new Browser()
})

describe('keeping a browser logged in', () => {
  it('leaves alone what lives on for a while, and renews a minute before the end', async () => {
    const [tab] = browser.tabs(1) as [Keeper]
    tab.learn(LIFE)
    browser.at += LIFE - MINUTE - 1
    await tab.fresh()
    expect(browser.renewals).toBe(0)
    browser.at += 1
    await tab.fresh()
    expect(browser.renewals).toBe(1)
    expect(tab.until()).toBe(browser.at + LIFE)
  })

  it.each([2, 7])('renews once for %i tabs that notice at once', async (count) => {
    const tabs = browser.tabs(count)
    tabs[0]?.learn(LIFE)
    browser.at += LIFE
    await Promise.all(tabs.map((tab) => tab.fresh()))
    expect([browser.renewals, browser.most]).toEqual([1, 1])
    // And after a 401 that all of them met: the one who renews does it for all.
    const sentAt = tabs[0]?.until() ?? null
    browser.at += 5_000
    expect(await Promise.all(tabs.map((tab) => tab.again(sentAt)))).toEqual(tabs.map(() => true))
    expect([browser.renewals, browser.most]).toEqual([2, 1])
  })

  it('renews with the first call after a night asleep', async () => {
    const tabs = browser.tabs(2)
    tabs[0]?.learn(LIFE)
    browser.at += 9 * 3_600_000
    await Promise.all(tabs.map((tab) => tab.fresh()))
    expect(browser.renewals).toBe(1)
  })

  it('keeps a wall logged in for a night of timer turns', async () => {
    const [wall] = browser.tabs(1) as [Keeper]
    wall.learn(LIFE)
    const end = browser.at + 12 * 3_600_000
    while (browser.at < end) {
      browser.at += 15_000
      await wall.fresh()
      expect(wall.until()).toBeGreaterThan(browser.at)
    }
    // One each nine minutes, not one each turn.
    expect(browser.renewals).toBe(80)
  })

  it('takes no answer for no refusal, and tries again', async () => {
    const [tab] = browser.tabs(1) as [Keeper]
    tab.learn(LIFE)
    const sentAt = tab.until()
    browser.at += LIFE
    browser.answer = () => Promise.reject(new Error('restarting'))
    await tab.fresh()
    await expect(tab.again(sentAt)).rejects.toThrow('restarting')
    expect(tab.until()).toBe(sentAt)
    browser.answer = () => Promise.resolve(LIFE)
    expect(await tab.again(sentAt)).toBe(true)
  })

  it('asks once whether it is over, in however many tabs', async () => {
    const tabs = browser.tabs(7)
    tabs[0]?.learn(LIFE)
    const sentAt = tabs[0]?.until() ?? null
    browser.at += LIFE
    browser.answer = () => Promise.resolve(null)
    expect(await Promise.all(tabs.map((tab) => tab.again(sentAt)))).toEqual(tabs.map(() => false))
    expect(browser.renewals).toBe(1)
    await tabs[3]?.fresh()
    expect(browser.renewals).toBe(1)
    expect(tabs[3]?.mayBeEnd(tabs[3].until())).toBe(false)
  })

  it('does not forget somebody who logged in while it was told that it is over', async () => {
    const [one, other] = browser.tabs(2) as [Keeper, Keeper]
    one.learn(LIFE)
    const sentAt = one.until()
    browser.at += LIFE
    browser.answer = () => {
      other.learn(LIFE)
      return Promise.resolve(null)
    }
    expect(await one.again(sentAt)).toBe(true)
    expect(one.until()).toBe(browser.at + LIFE)
  })

  it('is not held for ever by a clock that was put back, and asks nothing after logging out', async () => {
    const [tab] = browser.tabs(1) as [Keeper]
    tab.learn(LIFE)
    browser.at -= 3_600_000
    await tab.fresh()
    expect(browser.renewals).toBe(1)
    tab.forget()
    browser.at += LIFE
    await tab.fresh()
    expect(browser.renewals).toBe(1)
  })

  it('renews a short-lived one at two thirds, not with every call', async () => {
    const [tab] = browser.tabs(1) as [Keeper]
    browser.answer = () => Promise.resolve(6_000)
    tab.learn(6_000)
    browser.at += 3_900
    await tab.fresh()
    expect(browser.renewals).toBe(0)
    browser.at += 200
    await tab.fresh()
    await tab.fresh()
    expect(browser.renewals).toBe(1)
  })

  it('lets a worker, which cannot see what tabs know, try after a 401', async () => {
    const worker = new Keeper(browser, true)
    expect(worker.mayBeEnd(worker.until())).toBe(true)
    expect(await worker.again(worker.until())).toBe(true)
    expect(new Keeper(browser).mayBeEnd(null)).toBe(false)
  })

  it('measures a life by the clock that set its end', () => {
    expect(lifeOf('2026-11-22T08:10:00Z', 'Sun, 22 Nov 2026 08:00:00 GMT')).toBe(LIFE)
    expect(lifeOf(new Date(Date.now() + LIFE).toISOString(), null)).toBeLessThanOrEqual(LIFE)
  })
})
