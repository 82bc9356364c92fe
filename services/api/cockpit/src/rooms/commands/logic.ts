/** What the room of commands knows without asking: who may do what, what a command says and how it ended, in words. */
import type { Batch, Command, CommandState, LedgerQuery, Params } from '../../api/commands'
import type { KindCommand, User } from '../../api/types'
import { named, say, t } from '../../i18n'
import { WORDS } from '../../i18n/words'
import { asksDevices, keepsDesk, mayAsk } from '../../lib/access'
import { kindOf } from '../../lib/catalogue'
import { number } from '../../lib/format'
import { bilingual } from '../../lib/refusals'

/** Each role's part (services/domain/access.py, services/domain/commands/rights.py); the API decides. */
const APPROVES: ReadonlySet<string> = new Set(['desk', 'street', 'admin'])
export { asksDevices as asks, mayAsk }
/** One thing to many, broadcasts, lamp schedules. */
export const schedules = (role: string) => keepsDesk(role)
export const approves = (role: string) => APPROVES.has(role)
/** Somebody wears it: who may ask it where somebody is may know how they are. */
export const WORN = 'wristband'

export const STATES = [
  'awaiting',
  'queued',
  'sent',
  'acknowledged',
  'executed',
  'confirmed',
  'done',
  'failed',
  'expired',
  'unconfirmed',
  'cancelled',
  'refused',
] as const satisfies readonly CommandState[]
const ENDED: ReadonlySet<CommandState> = new Set(STATES.slice(5))
/** It ended, and somebody should go and see how things are. */
export const LOOK: readonly CommandState[] = ['failed', 'expired', 'unconfirmed']
export const GOOD: ReadonlySet<CommandState> = new Set(['confirmed', 'done'])

export const ended = (state: CommandState) => ENDED.has(state)
export const stateWord = (state: string) => named('cmd_s_', state)

export type Tone = 'wait' | 'move' | 'good' | 'bad' | 'still'

/** How a state looks: by a mark of its own each, never by hue alone. */
export function toneOf(state: CommandState): Tone {
  if (state === 'awaiting') return 'wait'
  if (GOOD.has(state)) return 'good'
  if (LOOK.includes(state)) return 'bad'
  return ended(state) ? 'still' : 'move'
}

type Asked = Pick<Command | Batch, 'requested_by'>

export const own = (one: Asked, user: User) => one.requested_by === user.id
/** As a second person: to approve and reject what waits, to review what went out without one. */
export const mayDecide = (one: Asked, user: User) => approves(user.role) && !own(one, user)
export const mayCancel = (one: Pick<Command, 'requested_by' | 'state'>, user: User) =>
  (one.state === 'awaiting' || one.state === 'queued') &&
  (approves(user.role) || own(one, user)) &&
  asksDevices(user.role)
export const mayStop = (one: Batch, user: User) => schedules(user.role) && !one.stopped_at && waiting(one) > 0
/** Of a batch: what has not left. */
export const waiting = (one: Batch) => (one.counts['awaiting'] ?? 0) + (one.counts['queued'] ?? 0)

export const REVIEW_MS = 24 * 3_600_000
export const reviewBy = (one: Pick<Command, 'requested_at'>) => Date.parse(one.requested_at) + REVIEW_MS

export function commandOf(kind: string, name: string): KindCommand | undefined {
  return kindOf(kind)?.commands.find((one) => one.name === name)
}

export const commandLabel = (kind: string, name: string) => say(commandOf(kind, name)?.label) || name

/** What is asked for with the command, in words: `播报“今晚停水”`. */
export function paramsSaid(params: Readonly<Record<string, unknown>>): string {
  return Object.entries(params)
    .map(([name, value]) => {
      const x = typeof value === 'number' ? number(value) : String(value)
      const word = `cmd_said_${name}`
      return Object.hasOwn(WORDS, word) ? t(word as 'cmd_said_text', { x }) : `${name} ${x}`
    })
    .join(t('cmd_join'))
}

export interface Says {
  kind: string
  name: string
  params: Readonly<Record<string, unknown>>
}

/** The command with what goes with it: `广播：播报“今晚停水”`. */
export function sentence(one: Says): string {
  const with_ = paramsSaid(one.params)
  const what = commandLabel(one.kind, one.name)
  return with_ ? t('cmd_with', { what, with: with_ }) : what
}

/** What a dangerous command does to people; null for those that harm nobody. */
export function riskOf(kind: string, name: string): string | null {
  if (!commandOf(kind, name)?.dangerous) return null
  const word = `cmd_risk_${kind}_${name}`
  return Object.hasOwn(WORDS, word) ? t(word as 'cmd_risk_other') : t('cmd_risk_other')
}

/** What will prove it, in words; null: nothing could. `event`: something the device reports of this very command. */
export function proofOf(kind: string, name: string): { what: string; event: boolean; metric: string } | null {
  const shown = commandOf(kind, name)?.shown_by
  if (!shown) return null
  const event = kindOf(kind)?.events.some((one) => one.name === shown.name) ?? false
  return { what: say(shown.label) || shown.name, event, metric: event ? '' : shown.name }
}

type Ending = Pick<
  Command,
  'state' | 'kind' | 'name' | 'sends' | 'dangerous' | 'emergency' | 'approved_by' | 'confirm_by'
>

