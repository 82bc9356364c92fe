import { describe, expect, it } from 'vitest'
import {
  addressOf,
  communityAsked,
  communityShown,
  forgetPlace,
  orderAsked,
  rememberPlace,
  takePlace,
} from '../src/lib/path'

const ID = '0b8f6a2e-5d0c-4d5e-9c55-7b1f2a9a1c10'

describe('the address of a page', () => {
  it('names an order, and nothing else that looks like one', () => {
    expect(orderAsked(`?order=${ID}`)).toBe(ID)
    for (const bad of ['', '?order=', '?order=7', '?order=../users', `?order=${ID}/moves`])
      expect(orderAsked(bad)).toBeNull()
  })

  it('keeps how the screen was opened and drops what belonged to one place', () => {
    const opened = `?community=xf&view=wall&order=${ID}&code=ABCD`
    expect(addressOf('/figures', opened)).toBe('/figures?community=xf&view=wall')
    expect(addressOf(`/?order=${ID}`, '?code=ABCD')).toBe(`/?order=${ID}`)
    expect(addressOf('/?community=other', opened)).toBe('/?community=other&view=wall')
    expect(addressOf('/', `?order=${ID}`)).toBe('/')
  })
})

describe('the community that is shown', () => {
  const within = [{ id: 'a' }, { id: 'b' }]

  it('is the one the address names, within reach', () => {
    expect(communityShown(communityAsked('?community=b&view=wall'), null, within)).toBe('b')
    expect(communityShown(communityAsked('?community='), null, within)).toBe('a')
    expect(communityShown('elsewhere', null, within)).toBe('a')
    expect(communityShown('b', null, [])).toBeNull()
  })

  it('is one’s own whatever the address says, for whoever has but one', () => {
    expect(communityShown('b', 'home', [])).toBe('home')
  })

  it('goes with every link, and another one may be asked for', () => {
    expect(addressOf('/people', '?community=b&order=1')).toBe('/people?community=b')
    expect(addressOf('/people?community=a', '?community=b&lang=en')).toBe('/people?community=a&lang=en')
  })
})

describe('the place that a login leads back to', () => {
  function store() {
    const kept = new Map<string, string>()
    return {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => void kept.set(key, value),
      removeItem: (key: string) => void kept.delete(key),
    }
  }

  it('is taken once, with its query', () => {
    const kept = store()
    rememberPlace('/displays', '?code=ABCD-EFGH', kept)
    expect(takePlace(kept)).toBe('/displays?code=ABCD-EFGH')
    expect(takePlace(kept)).toBe('/')
  })

  it('is neither the login itself, nor another site, nor what was left by logging out', () => {
    const kept = store()
    rememberPlace('/login', '?lang=en', kept)
    expect(takePlace(kept)).toBe('/')
    kept.setItem('linhub.back', '//elsewhere.example/')
    expect(takePlace(kept)).toBe('/')
    rememberPlace('/rosters', '', kept)
    forgetPlace(kept)
    expect(takePlace(kept)).toBe('/')
  })
})
