import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import type { Case, Catalogue, Subscription } from '../src/api/city'
import { queryOf } from '../src/api/city'
import { ApiError } from '../src/api/client'
import { locale } from '../src/i18n'
import '../src/i18n/rooms'
import { WORDS } from '../src/i18n/words'
import { readAbove, readers } from '../src/lib/above'
import { CASE_STATES, caseQuery, dueWords, isLate } from '../src/rooms/cases/logic'
import * as city from '../src/rooms/city/logic'

const source = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')
const NOW = Date.parse('2026-11-22T08:00:00Z')
const ago = (seconds: number) => new Date(NOW - seconds * 1000).toISOString()

function subscription(more: Partial<Subscription> = {}, progress: Partial<Subscription['progress']> = {}) {
  return {
    id: 's', account_id: 'a', account: '平台', community_id: 'yl', street_id: null, name: '城运中心', way: 'webhook',
    url: 'https://events.example.cn/', format: 'structured', types: ['*'], communities: [], severities: [], kinds: [],
    classes: [], classes_reason: '', mark: 'Actual', state: 'active', state_why: '', version: 1, created_at: ago(1e5),
    created_by: 'admin',
    progress: {
      seq: 10, behind: 0, behind_since: null, replay_seq: null, replay_upto: null, next_at: ago(0), failures: 0,
      failing_since: null, delivered: 3, delivered_at: ago(60), last_error: null, dead_letters: 0, ...progress,
    },
    ...more,
  } as Subscription // prettier-ignore
}

afterEach(() => {
  locale.value = 'zh'
})