/** How it stands or ended, and by what that is known. */
export function endOf(one: Ending, clock: (at: string) => string): string {
  const proof = proofOf(one.kind, one.name)
  const what = proof?.what ?? t('cmd_reading')
  switch (one.state) {
    case 'executed':
      return t('cmd_e_executed', { what, at: one.confirm_by ? clock(one.confirm_by) : '' })
    case 'confirmed':
      return t(proof?.event ? 'cmd_e_confirmed_event' : 'cmd_e_confirmed', { what })
    case 'unconfirmed':
      return t('cmd_e_unconfirmed', { what })
    case 'expired':
      if (one.sends > 0) return t('cmd_e_expired_sent', { n: one.sends })
      return t(
        one.dangerous && !one.emergency && one.approved_by === null
          ? 'cmd_e_expired_unapproved'
          : 'cmd_e_expired_unsent',
      )
    default:
      return t(`cmd_e_${one.state}`, { n: one.sends })
  }
}

/** Words that came with the end: the device's, or those of whoever ended it. */
export function endWords(one: Pick<Command, 'state' | 'detail' | 'moved_why'>): string {
  if (one.state === 'cancelled' || one.state === 'refused')
    return one.moved_why ? t('cmd_because', { words: bilingual(one.moved_why) }) : ''
  return one.detail ? t('cmd_reply', { words: bilingual(one.detail) }) : ''
}

/** Who asked: a person, or what was approved before as a whole. */
export function askerOf(one: Pick<Command, 'source' | 'requested_name'>): string {
  const [what = '', ...rest] = one.source.split(':')
  if (what !== 'plan' && what !== 'schedule') return one.requested_name
  return `${t(`cmd_source_${what}`)} ${rest.join(':')}`
}

/** Who or what made a move, where it is no person. */
export function byWord(by: string, name: string): string {
  if (by.startsWith('device:')) return t('cmd_by_device')
  return by === name ? (named('cmd_by_', by) === by ? name : named('cmd_by_', by)) : name
}

export type Filter = 'open' | 'all' | 'look' | 'review' | CommandState

export function filterQuery(filter: Filter, device: string, limit: number): LedgerQuery {
  const query: LedgerQuery = { state: 'all', limit }
  if (device.trim()) query.device_id = device.trim()
  if (filter === 'open') query.state = 'open'
  else if (filter === 'look') query.only = LOOK
  else if (filter === 'review') query.to_review = true
  else if (filter !== 'all') query.only = [filter]
  return query
}

const NUMBERS: ReadonlySet<string> = new Set(['seconds', 'brightness'])
export const isNumber = (param: string) => NUMBERS.has(param)

/** What a form holds as the API takes it: nothing that was left empty. Of words and a clip, the one that is chosen. */
export function paramsFrom(
  takes: readonly string[],
  held: Readonly<Record<string, string | number | null>>,
  by: 'text' | 'clip',
): Params {
  const found: Params = {}
  for (const name of takes) {
    if ((name === 'text' || name === 'clip') && name !== by) continue
    const value = held[name]
    if (typeof value === 'number' ? Number.isFinite(value) : value?.trim()) {
      found[name] = typeof value === 'string' ? value.trim() : (value as number)
    }
  }
  return found
}

/** How far a batch is, for a bar: parts of the whole in the order of the states, those that are none left out. */
export function partsOf(one: Batch): { state: CommandState; n: number; share: number }[] {
  return STATES.flatMap((state) => {
    const n = one.counts[state] ?? 0
    return n > 0 ? [{ state, n, share: n / Math.max(1, one.total) }] : []
  })
}

export interface Reach {
  buildings: readonly string[]
  grids: readonly string[]
  tags: readonly string[]
  everywhere: boolean
}

export interface Placed {
  building_id: string | null
  grid_id: string | null
  tags: readonly string[]
}

/** Which devices a zone holds, as the API counts them: in one of the buildings, in one of the 网格, with all tags. */
export function reached<T extends Placed>(
  devices: readonly T[],
  reach: Reach,
  gridOfBuilding: ReadonlyMap<string, string | null>,
): T[] {
  const { buildings, grids, tags } = reach
  if (!reach.everywhere && buildings.length + grids.length + tags.length === 0) return []
  return devices.filter((one) => {
    const grid = one.grid_id ?? gridOfBuilding.get(one.building_id ?? '') ?? null
    return (
      (buildings.length === 0 || (one.building_id !== null && buildings.includes(one.building_id))) &&
      (grids.length === 0 || (grid !== null && grids.includes(grid))) &&
      tags.every((tag) => one.tags.includes(tag))
    )
  })
}

/** Where a batch goes, as the API wrote it down behind the kind of device. */
export function whereOf(one: Pick<Batch, 'kind' | 'targets'>): string {
  const rest = one.targets.startsWith(one.kind) ? one.targets.slice(one.kind.length).trim() : one.targets
  return rest === '' ? t('cmd_everywhere') : bilingual(rest)
}

/** The first few by name; `…` where there are more. */
export function someOf(names: readonly string[], most = 5): string {
  const text = names.slice(0, most).join(t('cmd_comma'))
  return names.length > most ? t('cmd_and_more', { names: text }) : text
}

/** Tags and ids as people type them. */
export const words = (text: string) => text.split(/[\s,，、;；]+/).filter(Boolean)

/** The rest of the address behind `/commands`. */
export type Place =
  | { view: 'ledger' | 'batches'; open: string }
  | { view: 'ask'; kind: string; device: string; command: string }

export function placeOf(part: string): Place {
  const [head = '', ...rest] = part.split('/')
  if (head === 'ask') {
    const [kind = '', device = '', command = ''] = rest
    return { view: 'ask', kind, device, command }
  }
  if (head === 'batches') return { view: head, open: rest[0] ?? '' }
  return { view: 'ledger', open: head }
}
