import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Batch, Command } from '../src/api/commands'
import { ledgerQuery } from '../src/api/commands'
import type { Catalogue, KindCommand, User } from '../src/api/types'
import { locale } from '../src/i18n'
import '../src/i18n/rooms'
import { WORDS } from '../src/i18n/words'
import { setCatalogue } from '../src/lib/catalogue'
import * as lamps from '../src/rooms/commands/lamps'
import {
  GOOD,
  LOOK,
  STATES,
  approves,
  askerOf,
  asks,
  byWord,
  endOf,
  endWords,
  ended,
  filterQuery,
  mayAsk,
  mayCancel,
  mayDecide,
  mayStop,
  paramsFrom,
  paramsSaid,
  partsOf,
  placeOf,
  proofOf,
  reached,
  riskOf,
  schedules,
  sentence,
  someOf,
  whereOf,
} from '../src/rooms/commands/logic'

const source = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')
const STATES_PY = source('domain/commands/states.py')
const ACCESS_PY = source('domain/access.py')
const KINDS = ['water_meter', 'gas_meter', 'gas_alarm', 'electricity_meter', 'loudspeaker', 'siren']

const one = (name: string, more: Partial<KindCommand> = {}): KindCommand => ({
  name,
  label: { zh: `做${name}`, en: name },
  dangerous: false,
  params: [],
  lives_s: 60,
  calls: false,
  shown_by: null,
  ...more,
})
const catalogue = {
  severities: [],
  teams: [],
  roles: [],
  kinds: [
    {
      name: 'gas_meter',
      label: { zh: '燃气表', en: 'Gas meter' },
      system: 'S1',
      interval_s: 60,
      metrics: [
        {
          name: 'valve',
          unit: '',
          label: { zh: '阀门', en: 'Valve' },
          type: 'state',
          low: 0,
          high: 1,
          options: [],
        },
      ],
      events: [],
      commands: [
        one('valve_close', {
          dangerous: true,
          shown_by: { name: 'valve', label: { zh: '阀门', en: 'Valve' } },
        }),
        one('test'),
      ],
    },
    {
      name: 'siren',
      label: { zh: '警报器', en: 'Siren' },
      system: 'S1',
      interval_s: 60,
      metrics: [],
      events: [{ name: 'played', label: { zh: '已播放', en: 'Played' } }],
      commands: [
        one('siren_on', {
          dangerous: true,
          calls: true,
          shown_by: { name: 'played', label: { zh: '已播放', en: 'Played' } },
        }),
        one('shout', { dangerous: true }),
      ],
    },
  ],
} satisfies Catalogue

const user = (role: string, id = 'user-desk') => ({ id, role }) as User
const command = (more: Partial<Command> = {}): Command =>
  ({
    id: 'c1',
    kind: 'gas_meter',
    name: 'valve_close',
    params: {},
    state: 'awaiting',
    requested_by: 'user-desk',
    dangerous: true,
    emergency: false,
    approved_by: null,
    confirm_by: null,
    sends: 0,
    detail: '',
    moved_why: '',
    ...more,
  }) as Command
const batch = (counts: Batch['counts'], more: Partial<Batch> = {}): Batch =>
  ({
    kind: 'siren',
    requested_by: 'user-desk',
    total: 4,
    counts,
    stopped_at: null,
    targets: 'siren',
    ...more,
  }) as Batch

beforeEach(() => setCatalogue(catalogue))
afterEach(() => {
  locale.value = 'zh'
})

