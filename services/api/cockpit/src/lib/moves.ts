/** What a move asks of the person, and how their answers become what the API takes. */
import type { Move, MoveIn, OnDuty, OrderDetail, Person, Position } from '../api/types'

export type Field =
  | 'photo_before'
  | 'photo_after'
  | 'signature'
  | 'on_site'
  | 'assignee_id'
  | 'team'
  | 'merge_into'
  | 'pause_reason'
  | 'pause_until'
  | 'outcome'
  | 'place'
  | 'reason'
  | 'note'

/** `must`: the move is not sent without. */
export interface Asked {
  field: Field
  must: boolean
}

/** What the form asks in this order. */
const SEQUENCE: readonly Field[] = [
  'photo_before',
  'photo_after',
  'signature',
  'on_site',
  'assignee_id',
  'team',
  'merge_into',
  'pause_reason',
  'pause_until',
  'outcome',
  'place',
  'reason',
  'note',
]
/** Those that are chosen from a list; the others are written, or made with the phone. */
export const CHOICES: ReadonlySet<Field> = new Set<Field>([
  'assignee_id',
  'team',
  'merge_into',
  'pause_reason',
  'pause_until',
  'outcome',
])
export const WORDS_OF: ReadonlySet<Field> = new Set<Field>(['reason', 'note'])

/** Needs of the API (services/domain/orders/needs.py) that a form can fill. */
const BY_NEED: Record<string, Field> = {
  reason: 'reason',
  note: 'note',
  place: 'place',
  team: 'team',
  person: 'assignee_id',
  merge_into: 'merge_into',
  pause_reason: 'pause_reason',
  outcome: 'outcome',
  on_site: 'on_site',
  photo_before: 'photo_before',
  photo_after: 'photo_after',
  signature: 'signature',
}

const may = (field: Field): Asked => ({ field, must: false })
const must = (field: Field): Asked => ({ field, must: true })
/** What the page asks beyond the API's needs: whoever reads it next wants to know. */
const ALSO: Partial<Record<Move, readonly Asked[]>> = {
  arrive: [may('place'), may('on_site')],
  resolve: [must('note'), may('photo_after')],
  verify: [may('note')],
  close: [may('note')],
  return: [must('reason')],
  pause: [must('pause_reason'), may('pause_until')],
  reopen: [must('reason')],
  cancel: [must('reason')],
  false_alarm: [must('reason')],
  escalate: [may('reason')],
  urge: [must('reason')],
  note: [must('note')],
  merge: [must('merge_into')],
  call_back: [must('outcome'), may('note')],
  assign: [must('assignee_id')],
  transfer: [must('team'), may('reason')],
  dispatch: [may('team')],
}

/** What the form of this move asks. Nothing: one press makes it. */
export function askedFor(move: Move, order: Pick<OrderDetail, 'needs'>): Asked[] {
  const needed = new Set((order.needs?.[move] ?? []).flatMap((need) => BY_NEED[need] ?? []))
  const also = new Map((ALSO[move] ?? []).map((one) => [one.field, one.must]))
  return SEQUENCE.filter((field) => needed.has(field) || also.has(field)).map((field) => ({
    field,
    must: needed.has(field) || also.get(field) === true,
  }))
}

/** What no form can fill in. */
export function outOfReach(move: Move, order: Pick<OrderDetail, 'needs'>): string[] {
  return (order.needs?.[move] ?? []).filter((need) => !(need in BY_NEED))
}

export type Answers = Partial<Record<Field | 'code', string>>

/** Whether this is answered; pictures are answered by being there, so the API says so itself by asking no more. */
function answered(
  field: Field,
  answers: Answers,
  position: Position | null,
  order: Partial<OrderDetail>,
): boolean {
  switch (field) {
    case 'photo_before':
      return (order.photos_before ?? 0) > 0
    case 'photo_after':
      return (order.photos_after ?? 0) > 0
    case 'signature':
      return (order.signatures ?? 0) > 0
    case 'on_site':
      return position !== null || Boolean(answers.code?.trim())
    default:
      return Boolean(answers[field]?.trim())
  }
}

/** The first that is needed and not there. */
export function lacking(
  asked: readonly Asked[],
  answers: Answers,
  position: Position | null,
  order: Partial<OrderDetail>,
): Field | null {
  return asked.find((one) => one.must && !answered(one.field, answers, position, order))?.field ?? null
}

/** The body of the move but for its name and version; what was left empty is left out. */
export function inputsOf(
  asked: readonly Asked[],
  answers: Answers,
  position: Position | null,
): Omit<MoveIn, 'move' | 'version'> {
  const written = asked.flatMap(({ field }) => {
    if (field === 'on_site') {
      const code = answers.code?.trim()
      return [...(position ? [['position', position]] : []), ...(code ? [['code', code]] : [])]
    }
    const value = answers[field]?.trim()
    return value ? [[field, value]] : []
  })
  return Object.fromEntries(written) as Omit<MoveIn, 'move' | 'version'>
}

const HOUR = 3600
const PAUSES_S = [HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 24 * HOUR, 48 * HOUR, 72 * HOUR]

/** How long a pause may be chosen to last, seconds: whole hours, none beyond what the class allows. */
export function pauseLengths(longestS: number | undefined): number[] {
  return PAUSES_S.filter((length) => longestS === undefined || length <= longestS)
}

export interface Candidate extends Person {
  onDuty: boolean
}

/** Who can be named: on duty in its team, on duty elsewhere, then those it was offered to or who had a hand in it. */
export function candidates(order: OrderDetail, duty: OnDuty | null): Candidate[] {
  const people = new Map<string, Candidate>()
  const teams = [...(duty?.teams ?? [])].sort(
    (a, b) => Number(b.team === order.team) - Number(a.team === order.team),
  )
  for (const { team, people: present } of teams) {
    for (const one of present) {
      if (!people.has(one.user_id)) {
        people.set(one.user_id, { id: one.user_id, name: one.display_name, team, onDuty: true })
      }
    }
  }
  for (const one of [...(order.offered ?? []), ...(order.workers ?? [])]) {
    if (!people.has(one.id)) people.set(one.id, { ...one, onDuty: false })
  }
  return [...people.values()]
}
