/** What the API answers; the mirror of answers/models.py. Times are RFC 3339 in UTC, `*_ms` epoch milliseconds. */

import type { components } from './schema'

export interface Label {
  zh: string
  en: string
}

export type Severity = 'info' | 'minor' | 'major' | 'critical'

export type Move =
  | 'create'
  | 'dispatch'
  | 'accept'
  | 'arrive'
  | 'resolve'
  | 'verify'
  | 'close'
  | 'return'
  | 'transfer'
  | 'pause'
  | 'resume'
  | 'reopen'
  | 'cancel'
  | 'false_alarm'
  | 'merge'
  | 'escalate'
  | 'repeat'
  | 'assign'
  | 'warn'
  | 'breach'
  | 'urge'
  | 'evidence'
  | 'note'
  | 'call_back'
  | 'rate'

export type OrderState =
  | 'created'
  | 'dispatched'
  | 'accepted'
  | 'arrived'
  | 'resolved'
  | 'verified'
  | 'closed'
  | 'paused'
  | 'returned'
  | 'cancelled'
  | 'false_alarm'
  | 'merged'

export interface PublicData {
  at: string
  stations: { name: string; place: string; ts: string; values: Record<string, number> }[]
  parking_spaces: number
  parking_left: number
}

export type User = components['schemas']['UserOut']

export type Session = components['schemas']['Session']

export interface Metric {
  name: string
  unit: string
  label: Label
  type: 'gauge' | 'counter' | 'switch' | 'state'
  low: number
  high: number
  options: string[]
}

export interface Named {
  name: string
  label: Label
}

export type KindCommand = components['schemas']['KindCommandOut']

export interface Kind extends Named {
  system: string
  interval_s: number
  metrics: Metric[]
  events: Named[]
  commands: KindCommand[]
}

export interface Catalogue {
  kinds: Kind[]
  severities: Named[]
  teams: Named[]
  roles: Named[]
}

export interface Community {
  id: string
  name: string
  city: string
  district: string
  street: string
  households: number
  residents: number
  latitude: number
  longitude: number
  timezone: string
}

export interface Building {
  id: string
  name: string
  floors: number
  x: number
  y: number
  width: number
  depth: number
  grid_id: string
}

export interface PlanShape {
  kind: string
  name?: string | null
  points: [number, number][]
}

/** Metres, y downwards. */
export interface Plan {
  width: number
  height: number
  shapes: PlanShape[]
  buildings: Building[]
}

export interface Device {
  id: string
  kind: string
  name: string
  place: string
  x: number
  y: number
  floor: number | null
  building_id: string | null
  gateway_id: string | null
  tags: string[]
  online: boolean
  last_seen_at: string | null
  ts: string | null
  values: Record<string, number>
  last_event: string | null
  last_event_at: string | null
}

export interface Alert {
  id: string
  community_id: string
  rule_id: string
  kind: string
  severity: Severity
  team: string
  life_safety: boolean
  state: 'firing' | 'recovering' | 'cleared'
  title: Label
  why: Label
  place: string
  device_id: string | null
  building_id: string | null
  onset_at: string
  fired_at: string
  last_at: string
  cleared_at: string | null
  occurrences: number
  correlation: string
  order_id: string | null
  /** Why it sends nobody now. */
  held?: string[]
  /** Of a rule on trial. */
  shadow?: boolean
  acknowledged_at?: string | null
}

/** The cockpit's picture of a time that is past (services/api/data/models.py ReplayOut). */
export interface Past {
  at: string
  /** Readings before it are gone. */
  kept_from: string | null
  devices: Device[]
  alerts: Alert[]
  orders: Order[]
  kpis: Kpi[]
}

/** What happened at a time that is past, for the line that leads back to it. */
export interface ReplayMark {
  at: string
  severity: Severity
  title?: Label | null
}

export type DueFor = 'file' | 'accept' | 'arrive' | 'resolve' | 'verify'

export interface Clock {
  name: DueFor
  label: Label
  due: string
  /** When it turns amber, by the order's class; null: it does not run, or never warns. */
  warn_at: string | null
  done_at: string | null
  /** Seconds left when it was answered; of a paused order, what was left when it was paused. */
  left_s: number | null
  late: boolean
}

export interface Pause {
  at: string
  reason: Named | null
  until: string | null
  ended_at: string | null
  by: string
}

export interface OrderLink {
  id: string
  number: number
  state: OrderState
  photos_before: number
  photos_after: number
  signatures: number
}

export interface Links {
  parent: OrderLink | null
  children: OrderLink[]
  merged_into: OrderLink | null
  merged: OrderLink[]
  alerts: { id: string; state: string; severity: Severity; fired_at: string }[]
}

export type Phase = 'before' | 'after' | 'other'
export type EvidenceSort = 'photo' | 'clip' | 'voice' | 'signature'

export interface Evidence {
  id: string
  sort: EvidenceSort
  phase: Phase
  taken_at: string | null
  uploaded_at: string
  uploader: string
  /** Paths on this origin; null once it was taken away. */
  url: string | null
  thumbnail: string | null
  removed_why: string | null
}

