import { readFileSync, statSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { idempotencyKey } from '../src/api/key'
import { locale, named, say, t } from '../src/i18n'
import '../src/i18n/rooms'
import { COMMON, WORDS } from '../src/i18n/words'
import { age, clock, countdown, figure, moment, number, setZone } from '../src/lib/format'

const STATES = readFileSync(new URL('../../../domain/orders/states.py', import.meta.url), 'utf8')

afterEach(() => {
  locale.value = 'zh'
})

/** The text of a page's file and of everything that it brings, now or later. */
function reached(first: URL): string[] {
  const found = new Map<string, string>()
  const left = [first]
  for (let file = left.pop(); file; file = left.pop()) {
    if (found.has(file.href)) continue
    const text = readFileSync(file, 'utf8')
    found.set(file.href, text)
    const names = [
      ...text.matchAll(/^(?:import|export)(?! type)[^'"]*'(\.[^']+)'/gm),
      ...text.matchAll(/import\('(\.[^']+)'\)/g),
    ]
    for (const [, name = ''] of names) {
      const path = ['', '.ts', '/index.ts']
        .map((end) => new URL(name + end, file))
        .find((one) => statSync(one, { throwIfNoEntry: false })?.isFile())
      if (!path) throw new Error(`${file.href} brings ${name}, which is not there`)
      if (/\.(ts|vue)$/.test(path.href)) left.push(path)
    }
  }
  return [...found.values()]
}

describe('words', () => {
  it('exist in both languages with the same blanks', () => {
    const blanks = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort()
    for (const [word, [zh, en]] of Object.entries(WORDS)) {
      expect(zh.length, word).toBeGreaterThan(0)
      expect(en.length, word).toBeGreaterThan(0)
      expect(blanks(en), word).toEqual(blanks(zh))
    }
  })

  it('of the phone page are all brought by it', () => {
    const said = reached(new URL('../src/phone/main.ts', import.meta.url)).flatMap((text) =>
      [...text.matchAll(/\bt\(\s*'(\w+)'/g)].map((match) => match[1] ?? ''),
    )
    expect(said.length).toBeGreaterThan(100)
    expect(said.filter((word) => !Object.hasOwn(COMMON, word))).toEqual([])
  })

  it('are filled in and switch with the language', () => {
    expect(t('n_open', { n: 3 })).toBe('3 项未结')
    locale.value = 'en'
    expect(t('n_open', { n: 3 })).toBe('3 open')
    expect(say({ zh: '燃气', en: 'Gas' })).toBe('Gas')
  })
})

describe('named', () => {
  it('never prints undefined: a name the page does not know stands as it is', () => {
    expect(named('move_', 'urge')).toBe('督办')
    expect(named('move_', 'teleport')).toBe('teleport')
    expect(named('', 'toString')).toBe('toString')
    expect(named('rung_', '3')).toBe('已报街道')
  })

  it('knows every move and state of the API', () => {
    const moves = /class Move\(StrEnum\):([\s\S]*?)\n\n\n/.exec(STATES)?.[1] ?? ''
    const states = /class OrderState\(StrEnum\):([\s\S]*?)\n\n\n/.exec(STATES)?.[1] ?? ''
    const names = (text: string) =>
      [...text.matchAll(/^ {4}[A-Z_]+ = "(\w+)"$/gm)].map((match) => match[1] ?? '')
    expect(names(moves).length).toBeGreaterThan(20)
    expect(names(states).length).toBe(12)
    for (const move of names(moves)) expect(Object.hasOwn(WORDS, `move_${move}`), move).toBe(true)
    for (const state of names(states)) expect(Object.hasOwn(WORDS, state), state).toBe(true)
  })
})

describe('format', () => {
  it('shows times in the community zone', () => {
    setZone('Asia/Shanghai')
    expect(clock('2026-11-22T16:05:00Z')).toBe('00:05')
    expect(moment('2026-11-22T16:05:00Z', Date.parse('2026-11-22T16:30:00Z'))).toBe('00:05')
    expect(moment('2026-11-21T16:05:00Z', Date.parse('2026-11-22T16:30:00Z'))).toBe('11/22 00:05')
  })

  it('never prints NaN or undefined', () => {
    for (const bad of [null, undefined, NaN, Infinity]) {
      expect(figure(bad)).toBe('–')
      expect(number(bad)).toBe('–')
    }
  })

  it('rounds to what an eye takes in', () => {
    expect(figure(1234.567)).toBe('1,235')
    expect(figure(45.678)).toBe('45.7')
    expect(figure(0.1234)).toBe('0.12')
    expect(figure(-0.001)).toBe('0')
    expect(figure(-5.55)).toBe('-5.55')
  })

  it('counts down in minutes, hours and days', () => {
    expect(countdown(59_999)).toBe('0:59')
    expect(countdown(-61_000)).toBe('1:01')
    expect(countdown(3_661_000)).toBe('1:01:01')
    expect(countdown(90_000_000)).toBe('1 天 1 小时')
  })

  it('says how old something is', () => {
    expect(age(0)).toBe('刚刚')
    expect(age(42_000)).toBe('42 秒前')
    expect(age(7_300_000)).toBe('2 小时前')
  })
})

describe('idempotencyKey', () => {
  const V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

  it('is a random UUID where the browser gives none, as on plain http', () => {
    const source = { getRandomValues: crypto.getRandomValues.bind(crypto) }
    const one = idempotencyKey(source)
    expect(one).toMatch(V4)
    expect(idempotencyKey(source)).not.toBe(one)
  })

  it('uses the browser’s own where there is one', () => {
    expect(idempotencyKey()).toMatch(V4)
  })
})
