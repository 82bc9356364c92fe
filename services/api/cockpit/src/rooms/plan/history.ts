/** What the editor has moved: steps that can be undone, and what is not saved yet. Pure. */
export interface Place {
  x: number
  y: number
  /** Of devices alone; null: in no building. */
  building_id?: string | null
  unit_id?: string | null
  floor?: number | null
}

export interface Step {
  id: string
  sort: 'device' | 'building'
  from: Place
  to: Place
}

export interface History {
  done: readonly Step[]
  undone: readonly Step[]
}

export const EMPTY: History = { done: [], undone: [] }
const MOST = 500

const same = (a: Place, b: Place) =>
  a.x === b.x &&
  a.y === b.y &&
  (a.building_id ?? null) === (b.building_id ?? null) &&
  (a.floor ?? null) === (b.floor ?? null)

/** `joins`: a nudge of the same thing goes on with the step before, so that one undo takes all of it back. */
export function did(history: History, step: Step, joins = false): History {
  const last = history.done.at(-1)
  if (joins && last?.id === step.id && last.sort === step.sort)
    return { done: [...history.done.slice(0, -1), { ...last, to: step.to }], undone: [] }
  return { done: [...history.done, step].slice(-MOST), undone: [] }
}

export function undo(history: History): [History, Step | null] {
  const step = history.done.at(-1)
  if (!step) return [history, null]
  return [{ done: history.done.slice(0, -1), undone: [...history.undone, step] }, step]
}

export function redo(history: History): [History, Step | null] {
  const step = history.undone.at(-1)
  if (!step) return [history, null]
  return [{ done: [...history.done, step], undone: history.undone.slice(0, -1) }, step]
}

/** Everything that stands elsewhere than it was loaded. */
export function unsaved<T extends Place & { id: string }>(
  now: Iterable<T>,
  loaded: ReadonlyMap<string, Place>,
): T[] {
  const found: T[] = []
  for (const one of now) {
    const before = loaded.get(one.id)
    if (before && !same(before, one)) found.push(one)
  }
  return found
}
