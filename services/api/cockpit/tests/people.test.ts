import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Consent, PersonFields } from '../src/api/people'
import { peopleSearch } from '../src/api/people'
import {
  CONSENTS,
  ERASED_FOR,
  MOVES_OUT,
  erased,
  MOST_CONTACTS,
  RELATIONS,
  fieldsOf,
  merged,
  moved,
  purposesOf,
  standingConsent,
} from '../src/rooms/people/words'
import '../src/i18n/rooms'
import { WORDS } from '../src/i18n/words'
import { nextId } from '../src/rooms/registry/places'

const source = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')
const PRIVACY = source('domain/people/privacy.py')
const MODELS = source('api/people/models.py')
const ERASE = source('adapters/privacy/erase.sql')

describe('what the room knows without asking is what the API says', () => {
  it('purposes of each role', () => {
    const set = (text: string) =>
      [...text.matchAll(/Purpose\.(\w+)/g)].map((one) => one[1]?.toLowerCase()).sort()
    const keepers = set(/_KEEPERS = frozenset\((.*?)\)\n/.exec(PRIVACY)?.[1] ?? '')
    const grid = set(/Role\.GRID: frozenset\((.*?)\),/.exec(PRIVACY)?.[1] ?? '')
    expect(keepers.length).toBe(4)
    expect([...purposesOf('desk')].sort()).toEqual(keepers)
    expect([...purposesOf('grid')].sort()).toEqual(grid)
    expect([...purposesOf('admin')].sort()).toEqual([...keepers, 'export'].sort())
    expect(purposesOf('staff')).toEqual([])
    for (const one of purposesOf('admin')) expect(Object.hasOwn(WORDS, `purpose_${one}`), one).toBe(true)
  })

  it('kinds of consent, reasons to move out and to erase', () => {
    const list = (text: string | undefined) => [...(text ?? '').matchAll(/"(\w+)"/g)].map((one) => one[1])
    const consents = /class ConsentTo\(StrEnum\):([\s\S]*?)\n\n\n/.exec(PRIVACY)?.[1]
    expect(list(consents?.replaceAll(/"""[\s\S]*?"""/g, ''))).toEqual([...CONSENTS])
    const moves = /class MoveOutIn[\s\S]*?Literal\[(.*?)\]/.exec(MODELS)?.[1]
    expect(list(moves)).toEqual([...MOVES_OUT])
    const why = /class ErasureIn[\s\S]*?Literal\[(.*?)\]/.exec(MODELS)?.[1]
    expect(list(why)).toEqual([...ERASED_FOR])
  })

  it('has a word for everything that erasing counts', () => {
    const counted = /-- name: count\n([\s\S]*?)\n-- name/.exec(ERASE)?.[1] ?? ''
    const names = [...counted.matchAll(/ AS (\w+)(?=,|\n)/g)].map((one) => one[1] ?? '')
    expect(names.length).toBeGreaterThan(10)
    for (const name of [...names, 'devices']) expect(Object.hasOwn(WORDS, `erase_n_${name}`), name).toBe(true)
  })
})

describe('a consent', () => {
  const now = Date.parse('2026-11-22T08:00:00Z')
  const consent = (id: string, more: Partial<Consent>): Consent =>
    ({
      id,
      what: 'vitals',
      valid: false,
      starts_at: '2026-11-01T00:00:00Z',
      withdrawn_at: null,
      ...more,
    }) as Consent

  it('stands as the one in force, else the one to come, else the newest that is over', () => {
    const over = consent('over', { withdrawn_at: '2026-11-20T00:00:00Z' })
    const later = consent('later', { starts_at: '2026-12-01T00:00:00Z' })
    const on = consent('on', { valid: true })
    expect(standingConsent([over, later, on], 'vitals', now)?.id).toBe('on')
    expect(standingConsent([over, later], 'vitals', now)?.id).toBe('later')
    expect(standingConsent([over], 'vitals', now)?.id).toBe('over')
    expect(standingConsent([on], 'location', now)).toBeNull()
  })

  it('that was withdrawn before it began is not to come', () => {
    const never = consent('never', {
      starts_at: '2026-12-01T00:00:00Z',
      withdrawn_at: '2026-11-20T00:00:00Z',
    })
    const over = consent('over', { withdrawn_at: '2026-11-20T00:00:00Z' })
    expect(standingConsent([over, never], 'vitals', now)?.id).toBe('over')
  })
})

describe('emergency contacts', () => {
  it('are as many as the API takes, and each suggestion has its words', () => {
    const book = source('adapters/notices/book.py')
    expect(Number(/MOST_CONTACTS = (\d+)/.exec(book)?.[1])).toBe(MOST_CONTACTS)
    for (const one of RELATIONS) expect(Object.hasOwn(WORDS, `contact_is_${one}`), one).toBe(true)
  })

  it('move by one place and stay at the ends', () => {
    expect(moved(['a', 'b', 'c'], 'b', -1)).toEqual(['b', 'a', 'c'])
    expect(moved(['a', 'b', 'c'], 'b', 1)).toEqual(['a', 'c', 'b'])
    expect(moved(['a', 'b', 'c'], 'a', -1)).toEqual(['a', 'b', 'c'])
    expect(moved(['a', 'b', 'c'], 'x', 1)).toEqual(['a', 'b', 'c'])
  })
})

describe('two changes of one person', () => {
  const before: PersonFields = { ...fieldsOf(null), name: '王秀英', phone: '13800001234', tags: ['elder'] }

  it('go together where they do not touch the same', () => {
    const mine = { ...before, phone: '13900005678' }
    const theirs = { ...before, tags: ['elder', 'pet_owner'], guardian_id: 'user-1' }
    const { fields, both } = merged(before, mine, theirs)
    expect(fields).toEqual({
      ...before,
      phone: '13900005678',
      tags: ['elder', 'pet_owner'],
      guardian_id: 'user-1',
    })
    expect(both).toEqual([])
  })

  it('name what both have touched, and keep one’s own until it is looked at', () => {
    const { fields, both } = merged(before, { ...before, phone: '1' }, { ...before, phone: '2' })
    expect([fields.phone, both]).toEqual(['1', ['phone']])
    expect(merged(before, { ...before, phone: '2' }, { ...before, phone: '2' }).both).toEqual([])
  })
})

describe('erasing', () => {
  it('tells what goes from what stays, and nothing of what there is none of', () => {
    const { goes, stays } = erased({ readings: 12, orders: 2, devices: 1, notices: 0 })
    expect(goes).toEqual([{ name: 'readings', n: 12 }])
    expect(stays.map((one) => one.name)).toEqual(['orders', 'devices'])
  })
})

describe('asking for people', () => {
  it('leaves out blank words, which would find nobody, and keeps every other wish', () => {
    const asked = { words: ' 王 ', tags: ['elder', 'veteran'], moved_out: false, cursor: null }
    expect(peopleSearch(asked)).toEqual({ ...asked, words: '王', age: null, limit: 100 })
    expect(peopleSearch({ words: '  ' }).words).toBeNull()
  })
})

describe('an id for another place', () => {
  it('is the first number that nobody has', () => {
    expect(nextId('building', 'hupan', ['hupan-b1', 'hupan-b3'])).toBe('hupan-b2')
    expect(nextId('unit', 'hupan-b1', [])).toBe('hupan-b1-u1')
  })
})
