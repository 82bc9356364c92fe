import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { ApiError, readProblem } from '../src/api/client'
import type { Move, OnDuty, OrderDetail } from '../src/api/types'
import { locale } from '../src/i18n'
import { WORDS } from '../src/i18n/words'
import { askedFor, candidates, inputsOf, lacking, outOfReach, pauseLengths } from '../src/lib/moves'
import { bilingual, inWords, uploadFault } from '../src/lib/refusals'
import { order } from './fixtures/snapshot'

const domain = (path: string) =>
  readFileSync(new URL(`../../../domain/orders/${path}`, import.meta.url), 'utf8')
const WHERE = { latitude: 29.7, longitude: 116, accuracy_m: 12 }

const detail = (more: Partial<OrderDetail> = {}): OrderDetail => ({ ...order('o1'), history: [], ...more })
const fields = (move: Move, needs: string[]) =>
  askedFor(move, { needs: { [move]: needs } }).map((one) => `${one.field}${one.must ? '!' : ''}`)

afterEach(() => {
  locale.value = 'zh'
})

describe('askedFor', () => {
  it('asks what the API still needs, the pictures first', () => {
    expect(fields('resolve', ['photo_after'])).toEqual(['photo_after!', 'note!'])
    expect(fields('resolve', [])).toEqual(['photo_after', 'note!'])
    expect(fields('arrive', ['on_site'])).toEqual(['on_site!', 'place'])
    expect(fields('verify', ['signature', 'note'])).toEqual(['signature!', 'note!'])
    expect(fields('accept', [])).toEqual([])
    expect(fields('accept', ['photo_before', 'reason'])).toEqual(['photo_before!', 'reason!'])
  })

  it('leaves to the API what nobody can fill in', () => {
    expect(outOfReach('verify', { needs: { verify: ['other_person', 'note'] } })).toEqual(['other_person'])
    expect(fields('verify', ['other_person'])).toEqual(['note'])
  })

  it('has a field or words for every need of the API', () => {
    const source = /class Need\(StrEnum\):([\s\S]*?)\n\n\n/.exec(domain('needs.py'))?.[1] ?? ''
    const needs = [...source.matchAll(/^ {4}[A-Z_]+ = "(\w+)"$/gm)].map((match) => match[1] ?? '')
    expect(needs.length).toBeGreaterThan(14)
    for (const need of needs) {
      const beyond = outOfReach('resolve', { needs: { resolve: [need] } })
      expect(beyond.length === 0 || Object.hasOwn(WORDS, `need_${need}`), need).toBe(true)
    }
  })
})

describe('lacking', () => {
  const asked = askedFor('resolve', { needs: { resolve: ['photo_after'] } })

  it('names the first that is not there; a picture is there once the server has it', () => {
    expect(lacking(asked, {}, null, detail())).toBe('photo_after')
    expect(lacking(asked, {}, null, detail({ photos_after: 1 }))).toBe('note')
    expect(lacking(asked, { note: '  ' }, null, detail({ photos_after: 1 }))).toBe('note')
    expect(lacking(asked, { note: '已清理' }, null, detail({ photos_after: 1 }))).toBeNull()
  })

  it('takes a position or the code of the place as proof of arrival', () => {
    const arrive = askedFor('arrive', { needs: { arrive: ['on_site'] } })
    expect(lacking(arrive, { place: '1号楼' }, null, detail())).toBe('on_site')
    expect(lacking(arrive, { code: ' LH1.x ' }, null, detail())).toBeNull()
    expect(lacking(arrive, {}, WHERE, detail())).toBeNull()
  })
})