/** What residents said of an order. */
export interface Report {
  id: string
  number: number
  title: Label
  text: string
  place: string
  contact_name: string | null
  contact_phone: string | null
  created_at: string
  withdrawn_at: string | null
  notes: string[]
}

export interface Notice {
  id: string
  recipient: string
  title: Label
  state: 'queued' | 'sending' | 'sent' | 'acknowledged' | 'failed' | 'expired' | 'cancelled'
  created_at: string
  sent_at: string | null
  acknowledged_at: string | null
  last_error: string | null
}

export interface PersonOnDuty {
  user_id: string
  display_name: string
  leads: boolean
  until: string | null
}

export interface OnDuty {
  at: string
  people: number
  teams: { team: string; rostered: boolean; people: PersonOnDuty[] }[]
}

export interface Person {
  id: string
  name: string
  team: string | null
}

export interface Order {
  id: string
  number: number
  community_id: string
  source: string
  alert_id: string | null
  device_id: string | null
  building_id: string | null
  kind: string
  severity: Severity
  title: Label
  place: string
  x: number | null
  y: number | null
  team: string
  assignee: string | null
  assignee_id?: string | null
  state: OrderState
  version: number
  created_at: string
  dispatched_at: string | null
  accepted_at: string | null
  arrived_at: string | null
  resolved_at: string | null
  verified_at: string | null
  closed_at: string | null
  due: string | null
  due_for: DueFor | null
  /** Of each of `moves` what it still asks for (services/domain/orders/needs.py). */
  needs?: Partial<Record<Move, string[]>>
  /** 0 team, 1 leader, 2 desk, 3 street, 4 department. */
  rung?: number
  /** Of an order that became part of another. */
  merged_into?: string | null
  forced?: boolean
  returns?: number
  reworks?: number
  urges?: number
  photos_before?: number
  photos_after?: number
  pause_reason?: string | null
  rating?: number | null
  call_back?: string | null
  signatures?: number
  on_site?: 'position' | 'code' | null
  class_id?: string | null
  pause_until?: string | null
  /** Only of one order opened. */
  clocks?: Clock[]
  correlation: string
  moves: Move[]
}

export interface HistoryItem {
  version: number
  move: Move
  from_state: OrderState | null
  to_state: OrderState
  at: string
  actor: string
  actor_role: string
  reason: string | null
  detail: Record<string, unknown>
}

export interface OrderDetail extends Order {
  history: HistoryItem[]
  /** Whom it was offered to; nobody: the whole team. */
  offered?: Person[]
  /** Who accepted it, arrived or resolved it. */
  workers?: Person[]
  order_class?: {
    id: string
    pause_reasons: Named[]
    pause_longest_s: number
    needs?: Partial<Record<Move, string[]>>
  } | null
  pauses?: Pause[]
  links?: Links
  /** Cases from above that are worked on in it; absent on a phone that kept the order before there were any. */
  cases?: CaseAbove[]
}

export interface CaseAbove {
  system: 'hotline' | 'city'
  external_id: string
  account: string
  due_at: string | null
  /** It came to an order that there was: words written here stay here. */
  joined: boolean
}

export interface Position {
  latitude: number
  longitude: number
  accuracy_m: number
}

export interface MoveIn {
  move: Move
  version: number
  reason?: string
  note?: string
  place?: string
  team?: string
  merge_into?: string
  pause_reason?: string
  pause_until?: string
  outcome?: string
  assignee_id?: string
  position?: Position
  code?: string
  /** Of what is sent later than it was done: the phone's own time. */
  acted_at?: string
}

export interface Page<T> {
  items: T[]
  next: string | null
}

export interface Series {
  name: string
  unit: string
  label: Label
  bucket_s: number
  points: { ts_ms: number; value: number | null }[]
}

export interface Kpi {
  name: string
  label: Label
  value: number | null
  unit: string
  formula: Label
  numerator: number | null
  denominator: number | null
}

export interface Kpis {
  at: string
  items: Kpi[]
}

export interface Snapshot {
  cursor: number
  at: string
  build: string
  community: Community
  plan: Plan
  devices: Device[]
  alerts: Alert[]
  orders: Order[]
  kpis: Kpis
}

/** One device's change, as the stream sends it. */
export interface DeviceDelta {
  id: string
  online: boolean
  ts: string | null
  values: Record<string, number>
  last_event: string | null
  last_event_at: string | null
}

export type StreamEvent =
  | { type: 'hello'; data: { cursor: number; build: string; at: string } }
  | { type: 'alert'; data: Alert }
  | { type: 'order'; data: Order }
  | { type: 'devices'; data: { at: string; items: DeviceDelta[] } }
  | { type: 'kpis'; data: Kpis }
  | { type: 'hb'; data: { at: string } }
  | { type: 'resync'; data: { why: string } }

export interface Problem {
  title: string
  status: number
  detail: string
  errors?: Refusal[]
  /** Of a conflict over an order: the order as it stands now. */
  current?: Order
}

/** Why a move was refused, for programs. */
export interface Refusal {
  code?: string
  /** Of a body that is not valid: where in it, and what is wrong there. */
  where?: string
  what?: string
  state?: OrderState
  who?: string[]
  needs?: string[]
}