describe('subscriptions', () => {
  it('tell of what waits only once it waits, and claim nothing of what is pulled', () => {
    expect(city.lagWords(subscription(), NOW)).toBe('没有落后')
    expect(city.lagWords(subscription({}, { behind: 2, behind_since: ago(1) }), NOW)).toBe('没有落后')
    const late = subscription({}, { behind: 1200, behind_since: ago(180) })
    expect(city.lagWords(late, NOW)).toContain('1,200')
    expect(city.lags(late, NOW)).toBe(true)
    expect(city.standing(late, NOW).tone).toBe('wait')
    expect(city.lagWords(subscription({ way: 'pull' }, { behind: null }), NOW)).toContain('由对方拉取')
  })

  it('stand as the worst that is known of them', () => {
    expect(city.standing(subscription(), NOW).tone).toBe('good')
    expect(city.standing(subscription({}, { failures: 3 }), NOW).tone).toBe('bad')
    expect(city.standing(subscription({ state: 'paused' }, { failures: 3 }), NOW).tone).toBe('off')
    expect(city.standing(subscription({ state: 'disabled' }), NOW).tone).toBe('bad')
  })

  it('say in words whatever the door and the receiver say', () => {
    expect(city.errorWords('address refused: private')).toBe('地址被拒绝：内网地址')
    expect(city.errorWords('address refused: something new')).toBe('地址被拒绝：something new')
    expect(city.errorWords('HTTP 302, a redirect, which is not followed')).toContain('不跟随')
    expect(city.errorWords('expired: 503')).toBe('三天未送达（对方回答 503）')
    expect(city.errorWords('410 Gone')).toContain('410')
    expect(city.errorWords('never heard of')).toBe('never heard of')
    const client = source('adapters/outward/client.py')
    const said = [...(client.split('def _why')[1] ?? '').matchAll(/return "([a-zA-Z ]+)"/g)].map(
      (one) => one[1] ?? '',
    )
    expect(said.length).toBeGreaterThan(6)
    for (const why of said) expect(city.errorWords(why), why).toMatch(/\p{Script=Han}/u)
    const special = [...source('adapters/outward/addresses.py').matchAll(/^ {4}\("([\w -]+)", _networks/gm)]
    expect(special.length).toBeGreaterThan(8)
    for (const [, what] of special)
      expect(city.errorWords(`address refused: ${what}`), what).toMatch(/：.*\p{Script=Han}/u)
  })

  it('know every data class, mark and format of the API, and ways by name', () => {
    const words = source('domain/city/vocabulary.py')
    const names = (of: string) => {
      const body = new RegExp(`class ${of}\\(StrEnum\\):([\\s\\S]*?)\\n\\n\\n`).exec(words)?.[1] ?? ''
      return [...body.matchAll(/^ {4}[A-Z]+ = "(\w+)"$/gm)].map((match) => match[1])
    }
    expect(names('DataClass')).toEqual(city.CLASSES)
    expect(names('EventMark')).toEqual(city.MARKS)
    expect(names('Format')).toEqual(city.FORMATS)
    for (const way of names('Way')) expect(Object.hasOwn(WORDS, `city_way_${way}`), way).toBe(true)
    expect(city.wayWords('pigeon')).toBe('pigeon')
  })

  it('offer every family that is published, under a word of its own', () => {
    const types = ['alert.raised', 'order.close', 'device.online', 'subscription.test'].map((type) => ({
      type: `cn.linhub.${type}.v1`, version: 1, zh: type, en: type, schema_id: '', url: '', requires: [],
    })) // prettier-ignore
    const found = city.familiesOf({ items: types, ways: [] } as Catalogue)
    expect(found.map((one) => one.name)).toEqual(['alert', 'order', 'device'])
    const catalogue = source('domain/city/catalogue.py')
    for (const [, family] of catalogue.matchAll(/CityEventType\(f?"([a-z]+)\./g)) {
      // The event of tests needs no subscription.
      if (family !== 'subscription') expect(Object.hasOwn(WORDS, `city_family_${family}`), family).toBe(true)
    }
  })

  it('come to a body: a family takes in its types, and what is not granted needs no reason', () => {
    const fields = city.fieldsOf(null, ['webhook', 'pull'], 'a')
    const wish = city.wishOf({
      ...fields,
      name: ' x ',
      everything: false,
      types: ['order.close', 'order.*'],
      start: '0',
      from: 'seq',
    })
    expect(wish).toMatchObject({
      name: 'x',
      types: ['order.*'],
      start: 0,
      way: 'webhook',
      classes_reason: '',
    })
    expect(city.wishOf({ ...fields, way: 'pull', url: 'https://x.cn' }).url).toBeNull()
    const one = subscription({ classes: ['text'], classes_reason: '协议', kinds: ['gas_alarm'] })
    expect(city.turned(one, 'paused')).toMatchObject({
      state: 'paused', classes: ['text'], classes_reason: '协议', kinds: ['gas_alarm'], url: one.url, types: ['*'],
    }) // prettier-ignore
  })

  it('doubt addresses that the door will refuse', () => {
    for (const inside of [
      'http://127.0.0.1/',
      'https://10.0.0.1/',
      'https://[fd00::1]/',
      'https://printer.local/',
    ]) {
      expect(city.addressDoubt(inside), inside).toContain('LINHUB_CITY_NETWORKS')
    }
    expect(city.addressDoubt('http://example.cn/')).toContain('HTTP')
    expect(city.addressDoubt('https://example.cn:9000/')).toContain('端口')
    for (const fine of ['https://example.cn/', 'https://example.cn:8443/a', 'nothing', '']) {
      expect(city.addressDoubt(fine), fine).toBe('')
    }
  })

  it('show once whatever secrets an answer brings', () => {
    expect(city.shownOnce({ secret: 'whsec_x', other: null, mqtt_password: 'p' })).toEqual([
      { name: 'secret', value: 'whsec_x' },
      { name: 'mqtt_password', value: 'p' },
    ])
    expect(city.onceWords('mqtt_password')).toBe('mqtt_password')
  })

  it('say at a field what is wrong with it, in the reader’s language', () => {
    const what = 'Value error, 主机名无效 · that is no host name'
    const error = new ApiError(422, {
      title: 'x',
      status: 422,
      detail: 'x',
      errors: [{ where: 'body.url', what }],
    })
    expect(city.faultAt(error, 'url')).toBe('主机名无效')
    expect(city.faultAt(error, 'name')).toBe('')
    locale.value = 'en'
    expect(city.faultsOf(error)).toBe('that is no host name')
  })

  it('leave out of an address what is not asked for', () => {
    expect(queryOf({ ok: false, cursor: null, state: '', limit: 5 })).toBe('?ok=false&limit=5')
    expect(queryOf({})).toBe('')
  })
})

describe('cases from above', () => {
  const one = (more: Partial<Case> = {}) =>
    ({
      due_at: null,
      late: false,
      over: false,
      joined: false,
      withdrawn_at: null,
      account: '市热线',
      ...more,
    }) as Case

  it('have the states of the API', () => {
    const table = source('domain/city/cases.py').split('TABLE:')[1]?.split('\n)\n')[0] ?? ''
    const names = [...table.matchAll(/_row\(C\.([A-Z]+)/g)].map((match) => (match[1] ?? '').toLowerCase())
    expect(names).toEqual(CASE_STATES)
  })

  it('are late by the clock that runs, and once over by how they ended', () => {
    const due = one({ due_at: ago(60) })
    expect(isLate(due, NOW)).toBe(true)
    expect(dueWords(due, NOW)).toContain('已超')
    expect(dueWords(one({ due_at: ago(-60) }), NOW)).toContain('还剩')
    expect(isLate(one({ due_at: ago(60), over: true }), NOW)).toBe(false)
    expect(dueWords(one({ due_at: ago(60), over: true, late: true }), NOW)).toBe('超时终结')
  })

  it('are asked for as the filter says', () => {
    expect(caseQuery('open', true)).toEqual({ state: '', over: false, late: true })
    expect(caseQuery('all', false)).toEqual({ state: '', over: null, late: false })
    expect(caseQuery('returned', false)).toEqual({ state: 'returned', over: null, late: false })
  })

  it('warn of who reads a reason, and only where they do', () => {
    expect(readAbove('cancel', [one()])).toContain('退回 市热线')
    expect(readAbove('resolve', [one(), one()])).toContain('市热线 会读到')
    expect(readAbove('note', [one()])).toBe('')
    expect(readAbove('cancel', [one({ joined: true })])).toBe('')
    expect(readers([])).toBe('')
  })
})