describe('inputsOf', () => {
  it('sends what was answered and nothing else', () => {
    const arrive = askedFor('arrive', {})
    expect(inputsOf(arrive, { place: ' 3号楼 ', code: '', note: 'x' }, WHERE)).toEqual({
      place: '3号楼',
      position: WHERE,
    })
    expect(inputsOf(arrive, { code: ' LH1.x ' }, null)).toEqual({ code: 'LH1.x' })
    const resolve = askedFor('resolve', { needs: { resolve: ['photo_after'] } })
    expect(inputsOf(resolve, { note: '好了', photo_after: 'no' }, null)).not.toHaveProperty('signature')
    expect(inputsOf(resolve, { note: '好了' }, WHERE)).toEqual({ note: '好了' })
  })
})

describe('pauseLengths', () => {
  it('offers nothing beyond what the class allows', () => {
    expect(pauseLengths(4 * 3600)).toEqual([3600, 7200, 14_400])
    expect(pauseLengths(60)).toEqual([])
    expect(pauseLengths(undefined).length).toBe(7)
  })
})

describe('candidates', () => {
  const person = (id: string) => ({ user_id: id, display_name: id, leads: false, until: null })
  const duty: OnDuty = {
    at: '2026-11-22T02:00:00Z',
    people: 3,
    teams: [
      { team: 'desk', rostered: false, people: [person('d')] },
      { team: 'patrol', rostered: true, people: [person('p1'), person('p2')] },
    ],
  }

  it('are those on duty, its own team first, then who had to do with it; each once', () => {
    const offered = [
      { id: 'p2', name: 'p2', team: 'patrol' },
      { id: 'gone', name: 'gone', team: 'patrol' },
    ]
    const found = candidates(detail({ offered, workers: offered }), duty)
    expect(found.map((one) => one.id)).toEqual(['p1', 'p2', 'd', 'gone'])
    expect(found.map((one) => one.onDuty)).toEqual([true, true, true, false])
    expect(candidates(detail(), null)).toEqual([])
  })
})

describe('refusals', () => {
  const refused = (status: number, body: object) =>
    new ApiError(status, readProblem(status, '', JSON.stringify({ title: 'x', ...body })))

  it('are said in the language of the page', () => {
    const text = '缺少处置后照片 · A photo from after the work is needed'
    expect(bilingual(text)).toBe('缺少处置后照片')
    locale.value = 'en'
    expect(bilingual(text)).toBe('A photo from after the work is needed')
    expect(bilingual('3号楼 · 2单元 · Building 3 · Unit 2')).toBe('Building 3 · Unit 2')
  })

  it('are left whole where they are not in halves', () => {
    for (const text of ['plain', '3号楼 · 2单元', 'one · two · three', 'a · b', ''])
      expect(bilingual(text)).toBe(text)
  })

  it('tell the state that forbids it, and never undefined', () => {
    const error = refused(422, { detail: '不行 · no', errors: [{ code: 'state', state: 'closed' }] })
    expect(inWords(error)).toBe('不行 当前状态：已办结。')
    expect(inWords(refused(502, {}))).toBe('x')
    expect(inWords(new ApiError(0, { title: 'unreachable', status: 0, detail: '' }))).toContain('连不上')
    expect(uploadFault(refused(413, { detail: 'x' }))).toContain('太大')
  })

  it('keep the order as it stands now', () => {
    const current = order('o1', { version: 9 })
    expect(readProblem(409, '', JSON.stringify({ title: 'Conflict', current })).current?.version).toBe(9)
    expect(readProblem(502, 'Bad Gateway', '<html>')).toEqual({
      title: 'Bad Gateway',
      status: 502,
      detail: '',
    })
    expect(readProblem(500, 'Oops', 'null').title).toBe('Oops')
  })
})

describe('classes', () => {
  it('that come with the product are called here as there', () => {
    const source = domain('classes/defaults/classes.yaml')
    const found = [...source.matchAll(/- id: (\w+)\n\s+title: \{zh: (.+?), en: (.+?)\}/g)]
    expect(found.length).toBeGreaterThan(5)
    for (const [, id, zh, en] of found)
      expect(WORDS[`class_${id}` as keyof typeof WORDS], id).toEqual([zh, en])
  })
})
