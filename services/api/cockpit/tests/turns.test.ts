import { describe, expect, it } from 'vitest'
import type { Said } from '../src/live/turns'
import { Turns } from '../src/live/turns'

class Browser {
  now = 0
  timers: { at: number; run: () => void }[] = []
  tabs: Tab[] = []

  open(visible: boolean): Tab {
    if (visible) for (const one of this.tabs) one.visible = false
    const tab = new Tab(this, visible)
    this.tabs.push(tab)
    tab.turns.start()
    return tab
  }

  show(tab: Tab): void {
    for (const one of this.tabs) one.visible = one === tab
    tab.turns.shown()
  }

  close(tab: Tab): void {
    this.tabs = this.tabs.filter((one) => one !== tab)
    tab.turns.leave()
  }

  pass(ms: number): void {
    this.now += ms
    for (;;) {
      const due = this.timers.sort((a, b) => a.at - b.at).find((one) => one.at <= this.now)
      if (!due) return
      this.timers.splice(this.timers.indexOf(due), 1)
      due.run()
    }
  }

  streams(): number {
    return this.tabs.filter((one) => one.streams).length
  }
}

class Tab {
  streams = false
  taken = 0
  turns: Turns

  constructor(
    browser: Browser,
    public visible: boolean,
  ) {
    this.turns = new Turns(
      {
        say: (word: Said) => {
          for (const one of browser.tabs) if (one !== this) one.turns.hear(word)
        },
        visible: () => this.visible,
        after: (ms, run) => {
          const timer = { at: browser.now + ms, run }
          browser.timers.push(timer)
          return () => {
            browser.timers = browser.timers.filter((one) => one !== timer)
          }
        },
        random: () => browser.tabs.length / 10,
      },
      {
        take: () => {
          this.streams = true
          this.taken += 1
        },
        rest: () => (this.streams = false),
      },
    )
  }
}

describe('tabs that take turns', () => {
  it('keep one stream, in the tab that is looked at', () => {
    const browser = new Browser()
    const tabs = Array.from({ length: 7 }, () => browser.open(true))
    expect(tabs.map((one) => one.streams)).toEqual([false, false, false, false, false, false, true])
    const third = tabs[2]
    if (third) browser.show(third)
    expect(tabs.map((one) => one.streams)).toEqual([false, false, true, false, false, false, false])
  })

  it('go on in a hidden tab while none is in sight: it has to ring', () => {
    const browser = new Browser()
    const tab = browser.open(true)
    tab.visible = false
    browser.pass(60_000)
    expect(tab.streams).toBe(true)
    expect(tab.taken).toBe(1)
  })

  it('opened behind the one that is looked at, wait for their turn', () => {
    const browser = new Browser()
    browser.open(true)
    for (let n = 0; n < 6; n += 1) browser.open(false)
    browser.pass(10_000)
    expect(browser.streams()).toBe(1)
  })

  it('hand over to exactly one of the hidden when the one that streams is closed', () => {
    const browser = new Browser()
    browser.open(true)
    browser.open(false)
    const last = browser.open(true)
    browser.pass(10_000)
    browser.close(last)
    expect(browser.streams()).toBe(0)
    browser.pass(10_000)
    expect(browser.streams()).toBe(1)
  })

  it('go on where the one that streamed was gone without a word', () => {
    const browser = new Browser()
    const behind = browser.open(true)
    const crashed = browser.open(true)
    browser.tabs = browser.tabs.filter((one) => one !== crashed)
    browser.pass(10_000)
    expect(behind.streams).toBe(false)
    behind.turns.alone()
    behind.turns.alone()
    expect([behind.streams, behind.taken]).toEqual([true, 2])
  })

  it('a lone tab that was opened in the background streams after a moment', () => {
    const browser = new Browser()
    const tab = browser.open(false)
    expect(tab.streams).toBe(false)
    browser.pass(10_000)
    expect(tab.streams).toBe(true)
  })
})
