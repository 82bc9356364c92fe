/** Places as the registry's forms know them: what stands on what, which fields a sort has, an id nobody has yet. */
import type { Place } from './api'

export type PlaceSort = Place['sort']

/** What is added to a place of this sort, and by which field it names the place. */
export const PARTS: Record<
  PlaceSort,
  { sort: PlaceSort; field: 'compound_id' | 'building_id' | 'unit_id' } | null
> = {
  compound: { sort: 'building', field: 'compound_id' },
  grid: null,
  building: { sort: 'unit', field: 'building_id' },
  unit: { sort: 'household', field: 'unit_id' },
  household: null,
}

/** Numbers that a sort has beside its name (services/domain/places.py). */
export const NUMBERS: Record<PlaceSort, readonly ('floors' | 'floor' | 'x' | 'y' | 'width' | 'depth')[]> = {
  compound: [],
  grid: [],
  building: ['floors', 'x', 'y', 'width', 'depth'],
  unit: [],
  household: ['floor'],
}

const LETTER: Record<PlaceSort, string> = {
  compound: 'c',
  grid: 'grid',
  building: 'b',
  unit: 'u',
  household: 'h',
}

/** An id for another place: on what it stands, and the first number that is free. */
export function nextId(sort: PlaceSort, stem: string, taken: readonly string[]): string {
  const has = new Set(taken)
  for (let n = 1; ; n += 1) {
    const id = `${stem}-${LETTER[sort]}${n}`
    if (!has.has(id)) return id
  }
}