describe('what the room knows without asking is what the API says', () => {
  it('states, their ends and their words', () => {
    const states = /class CommandState\(StrEnum\):([\s\S]*?)\n\n\n/.exec(STATES_PY)?.[1] ?? ''
    expect([...states.matchAll(/^ {4}[A-Z]+ = "(\w+)"$/gm)].map((found) => found[1])).toEqual([...STATES])
    const ends = /ENDED = frozenset\(\{(.*?)\}\)/.exec(STATES_PY)?.[1] ?? ''
    const ended_ = [...ends.matchAll(/S\.(\w+)/g)].map((found) => found[1]?.toLowerCase())
    expect(STATES.filter(ended)).toEqual(ended_)
    const labels = [...STATES_PY.matchAll(/S\.(\w+): Label\("(.*?)", "(.*?)"\)/g)]
    expect(labels.length).toBe(12)
    for (const [, state = '', zh = '', en = ''] of labels)
      expect(WORDS[`cmd_s_${state.toLowerCase()}` as 'cmd_s_done']).toEqual([zh, en])
    for (const state of STATES) expect(ended(state) || !GOOD.has(state)).toBe(true)
    expect(LOOK.every(ended)).toBe(true)
  })

  it('every move of a history has words', () => {
    const moves = /class CommandMove\(StrEnum\):([\s\S]*?)\n\n\n/.exec(STATES_PY)?.[1] ?? ''
    const names = [...moves.matchAll(/^ {4}[A-Z]+ = "(\w+)"$/gm)].map((found) => found[1] ?? '')
    expect(names.length).toBe(15)
    for (const name of names) expect(Object.hasOwn(WORDS, `cmd_m_${name}`), name).toBe(true)
  })

  it('who asks, approves and tells many', () => {
    const given = (role: string) => {
      const start = ACCESS_PY.indexOf(`Role.${role}: `, ACCESS_PY.indexOf('PERMISSIONS: dict'))
      const rest = ACCESS_PY.slice(start + 5)
      const text = rest.slice(0, /\n {4}Role\.|\n\}\n/.exec(rest)?.index)
      const keep = /_KEEP = _WORK \| \{([\s\S]*?)\n\}/.exec(ACCESS_PY)?.[1] ?? ''
      return text.includes('_KEEP') ? text + keep : text
    }
    for (const role of ['STAFF', 'GRID', 'DESK', 'STREET', 'ADMIN', 'PLATFORM']) {
      const permissions = given(role)
      expect(asks(role.toLowerCase()), role).toBe(permissions.includes('COMMAND_ASK'))
      expect(approves(role.toLowerCase()), role).toBe(permissions.includes('COMMAND_APPROVE'))
      expect(schedules(role.toLowerCase()), role).toBe(permissions.includes('COMMAND_SCHEDULE'))
    }
  })

  it('every dangerous command of a kind says what it does to people', () => {
    for (const kind of KINDS) {
      const text = source(`domain/devices/${kind}.py`)
      const commands = text.slice(text.indexOf('commands=('))
      const known = [
        ...commands.matchAll(/CommandType\(\s*"(\w+)", *Label[^)]*\)([\s\S]*?)(?=CommandType|profile=)/g),
      ]
      const short = [
        ...commands.matchAll(/CommandType\(\s*"(\w+)",\s*Label\([^)]*\),([\s\S]*?)(?=CommandType|profile=)/g),
      ]
      const dangerous = [...known, ...short].filter((found) => found[2]?.includes('dangerous=True'))
      expect(dangerous.length, kind).toBeGreaterThan(0)
      for (const [, name] of dangerous)
        expect(Object.hasOwn(WORDS, `cmd_risk_${kind}_${name}`), `${kind} ${name}`).toBe(true)
    }
  })
})

describe('who is offered what', () => {
  it('nobody decides about what they asked for themselves', () => {
    expect(mayDecide(command(), user('desk'))).toBe(false)
    expect(mayDecide(command(), user('admin', 'user-admin'))).toBe(true)
    expect(mayDecide(command(), user('street', 'user-street'))).toBe(true)
    expect(mayDecide(command(), user('grid', 'user-grid1'))).toBe(false)
  })

  it('only what has not left is called back', () => {
    for (const state of STATES)
      expect(mayCancel(command({ state }), user('desk')), state).toBe(
        state === 'awaiting' || state === 'queued',
      )
    expect(mayCancel(command(), user('grid', 'user-grid1'))).toBe(false)
    expect(mayCancel(command({ requested_by: 'user-grid1' }), user('grid', 'user-grid1'))).toBe(true)
    expect(mayCancel(command(), user('street', 'user-street')), 'the API takes that from no street').toBe(
      false,
    )
  })

  it('a batch is stopped once, and only while something of it is here', () => {
    expect(mayStop(batch({ awaiting: 2 }), user('desk'))).toBe(true)
    expect(mayStop(batch({ sent: 2, done: 2 }), user('desk'))).toBe(false)
    expect(mayStop(batch({ queued: 2 }, { stopped_at: '2026-11-22T10:00:00Z' }), user('desk'))).toBe(false)
    expect(mayStop(batch({ queued: 2 }), user('street'))).toBe(false)
  })

  it('网格员 ask for what harms nobody', () => {
    expect(mayAsk('grid', { dangerous: false })).toBe(true)
    expect(mayAsk('grid', { dangerous: true })).toBe(false)
    expect(mayAsk('street', { dangerous: false })).toBe(false)
  })
})

describe('words', () => {
  const at = () => '18:05'

  it('say the command with what goes with it', () => {
    expect(paramsSaid({ text: '今晚停水', zone: 'A' })).toBe('播报“今晚停水”，分区 A')
    expect(paramsSaid({ brightness: 40, level: 3 })).toBe('亮度 40%，level 3')
    expect(sentence(command({ kind: 'siren', name: 'siren_on', params: { seconds: 30 } }))).toBe(
      '做siren_on：30 秒',
    )
    expect(sentence(command({ kind: 'robot', name: 'dance' }))).toBe('dance')
  })

  it('say what a dangerous one does, and nothing of the others', () => {
    expect(riskOf('gas_meter', 'valve_close')).toContain('停气')
    expect(riskOf('gas_meter', 'test')).toBeNull()
    expect(riskOf('siren', 'shout')).toBe(WORDS.cmd_risk_other[0])
  })

  it('name the proof: a reading or an event', () => {
    expect(proofOf('gas_meter', 'valve_close')).toEqual({ what: '阀门', event: false, metric: 'valve' })
    expect(proofOf('siren', 'siren_on')).toEqual({ what: '已播放', event: true, metric: '' })
    expect(proofOf('gas_meter', 'test')).toBeNull()
  })

  it('say the end and no more than is known', () => {
    expect(endOf(command({ state: 'confirmed' }), at)).toContain('“阀门”也显示')
    expect(endOf(command({ state: 'confirmed', kind: 'siren', name: 'siren_on' }), at)).toContain(
      '上报了“已播放”',
    )
    expect(endOf(command({ state: 'done', name: 'test' }), at)).toContain('没有读数可以证实')
    expect(endOf(command({ state: 'executed', confirm_by: '2026-11-22T10:05:00Z' }), at)).toContain('18:05')
    expect(endOf(command({ state: 'unconfirmed' }), at)).toContain('没有显示')
    expect(endOf(command({ state: 'expired' }), at)).toContain('无人在时限内批准')
    expect(endOf(command({ state: 'expired', approved_by: 'user-admin' }), at)).toContain('未能下发')
    expect(endOf(command({ state: 'expired', emergency: true }), at)).toContain('未能下发')
    expect(endOf(command({ state: 'expired', sends: 3 }), at)).toContain('可能已执行')
    for (const state of STATES) expect(endOf(command({ state }), at)).not.toMatch(/undefined|\{/)
  })

  it('give the words that came with it in the reader’s language', () => {
    expect(endWords(command({ state: 'failed', detail: 'jammed' }))).toBe('设备回执：jammed')
    expect(endWords(command({ state: 'refused', moved_why: '账号已停用 · The account is disabled' }))).toBe(
      '理由：账号已停用',
    )
    expect(endWords(command({ state: 'expired' }))).toBe('')
  })

  it('name who moved it', () => {
    expect(byWord('device:g-1', 'device:g-1')).toBe('设备')
    expect(byWord('telemetry', 'telemetry')).toBe('设备上报')
    expect(byWord('user-desk', '张三')).toBe('张三')
    expect(byWord('user-gone', 'user-gone')).toBe('user-gone')
  })

  it('name who asked, also where that was a plan', () => {
    expect(askerOf({ source: 'user:user-desk', requested_name: '张三' })).toBe('张三')
    expect(askerOf({ source: 'plan:gas_leak@2', requested_name: 'x' })).toBe('联动预案 gas_leak@2')
    expect(askerOf({ source: 'schedule:main_road', requested_name: 'x' })).toBe('路灯计划 main_road')
  })

  it('say where a batch goes', () => {
    expect(whereOf({ kind: 'siren', targets: 'siren 1号楼 第一网格' })).toBe('1号楼 第一网格')
    expect(whereOf({ kind: 'siren', targets: 'siren' })).toBe('整个社区')
    expect(someOf(['a', 'b', 'c'], 2)).toBe('a、b 等')
    expect(someOf(['a', 'b'], 2)).toBe('a、b')
  })
})

describe('what is asked of the API', () => {
  it('filters of the ledger', () => {
    expect(filterQuery('open', ' ', 50)).toEqual({ state: 'open', limit: 50 })
    expect(filterQuery('look', 'x-1 ', 50)).toEqual({ state: 'all', limit: 50, only: LOOK, device_id: 'x-1' })
    expect(filterQuery('review', '', 50)).toEqual({ state: 'all', limit: 50, to_review: true })
    expect(filterQuery('failed', '', 50)).toEqual({ state: 'all', limit: 50, only: ['failed'] })
    const query = ledgerQuery({ only: ['failed', 'expired'], single: true, device_id: 'a b' })
    expect(query.toString()).toBe('state=open&limit=50&only=failed&only=expired&single=true&device_id=a+b')
  })

  it('parameters without what was left empty, and words or a clip, never both', () => {
    const takes = ['text', 'clip', 'zone']
    expect(paramsFrom(takes, { text: ' 停水 ', clip: 'x', zone: '' }, 'text')).toEqual({ text: '停水' })
    expect(paramsFrom(takes, { text: '停水', clip: 'x', zone: 'A' }, 'clip')).toEqual({
      clip: 'x',
      zone: 'A',
    })
    expect(paramsFrom(['seconds'], { seconds: null }, 'text')).toEqual({})
    expect(paramsFrom(['brightness'], { brightness: 0 }, 'text')).toEqual({ brightness: 0 })
  })

  it('a zone reaches as many as the API would count', () => {
    const placed = (id: string, building_id: string | null, grid_id: string | null, tags: string[] = []) => ({
      id,
      building_id,
      grid_id,
      tags,
    })
    const all = [
      placed('a', 'b1', null, ['gate']),
      placed('b', 'b2', 'g2'),
      placed('c', null, 'g1', ['gate', 'east']),
      placed('d', null, null),
    ]
    const grids = new Map([['b1', 'g1']])
    const found = (more: object) =>
      reached(all, { buildings: [], grids: [], tags: [], everywhere: false, ...more }, grids).map(
        (it) => it.id,
      )
    expect(found({})).toEqual([])
    expect(found({ everywhere: true })).toEqual(['a', 'b', 'c', 'd'])
    expect(found({ grids: ['g1'] })).toEqual(['a', 'c'])
    expect(found({ buildings: ['b1', 'b2'] })).toEqual(['a', 'b'])
    expect(found({ grids: ['g1'], tags: ['gate', 'east'] })).toEqual(['c'])
  })
})

describe('the address', () => {
  it('names a command, a batch, a device to tell', () => {
    expect(placeOf('')).toEqual({ view: 'ledger', open: '' })
    expect(placeOf('0a-1')).toEqual({ view: 'ledger', open: '0a-1' })
    expect(placeOf('batches/7')).toEqual({ view: 'batches', open: '7' })
    expect(placeOf('ask/siren/x-1/siren_on')).toEqual({
      view: 'ask',
      kind: 'siren',
      device: 'x-1',
      command: 'siren_on',
    })
  })
})

describe('a batch', () => {
  it('is shown by parts that make the whole', () => {
    const parts = partsOf(batch({ confirmed: 1, sent: 3 }))
    expect(parts.map((part) => [part.state, part.n])).toEqual([
      ['sent', 3],
      ['confirmed', 1],
    ])
    expect(parts.reduce((sum, part) => sum + part.share, 0)).toBe(1)
  })
})

describe('lamps', () => {
  it('say the light they want', () => {
    expect(lamps.lightWords('now', 0)).toBe('现在应熄灭')
    expect(lamps.lightWords('now', 40)).toBe('现在亮度应为 40%')
    expect(lamps.lightWords('next', 100, '17:31')).toBe('17:31 全亮')
    expect(lamps.degWords(-0.833)).toContain('日落')
    expect(lamps.degWords(1.5)).toBe('1.5°')
  })

  it('go out as the API takes them: the night in its order, a name in both languages', () => {
    const fields = lamps.lampFields(null, ['lamps_1'])
    expect(fields.id).toBe('lamps_2')
    const wish = lamps.lampWish(
      {
        ...fields,
        zh: ' 主路 ',
        dims: [
          { at: '01:30', brightness: 20 },
          { at: '23:00', brightness: 50 },
        ],
      },
      ['east'],
    )
    expect(wish.title).toEqual({ zh: '主路', en: '主路' })
    expect(wish.dims.map((dim) => dim.at)).toEqual(['23:00', '01:30'])
    expect(wish.tags).toEqual(['east'])
  })

  it('keep to the bounds of the API', () => {
    const text = source('domain/commands/lamps.py')
    const bounds = /LOWEST_DEG, HIGHEST_DEG = (-?[\d.]+), (-?[\d.]+)/.exec(text)
    expect([lamps.LOWEST_DEG, lamps.HIGHEST_DEG]).toEqual([Number(bounds?.[1]), Number(bounds?.[2])])
    expect(lamps.DIMS_MOST).toBe(Number(/DIMS_MOST = (\d+)/.exec(text)?.[1]))
  })
})
